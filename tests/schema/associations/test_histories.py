"""Histories of lineage links and relationships through GraphQL: their versions, and who made each."""

from typing import Any
from uuid import uuid4

import pytest

from tests.builders import DELETE, REMOVE_LINEAGE, RESTORE, UNRELATE, Api, day, iso

pytestmark = [pytest.mark.api, pytest.mark.temporal]

VERSION = "id validFrom validTo isCurrent recordedAt actor credential changed { field before after }"
LINK_HISTORY = f"""
  query ($first: Int, $after: String, $last: Int, $before: String, $asOf: DateTime) {{
    lineageLinks(asOf: $asOf) {{ nodes {{
      id createdAt updatedAt validFrom recordedAt actor credential
      history(first: $first, after: $after, last: $last, before: $before) {{
        totalCount pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
        nodes {{ {VERSION} link {{
          id asOfSource: source {{ asOf label }} type confidence validFrom validTo history {{ totalCount }}
        }} }}
      }}
    }} }}
  }}
"""
RELATIONSHIP_HISTORY = f"""
  query ($asOf: DateTime) {{ relationships(asOf: $asOf) {{ nodes {{
    createdAt updatedAt recordedAt actor
    history {{ totalCount nodes {{
      {VERSION} relationship {{ id type {{ code }} origin {{ label asOf }} related {{ label }} attributes validFrom }}
    }} }}
  }} }} }}
"""


async def link_with_gap(api: Api) -> dict[str, str]:
    """Register a link that changes on day 2, ends with its source on day 4, and returns with it on day 6."""
    uids = await api.lineage("raw", "clean")
    link = await api.link("raw", "clean", at=day(1))
    await api.link("raw", "clean", at=day(2), confidence=0.5, type="DERIVED")
    assert (await api(DELETE, input={"product": {"uid": uids["raw"]}, "at": iso(day(4))})).data
    assert (await api(RESTORE, input={"product": {"uid": uids["raw"]}, "at": iso(day(6))})).data
    return {"link": link["uid"], **uids}


def periods(history: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(it["validFrom"], it["validTo"]) for it in history["nodes"]]


async def test_the_history_of_a_link_holds_the_periods_in_which_both_ends_existed(api: Api) -> None:
    uids = await link_with_gap(api)
    (link,) = (await api(LINK_HISTORY)).data["lineageLinks"]["nodes"]
    (then,) = (await api(LINK_HISTORY, asOf=iso(day(1)))).data["lineageLinks"]["nodes"]
    assert link["history"] == then["history"]
    first, second, third = link["history"]["nodes"]
    assert link["history"]["totalCount"] == 3
    assert periods(link["history"]) == [(iso(day(1)), iso(day(2))), (iso(day(2)), iso(day(4))), (iso(day(6)), None)]
    assert [it["isCurrent"] for it in (first, second, third)] == [False, False, True]
    whole: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": 1.0, "metadata": {}}
    assert first["changed"] == [
        {"field": name, "before": None, "after": value} for name, value in whole.items() if value is not None
    ]
    assert second["changed"] == [
        {"field": "type", "before": "DIRECT", "after": "DERIVED"},
        {"field": "confidence", "before": 1.0, "after": 0.5},
    ]
    assert [it["field"] for it in third["changed"]] == ["type", "confidence", "metadata"]
    assert first["id"] == f"LineageLinkVersion:{uids['link']}@{iso(day(1))}"
    assert third["link"] == {
        "id": f"LineageLink:{uids['link']}@{iso(day(6))}",
        "asOfSource": {"asOf": iso(day(6)), "label": "raw"},
        "type": "DERIVED",
        "confidence": 0.5,
        "validFrom": iso(day(6)),
        "validTo": None,
        "history": {"totalCount": 3},
    }


async def test_a_link_tells_when_it_was_created_and_updated_and_by_which_change(api: Api) -> None:
    await link_with_gap(api)
    for as_of, version in ((day(1), 0), (day(3), 1), (day(7), 2)):
        (link,) = (await api(LINK_HISTORY, asOf=iso(as_of))).data["lineageLinks"]["nodes"]
        of_version = link["history"]["nodes"][version]
        assert link["createdAt"] == iso(day(1))
        assert link["updatedAt"] == link["validFrom"] == of_version["validFrom"]
        for name in ("recordedAt", "actor", "credential"):
            assert link[name] == of_version[name] is not None
    # it returned by the restoration of its source, which was recorded last
    recorded = [it["recordedAt"] for it in link["history"]["nodes"]]
    assert recorded == sorted(recorded)


async def test_a_history_of_a_link_is_read_page_by_page_in_both_directions(api: Api) -> None:
    await link_with_gap(api)
    (whole,) = (await api(LINK_HISTORY)).data["lineageLinks"]["nodes"]
    forward: list[Any] = []
    backward: list[Any] = []
    page: dict[str, Any] = {"first": 1}
    for _ in range(3):
        (link,) = (await api(LINK_HISTORY, **page)).data["lineageLinks"]["nodes"]
        forward += link["history"]["nodes"]
        assert link["history"]["pageInfo"]["hasNextPage"] == (len(forward) < 3)
        page = {"first": 1, "after": link["history"]["pageInfo"]["endCursor"]}
    page = {"last": 2}
    for _ in range(2):
        (link,) = (await api(LINK_HISTORY, **page)).data["lineageLinks"]["nodes"]
        backward = link["history"]["nodes"] + backward
        page = {"last": 2, "before": link["history"]["pageInfo"]["startCursor"]}
    assert forward == backward == whole["history"]["nodes"]
    refused = await api(LINK_HISTORY, first=1, after="nothing")
    assert {it["extensions"]["code"] for it in refused.errors} == {"BAD_INPUT"}
    assert refused.errors[0]["extensions"]["field"] == "after"


