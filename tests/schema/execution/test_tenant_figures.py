"""Figures of a tenant lower the estimated costs of its operations."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import structlog
from graphql import OperationDefinitionNode, parse

from db.database import Database
from db.errors import Unavailable
from db.lineage.figures import Figures, Spread, read_figures
from db.lineage.walk import Bounds, Direction
from db.rows import Row
from schema.execution import tenant_figures
from schema.execution.document import CACHED_DOCUMENT_CHARACTERS, Documents, PreparedDocument
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.execution.tenant_figures import RETRY_INTERVAL, STATEMENT_TIMEOUT, TenantFigures
from schema.language.cost_estimator import CostEstimator
from schema.language.cost_model import CostModel
from schema.language.limits import Limits
from schema.language.scopes import Scope
from schema.language.walk_extent import WalkExtent, estimate_walk
from schema.root import schema
from tests.builders import Api
from tests.conftest import FIGURES
from tests.graph_api.ingestion.lines import link_line, product_line, product_lines, to_jsonl
from tests.hooks import AttachedHook

pytestmark = pytest.mark.api

SPARSE = Figures(30_000, 5_000, 75_000, 200_000, 20, Spread(4.0, 3.0), Spread(2.0, 0.5))


@pytest.mark.parametrize(
    ("figures", "directions", "depth", "extent"),
    [
        (None, [Direction.UPSTREAM], 1, WalkExtent(5_000, 20_000)),
        (SPARSE, [Direction.UPSTREAM], 1, WalkExtent(4, 4)),
        (SPARSE, [Direction.UPSTREAM], 3, WalkExtent(4 + 12 + 36, 4 + 12 + 36)),
        (SPARSE, [Direction.UPSTREAM], 100, WalkExtent(5_000, 20_000)),
        # a series that converges
        (SPARSE, [Direction.DOWNSTREAM], 100, WalkExtent(4, 4)),
        (SPARSE, [Direction.DOWNSTREAM, Direction.UPSTREAM], 2, WalkExtent(16, 16)),
        # a clique: it visits all, and examines each link
        (Figures(100, 0, 9_900, 10_000, 1, Spread(99, 99), Spread(99, 99)), [Direction.UPSTREAM], 5, WalkExtent(100, 9_900)),
        (Figures(0, 0, 0, 0, 0, Spread(0, 0), Spread(0, 0)), [Direction.UPSTREAM], 5, WalkExtent(0, 0)),
    ],
)
def test_a_walk_is_estimated_by_the_figures_of_the_tenant(
    figures: Figures | None, directions: list[Direction], depth: int, extent: WalkExtent
) -> None:
    assert estimate_walk(Bounds(), figures, tuple(directions), depth) == extent


async def load(api: Api, lines: Iterable[dict[str, Any]]) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    response = await api.client.post("/api/v1/ingest", content=to_jsonl(lines), headers=headers)
    assert response.json()["rejected"] == 0, response.json()


async def load_graph(api: Api, products: int, links: Iterable[tuple[int, int]]) -> None:
    await load(api, product_lines(products))
    await load(api, [link_line(UUID(int=1_000 + source), UUID(int=1_000 + target), 0) for source, target in links])


async def figures_of(database: Database) -> Figures:
    async with database.snapshot(1, read_now=False) as connection:
        return await read_figures(connection)


async def test_the_figures_of_a_small_tenant_are_exact(api: Api) -> None:
    assert await figures_of(api.database) == Figures(0, 0, 0, 0, 0, Spread(0, 0), Spread(0, 0))
    # three feed a hub, which feeds two
    await load_graph(api, 7, [(0, 3), (1, 3), (2, 3), (3, 4), (3, 5)])
    # upstream: a target has 3, 3, 3, 1 and 1 links, a source 0, 0, 0, 3 and 3. Downstream: a source has 1, 1, 1, 2 and 2.
    assert await figures_of(api.database) == Figures(7, 0, 5, 12, 1, Spread(2.2, 1.2), Spread(1.4, 1.2))


async def layered(api: Api) -> None:
    """Load 40 layers of 50 products, each of which has three links from the layer before."""
    await load_graph(
        api,
        2_000,
        ((50 * (layer - 1) + (number * 7 + step) % 50, 50 * layer + number)
         for layer in range(1, 40) for number in range(50) for step in (0, 11, 23)),
    )  # fmt: skip


@pytest.mark.slow(8)
async def test_pages_of_walks_run_at_the_default_limit(api: Api) -> None:
    await layered(api)
    neighbours = "{ products(first: 100) { nodes { name up: upstream(maxDepth: 1) { totalCount } down: downstream(maxDepth: 1)"
    counts = (await api(neighbours + " { totalCount } } } }")).body
    assert len(counts["data"]["products"]["nodes"]) == 100
    # each walk finds three links, each product and connection is an object
    assert counts["extensions"]["cost"]["requested"] == 1 + 100 * (1 + 2 * (3 + 1))
    walks = "up: upstream(maxDepth: 3) { ...W } down: downstream(maxDepth: 3) { ...W }"
    page = f"{{ products(first: 50) {{ nodes {{ name {walks} }} }} }} fragment W on LineageConnection"
    body = (await api(page + " { edges { confidence depth node { label } } links { type source { label } } }")).body
    assert "errors" not in body
    cost = body["extensions"]["cost"]
    assert cost["actual"] <= cost["requested"] < 50 * 2 * 1_000


@pytest.mark.slow(8)
async def test_what_is_really_expensive_is_refused_before_it_runs(api: Api) -> None:
    await load_graph(api, 160, ((source, target) for source in range(160) for target in range(160) if source != target))
    clique = "{ products(first: 100) { nodes { upstream(first: 100) { cycles edges { confidence } } } } }"
    pages = "{ products(first: 50) { nodes { upstream { nodes { upstream(maxDepth: 2) { totalCount } } } } } }"
    # the figures come with the first of them
    await api(clique)
    for query in (clique, pages):
        api.statements.clear()
        body = (await api(query)).body
        assert body["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        assert body["extensions"]["cost"]["actual"] == 0
        assert len(api.statements) == 0


async def test_a_request_that_is_refused_for_its_cost_waits_for_the_first_figures_once(api: Api) -> None:
    await api.lineage("a -> b")
    query = "{ products(first: 100) { nodes { upstream { totalCount } downstream { totalCount } } } }"
    assert [it["upstream"]["totalCount"] for it in (await api(query)).data["products"]["nodes"]] == [0, 1]


@pytest.fixture
def api(own_api: Api) -> Api:
    return own_api


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of the documents that were parsed and validated."""
    texts: list[str] = []
    parse_document = Documents._parse

    def noting_parse(documents: Documents, text: str, tokens: int) -> PreparedDocument:
        texts.append(text)
        return parse_document(documents, text, tokens)

    monkeypatch.setattr(Documents, "_parse", noting_parse)
    return texts


