"""Analytics through the API."""

from typing import Any

import pytest

from tests.builders import DELETE, REGISTER_LINEAGE, Api, day, iso

EVERYTHING = """
  query ($asOf: DateTime) {
    analytics(asOf: $asOf) {
      domains {
        domain { name } products byStatus { status count } entities inboundLinks outboundLinks owners
      }
      lineage {
        links byType { type count } averageConfidence assetsWithoutUpstream assetsWithoutDownstream
        mostUpstream { degree asset { id label } } mostDownstream { degree asset { id label } }
        longestPath cycles
      }
    }
  }
"""
MOST = "query ($first: Int!) { analytics { lineage { mostUpstream(first: $first) { degree asset { label } } } } }"

EMPTY = {
    "links": 0,
    "byType": [],
    "averageConfidence": None,
    "assetsWithoutUpstream": 0,
    "assetsWithoutDownstream": 0,
    "mostUpstream": [],
    "mostDownstream": [],
    "longestPath": 0,
    "cycles": 0,
}


async def analytics(api: Api, as_of: float | None = None) -> Any:
    return (await api(EVERYTHING, asOf=None if as_of is None else iso(day(as_of)))).data["analytics"]


def ranked(degrees: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(it["asset"]["label"], it["degree"]) for it in degrees]


async def test_an_empty_database_has_no_statistics(api: Api) -> None:
    assert await analytics(api) == await analytics(api, -1000) == {"domains": [], "lineage": EMPTY}


async def test_statistics_of_domains(api: Api) -> None:
    await api.put_types()
    for name, domain, owner, status in (
        ("a", "sales", "ann", "ACTIVE"),
        ("b", "sales", "bob", "DEPRECATED"),
        ("c", "sales", "ann", "ACTIVE"),
        ("d", "people", "ann", "INACTIVE"),
    ):
        await api.register(name, domain=domain, owner=owner, status=status)
    ann = await api.create("Ann")
    table = await api.create("table", type="TABLE")
    for source, target in (("a", "b"), ("a", "d"), ("b", "d")):
        await api.link(source, target)
    await api.link("a", "d", producer="dbt")
    for entity in (ann, table):
        given = {"source": {"uid": entity["uid"]}, "target": {"product": "c"}, "at": iso(day(0))}
        assert (await api(REGISTER_LINEAGE, input=given)).data
    await api.update("c", domain="people", owner="zoe", at=day(10))
    people, sales = (await analytics(api, 5))["domains"]
    assert sales == {
        "domain": {"name": "sales"},
        "products": 3,
        "byStatus": [{"status": "ACTIVE", "count": 2}, {"status": "DEPRECATED", "count": 1}],
        "entities": 0,
        # from a person and from a table, whose type has no domain
        "inboundLinks": 2,
        "outboundLinks": 3,
        "owners": 2,
    }
    assert people == {
        "domain": {"name": "people"},
        "products": 1,
        "byStatus": [{"status": "INACTIVE", "count": 1}],
        "entities": 1,
        "inboundLinks": 3,
        "outboundLinks": 1,
        "owners": 1,
    }
    people, sales = (await analytics(api))["domains"]
    assert (people["products"], people["owners"], people["inboundLinks"], people["outboundLinks"]) == (2, 2, 4, 0)
    assert (sales["products"], sales["owners"], sales["inboundLinks"], sales["outboundLinks"]) == (2, 2, 0, 3)
    assert (await analytics(api, -1))["domains"] == [
        {"domain": {"name": "people"}, "products": 0, "byStatus": [], "entities": 0, "inboundLinks": 0, "outboundLinks": 0,
         "owners": 0},
    ]  # fmt: skip