async def test_a_link_that_is_removed_and_registered_again_has_both_periods(api: Api) -> None:
    await api.lineage("raw", "clean")
    link = await api.link("raw", "clean", at=day(1))
    await api(REMOVE_LINEAGE, input={"link": {"uid": link["uid"]}, "at": iso(day(3))})
    await api.link("raw", "clean", at=day(5))
    (found,) = (await api(LINK_HISTORY)).data["lineageLinks"]["nodes"]
    assert periods(found["history"]) == [(iso(day(1)), iso(day(3))), (iso(day(5)), None)]
    # a late assertion fills the gap, with the state that it has before and after
    await api.link("raw", "clean", at=day(3))
    (found,) = (await api(LINK_HISTORY)).data["lineageLinks"]["nodes"]
    assert periods(found["history"]) == [(iso(day(1)), None)]


async def test_the_history_of_a_relationship_holds_the_periods_in_which_both_ends_existed(api: Api) -> None:
    await api.put_types()
    await api.put_relationship_type()
    product, person = await api.register(), await api.create("Ann")
    ends = ({"uid": product["uid"]}, {"uid": person["uid"]})
    related = (await api.relate("steward", *ends, at=day(1), attributes={"a": 1})).data["relate"]["relationship"]
    uid = related["id"].partition(":")[2].partition("@")[0]
    await api.relate("steward", *ends, at=day(2), attributes={"a": 2})
    await api(UNRELATE, input={"relationship": {"uid": uid}, "at": iso(day(4))})
    await api.relate("steward", *ends, at=day(5), attributes={"a": 2})
    await api.update("orders", name="purchases", at=day(3))
    (found,) = (await api(RELATIONSHIP_HISTORY)).data["relationships"]["nodes"]
    first, second, third = found["history"]["nodes"]
    assert found["history"]["totalCount"] == 3
    assert periods(found["history"]) == [(iso(day(1)), iso(day(2))), (iso(day(2)), iso(day(4))), (iso(day(5)), None)]
    assert second["changed"] == [{"field": "attributes", "before": {"a": 1}, "after": {"a": 2}}]
    assert third["changed"] == [{"field": "attributes", "before": None, "after": {"a": 2}}]
    assert (found["createdAt"], found["updatedAt"]) == (iso(day(1)), iso(day(5)))
    assert (found["recordedAt"], found["actor"]) == (third["recordedAt"], third["actor"])
    assert second["relationship"] == {
        "id": f"Relationship:{uid}@{iso(day(2))}",
        "type": {"code": "PRODUCT steward PERSON"},
        "origin": {"label": "orders", "asOf": iso(day(2))},
        "related": {"label": "Ann"},
        "attributes": {"a": 2},
        "validFrom": iso(day(2)),
    }
    assert third["relationship"]["origin"]["label"] == "purchases"
    assert first["id"] == f"RelationshipVersion:{uid}@{iso(day(1))}"


async def test_a_version_is_found_by_its_id(api: Api) -> None:
    uids = await link_with_gap(api)
    node = "query ($id: ID!) { node(id: $id) { __typename id ... on LineageLinkVersion { validTo link { confidence } } } }"
    version = f"LineageLinkVersion:{uids['link']}@{iso(day(2))}"
    assert (await api(node, id=version)).data["node"] == {
        "__typename": "LineageLinkVersion",
        "id": version,
        "validTo": iso(day(4)),
        "link": {"confidence": 0.5},
    }
    for nothing in (
        f"LineageLinkVersion:{uids['link']}@{iso(day(3))}",
        f"LineageLinkVersion:{uids['link']}@{iso(day(4))}",
        f"LineageLinkVersion:{uids['link']}",
        f"LineageLinkVersion:{uuid4()}@{iso(day(2))}",
        f"LineageLinkVersion:{uids['raw']}@{iso(day(0))}",
        f"RelationshipVersion:{uids['link']}@{iso(day(2))}",
    ):
        assert (await api(node, id=nothing)).data == {"node": None}


@pytest.mark.parametrize(
    ("fields", "statements"),
    [
        ("createdAt updatedAt recordedAt actor credential lastSeenAt", 2),
        ("history { nodes { validFrom changed { field } actor } }", 2),
        ("history { totalCount nodes { link { source { label } target { label } } } }", 4),
    ],
)
async def test_histories_of_all_links_of_a_page_take_a_constant_number_of_statements(
    api: Api, fields: str, statements: int
) -> None:
    await api.lineage(*(f"source {number} -> target" for number in range(8)))
    for number in range(8):
        await api.link(f"source {number}", "target", at=day(number + 1), confidence=0.5)
    # the ends of the list itself are one more
    api.statements.clear()
    assert (await api(f"{{ lineageLinks {{ nodes {{ {fields} }} }} }}")).data
    assert len(api.statements) == statements + 1
