"""Statistics compared with a plain model of random graphs, at instants throughout their time."""

import random
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from statistics import fmean
from threading import get_ident
from typing import Any

import networkx
import pytest

from db.assets import product
from db.assets.domain import DomainAt, domains_at, owners_by_domain
from db.assets.entity_query import EntityQuery, count_entities_by_domain
from db.assets.reference import AssetRef
from db.associations import lineage_link, reference
from db.author import Author
from db.connection import ReadConnection, WriteConnection
from db.database import Database
from db.lineage import analytics
from db.lineage.analytics import Crossing, Degree, ProductStatistics
from db.lineage.graph import GraphMetrics, measure_graph
from db.lineage.walk import Direction
from db.registries import entity_type
from db.temporal.change_log import Operation, Outcome
from tests.builders import day, product_fields
from tests.db.lineage.random_graphs import DAYS, LinkModel, LinkState, RandomGraphs, write_random_graphs
from tests.db.temporal.model import AcceptedChange, state_at
from tests.randomness import seeds

DOMAINS = ("sales", "people", "finance")
STATUSES = ("ACTIVE", "DEPRECATED", "INACTIVE")
# Tables belong to this domain, jobs to none.
TABLE_DOMAIN = "people"


async def add_products(connection: WriteConnection, graphs: RandomGraphs, rng: random.Random) -> list[int]:
    """Add products that move from domain to domain, and links from and to them. Return their ids."""
    product_ids = []
    for number in range(12):
        log: list[AcceptedChange] = []
        for since in sorted(rng.sample(range(DAYS), rng.randint(1, 4))):
            fields = product_fields(
                f"p{number}", domain=rng.choice(DOMAINS), owner=rng.choice("abc"), status=rng.choice(STATUSES)
            )
            log.append(AcceptedChange(day(since), Operation.SET if not log else Operation.PATCH, fields))
        first = await product.register(connection, log[0].payload or {}, at=log[0].at)
        for change in log[1:]:
            await product.update(connection, AssetRef(product=f"p{number}"), change.payload or {}, at=change.at)
        (row,) = await product.products_by_name(connection, [f"p{number}"], day(DAYS))
        assert row is not None
        graphs.uids[first.subject_id], graphs.asset_logs[first.subject_id] = row.uid, log
        product_ids.append(first.subject_id)
    ends = list(graphs.uids)
    for _ in range(60):
        source, target = rng.choice(product_ids), rng.choice(ends)
        if source == target:
            continue
        if rng.random() < 0.5:
            source, target = target, source
        state: LinkState = {"type": "DIRECT", "transformation": None, "confidence": rng.random(), "metadata": {}}
        change = AcceptedChange(day(rng.randrange(DAYS)), Operation.SET, state)
        uid = reference.link_uid(graphs.uids[source], graphs.uids[target], "tests")
        if all(link.uid != uid for link in graphs.links):
            ends_of_link = AssetRef(graphs.uids[source]), AssetRef(graphs.uids[target])
            (outcome,) = await lineage_link.upsert_each(
                connection, [lineage_link.LinkState(*ends_of_link, "tests", state, change.at)], allow_pending_ends=True
            )
            assert isinstance(outcome, Outcome)
            graphs.links.append(LinkModel(source, target, "tests", uid, [change]))
    return product_ids