async def test_a_document_that_is_not_cached_is_parsed_once_a_request(api: Api, parsed: list[str]) -> None:
    padding = f"# {'x' * CACHED_DOCUMENT_CHARACTERS}"
    walks = " ".join(f"up{number}: upstream {{ totalCount }}" for number in range(3))
    query = f"{{ products(first: 100) {{ nodes {{ {walks} }} }} }} {padding}"
    # without figures it would be refused
    assert (await api(query)).data == {"products": {"nodes": []}}
    assert len(parsed) == 1
    assert (await api(query)).data == {"products": {"nodes": []}}
    assert len(parsed) == 2
    # figures are known, and do not lower it
    history = "history(first: 1000) { nodes { asset { ... on Product { history(first: 1000) { totalCount nodes { id } } } } } }"
    refused = (await api(f'{{ product(name: "a") {{ {history} }} }} {padding}')).body
    assert refused["extensions"]["cost"]["requested"] > 1_000_000
    assert len(parsed) == 3


async def test_the_first_statistics_of_a_process_cost_what_later_ones_do(api: Api) -> None:
    query = "{ analytics { domains { products } lineage { links longestPath } } }"
    first, second = (await api(query)).body, (await api(query)).body
    assert first["extensions"]["cost"] == second["extensions"]["cost"]
    assert first["extensions"]["cost"]["requested"] < 100


