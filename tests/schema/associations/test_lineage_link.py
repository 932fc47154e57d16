"""Lineage links through GraphQL: said, said again, ended, listed."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from db.database import Database
from db.temporal.verification import verify_tenant
from tests.builders import DELETE, REGISTER_LINEAGE, REMOVE_LINEAGE, RESTORE, Api, ApiResponse, day, iso

pytestmark = pytest.mark.api

MICROSECOND = timedelta(microseconds=1)
LINKS = """
  query ($filter: LineageLinkFilter, $first: Int, $after: String, $last: Int, $before: String, $asOf: DateTime) {
    lineageLinks(filter: $filter, first: $first, after: $after, last: $last, before: $before, asOf: $asOf) {
      totalCount pageInfo { hasNextPage endCursor startCursor }
      nodes { id source { label } target { label } type confidence producer validFrom validTo recordedAt lastSeenAt }
    }
  }
"""


async def listed(api: Api, **arguments: Any) -> list[str]:
    found = (await api(LINKS, **arguments)).data["lineageLinks"]
    names = [f"{it['source']['label']} -> {it['target']['label']}" for it in found["nodes"]]
    if not {"first", "last"} & arguments.keys():
        assert found["totalCount"] == len(names)
    return names


async def clean(database: Database) -> None:
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_a_link_is_said_whole_with_defaults_for_what_is_left_out(api: Api) -> None:
    uids = await api.lineage("raw", "clean")
    ends = {"source": {"uid": uids["raw"]}, "target": {"product": "clean"}, "at": iso(day(1))}
    whole: dict[str, Any] = {
        "type": "DERIVED",
        "transformation": "SELECT 1",
        "confidence": 0.5,
        "metadata": {"job": "x"},
        "producer": None,
    }
    first = (await api(REGISTER_LINEAGE, input={**ends, **whole})).data["registerLineage"]
    assert first["changed"]
    assert {name: first["link"][name] for name in whole} == whole
    assert first["link"]["validFrom"] == first["link"]["lastSeenAt"] == iso(day(1))
    later = (await api(REGISTER_LINEAGE, input={**ends, "at": iso(day(2))})).data["registerLineage"]
    defaults: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": 1, "metadata": {}, "producer": None}
    assert {name: later["link"][name] for name in defaults} == defaults
    assert later["link"]["uid"] == first["link"]["uid"]
    then = (await api("query ($id: ID!) { node(id: $id) { ... on LineageLink { type validTo } } }", id=first["link"]["id"])).data
    assert then["node"] == {"type": "DERIVED", "validTo": iso(day(2))}
    assert (await api("query ($id: ID!) { node(id: $id) { id } }", id=f"LineageLink:{uuid4()}")).data == {"node": None}
    await clean(api.database)


async def test_seen_again_a_link_stays_as_it_is_and_knows_it_was_seen(api: Api) -> None:
    await api.lineage("raw -> clean")
    again = (
        await api(
            REGISTER_LINEAGE,
            input={"source": {"product": "raw"}, "target": {"product": "clean"}, "at": iso(day(9))},
        )
    ).data["registerLineage"]
    assert not again["changed"]
    assert (again["link"]["validFrom"], again["link"]["lastSeenAt"]) == (iso(day(0)), iso(day(9)))
    for instant, seen in ((8, 0), (9, 9), (20, 9)):
        (node,) = (await api(LINKS, asOf=iso(day(instant)))).data["lineageLinks"]["nodes"]
        assert node["lastSeenAt"] == iso(day(seen))


async def test_each_producer_has_a_link_of_its_own(api: Api) -> None:
    await api.lineage("raw -> clean")
    await api.link("raw", "clean", producer="dbt", confidence=0.5)
    assert await listed(api) == ["raw -> clean", "raw -> clean"]
    assert await listed(api, filter={"producers": ["dbt"]}) == ["raw -> clean"]
    (sure,) = (await api(LINKS, filter={"minConfidence": 0.6})).data["lineageLinks"]["nodes"]
    assert sure["producer"] is None


async def test_an_ended_link_can_be_said_anew(api: Api) -> None:
    await api.lineage("raw", "clean")
    link = await api.link("raw", "clean")
    remove = {"uid": link["uid"], "at": iso(day(5))}
    assert (await api(REMOVE_LINEAGE, input=remove)).data["removeLineage"] == {"uid": link["uid"], "changed": True}
    assert (await api(REMOVE_LINEAGE, input={**remove, "at": iso(day(6))})).data["removeLineage"]["changed"] is False
    assert await listed(api) == []
    assert (await api.link("raw", "clean", at=day(8)))["uid"] == link["uid"]
    for instant, expected in ((4, 1), (5, 0), (7, 0), (8, 1)):
        assert len(await listed(api, asOf=iso(day(instant)))) == expected
    assert (await api(REMOVE_LINEAGE, input={"uid": str(uuid4())})).code_and_field == ("NOT_FOUND", "uid")
    await clean(api.database)


async def test_names_are_resolved_at_the_instant_of_the_write(api: Api) -> None:
    await api.lineage("orders", "report")
    await api.update("orders", name="old_orders", at=day(10))
    await api.register("orders", at=iso(day(10)))
    await api.link("orders", "report", at=day(5))
    await api.link("orders", "report", at=day(15))
    assert await listed(api, asOf=iso(day(6))) == ["orders -> report"]
    assert await listed(api) == ["old_orders -> report", "orders -> report"]


async def test_lists_are_filtered_paged_and_read_at_an_instant(api: Api) -> None:
    uids = await api.lineage("raw -> a -> b", "raw -> b", "raw -> c")
    await api.link("a", "c", type="AGGREGATED", at=day(10))
    assert await listed(api, filter={"source": uids["raw"]}) == ["raw -> a", "raw -> b", "raw -> c"]
    assert await listed(api, filter={"target": uids["b"]}) == ["a -> b", "raw -> b"]
    assert await listed(api, filter={"source": uids["a"], "target": uids["c"]}) == ["a -> c"]
    assert await listed(api, filter={"source": uids["a"]}, asOf=iso(day(9))) == ["a -> b"]
    assert await listed(api, filter={"types": ["AGGREGATED"]}) == ["a -> c"]
    assert await listed(api, filter={"types": []}) == []
    assert await listed(api, filter={"source": str(uuid4())}) == []
    forward, after = [], None
    while True:
        page = (await api(LINKS, first=2, after=after)).data["lineageLinks"]
        assert page["totalCount"] == 5
        forward += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len({it["id"] for it in forward}) == len(forward) == 5
    (last,) = (await api(LINKS, last=1)).data["lineageLinks"]["nodes"]
    assert last == forward[-1]
    api.statements.clear()
    assert await listed(api)
    # the links, their ends, what was said of them, their number
    assert len(api.statements) == 4
    assert (await api(LINKS, first=1, after=after, filter={"types": ["DIRECT"]})).code_and_field == ("BAD_INPUT", "after")
    assert (await api(LINKS, filter={"minConfidence": -0.1})).code_and_field == ("BAD_INPUT", "minConfidence")


RAW, CLEAN = {"product": "raw"}, {"product": "clean"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"source": RAW, "target": RAW}, ("BAD_INPUT", "target")),
        ({"source": {"product": "nobody"}, "target": CLEAN}, ("NOT_FOUND", "source")),
        ({"source": RAW, "target": {"uid": str(uuid4())}}, ("NOT_FOUND", "target")),
        ({"source": RAW, "target": {"entity": {"type": "TABLE", "key": "1"}}}, ("NOT_FOUND", "target")),
        ({"source": {"product": "x\0"}, "target": CLEAN}, ("NOT_FOUND", "source")),
        ({"source": RAW, "target": {"entity": {"type": "\0", "key": "\0"}}}, ("NOT_FOUND", "target")),
        ({"source": {"product": "x" * 100_000}, "target": CLEAN}, ("NOT_FOUND", "source")),
        ({"source": {}, "target": CLEAN}, ("BAD_INPUT", "source")),
        ({"source": {"product": "raw", "uid": str(uuid4())}, "target": CLEAN}, ("BAD_INPUT", "source")),
        ({"source": {"product": None}, "target": CLEAN}, ("BAD_INPUT", "product")),
        ({"source": RAW, "target": CLEAN, "confidence": 1.2}, ("BAD_INPUT", "confidence")),
        ({"source": RAW, "target": CLEAN, "confidence": -0.0001}, ("BAD_INPUT", "confidence")),
        ({"source": RAW, "target": CLEAN, "confidence": "NaN"}, ("BAD_INPUT", "confidence")),
        ({"source": RAW, "target": CLEAN, "type": "SOME"}, ("BAD_INPUT", "type")),
        ({"source": RAW, "target": CLEAN, "metadata": [1]}, ("BAD_INPUT", "metadata")),
        ({"source": RAW, "target": CLEAN, "producer": ""}, ("BAD_INPUT", "producer")),
        ({"source": RAW, "target": CLEAN, "producer": "a\nb"}, ("BAD_INPUT", "producer")),
        ({"source": RAW, "target": CLEAN, "transformation": "\0"}, ("BAD_INPUT", "transformation")),
        ({"source": RAW, "target": CLEAN, "at": iso(day(-1))}, ("NOT_FOUND", "source")),
        ({"source": RAW, "target": CLEAN, "at": "2999-01-01"}, ("BAD_INPUT", "at")),
        ({"source": {"product": "gone"}, "target": CLEAN}, ("NOT_FOUND", "source")),
    ],
)
async def test_a_link_that_cannot_be_is_refused_and_leaves_nothing(
    api: Api, given: dict[str, Any], fault: tuple[str, str]
) -> None:
    uids = await api.lineage("raw", "clean", "gone")
    assert (await api(DELETE, input={"uid": uids["gone"], "at": iso(day(1))})).data
    assert (await api(REGISTER_LINEAGE, input=given)).code_and_field == fault
    assert await listed(api) == []
    await clean(api.database)


async def test_an_end_that_is_not_there_then_is_no_end(api: Api) -> None:
    """By its uid it is known, yet not alive at that instant."""
    uids = await api.lineage("raw", "clean")
    assert (await api(DELETE, input={"uid": uids["raw"], "at": iso(day(10))})).data
    ends = {"source": {"uid": uids["raw"]}, "target": {"uid": uids["clean"]}}
    assert (await api(REGISTER_LINEAGE, input={**ends, "at": iso(day(10))})).code_and_field == ("NOT_FOUND", "source")
    assert (await api(REGISTER_LINEAGE, input={**ends, "at": iso(day(10) - MICROSECOND)})).data
    (link,) = (await api(LINKS, asOf=iso(day(10) - MICROSECOND))).data["lineageLinks"]["nodes"]
    assert link["validTo"] == iso(day(10))
    # it was never ended, only cut: with its end it returns
    assert (await api(RESTORE, input={"uid": uids["raw"], "at": iso(day(12))})).data
    (link,) = (await api(LINKS)).data["lineageLinks"]["nodes"]
    assert (link["validFrom"], link["validTo"]) == (iso(day(12)), None)


async def test_a_late_end_of_an_asset_cuts_what_came_after(api: Api) -> None:
    uids = await api.lineage("raw", "clean")
    await api.link("raw", "clean", at=day(1))
    await api.link("raw", "clean", confidence=0.5, at=day(20))
    assert (await api(DELETE, input={"uid": uids["raw"], "at": iso(day(10))})).data
    assert await listed(api) == []
    assert await listed(api, asOf=iso(day(9))) == ["raw -> clean"]
    await clean(api.database)


@pytest.mark.idempotency
async def test_a_repeated_request_is_answered_as_the_first_time(api: Api) -> None:
    await api.lineage("raw", "clean")
    given = {"source": RAW, "target": CLEAN, "confidence": 0.5, "idempotencyKey": "once"}
    first = (await api(REGISTER_LINEAGE, input=given)).data["registerLineage"]
    assert (await api(REGISTER_LINEAGE, input=given)).data["registerLineage"] == first
    assert (await api(REGISTER_LINEAGE, input={**given, "confidence": 0.6})).code_and_field == ("CONFLICT", "idempotencyKey")
    sure = {"source": RAW, "target": CLEAN, "idempotencyKey": "sure"}
    assert (await api(REGISTER_LINEAGE, input=sure)).data["registerLineage"]["changed"]
    alike = {**sure, "confidence": None, "type": None, "metadata": None, "producer": None, "transformation": None}
    assert (await api(REGISTER_LINEAGE, input=alike)).data["registerLineage"]["changed"]


async def test_writers_of_one_link_and_of_its_ends_leave_one_history(api: Api) -> None:
    """Links said, ended, and their ends deleted and restored, all at once: what stands is what was said, cut to the lives."""
    uids = await api.lineage("raw -> clean", "raw -> other", "clean -> other")
    (link,) = (await api("{ lineageLinks(first: 1) { nodes { uid } } }")).data["lineageLinks"]["nodes"]

    async def say(number: int) -> list[ApiResponse]:
        return [await api(REGISTER_LINEAGE, input={"source": RAW, "target": CLEAN, "confidence": number / 100})]

    async def end_and_revive(name: str) -> list[ApiResponse]:
        return [await api(DELETE, input={"uid": uids[name]}), await api(RESTORE, input={"uid": uids[name]})]

    async def remove() -> list[ApiResponse]:
        return [await api(REMOVE_LINEAGE, input={"uid": link["uid"]})]

    work = [say(number) for number in range(20)] + [end_and_revive(name) for name in uids for _ in range(3)] + [remove()]
    answers = [answer for answered in await asyncio.gather(*work) for answer in answered]
    # whoever comes while an end is away is told so
    assert {answer.code_and_field[0] for answer in answers if answer.errors} <= {"NOT_FOUND"}
    assert sum(not answer.errors for answer in answers) >= len(uids) * 6 + 1
    await clean(api.database)
