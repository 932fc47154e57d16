"""Statistics against a plain model of random worlds, at instants through their time."""

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
from db.assets.entity import EntityQuery, count_entities_by_domain
from db.associations import lineage_link
from db.associations.association import AssetRef
from db.author import Author
from db.connection import ReadConnection, WriteConnection
from db.database import Database
from db.lineage import analytics
from db.lineage.analytics import Crossing, Degree, ProductStatistics
from db.lineage.graph import GraphMetrics, graph_metrics
from db.lineage.walk import Direction
from db.registries import entity_type
from db.temporal.change_log import Operation, Outcome
from tests.builders import day, product_fields
from tests.db.lineage.random_graphs import DAYS, Linked, World, make
from tests.db.temporal.model import Said, state_at

DOMAINS = ("sales", "people", "finance")
STATUSES = ("ACTIVE", "DEPRECATED", "INACTIVE")
# Tables are of a domain, jobs of none.
TABLES = "people"


async def add_products(connection: WriteConnection, world: World, chance: random.Random) -> list[int]:
    """Products beside a world's entities, moving from domain to domain, with links to and from them."""
    added = []
    for number in range(12):
        log: list[Said] = []
        for since in sorted(chance.sample(range(DAYS), chance.randint(1, 4))):
            fields = product_fields(
                f"p{number}", domain=chance.choice(DOMAINS), owner=chance.choice("abc"), status=chance.choice(STATUSES)
            )
            log.append(Said(day(since), Operation.SET if not log else Operation.PATCH, fields))
        first = await product.register(connection, log[0].payload or {}, at=log[0].at)
        for said in log[1:]:
            await product.update(connection, f"p{number}", said.payload or {}, at=said.at)
        (row,) = await product.products_by_name(connection, [f"p{number}"], day(DAYS))
        assert row is not None
        world.uids[first.subject_id], world.lives[first.subject_id] = row.uid, log
        added.append(first.subject_id)
    ends = list(world.uids)
    for _ in range(60):
        source, target = chance.choice(added), chance.choice(ends)
        if source == target:
            continue
        if chance.random() < 0.5:
            source, target = target, source
        payload: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": chance.random(), "metadata": {}}
        said = Said(day(chance.randrange(DAYS)), Operation.SET, payload)
        made = Linked(source, target, "tests", lineage_link.link_uid(world.uids[source], world.uids[target], "tests"), [said])
        if all(it.uid != made.uid for it in world.links):
            ends_of = AssetRef(world.uids[source]), AssetRef(world.uids[target])
            (outcome,) = await lineage_link.upsert_each(
                connection, [lineage_link.LinkState(*ends_of, "tests", payload, said.at)], allow_pending_ends=True
            )
            assert isinstance(outcome, Outcome)
            world.links.append(made)
    return added


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(8))
async def test_statistics_are_those_of_a_plain_model(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    async with database.transaction(1, Author("world")) as connection:
        world = await make(connection, chance, 8)
        await entity_type.put(connection, "TABLE", "Table", TABLES)
        products = await add_products(connection, world, chance)
        for number in (-2, -1, *range(0, DAYS, 2)):
            for instant in (day(number), day(number) + timedelta(hours=1)):
                await compare(connection, world, products, instant)


async def compare(connection: ReadConnection, world: World, products: list[int], instant: datetime) -> None:
    states = {it: state for it, log in world.lives.items() if (state := state_at(log, instant)) is not None}
    of_products = {it: states[it] for it in products if it in states}
    domains: dict[int, str | None] = {it: state["domain"] for it, state in of_products.items()}
    domains |= {it: TABLES if world.types[it] == "TABLE" else None for it in states.keys() - domains.keys()}
    standing = [(it.source, it.target, state) for it, state in world.standing(instant)]

    there = sorted({TABLES, *(state["domain"] for state in of_products.values())})
    assert await domains_at(connection, [instant]) == [there]
    owners = [sorted({it["owner"] for it in of_products.values() if it["domain"] == name}) for name in DOMAINS]
    readings = [DomainAt(name, instant) for name in DOMAINS]
    assert await owners_by_domain(connection, readings) == owners
    statuses = [Counter(it["status"] for it in of_products.values() if it["domain"] == name) for name in DOMAINS]
    assert await analytics.product_statistics(connection, DOMAINS, instant) == [
        ProductStatistics(counts.total(), len(owned), counts) for owned, counts in zip(owners, statuses, strict=True)
    ]
    entities = Counter(domains[it] for it in states.keys() - of_products.keys())
    assert await count_entities_by_domain(connection, readings, EntityQuery()) == [entities[name] for name in DOMAINS]
    crossing = [(domains[source], domains[target]) for source, target, _ in standing if domains[source] != domains[target]]
    assert await analytics.crossing_links(connection, DOMAINS, instant) == [
        Crossing(sum(into == name for _, into in crossing), sum(out == name for out, _ in crossing)) for name in DOMAINS
    ]
    await compare_lineage(connection, standing, set(states), instant)


async def compare_lineage(
    connection: ReadConnection, standing: list[tuple[int, int, dict[str, Any]]], alive: set[int], instant: datetime
) -> None:
    (found,) = await analytics.link_statistics(connection, [instant])
    assert (found.links, found.by_type) == (len(standing), Counter(it["type"] for _, _, it in standing))
    assert found.average_confidence == (pytest.approx(fmean(it["confidence"] for _, _, it in standing)) if standing else None)
    for direction in Direction:
        neighbours = defaultdict(set)
        for source, target, _ in standing:
            near, far = (target, source) if direction is Direction.UPSTREAM else (source, target)
            neighbours[near].add(far)
        assert await analytics.count_unlinked(connection, [instant], direction) == [len(alive - neighbours.keys())]
        degrees = sorted((Degree(it, len(far)) for it, far in neighbours.items()), key=lambda it: (-it.degree, it.asset_id))
        for limit in (1, 5, 1000):
            assert await analytics.most_linked(connection, [instant], direction, limit) == [degrees[:limit]]
    graph: networkx.DiGraph[int] = networkx.DiGraph([(source, target) for source, target, _ in standing])
    cycles = sum(len(it) > 1 for it in networkx.strongly_connected_components(graph))
    longest = networkx.dag_longest_path_length(networkx.condensation(graph)) if standing else 0
    assert await analytics.graph_metrics(connection, [instant]) == [GraphMetrics(longest, cycles)]


async def test_what_would_take_too_long_is_not_known(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with database.transaction(1, Author("world")) as connection:
        for name in "abc":
            await product.register(connection, product_fields(name), at=day(0))
        for source, target in ("ab", "bc"):
            await lineage_link.register(connection, AssetRef(product=source), AssetRef(product=target), None, {}, at=day(0))
            await lineage_link.register(connection, AssetRef(product=source), AssetRef(product=target), "again", {}, at=day(0))
        monkeypatch.setattr(analytics, "EDGES", 2)
        assert await analytics.graph_metrics(connection, [day(1)]) == [GraphMetrics(2, 0)], (
            "two links between the same assets are one edge"
        )
        monkeypatch.setattr(analytics, "EDGES", 1)
        assert await analytics.graph_metrics(connection, [day(1), day(-1)]) == [None, GraphMetrics(0, 0)]
        monkeypatch.undo()
        monkeypatch.setattr(analytics, "SECONDS", -1.0)
        assert await analytics.graph_metrics(connection, [day(1)]) == [None]


async def test_the_shape_is_computed_beside_the_event_loop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def looked(*given: Any) -> GraphMetrics:
        threads.append(get_ident())
        return graph_metrics(*given)

    monkeypatch.setattr(analytics, "shape", looked)
    async with database.snapshot(1) as connection:
        assert await analytics.graph_metrics(connection, [day(0)]) == [GraphMetrics(0, 0)]
    assert threads
    assert get_ident() not in threads