async def test_estimates_do_not_mix_tenants_and_loads_renew_figures(api: Api) -> None:
    figures = TenantFigures(api.database)
    assert figures.known(1) is None
    assert figures.known(2) is None
    await figures.wait_until_idle()
    empty = figures.known(1)
    assert empty is not None
    assert empty.products == 0
    await load_graph(api, 3, [(0, 1)])
    assert figures.known(1) is empty
    figures.expire(1)
    # those of before are used while the others are read
    assert figures.known(1) is empty
    await figures.wait_until_idle()
    assert figures.known(1) == Figures(3, 0, 1, 4, 1, Spread(1, 0), Spread(1, 0))
    assert figures.known(2) == empty
    await figures.close()


async def test_figures_are_read_again_soon_once_the_database_answers(api: Api) -> None:
    now, unreachable = 0.0, Database("postgresql://nobody@127.0.0.1:1/none")
    figures = TenantFigures(unreachable, clock=lambda: now)
    for failures in range(4):
        now = RETRY_INTERVAL * failures
        assert figures.known(1) is None
        with pytest.raises(Unavailable):
            await figures.wait_for_first(1)
    figures._database = api.database
    assert figures.known(1) is None
    with pytest.raises(Unavailable):
        await figures.wait_for_first(1)
    now += RETRY_INTERVAL
    assert figures.known(1) is None
    assert await figures.wait_for_first(1) == await figures_of(api.database)
    await figures.close()
    await unreachable.close()


async def test_a_request_is_not_too_expensive_because_figures_are_unavailable() -> None:
    unreachable = Database("postgresql://nobody@127.0.0.1:1/none")
    executor = Executor(schema, unreachable, figures=TenantFigures(unreachable))
    query = "{ products(first: 100) { nodes { upstream { totalCount } downstream { totalCount } } } }"
    for _ in range(2):
        response = await executor.execute(Request(query), Principal(1, "tester", frozenset(Scope)), "request")
        assert [error["extensions"]["code"] for error in response.errors] == ["UNAVAILABLE"]
        assert not response.ran
    await unreachable.close()


class changed_readings(AttachedHook):  # noqa: N801
    """Context manager that runs another statement before the reading of the figures of some tenants, and counts readings."""

    def __init__(self, database: Database, statement: str, tenants: set[int]) -> None:
        super().__init__(database)
        self._statement = statement
        self._tenants = tenants
        self.begun: Counter[int] = Counter()
        self.has_begun = asyncio.Event()

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if text == FIGURES.text:
            tenant_id = int(await connection.fetchval("SELECT current_setting('headwater.tenant_id')"))
            self.begun[tenant_id] += 1
            if tenant_id in self._tenants:
                self.has_begun.set()
                await connection.execute(self._statement)
        return await super().before(connection, text, arguments)


SLOW = "SELECT pg_sleep(30)"


async def test_slow_readings_hold_up_no_other_tenant(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_figures, "STATEMENT_TIMEOUT", 0.2)
    figures = TenantFigures(database)
    with changed_readings(database, SLOW, {1, 2, 3}) as readings:
        for tenant_id in (1, 2, 4, 3, 5):
            figures.known(tenant_id)
        await readings.has_begun.wait()
        assert await figures.wait_for_first(4) is not None
        assert await figures.wait_for_first(5) is not None
        # the database answers, so this is no reason to try again later
        assert await figures.wait_for_first(1) is None
        await figures.wait_until_idle()
        assert readings.begun == Counter(range(1, 6))
    assert figures.known(2) is None


async def test_a_request_waits_for_first_figures_for_a_bounded_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_figures, "MAX_WAIT", 0.01)
    figures = TenantFigures(database)
    with changed_readings(database, SLOW, {1}) as readings:
        figures.known(1)
        await readings.has_begun.wait()
        async with asyncio.timeout(STATEMENT_TIMEOUT / 2):
            assert await figures.wait_for_first(1) is None
            await figures.close()
    assert database.connections_in_use == 0