@pytest.mark.random
@pytest.mark.temporal
@pytest.mark.parametrize("seed", seeds(quick=8, soak=64))
async def test_statistics_equal_those_of_a_plain_model(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    async with database.transaction(1, Author("writer")) as connection:
        graphs = await write_random_graphs(connection, rng, 8)
        await entity_type.put(connection, "TABLE", "Table", TABLE_DOMAIN)
        product_ids = await add_products(connection, graphs, rng)
        for number in (-2, -1, *range(0, DAYS, 2)):
            for instant in (day(number), day(number) + timedelta(hours=1)):
                await compare_domains(connection, graphs, product_ids, instant)
                await compare_links(connection, graphs, instant)


def states_at(graphs: RandomGraphs, instant: datetime) -> dict[int, Any]:
    """The states of the assets that exist at an instant."""
    states = {asset_id: state_at(log, instant) for asset_id, log in graphs.asset_logs.items()}
    return {asset_id: state for asset_id, state in states.items() if state is not None}


async def compare_domains(connection: ReadConnection, graphs: RandomGraphs, product_ids: list[int], instant: datetime) -> None:
    states = states_at(graphs, instant)
    products = {asset_id: states[asset_id] for asset_id in product_ids if asset_id in states}
    domain_of: dict[int, str | None] = {asset_id: state["domain"] for asset_id, state in products.items()}
    domain_of |= {it: TABLE_DOMAIN if graphs.types[it] == "TABLE" else None for it in states.keys() - domain_of.keys()}

    existing = sorted({TABLE_DOMAIN, *(state["domain"] for state in products.values())})
    assert await domains_at(connection, [instant]) == [existing]
    owners = [sorted({it["owner"] for it in products.values() if it["domain"] == name}) for name in DOMAINS]
    readings = [DomainAt(name, instant) for name in DOMAINS]
    assert [it.owners for it in await owners_by_domain(connection, readings)] == owners
    statuses = [Counter(it["status"] for it in products.values() if it["domain"] == name) for name in DOMAINS]
    assert await analytics.product_statistics(connection, DOMAINS, instant) == [
        ProductStatistics(counts.total(), len(owned), counts) for owned, counts in zip(owners, statuses, strict=True)
    ]
    entities = Counter(domain_of[it] for it in states.keys() - products.keys())
    assert await count_entities_by_domain(connection, readings, EntityQuery()) == [entities[name] for name in DOMAINS]
    ends = [(domain_of[link.source], domain_of[link.target]) for link, _ in graphs.effective_links(instant)]
    crossing = [(source, target) for source, target in ends if source != target]
    assert await analytics.crossing_links(connection, DOMAINS, instant) == [
        Crossing(sum(target == name for _, target in crossing), sum(source == name for source, _ in crossing)) for name in DOMAINS
    ]


async def compare_links(connection: ReadConnection, graphs: RandomGraphs, instant: datetime) -> None:
    existing = states_at(graphs, instant).keys()
    effective = graphs.effective_links(instant)
    edges = [(link.source, link.target) for link, _ in effective]
    states = [state for _, state in effective]
    (statistics,) = await analytics.link_statistics(connection, [instant])
    assert (statistics.links, statistics.by_type) == (len(states), Counter(state["type"] for state in states))
    average = pytest.approx(fmean(state["confidence"] for state in states)) if states else None
    assert statistics.average_confidence == average
    for direction in Direction:
        neighbours = defaultdict(set)
        for source, target in edges:
            near, far = (target, source) if direction is Direction.UPSTREAM else (source, target)
            neighbours[near].add(far)
        assert await analytics.count_unlinked(connection, [instant], direction) == [len(existing - neighbours.keys())]
        degrees = sorted((Degree(it, len(far)) for it, far in neighbours.items()), key=lambda it: (-it.degree, it.asset_id))
        for limit in (1, 5, 1000):
            assert await analytics.most_linked(connection, [instant], direction, limit) == [degrees[:limit]]
    graph: networkx.DiGraph[int] = networkx.DiGraph(edges)
    cycles = sum(len(it) > 1 for it in networkx.strongly_connected_components(graph))
    longest = networkx.dag_longest_path_length(networkx.condensation(graph)) if edges else 0
    assert await analytics.graph_metrics(connection, [instant]) == [GraphMetrics(longest, cycles)]


async def test_a_graph_that_takes_too_long_has_no_metrics(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with database.transaction(1, Author("writer")) as connection:
        for name in "abc":
            await product.register(connection, product_fields(name), at=day(0))
        for source, target in ("ab", "bc"):
            await lineage_link.register(connection, AssetRef(product=source), AssetRef(product=target), None, {}, at=day(0))
            await lineage_link.register(connection, AssetRef(product=source), AssetRef(product=target), "again", {}, at=day(0))
        monkeypatch.setattr(analytics, "MAX_EDGES", 2)
        assert await analytics.graph_metrics(connection, [day(1)]) == [GraphMetrics(2, 0)], (
            "two links between the same assets are one edge"
        )
        monkeypatch.setattr(analytics, "MAX_EDGES", 1)
        assert await analytics.graph_metrics(connection, [day(1), day(-1)]) == [None, GraphMetrics(0, 0)]
        monkeypatch.undo()
        monkeypatch.setattr(analytics, "TIME_LIMIT_SECONDS", -1.0)
        assert await analytics.graph_metrics(connection, [day(1)]) == [None]


async def test_metrics_are_computed_in_another_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def recording_thread(*arguments: Any) -> GraphMetrics:
        threads.append(get_ident())
        return measure_graph(*arguments)

    monkeypatch.setattr(analytics, "measure_graph", recording_thread)
    async with database.snapshot(1) as connection:
        assert await analytics.graph_metrics(connection, [day(0)]) == [GraphMetrics(0, 0)]
    assert threads
    assert get_ident() not in threads
