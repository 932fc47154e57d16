"""Lineage links through GraphQL: register, repeat, remove, list."""

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


async def list_links(api: Api, **arguments: Any) -> list[str]:
    found = (await api(LINKS, **arguments)).data["lineageLinks"]
    names = [f"{it['source']['label']} -> {it['target']['label']}" for it in found["nodes"]]
    if not {"first", "last"} & arguments.keys():
        assert found["totalCount"] == len(names)
    return names


async def clean(database: Database) -> None:
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_a_link_is_registered_with_defaults_for_omitted_fields(api: Api) -> None:
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


async def test_registering_the_same_state_again_only_updates_last_seen(api: Api) -> None:
    await api.lineage("raw -> clean")
    again = (
        await api(
            REGISTER_LINEAGE,
            input={"source": {"product": "raw"}, "target": {"product": "clean"}, "at": iso(day(9))},
        )
    ).data["registerLineage"]
    assert not again["changed"]
    assert (again["link"]["validFrom"], again["link"]["lastSeenAt"]) == (iso(day(0)), iso(day(9)))
    for instant, last_seen in ((8, 0), (9, 9), (20, 9)):
        (node,) = (await api(LINKS, asOf=iso(day(instant)))).data["lineageLinks"]["nodes"]
        assert node["lastSeenAt"] == iso(day(last_seen))


async def test_each_producer_has_a_separate_link(api: Api) -> None:
    await api.lineage("raw -> clean")
    await api.link("raw", "clean", producer="dbt", confidence=0.5)
    assert await list_links(api) == ["raw -> clean", "raw -> clean"]
    assert await list_links(api, filter={"producers": ["dbt"]}) == ["raw -> clean"]
    (sure,) = (await api(LINKS, filter={"minConfidence": 0.6})).data["lineageLinks"]["nodes"]
    assert sure["producer"] is None


async def test_a_removed_link_can_be_registered_again(api: Api) -> None:
    await api.lineage("raw", "clean")
    link = await api.link("raw", "clean")
    remove = {"link": {"uid": link["uid"]}, "at": iso(day(5))}
    assert (await api(REMOVE_LINEAGE, input=remove)).data["removeLineage"] == {"uid": link["uid"], "changed": True}
    assert (await api(REMOVE_LINEAGE, input={**remove, "at": iso(day(6))})).data["removeLineage"]["changed"] is False
    assert await list_links(api) == []
    assert (await api.link("raw", "clean", at=day(8)))["uid"] == link["uid"]
    for instant, expected in ((4, 1), (5, 0), (7, 0), (8, 1)):
        assert len(await list_links(api, asOf=iso(day(instant)))) == expected
    assert (await api(REMOVE_LINEAGE, input={"link": {"uid": str(uuid4())}})).code_and_field == ("NOT_FOUND", "link")
    await clean(api.database)


async def test_names_are_resolved_at_the_instant_of_the_write(api: Api) -> None:
    await api.lineage("orders", "report")
    await api.update("orders", name="old_orders", at=day(10))
    await api.register("orders", at=iso(day(10)))
    await api.link("orders", "report", at=day(5))
    await api.link("orders", "report", at=day(15))
    assert await list_links(api, asOf=iso(day(6))) == ["orders -> report"]
    assert await list_links(api) == ["old_orders -> report", "orders -> report"]


async def test_lists_are_filtered_paged_and_read_at_an_instant(api: Api) -> None:
    uids = await api.lineage("raw -> a -> b", "raw -> b", "raw -> c")
    await api.link("a", "c", type="AGGREGATED", at=day(10))
    assert await list_links(api, filter={"source": {"uid": uids["raw"]}}) == ["raw -> a", "raw -> b", "raw -> c"]
    assert await list_links(api, filter={"target": {"product": "b"}}) == ["a -> b", "raw -> b"]
    assert await list_links(api, filter={"source": {"product": "a"}, "target": {"uid": uids["c"]}}) == ["a -> c"]
    assert await list_links(api, filter={"source": {"uid": uids["a"]}}, asOf=iso(day(9))) == ["a -> b"]
    assert await list_links(api, filter={"types": ["AGGREGATED"]}) == ["a -> c"]
    assert await list_links(api, filter={"types": []}) == []
    assert (await api(LINKS, filter={"source": {"uid": str(uuid4())}})).code_and_field == ("NOT_FOUND", "source")
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
    assert await list_links(api)
    # the links, their ends, their observations, their count
    assert len(api.statements) == 4
    assert (await api(LINKS, first=1, after=after, filter={"types": ["DIRECT"]})).code_and_field == ("BAD_INPUT", "after")
    assert (await api(LINKS, filter={"minConfidence": -0.1})).code_and_field == ("BAD_INPUT", "minConfidence")