async def test_statistics_of_lineage(api: Api) -> None:
    uids = await api.lineage("raw -> clean -> report", "clean -> copy -> clean", "raw -> report", "a -> b -> a")
    await api.register("alone")
    await api.link("raw", "clean", producer="dbt", type="DERIVED", confidence=0.5, at=day(10))
    await api(DELETE, input={"product": {"uid": uids["report"]}, "at": iso(day(20))})

    then = (await analytics(api, 5))["lineage"]
    assert then["mostUpstream"][0]["asset"]["id"] == f"Product:{uids['clean']}@{iso(day(5))}"
    assert ranked(then.pop("mostUpstream")) == [("clean", 2), ("report", 2), ("copy", 1), ("a", 1), ("b", 1)]
    assert ranked(then.pop("mostDownstream")) == [("raw", 2), ("clean", 2), ("copy", 1), ("a", 1), ("b", 1)]
    assert then == {
        "links": 7,
        "byType": [{"type": "DIRECT", "count": 7}],
        "averageConfidence": 1,
        "assetsWithoutUpstream": 2,
        "assetsWithoutDownstream": 2,
        "longestPath": 2,
        "cycles": 2,
    }

    reported_twice = (await analytics(api, 10))["lineage"]
    assert reported_twice["links"] == 8
    assert reported_twice["byType"] == [{"type": "DIRECT", "count": 7}, {"type": "DERIVED", "count": 1}]
    assert reported_twice["averageConfidence"] == pytest.approx(7.5 / 8)
    assert ranked(reported_twice["mostUpstream"])[0] == ("clean", 2), "a neighbour counts once, however many producers report it"

    now = (await analytics(api))["lineage"]
    assert now["mostDownstream"][0]["asset"] == {"id": f"Product:{uids['raw']}", "label": "raw"}
    assert (now["links"], now["longestPath"], now["cycles"]) == (6, 1, 2)
    assert (now["assetsWithoutUpstream"], now["assetsWithoutDownstream"]) == (2, 1)
    assert (await analytics(api, -1))["lineage"] == EMPTY


@pytest.mark.parametrize(
    ("first", "fault"),
    [(0, ("BAD_INPUT", "first")), (-1, ("BAD_INPUT", "first")), (101, ("LIMIT_EXCEEDED", "first"))],
)
async def test_the_number_of_assets_is_limited(api: Api, first: int, fault: tuple[str, str]) -> None:
    await api.lineage("a -> b")
    assert (await api(MOST, first=first)).code_and_field == fault
    assert ranked((await api(MOST, first=1)).data["analytics"]["lineage"]["mostUpstream"]) == [("b", 1)]


async def test_each_statistic_costs_one_statement_and_only_if_selected(api: Api) -> None:
    await api.put_types()
    await api.create("Ann")
    await api.lineage("a -> b -> c")
    for selected, statements in (
        ("__typename", 0),
        ("domains { domain { name } }", 1),
        ("domains { products byStatus { count } owners }", 2),
        ("domains { entities }", 2),
        ("domains { inboundLinks outboundLinks }", 2),
        ("domains { products entities inboundLinks }", 4),
        ("domains { domain { owners products(first: 1) { nodes { name } } } }", 3),
        ("lineage { links byType { count } averageConfidence }", 1),
        ("lineage { assetsWithoutUpstream }", 1),
        ("lineage { assetsWithoutUpstream assetsWithoutDownstream }", 2),
        ("lineage { mostUpstream { degree asset { label } } }", 2),
        ("lineage { longestPath cycles }", 1),
    ):
        api.statements.clear()
        await api(f"{{ analytics {{ {selected} }} again: analytics {{ {selected} }} }}")
        assert len(api.statements) == statements, selected


async def test_the_number_of_statements_does_not_depend_on_the_number_of_domains(api: Api) -> None:
    counts = []
    for number in (1, 12):
        for it in range(number):
            await api.register(f"{number} {it}", domain=f"domain {it}")
        api.statements.clear()
        assert len((await analytics(api))["domains"]) == number
        counts.append(len(api.statements))
    assert counts[0] == counts[1]
