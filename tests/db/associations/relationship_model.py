"""Plain Python model of relationships, the oracle of the random tests.

It keeps the changes of assets and of relationships, and derives from them the effective periods, the violations of cardinality,
and the assets that a deletion deletes with it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from db.registries.relationship_type import RelationshipTypeRow
from db.temporal.change_log import Operation
from tests.db.temporal.model import AcceptedChange, fold, state_at

FOREVER = datetime.max.replace(tzinfo=UTC)

# Identity of a relationship: the ids of its type, of its origin and of its related end.
Key: TypeAlias = tuple[int, int, int]
Period: TypeAlias = tuple[datetime, datetime]


class EffectivePeriod(NamedTuple):
    """A period in which a relationship is effective with one state."""

    key: Key
    since: datetime
    until: datetime
    attributes: Mapping[str, Any]

    def covers(self, instant: datetime) -> bool:
        return self.since <= instant < self.until


@dataclass(frozen=True)
class AssetModel:
    asset_id: int
    uid: UUID
    kind: str
    type: str | None
    state: dict[str, Any]

    def matches(self, end_type: str) -> bool:
        return end_type in (self.kind, self.type)


@dataclass
class RelationshipModel:
    """Assets, relationship types, and the accepted changes of assets and of relationships."""

    assets: dict[int, AssetModel]
    types: dict[int, RelationshipTypeRow]
    asset_logs: dict[int, list[AcceptedChange]] = field(default_factory=dict)
    relationship_logs: dict[Key, list[AcceptedChange]] = field(default_factory=dict)

    def key(self, type_id: int, origin: int, related: int) -> Key:
        """Return the identity of a relationship. The order of the ends does not matter to a symmetric type."""
        if self.types[type_id].is_symmetric and self.assets[origin].uid > self.assets[related].uid:
            return type_id, related, origin
        return type_id, origin, related

    def alive(self, asset_id: int, instant: datetime) -> bool:
        return state_at(self.asset_logs[asset_id], instant) is not None

    def lifetimes(self, asset_id: int) -> list[Period]:
        """Return the lifetimes of an asset: its version periods, because assets of these tests have one state only."""
        return [(it.valid_from, it.valid_to or FOREVER) for it in fold(self.asset_logs[asset_id])]

    def effective_periods(self) -> list[EffectivePeriod]:
        lifetimes = {asset_id: self.lifetimes(asset_id) for asset_id in self.assets}
        return [period for key in sorted(self.relationship_logs) for period in self._clipped(key, lifetimes)]

    def _clipped(self, key: Key, lifetimes: Mapping[int, list[Period]]) -> list[EffectivePeriod]:
        """Clip the asserted periods of a relationship to the lifetimes of both ends."""
        periods = []
        _, origin, related = key
        for asserted in fold(self.relationship_logs[key]):
            for near in lifetimes[origin]:
                for far in lifetimes[related]:
                    since = max(asserted.valid_from, near[0], far[0])
                    until = min(asserted.valid_to or FOREVER, near[1], far[1])
                    if since < until:
                        periods.append(EffectivePeriod(key, since, until, asserted.state["attributes"]))
        return periods

    def cardinality_violations(self) -> list[tuple[EffectivePeriod, EffectivePeriod]]:
        """Return the pairs of relationships that overlap at an end where their type allows one."""
        rivals: dict[tuple[int, str, int], list[EffectivePeriod]] = defaultdict(list)
        for period in self.effective_periods():
            type_id, origin, related = period.key
            if self.types[type_id].one_related:
                rivals[type_id, "origin", origin].append(period)
            if self.types[type_id].one_origin:
                rivals[type_id, "related", related].append(period)
        return [
            (first, second)
            for periods in rivals.values()
            for first, second in pairwise(sorted(periods, key=lambda it: (it.since, it.until)))
            if second.since < first.until
        ]

    def append(self, log: list[AcceptedChange], change: AcceptedChange) -> bool:
        """Append a change to a log. Return False if it repeats the last one at its instant."""
        at_instant = [it for it in log if it.at == change.at]
        if at_instant and at_instant[-1] == change:
            return False
        log.append(change)
        return True

    def has_change_until(self, log: list[AcceptedChange], instant: datetime) -> bool:
        """True if there is something that a deletion can end."""
        return any(it.at <= instant for it in log)

    def delete(self, asset_id: int, at: datetime) -> bool:
        """Delete an asset with all to which the deletion cascades. Return False, and change nothing, if it is restricted."""
        periods = self.effective_periods()
        deleted, pending = {asset_id}, [asset_id]
        while pending:
            for other, on_delete, period in self._relationships_of(periods, pending.pop()):
                if on_delete == "CASCADE" and period.covers(at) and other not in deleted:
                    deleted.add(other)
                    pending.append(other)
        logs_before = {it: list(self.asset_logs[it]) for it in deleted}
        for deleted_id in deleted:
            self.append(self.asset_logs[deleted_id], AcceptedChange(at, Operation.DELETE, None))
            lifetimes = self.lifetimes(deleted_id)
            for _, on_delete, period in self._relationships_of(periods, deleted_id):
                survives = any(since <= period.since and period.until <= until for since, until in lifetimes)
                if on_delete == "RESTRICT" and period.until > at and not survives:
                    self.asset_logs |= logs_before
                    return False
        return True

    def _relationships_of(self, periods: list[EffectivePeriod], asset_id: int) -> list[tuple[int, str, EffectivePeriod]]:
        """Return the periods at either end of an asset, each with the other end and the onDelete of its type."""
        return [
            (it.key[2] if it.key[1] == asset_id else it.key[1], self.types[it.key[0]].on_delete, it)
            for it in periods
            if asset_id in it.key[1:]
        ]

    def effective_at(self, instant: datetime) -> list[EffectivePeriod]:
        return [it for it in self.effective_periods() if it.covers(instant)]

    def relationships_under(self, asset_id: int, name: str, instant: datetime) -> list[tuple[int, int, Key]]:
        """Return type, other end and key of the relationships that have this name seen from the asset."""
        found = []
        for period in self.effective_at(instant):
            type_id, origin, related = period.key
            if origin == asset_id and self.types[type_id].key == name:
                found.append((type_id, related, period.key))
            elif related == asset_id and self.types[type_id].reverse_key == name:
                found.append((type_id, origin, period.key))
        return found