async def test_figures_that_fail_are_tried_less_and_less_often(database: Database) -> None:
    now = 0.0
    figures = TenantFigures(database, clock=lambda: now)
    waits = []
    with changed_readings(database, "SELECT 1 / 0", {1}) as readings, structlog.testing.capture_logs() as logs:
        for _ in range(9):
            begun, started = readings.begun[1], now
            while readings.begun[1] == begun:
                figures.known(1)
                assert await figures.wait_for_first(1) is None
                now += RETRY_INTERVAL
            waits.append(now - started)
    assert waits == [5, 5, 10, 20, 40, 80, 160, 300, 300]
    assert [it["event"] for it in logs] == ["figures not read"] * 9
    figures.expire(1)
    figures.known(1)
    assert await figures.wait_for_first(1) is not None


async def test_the_least_recently_used_figures_are_forgotten_with_their_reading(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_figures, "MAX_TENANTS", 2)
    figures = TenantFigures(database)
    figures.known(2)
    assert await figures.wait_for_first(2) is not None
    with changed_readings(database, SLOW, {1}) as readings:
        figures.known(1)
        await readings.has_begun.wait()
        waiting = asyncio.create_task(figures.wait_for_first(1))
        await asyncio.sleep(0)
        assert figures.known(2) is not None
        figures.known(3)
        async with asyncio.timeout(STATEMENT_TIMEOUT / 2):
            assert await waiting is None
            await figures.wait_until_idle()
        assert readings.begun == Counter((1, 3))
    assert figures.known(2) is not None
    assert figures.known(3) is not None
    assert database.connections_in_use == 0


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        # a tenth of what they read
        ('{ products(search: "abc", first: 3) { nodes { name } } }', 1 + 3 + 3_000),
        ('{ entities(search: "abc", first: 3) { nodes { label } } }', 1 + 3 + 500),
        ('{ diff(from: "2026-01-01", to: "2026-02-01", first: 3) { nodes { kind } } }', 1 + 3 + 31_000),
        ('{ changes(from: "2026-01-01", to: "2026-02-01", first: 3) { nodes { kind } } }', 1 + 3),
        ('{ changes(from: "2026-01-01", to: "2026-02-01", first: 3, filter: { actors: ["a"] }) { nodes { kind } } }',
         1 + 3 + 27_500),
        # those of a mean domain, for each
        ('{ domain(name: "a") { owners } }', 1 + 150),
        ("{ products(first: 3) { nodes { domain { owners } } } }", 1 + 3 * (1 + 1 + 150)),
        ("{ analytics { domains { products } } }", 1 + 50 + 10_500),
        # all of it: no index helps
        ('{ products(search: "a", first: 3) { nodes { name } } }', 1 + 3 + 30_000),
        ("{ analytics { lineage { links longestPath cycles } } }", 1 + 1 + 3 * (75_000 // 4)),
    ],
)  # fmt: skip
def test_what_reads_a_whole_tenant_costs_by_its_figures(query: str, cost: int) -> None:
    document = parse(query)
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    model = CostModel(schema._schema, Limits())
    assert CostEstimator(model).estimate(operation, document, {}, {}, SPARSE).requested == cost


async def test_counts_and_owners_cost_what_they_read(api: Api) -> None:
    first = UUID(int=1_000)
    await load(api, [*product_lines(150), *(product_line(first, "p0", number, owner=f"o{number}") for number in range(1, 150))])
    for query, cost in (
        # a fiftieth of what is counted
        ("{ products(first: 1) { totalCount } }", 1 + 150 // 50),
        ("{ domains { nodes { products(first: 1) { totalCount } } } }", 1 + 1 + 1 + 150 // 50),
        ('{ changes(first: 1, from: "2020-01-01", to: "2030-01-01") { totalCount } }', 1 + 299 // 50),
        ('{ product(name: "p0") { history(first: 1) { totalCount } } }', 1 + 1 + 150 // 50),
        # a tenth of the products of the domain, which are read once for all of one instant
        ("{ products(first: 3) { nodes { domain { owners } } } }", 1 + 3 + 3 + 150 // 10),
    ):
        assert (await api(query)).body["extensions"]["cost"]["actual"] == cost, query