RAW, CLEAN = {"product": "raw"}, {"product": "clean"}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"source": RAW, "target": RAW}, ("BAD_INPUT", "target")),
        ({"source": {"product": "unknown"}, "target": CLEAN}, ("NOT_FOUND", "source")),
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
async def test_an_invalid_link_is_refused_and_nothing_is_written(api: Api, given: dict[str, Any], fault: tuple[str, str]) -> None:
    uids = await api.lineage("raw", "clean", "gone")
    assert (await api(DELETE, input={"product": {"uid": uids["gone"]}, "at": iso(day(1))})).data
    assert (await api(REGISTER_LINEAGE, input=given)).code_and_field == fault
    assert await list_links(api) == []
    await clean(api.database)


async def test_an_end_must_exist_at_the_instant(api: Api) -> None:
    """Its uid is known, but the asset does not exist at that instant."""
    uids = await api.lineage("raw", "clean")
    assert (await api(DELETE, input={"product": {"uid": uids["raw"]}, "at": iso(day(10))})).data
    ends = {"source": {"uid": uids["raw"]}, "target": {"uid": uids["clean"]}}
    assert (await api(REGISTER_LINEAGE, input={**ends, "at": iso(day(10))})).code_and_field == ("NOT_FOUND", "source")
    assert (await api(REGISTER_LINEAGE, input={**ends, "at": iso(day(10) - MICROSECOND)})).data
    (link,) = (await api(LINKS, asOf=iso(day(10) - MICROSECOND))).data["lineageLinks"]["nodes"]
    assert link["validTo"] == iso(day(10))
    # the link was clipped, not removed: it returns with its end
    assert (await api(RESTORE, input={"product": {"uid": uids["raw"]}, "at": iso(day(12))})).data
    (link,) = (await api(LINKS)).data["lineageLinks"]["nodes"]
    assert (link["validFrom"], link["validTo"]) == (iso(day(12)), None)


async def test_an_out_of_order_deletion_of_an_asset_clips_later_links(api: Api) -> None:
    uids = await api.lineage("raw", "clean")
    await api.link("raw", "clean", at=day(1))
    await api.link("raw", "clean", confidence=0.5, at=day(20))
    assert (await api(DELETE, input={"product": {"uid": uids["raw"]}, "at": iso(day(10))})).data
    assert await list_links(api) == []
    assert await list_links(api, asOf=iso(day(9))) == ["raw -> clean"]
    await clean(api.database)


@pytest.mark.idempotency
async def test_a_repeated_request_returns_the_first_answer(api: Api) -> None:
    await api.lineage("raw", "clean")
    given = {"source": RAW, "target": CLEAN, "confidence": 0.5, "idempotencyKey": "once"}
    first = (await api(REGISTER_LINEAGE, input=given)).data["registerLineage"]
    assert (await api(REGISTER_LINEAGE, input=given)).data["registerLineage"] == first
    assert (await api(REGISTER_LINEAGE, input={**given, "confidence": 0.6})).code_and_field == ("CONFLICT", "idempotencyKey")
    sure = {"source": RAW, "target": CLEAN, "idempotencyKey": "sure"}
    assert (await api(REGISTER_LINEAGE, input=sure)).data["registerLineage"]["changed"]
    alike = {**sure, "confidence": None, "type": None, "metadata": None, "producer": None, "transformation": None}
    assert (await api(REGISTER_LINEAGE, input=alike)).data["registerLineage"]["changed"]


async def test_concurrent_writers_of_a_link_and_its_ends_leave_one_history(api: Api) -> None:
    """Register and remove links while their ends are deleted and restored. The effective rows are the asserted ones, clipped."""
    uids = await api.lineage("raw -> clean", "raw -> other", "clean -> other")
    (link,) = (await api("{ lineageLinks(first: 1) { nodes { uid } } }")).data["lineageLinks"]["nodes"]

    async def say(number: int) -> list[ApiResponse]:
        return [await api(REGISTER_LINEAGE, input={"source": RAW, "target": CLEAN, "confidence": number / 100})]

    async def end_and_revive(name: str) -> list[ApiResponse]:
        return [
            await api(DELETE, input={"product": {"uid": uids[name]}}),
            await api(RESTORE, input={"product": {"uid": uids[name]}}),
        ]

    async def remove() -> list[ApiResponse]:
        return [await api(REMOVE_LINEAGE, input={"link": {"uid": link["uid"]}})]

    work = [say(number) for number in range(20)] + [end_and_revive(name) for name in uids for _ in range(3)] + [remove()]
    answers = [answer for answered in await asyncio.gather(*work) for answer in answered]
    # a writer that comes while an end does not exist gets an error
    assert {answer.code_and_field[0] for answer in answers if answer.errors} <= {"NOT_FOUND"}
    assert sum(not answer.errors for answer in answers) >= len(uids) * 6 + 1
    await clean(api.database)
