"""Random worlds of links that came and went between assets that lived and died, and a plain model of each to hold the database
against."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from db.assets.asset import Deletion, IdentitySpec, add_or_lock_each
from db.associations import lineage_link
from db.associations.association import AssetRef
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_changes
from db.errors import HeadwaterError
from db.lineage.walk import AssetFilter, Direction, LinkFilter
from db.registries import entity_type
from db.temporal.change_log import Assertion, Operation
from db.temporal.kinds import ENTITY
from tests.builders import day
from tests.db.temporal.model import Said, state_at

TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
PRODUCERS = (None, "dbt", "airflow")
KINDS = ("TABLE", "JOB")
DAYS = 12

_SHAPES = ("sparse", "dense", "circle", "layers", "pair")


@dataclass
class Linked:
    """A link, and all that was said of it."""

    source: int
    target: int
    producer: str | None
    uid: UUID
    log: list[Said] = field(default_factory=list)
    link_id: int = 0


@dataclass
class World:
    """Many graphs beside each other, in one tenant. Assets go by their ids."""

    uids: dict[int, UUID]
    types: dict[int, str]
    lives: dict[int, list[Said]]
    links: list[Linked]
    components: list[list[int]]

    def standing(self, instant: datetime, asked: LinkFilter = LinkFilter()) -> list[tuple[Linked, dict[str, Any]]]:  # noqa: B008
        """The links that hold at an instant with what holds of them, of those that a filter leaves."""
        found = []
        for it in self.links:
            state = state_at(it.log, instant)
            alive = all(state_at(self.lives[end], instant) is not None for end in (it.source, it.target))
            if state is not None and alive and taken(it, state, instant, asked):
                found.append((it, state))
        return found


def taken(it: Linked, state: Mapping[str, Any], instant: datetime, asked: LinkFilter) -> bool:
    """Whether a filter leaves a link."""
    seen = max(said.at for said in it.log if said.operation is Operation.SET and said.at <= instant)
    return (
        (asked.types is None or state["type"] in asked.types)
        and (asked.producers is None or it.producer in asked.producers)
        and (asked.min_confidence is None or state["confidence"] >= asked.min_confidence)
        and (asked.seen_since is None or seen >= asked.seen_since)
    )


def shown(world: World, asset_id: int, asked: AssetFilter) -> bool:
    return (asked.kinds is None or "ENTITY" in asked.kinds) and (
        asked.entity_types is None or world.types[asset_id] in asked.entity_types
    )


def neighbours(links: Iterable[tuple[Linked, Any]], direction: Direction) -> dict[int, list[int]]:
    """Where the links of each asset lead, in order of the ids; as often as there are links."""
    found: dict[int, list[int]] = defaultdict(list)
    for it, _ in links:
        near, far = (it.target, it.source) if direction is Direction.UPSTREAM else (it.source, it.target)
        found[near].append(far)
    return {near: sorted(far) for near, far in found.items()}


async def make(connection: WriteConnection, chance: random.Random, components: int) -> World:
    """Write a world of so many graphs, as a load would."""
    for code in KINDS:
        await entity_type.put(connection, code, code)
    sizes = [chance.randint(2, 10) for _ in range(components)]
    refs = [IdentitySpec(UUID(int=chance.getrandbits(128), version=4), chance.choice(KINDS)) for _ in range(sum(sizes))]
    identities = [it for it in await add_or_lock_each(connection, ENTITY, refs) if not isinstance(it, HeadwaterError)]
    ids = [it.asset_id for it in identities]
    lives = {asset_id: _life(chance) for asset_id in ids}
    assertions = [Assertion(asset_id, it.operation, it.payload, it.at) for asset_id, log in lives.items() for it in log]
    assert not [it for it in await record_asset_changes(connection, ENTITY, assertions) if isinstance(it, HeadwaterError)]
    uids = {it.asset_id: it.uid for it in identities}
    links: list[Linked] = []
    parts, rest = [], list(ids)
    for size in sizes:
        parts.append(sorted(rest[:size]))
        del rest[:size]
        links += [_linked(chance, uids, source, target) for source, target in _edges(chance, parts[-1])]
    links = list({it.uid: it for it in links}.values())
    stated = [
        lineage_link.LinkState(AssetRef(uids[it.source]), AssetRef(uids[it.target]), it.producer, said.payload or {}, said.at)
        for it in links
        for said in it.log
        if said.operation is Operation.SET
    ]
    ended = [Deletion(it.uid, said.at) for it in links for said in it.log if said.operation is Operation.DELETE]
    chance.shuffle(stated)
    outcomes = await lineage_link.upsert_each(connection, stated, ended=ended, allow_pending_ends=True)
    assert not [it for it in outcomes if isinstance(it, HeadwaterError)]
    known = {it.uid: it for it in links}
    for said_of, outcome in zip(stated, outcomes, strict=False):
        assert said_of.source.uid is not None
        assert said_of.target.uid is not None
        assert not isinstance(outcome, HeadwaterError)
        known[lineage_link.link_uid(said_of.source.uid, said_of.target.uid, said_of.producer)].link_id = outcome.subject_id
    return World(uids, {it.asset_id: it.type or "" for it in identities}, lives, links, parts)


def _life(chance: random.Random) -> list[Said]:
    """Most assets live from the beginning on; some end, some return."""
    state = {"display_name": "x", "details": {}}
    log = [Said(day(chance.choice((-1, -1, -1, -1, 2))), Operation.SET, state)]
    if chance.random() < 0.15:
        ended = chance.randint(3, 7)
        log.append(Said(day(ended), Operation.DELETE, None))
        if chance.random() < 0.6:
            log.append(Said(day(ended + chance.randint(1, 3)), Operation.SET, state))
    return log


def _edges(chance: random.Random, ids: list[int]) -> list[tuple[int, int]]:
    pairs = [(source, target) for source in ids for target in ids if source != target]
    match chance.choice(_SHAPES):
        case "sparse":
            return chance.sample(pairs, min(len(pairs), len(ids)))
        case "dense":
            return [it for it in pairs if chance.random() < 0.6]
        case "circle":
            order = chance.sample(ids, len(ids))
            return [*zip(order, order[1:] + order[:1], strict=True), *chance.sample(pairs, min(2, len(pairs)))]
        case "layers":
            return [(source, target) for source, target in pairs if (source - ids[0]) // 3 + 1 == (target - ids[0]) // 3]
        case _:
            return chance.sample(pairs, 1)


def _linked(chance: random.Random, uids: Mapping[int, UUID], source: int, target: int) -> Linked:
    producer = chance.choice(PRODUCERS)
    made = Linked(source, target, producer, lineage_link.link_uid(uids[source], uids[target], producer))
    instants = sorted(chance.sample(range(DAYS), chance.choice((1, 1, 1, 2, 3, 4))))
    for number, since in enumerate(instants):
        # the first says that there is one; a later one ends it, or says something else
        if number and made.log[-1].operation is Operation.SET and chance.random() < 0.5:
            made.log.append(Said(day(since), Operation.DELETE, None))
            continue
        payload: dict[str, Any] = {
            "type": chance.choice(TYPES),
            "transformation": None,
            "confidence": chance.choice((0.0, 0.25, 0.5, 0.9, 1.0)),
            "metadata": {},
        }
        made.log.append(Said(day(since), Operation.SET, payload))
    return made
