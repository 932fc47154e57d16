"""Joins in plain Python, to hold the database against: what was said of each, cut to the lives of both of its ends; what breaks a
cardinality; and what ends with what."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db.registries.relationship_type import RelationshipTypeRow
from db.temporal.change_log import Operation
from tests.db.temporal.model import Said, fold, state_at

FOREVER = datetime.max.replace(tzinfo=UTC)

# A join goes by its type, its origin and what is related to it; assets and types by their ids.
Pair: TypeAlias = tuple[int, int, int]
Span: TypeAlias = tuple[datetime, datetime]


class Held(NamedTuple):
    """A stretch in which a join holds."""

    pair: Pair
    since: datetime
    until: datetime
    attributes: Mapping[str, Any]

    def holds(self, instant: datetime) -> bool:
        return self.since <= instant < self.until


@dataclass(frozen=True)
class Asset:
    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    state: dict[str, Any]

    def fits(self, end: str) -> bool:
        return end in (self.kind, self.type)


@dataclass
class Joined:
    """Assets, types of joins, and all that was accepted of lives and of joins."""

    assets: dict[int, Asset]
    types: dict[int, RelationshipTypeRow]
    lives: dict[int, list[Said]] = field(default_factory=dict)
    joins: dict[Pair, list[Said]] = field(default_factory=dict)

    def pair(self, type_id: int, origin: int, related: int) -> Pair:
        """Which join is meant; where a type reads alike from both ends, neither is the origin."""
        if self.types[type_id].is_symmetric and self.assets[origin].uid > self.assets[related].uid:
            return type_id, related, origin
        return type_id, origin, related

    def alive(self, asset_id: int, instant: datetime) -> bool:
        return state_at(self.lives[asset_id], instant) is not None

    def life(self, asset_id: int) -> list[Span]:
        """An asset of these tests is always the same, so a stretch of its state is a life."""
        return [(it.valid_from, it.valid_to or FOREVER) for it in fold(self.lives[asset_id])]

    def held(self) -> list[Held]:
        """What holds, ever."""
        lives = {it: self.life(it) for it in self.assets}
        return [it for pair in sorted(self.joins) for it in self._held(pair, lives)]

    def _held(self, pair: Pair, lives: Mapping[int, list[Span]]) -> list[Held]:
        found = []
        _, origin, related = pair
        for said in fold(self.joins[pair]):
            for near in lives[origin]:
                for far in lives[related]:
                    since = max(said.valid_from, near[0], far[0])
                    until = min(said.valid_to or FOREVER, near[1], far[1])
                    if since < until:
                        found.append(Held(pair, since, until, said.state["attributes"]))
        return found

    def broken(self) -> list[tuple[Held, Held]]:
        """Joins that hold at once where a type allows one."""
        rivals: dict[tuple[int, str, int], list[Held]] = defaultdict(list)
        for it in self.held():
            type_id, origin, related = it.pair
            if self.types[type_id].one_related:
                rivals[type_id, "origin", origin].append(it)
            if self.types[type_id].one_origin:
                rivals[type_id, "related", related].append(it)
        return [
            (one, next_)
            for those in rivals.values()
            for one, next_ in pairwise(sorted(those, key=lambda it: (it.since, it.until)))
            if next_.since < one.until
        ]

    def hear(self, log: list[Said], said: Said) -> bool:
        """Whether it is heard, or was before."""
        there = [it for it in log if it.at == said.at]
        if there and there[-1] == said:
            return False
        log.append(said)
        return True

    def heard_of(self, log: list[Said], instant: datetime) -> bool:
        """Whether there is anything to end."""
        return any(it.at <= instant for it in log)

    def end(self, asset_id: int, at: datetime) -> bool:
        """End an asset, with all that cascades from it; gives whether joins allow that. What they forbid changes nothing."""
        held = self.held()
        falling, waiting = {asset_id}, [asset_id]
        while waiting:
            for other, on_delete, it in self._joined(held, waiting.pop()):
                if on_delete == "CASCADE" and it.holds(at) and other not in falling:
                    falling.add(other)
                    waiting.append(other)
        before = {it: list(self.lives[it]) for it in falling}
        for ending in falling:
            self.hear(self.lives[ending], Said(at, Operation.DELETE, None))
            life = self.life(ending)
            for _, on_delete, join in self._joined(held, ending):
                kept = any(since <= join.since and join.until <= until for since, until in life)
                if on_delete == "RESTRICT" and join.until > at and not kept:
                    self.lives |= before
                    return False
        return True

    def _joined(self, held: list[Held], asset_id: int) -> list[tuple[int, str, Held]]:
        return [
            (it.pair[2] if it.pair[1] == asset_id else it.pair[1], self.types[it.pair[0]].on_delete, it)
            for it in held
            if asset_id in it.pair[1:]
        ]

    def at(self, instant: datetime) -> list[Held]:
        return [it for it in self.held() if it.holds(instant)]

    def ways_of(self, asset_id: int, key: str, instant: datetime) -> list[tuple[int, int, Pair]]:
        """The joins of an asset under a key, from whichever end it is called so: type, other end, and the join."""
        found = []
        for it in self.at(instant):
            type_id, origin, related = it.pair
            if origin == asset_id and self.types[type_id].key == key:
                found.append((type_id, related, it.pair))
            elif related == asset_id and self.types[type_id].reverse_key == key:
                found.append((type_id, origin, it.pair))
        return found
