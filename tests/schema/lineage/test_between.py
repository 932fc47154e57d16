"""Lineage between two instants through GraphQL: periods, pages, bounds, errors, and the number of statements."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from db.assets.reference import AssetRef
from db.associations.lineage_link import LinkState, upsert_each
from db.author import Author
from graph_api.auth.principals import OPEN_PRINCIPAL
from graph_api.settings import Settings
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.root import schema
from tests.builders import Api, day, iso

pytestmark = pytest.mark.api

MICROSECOND = timedelta(microseconds=1)

BETWEEN = """
  query ($of: AssetRef!, $direction: LineageDirection! = DOWNSTREAM, $from: DateTime!, $to: DateTime, $maxDepth: Int! = 5,
    $filter: LineageFilter, $first: Int! = 100, $after: String) {
    lineageBetween(of: $of, direction: $direction, from: $from, to: $to, maxDepth: $maxDepth, filter: $filter, first: $first,
      after: $after) {
      from to totalCount truncated { reason limit }
      edges { cursor depth node { id label asOf } periods { from to } depths { from to depth } }
      links { link { id confidence source { label asOf } target { label } } periods { from to } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
"""
WALK = """
  query ($name: String!, $asOf: DateTime!) { product(name: $name, asOf: $asOf) { downstream {
    edges { depth node { label } } links { source { label } target { label } }
  } } }
"""


async def between(api: Api, name: str = "raw", since: float = 0, until: float | None = 40, **arguments: Any) -> dict[str, Any]:
    window = {"from": iso(day(since)), "to": None if until is None else iso(day(until))}
    found: dict[str, Any] = (await api(BETWEEN, **{"of": {"product": name}, **window, **arguments})).data["lineageBetween"]
    return found


def period(since: float, until: float) -> dict[str, str]:
    return {"from": iso(day(since)), "to": iso(day(until))}


def periods_of(found: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    return {edge["node"]["label"]: edge["periods"] for edge in found["edges"]}


def link_periods(found: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    return {f"{it['link']['source']['label']} -> {it['link']['target']['label']}": it["periods"] for it in found["links"]}


def holds(periods: list[dict[str, str]], instant: datetime) -> bool:
    return any(datetime.fromisoformat(it["from"]) <= instant < datetime.fromisoformat(it["to"]) for it in periods)


async def change_confidence(api: Api, source: str, target: str, *instants: datetime) -> None:
    """Set the confidence of a link to 0.9 and 0.1 in turn, in one batch."""
    ends = AssetRef(product=source), AssetRef(product=target)
    states = [
        LinkState(*ends, None, {"type": "DIRECT", "transformation": None, "confidence": confidence, "metadata": {}}, instant)
        for instant, confidence in zip(instants, (0.9, 0.1) * len(instants), strict=False)
    ]
    async with api.database.transaction(1, Author("writer")) as connection:
        assert not [it for it in await upsert_each(connection, states) if isinstance(it, Exception)]


async def test_assets_and_links_are_returned_with_the_periods_in_which_the_walk_reaches_them(api: Api) -> None:
    await api.lineage("raw -> mid", "report", "late")
    await api.link("mid", "report", at=day(10))
    await api.link("raw", "report", at=day(20))
    await api.link("report", "late", at=day(30))
    found = await between(api)
    assert (found["from"], found["to"], found["totalCount"], found["truncated"]) == (iso(day(0)), iso(day(40)), 3, None)
    assert periods_of(found) == {"mid": [period(0, 40)], "report": [period(10, 40)], "late": [period(30, 40)]}
    assert [edge["depth"] for edge in found["edges"]] == [1, 1, 2]
    assert found["edges"][1]["depths"] == [{**period(10, 20), "depth": 2}, {**period(20, 40), "depth": 1}]
    assert link_periods(found) == {
        "raw -> mid": [period(0, 40)],
        "mid -> report": [period(10, 40)],
        "raw -> report": [period(20, 40)],
        "report -> late": [period(30, 40)],
    }
    # as they were at the last instant
    last = iso(day(40) - MICROSECOND)
    assert {edge["node"]["asOf"] for edge in found["edges"]} == {last}
    assert {it["link"]["source"]["asOf"] for it in found["links"]} == {last}
    assert all(it["link"]["id"].endswith(f"@{last}") for it in found["links"])
    before = await between(api, until=10)
    assert periods_of(before) == {"mid": [period(0, 10)]}
    near = await between(api, maxDepth=1)
    assert periods_of(near) == {"mid": [period(0, 40)], "report": [period(20, 40)]}
    up = await between(api, "report", direction="UPSTREAM", since=5)
    assert periods_of(up) == {"raw": [period(10, 40)], "mid": [period(10, 40)]}


async def test_a_path_that_holds_at_no_instant_leads_nowhere(api: Api) -> None:
    await api.lineage("raw", "mid", "report")
    await change_confidence(api, "raw", "mid", day(0), day(10))
    await change_confidence(api, "mid", "report", day(5), day(6))
    await change_confidence(api, "mid", "report", day(20), day(30))
    found = await between(api, filter={"links": {"minConfidence": 0.5}})
    assert periods_of(found) == {"mid": [period(0, 10)], "report": [period(5, 6)]}
    assert link_periods(found) == {"raw -> mid": [period(0, 10)], "mid -> report": [period(5, 6)]}
    by_name = {edge["node"]["label"]: edge["node"]["asOf"] for edge in found["edges"]}
    assert by_name == {"mid": iso(day(10) - MICROSECOND), "report": iso(day(6) - MICROSECOND)}
    (_, to_report) = found["links"]
    assert (to_report["link"]["confidence"], to_report["link"]["source"]["asOf"]) == (0.9, iso(day(6) - MICROSECOND))
    # without the filter, versions that follow each other are one period
    assert periods_of(await between(api)) == {"mid": [period(0, 40)], "report": [period(5, 40)]}


async def test_an_asset_filter_hides_a_product_while_it_is_in_another_domain(api: Api) -> None:
    await api.lineage("raw -> mid -> report")
    assert (await api.update("mid", domain="finance", at=day(10))).data
    assert (await api.update("mid", domain="sales", at=day(20))).data
    found = await between(api, filter={"assets": {"domains": ["sales"]}})
    assert periods_of(found) == {"mid": [period(0, 10), period(20, 40)], "report": [period(0, 40)]}
    hidden = [period(0, 10), period(20, 40)]
    assert link_periods(found) == {"raw -> mid": hidden, "mid -> report": hidden}
    only = await between(api, filter={"assets": {"domains": ["finance"]}})
    assert periods_of(only) == {"mid": [period(10, 20)]}
    assert periods_of(await between(api, filter={"assets": {"kinds": ["ENTITY"]}})) == {}


async def test_at_each_instant_it_is_what_a_walk_returns(api: Api) -> None:
    await api.lineage("raw -> a -> b -> c", "raw", "c -> raw")
    await api.register("d", at=iso(day(12)))
    await api.link("b", "d", at=day(15))
    await api.link("raw", "c", at=day(25))
    found = await between(api)
    for instant in (day(0), day(12), day(15) - MICROSECOND, day(15), day(25) - MICROSECOND, day(25), day(40) - MICROSECOND):
        walk = (await api(WALK, name="raw", asOf=iso(instant))).data["product"]["downstream"]
        reached = {
            (edge["node"]["label"], it["depth"]) for edge in found["edges"] for it in edge["depths"] if holds([it], instant)
        }
        assert reached == {(edge["node"]["label"], edge["depth"]) for edge in walk["edges"]}
        links = {label for label, periods in link_periods(found).items() if holds(periods, instant)}
        assert links == {f"{it['source']['label']} -> {it['target']['label']}" for it in walk["links"]}


async def test_pages_hold_each_asset_and_each_link_once(api: Api) -> None:
    await api.lineage("raw -> a -> b -> c", "raw -> d -> c", "b -> d")
    whole = await between(api, until=None)
    edges, links, after = [], [], None
    until = None
    while True:
        page = await between(api, until=None, first=1, after=after)
        assert page["to"] == (until or page["to"])
        until = page["to"]
        assert page["totalCount"] == 4
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        edges += [it["node"]["label"] for it in page["edges"]]
        links += list(link_periods(page))
        after = page["pageInfo"]["endCursor"]
        assert page["edges"][0]["cursor"] == page["pageInfo"]["startCursor"] == after
        if not page["pageInfo"]["hasNextPage"]:
            break
        # a write at the end of the window is not in it
        await api.register(f"new{len(edges)}")
        await api.link("raw", f"new{len(edges)}", at=datetime.fromisoformat(page["to"]))
    assert edges == ["a", "d", "b", "c"]
    assert links == ["raw -> a", "raw -> d", "a -> b", "b -> d", "b -> c", "d -> c"]
    assert sorted(links) == sorted(link_periods(whole))


async def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    await api.lineage("raw -> a", "raw -> b")
    cursor = (await between(api, first=1))["pageInfo"]["endCursor"]
    assert list(periods_of(await between(api, first=1, after=cursor))) == ["b"]
    assert list(periods_of(await between(api, until=None, first=1, after=cursor))) == ["b"]
    for changed in (
        {"of": {"product": "a"}},
        {"from": iso(day(1))},
        {"to": iso(day(39))},
        {"maxDepth": 4},
        {"direction": "UPSTREAM"},
        {"filter": {"links": {"minConfidence": 0.5}}},
        {"after": "abc"},
        {"after": (await api("{ products(first: 1) { pageInfo { endCursor } } }")).data["products"]["pageInfo"]["endCursor"]},
    ):
        window = {"from": iso(day(0)), "to": iso(day(40))}
        answer = await api(BETWEEN, **{"of": {"product": "raw"}, **window, "after": cursor, **changed})
        assert answer.code_and_field == ("BAD_INPUT", "after")


async def test_the_root_is_named_at_the_end_of_the_window_or_else_at_its_start(api: Api) -> None:
    uids = await api.lineage("raw -> a")
    assert (await api.update("raw", name="rough", at=day(20))).data
    for ref in ({"product": "raw"}, {"product": "rough"}, {"uid": uids["raw"]}):
        assert periods_of(await between(api, of=ref)) == {"a": [period(0, 40)]}
    # nobody has it at the end or the start
    assert await between(api, of={"product": "rough"}, until=10) is None
    assert await between(api, of={"uid": str(uuid4())}) is None
    assert await between(api, of={"entity": {"type": "TABLE", "key": "7"}}) is None
    assert await between(api, of={"uid": uids["raw"]}, since=-10, until=0) is None
    empty = await between(api, of={"uid": uids["raw"]}, since=-10, until=1, direction="UPSTREAM")
    assert (empty["edges"], empty["links"], empty["totalCount"]) == ([], [], 0)
    assert empty["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"to": iso(day(-1))}, ("BAD_INPUT", "to")),
        ({"to": iso(day(0))}, ("BAD_INPUT", "to")),
        ({"from": "2999-01-01", "to": None}, ("BAD_INPUT", "from")),
        ({"from": "yesterday"}, ("BAD_INPUT", "from")),
        ({"maxDepth": 0}, ("BAD_INPUT", "maxDepth")),
        ({"maxDepth": 101}, ("LIMIT_EXCEEDED", "maxDepth")),
        ({"first": 0}, ("BAD_INPUT", "first")),
        ({"first": 1_001}, ("LIMIT_EXCEEDED", "first")),
        ({"filter": {"links": {"minConfidence": 1.2}}}, ("BAD_INPUT", "minConfidence")),
        ({"filter": {"assets": {"domains": ["\0"]}}}, ("BAD_INPUT", "domains")),
        ({"of": {"product": "raw", "uid": str(uuid4())}}, ("BAD_INPUT", "of")),
        ({"of": {}}, ("BAD_INPUT", "of")),
    ],
)
async def test_bad_arguments_are_refused_with_their_field(api: Api, arguments: dict[str, Any], fault: tuple[str, str]) -> None:
    await api.register("raw")
    window = {"from": iso(day(0)), "to": iso(day(1))}
    assert (await api(BETWEEN, **{"of": {"product": "raw"}, **window, **arguments})).code_and_field == fault


async def test_a_window_of_10_000_changes(api: Api) -> None:
    await api.lineage("raw -> mid -> report")
    changes = [day(0) + timedelta(minutes=number) for number in range(10_000)]
    await change_confidence(api, "raw", "mid", *changes)
    whole = await between(api)
    assert periods_of(whole) == {"mid": [period(0, 40)], "report": [period(0, 40)]}
    sure = await between(api, filter={"links": {"minConfidence": 0.5}})
    expected = [{"from": iso(since), "to": iso(since + timedelta(minutes=1))} for since in changes[::2]]
    assert sure["truncated"] is None
    assert periods_of(sure) == {"mid": expected, "report": expected}
    assert link_periods(sure) == {"raw -> mid": expected, "mid -> report": expected}
    recorded = """query ($from: DateTime!, $to: DateTime!, $filter: ChangeFilter) {
      changes(from: $from, to: $to, subjects: [LINEAGE_LINK], filter: $filter, last: 1) { totalCount nodes { at } }
      diff(from: $from, to: $to, subjects: [LINEAGE_LINK], filter: $filter) { totalCount nodes { kind } }
    }"""
    window: dict[str, Any] = {"from": iso(day(0.5)), "to": iso(day(8))}
    for of in ("mid", "report"):
        lineage = {"lineageOf": {"asset": {"product": of}, "direction": "UPSTREAM"}}
        listed = (await api(recorded, **window, filter=lineage)).data
        assert listed["changes"] == {"totalCount": 10_000 - 720, "nodes": [{"at": iso(changes[-1])}]}
        assert listed["diff"] == {"totalCount": 1, "nodes": [{"kind": "CHANGED"}]}


@pytest.mark.parametrize(
    ("settings", "truncated", "most"),
    [
        ({"max_lineage_assets": 5}, {"reason": "ASSETS", "limit": 5}, 5),
        ({"max_lineage_links": 3}, {"reason": "LINKS", "limit": 3}, 3),
        ({"lineage_timeout": 1e-6}, {"reason": "TIME", "limit": 0}, 0),
    ],
)
@pytest.mark.parametrize("max_depth", [1, 5])
async def test_a_bound_that_cuts_the_answer_is_named(
    api: Api, settings: dict[str, Any], truncated: dict[str, Any], most: int, max_depth: int
) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(8)), "t0 -> u")
    executor = Executor(schema, api.database, Settings(**settings).limits)
    variables = {"of": {"product": "raw"}, "from": iso(day(0)), "to": iso(day(1)), "maxDepth": max_depth}
    response = await executor.execute(Request(BETWEEN, variables), OPEN_PRINCIPAL, "request")
    assert response.data is not None, response.errors
    cut = response.data["lineageBetween"]
    assert cut["truncated"] == truncated
    assert len(cut["edges"]) == cut["totalCount"] == most
    assert {edge["depth"] for edge in cut["edges"]} <= {1}


async def test_depths_in_a_truncated_window_are_right(api: Api) -> None:
    """The shortest path to b leads through c, which the bound leaves out. A longer one must not be taken for it."""
    await api.lineage("raw -> a -> e -> b", "raw -> c -> b")
    await api.link("raw", "e", at=day(10))
    await api.link("raw", "b", at=day(10))
    executor = Executor(schema, api.database, Settings(max_lineage_assets=3).limits)
    variables = {"of": {"product": "raw"}, "from": iso(day(0)), "to": iso(day(20))}
    response = await executor.execute(Request(BETWEEN, variables), OPEN_PRINCIPAL, "request")
    assert response.data is not None, response.errors
    cut = response.data["lineageBetween"]
    assert cut["truncated"] == {"reason": "ASSETS", "limit": 3}
    assert periods_of(cut) == {"a": [period(0, 20)], "e": [period(10, 20)], "b": [period(10, 20)]}


async def test_links_that_were_cut_are_reported_if_they_are_selected(api: Api) -> None:
    await api.lineage("raw -> a -> b", "raw -> b -> a")
    executor = Executor(schema, api.database, Settings(max_lineage_links=3).limits)
    for selected, truncated in (("links { link { uid } }", {"reason": "LINKS", "limit": 3}), ("totalCount", None)):
        query = f"""{{ lineageBetween(of: {{product: "raw"}}, direction: DOWNSTREAM, from: "{iso(day(0))}", maxDepth: 1) {{
          truncated {{ reason limit }} {selected}
        }} }}"""
        response = await executor.execute(Request(query, {}), OPEN_PRINCIPAL, "request")
        assert response.data is not None
        assert response.data["lineageBetween"]["truncated"] == truncated


async def test_the_links_that_windows_of_an_operation_read_are_bounded(api: Api) -> None:
    await api.lineage(*(f"{root} -> {root}{number}" for root in ("x", "y") for number in range(4)))
    window = f'direction: DOWNSTREAM, from: "{iso(day(0))}", to: "{iso(day(1))}"'
    fields = " ".join(
        f'{it}: lineageBetween(of: {{ product: "{it}" }}, {window}) {{ links {{ link {{ uid }} }} }}' for it in "xy"
    )
    # the periods of 8 links are read, and those of 8 links and 8 assets are found; each counts a tenth
    for allowed, codes in ((11, set()), (10, {"LIMIT_EXCEEDED"}), (1, {"LIMIT_EXCEEDED"})):
        executor = Executor(schema, api.database, Settings(max_links_read=allowed).limits)
        response = await executor.execute(Request(f"{{ {fields} }}", {}), OPEN_PRINCIPAL, "request")
        assert {it["extensions"]["code"] for it in response.errors} == codes


async def test_the_number_of_statements_does_not_depend_on_the_size(api: Api) -> None:
    await api.lineage("raw -> b", *(f"a -> c{it} -> d{it}" for it in range(10)))
    for assets in (1, 22):
        api.statements.clear()
        # the reference, the graph of the window, the links of the page, and all assets at their instants
        assert len((await between(api))["edges"]) == assets
        assert len(api.statements) == 4
        await api.link("b", "a", at=day(assets))
    api.statements.clear()
    query = '{ lineageBetween(of: {product: "raw"}, direction: DOWNSTREAM, from: "2026-01-01", to: "2026-02-01") { totalCount } }'
    assert (await api(query)).data == {"lineageBetween": {"totalCount": 22}}
    assert len(api.statements) == 2


async def test_what_a_window_costs(api: Api) -> None:
    await api.lineage(*(f"raw -> t{number}" for number in range(40)))
    await api.know_figures()
    query = '{ lineageBetween(of: {product: "raw"}, direction: DOWNSTREAM, from: "2026-01-01") { nodes { label } } }'
    cost = (await api(query)).body["extensions"]["cost"]
    # the answer, its assets, and the walk, which visits as many
    assert cost["actual"] == 1 + 40 + 40
    assert 81 <= cost["requested"] < 500
