"""Random graphs of assets and links that begin, end and return, written to the database, and a plain model of them."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from db.assets.asset import Deletion, IdentitySpec, add_or_lock_each
from db.assets.reference import AssetRef
from db.associations import lineage_link, reference
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_changes
from db.errors import HeadwaterError
from db.lineage.walk import AssetFilter, Direction, LinkFilter
from db.registries import entity_type
from db.temporal.change_log import Assertion, Operation
from db.temporal.kinds import ENTITY
from tests.builders import day
from tests.db.temporal.model import AcceptedChange, state_at

LINK_TYPES = ("DIRECT", "DERIVED", "AGGREGATED")
PRODUCERS = (None, "dbt", "airflow")
ENTITY_TYPES = ("TABLE", "JOB")
DAYS = 12

_SHAPES = ("sparse", "dense", "circle", "layers", "pair")

LinkState = dict[str, Any]


@dataclass
class LinkModel:
    """A link and its change log."""

    source: int
    target: int
    producer: str | None
    uid: UUID
    log: list[AcceptedChange] = field(default_factory=list)
    link_id: int = 0


@dataclass
class RandomGraphs:
    """Several graphs in one tenant. Assets are named by their ids; `components` lists the assets of each graph."""

    uids: dict[int, UUID]
    types: dict[int, str]
    asset_logs: dict[int, list[AcceptedChange]]
    links: list[LinkModel]
    components: list[list[int]]

    def effective_links(
        self,
        instant: datetime,
        link_filter: LinkFilter = LinkFilter(),  # noqa: B008
    ) -> list[tuple[LinkModel, LinkState]]:
        """List the links that a filter admits and that are effective at an instant, each with its state."""
        effective = []
        for link in self.links:
            state = state_at(link.log, instant)
            ends_exist = all(state_at(self.asset_logs[end], instant) is not None for end in (link.source, link.target))
            if state is not None and ends_exist and is_admitted(link, state, instant, link_filter):
                effective.append((link, state))
        return effective


def is_admitted(link: LinkModel, state: Mapping[str, Any], instant: datetime, link_filter: LinkFilter) -> bool:
    """Return true if a filter admits a link with this state."""
    last_seen = max(change.at for change in link.log if change.operation is Operation.SET and change.at <= instant)
    return (
        (link_filter.types is None or state["type"] in link_filter.types)
        and (link_filter.producers is None or link.producer in link_filter.producers)
        and (link_filter.min_confidence is None or state["confidence"] >= link_filter.min_confidence)
        and (link_filter.seen_since is None or last_seen >= link_filter.seen_since)
    )


def is_visible(graphs: RandomGraphs, asset_id: int, asset_filter: AssetFilter) -> bool:
    """Return true if a filter shows an asset. All of them are entities without a domain."""
    return (asset_filter.kinds is None or "ENTITY" in asset_filter.kinds) and (
        asset_filter.entity_types is None or graphs.types[asset_id] in asset_filter.entity_types
    )


def adjacency(links: Iterable[tuple[LinkModel, Any]], direction: Direction) -> dict[int, list[int]]:
    """Build the sorted neighbours of each asset in a direction, a neighbour as often as there are links to it."""
    neighbours: dict[int, list[int]] = defaultdict(list)
    for link, _ in links:
        near, far = (link.target, link.source) if direction is Direction.UPSTREAM else (link.source, link.target)
        neighbours[near].append(far)
    return {near: sorted(far) for near, far in neighbours.items()}


async def write_random_graphs(connection: WriteConnection, rng: random.Random, components: int) -> RandomGraphs:
    """Write so many graphs in bulk, their changes in random order, and return the model of them."""
    for code in ENTITY_TYPES:
        await entity_type.put(connection, code, code)
    sizes = [rng.randint(2, 10) for _ in range(components)]
    specs = [IdentitySpec(UUID(int=rng.getrandbits(128), version=4), rng.choice(ENTITY_TYPES)) for _ in range(sum(sizes))]
    identities = [it for it in await add_or_lock_each(connection, ENTITY, specs) if not isinstance(it, HeadwaterError)]
    asset_logs = {identity.asset_id: _asset_log(rng) for identity in identities}
    assertions = [
        Assertion(asset_id, change.operation, change.payload, change.at) for asset_id, log in asset_logs.items() for change in log
    ]
    recorded = await record_asset_changes(connection, ENTITY, assertions)
    assert not [it for it in recorded.outcomes if isinstance(it, HeadwaterError)]
    uids = {identity.asset_id: identity.uid for identity in identities}
    links: list[LinkModel] = []
    parts, rest = [], list(asset_logs)
    for size in sizes:
        parts.append(sorted(rest[:size]))
        del rest[:size]
        links += [_link(rng, uids, source, target) for source, target in _edges(rng, parts[-1])]
    links = list({link.uid: link for link in links}.values())
    await _write_links(connection, rng, uids, links)
    return RandomGraphs(uids, {it.asset_id: it.type or "" for it in identities}, asset_logs, links, parts)


async def _write_links(
    connection: WriteConnection, rng: random.Random, uids: Mapping[int, UUID], links: Iterable[LinkModel]
) -> None:
    """Write the changes of links and note the id of each."""
    by_uid = {link.uid: link for link in links}
    states = [
        lineage_link.LinkState(
            AssetRef(uids[link.source]), AssetRef(uids[link.target]), link.producer, change.payload or {}, change.at
        )
        for link in by_uid.values()
        for change in link.log
        if change.operation is Operation.SET
    ]
    deletions = [
        Deletion(link.uid, change.at) for link in by_uid.values() for change in link.log if change.operation is Operation.DELETE
    ]
    rng.shuffle(states)
    outcomes = await lineage_link.upsert_each(connection, states, deletions=deletions, allow_pending_ends=True)
    assert not [it for it in outcomes if isinstance(it, HeadwaterError)]
    for state, outcome in zip(states, outcomes, strict=False):
        assert state.source.uid is not None
        assert state.target.uid is not None
        assert not isinstance(outcome, HeadwaterError)
        by_uid[reference.link_uid(state.source.uid, state.target.uid, state.producer)].link_id = outcome.subject_id


def _asset_log(rng: random.Random) -> list[AcceptedChange]:
    """Choose the changes of an asset. Most exist from the beginning on; some end, and some of these return."""
    state = {"display_name": "x", "details": {}}
    log = [AcceptedChange(day(rng.choice((-1, -1, -1, -1, 2))), Operation.SET, state)]
    if rng.random() < 0.15:
        end = rng.randint(3, 7)
        log.append(AcceptedChange(day(end), Operation.DELETE, None))
        if rng.random() < 0.6:
            log.append(AcceptedChange(day(end + rng.randint(1, 3)), Operation.SET, state))
    return log


def _edges(rng: random.Random, ids: list[int]) -> list[tuple[int, int]]:
    """Choose the edges of a graph of one of the shapes."""
    pairs = [(source, target) for source in ids for target in ids if source != target]
    match rng.choice(_SHAPES):
        case "sparse":
            return rng.sample(pairs, min(len(pairs), len(ids)))
        case "dense":
            return [pair for pair in pairs if rng.random() < 0.6]
        case "circle":
            order = rng.sample(ids, len(ids))
            return [*zip(order, order[1:] + order[:1], strict=True), *rng.sample(pairs, min(2, len(pairs)))]
        case "layers":
            return [(source, target) for source, target in pairs if (source - ids[0]) // 3 + 1 == (target - ids[0]) // 3]
        case _:
            return rng.sample(pairs, 1)


def _link(rng: random.Random, uids: Mapping[int, UUID], source: int, target: int) -> LinkModel:
    """Choose the changes of a link: the first sets a state, each later one deletes it or sets another."""
    producer = rng.choice(PRODUCERS)
    link = LinkModel(source, target, producer, reference.link_uid(uids[source], uids[target], producer))
    for number, since in enumerate(sorted(rng.sample(range(DAYS), rng.choice((1, 1, 1, 2, 3, 4))))):
        if number and link.log[-1].operation is Operation.SET and rng.random() < 0.5:
            link.log.append(AcceptedChange(day(since), Operation.DELETE, None))
            continue
        state: LinkState = {
            "type": rng.choice(LINK_TYPES),
            "transformation": None,
            "confidence": rng.choice((0.0, 0.25, 0.5, 0.9, 1.0)),
            "metadata": {},
        }
        link.log.append(AcceptedChange(day(since), Operation.SET, state))
    return link
