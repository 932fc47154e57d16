"""Updates and restorations of lineage links and updates of relationships through GraphQL."""

from typing import Any
from uuid import uuid4

import pytest

from db.temporal.verification import verify_tenant
from tests.builders import DELETE, REMOVE_LINEAGE, Api, ApiResponse, day, iso

pytestmark = [pytest.mark.api, pytest.mark.temporal]

UPDATE_LINEAGE = """
  mutation ($input: UpdateLineageInput!) { updateLineage(input: $input) {
    changed link { id type transformation confidence metadata producer validFrom validTo lastSeenAt }
  } }
"""
RESTORE_LINEAGE = """
  mutation ($input: RestoreLineageInput!) { restoreLineage(input: $input) { changed link { id confidence validFrom } } }
"""
UPDATE_RELATIONSHIP = """
  mutation ($input: UpdateRelationshipInput!) { updateRelationship(input: $input) {
    changed relationship { id attributes validFrom validTo }
  } }
"""
ENDS: dict[str, Any] = {"source": {"product": "raw"}, "target": {"product": "clean"}}
WHOLE: dict[str, Any] = {"type": "DERIVED", "transformation": "SELECT 1", "confidence": 0.5, "metadata": {"job": "x"}}


async def update(api: Api, link: dict[str, Any], *, at: float | None = None, **changes: Any) -> dict[str, Any]:
    response = await api(UPDATE_LINEAGE, input={"link": link, **changes, **({} if at is None else {"at": iso(day(at))})})
    updated: dict[str, Any] = response.data["updateLineage"]
    return updated


async def restore(api: Api, link: dict[str, Any], at: float) -> ApiResponse:
    return await api(RESTORE_LINEAGE, input={"link": link, "at": iso(day(at))})


async def clean(api: Api) -> None:
    async with api.database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_an_update_of_a_link_changes_the_given_fields_only(api: Api) -> None:
    await api.lineage("raw", "clean")
    link = await api.link("raw", "clean", at=day(1), producer="dbt", **WHOLE)
    updated = await update(api, {"uid": link["uid"]}, at=2, confidence=0.75)
    assert updated["changed"]
    assert {name: updated["link"][name] for name in WHOLE} == {**WHOLE, "confidence": 0.75}
    assert updated["link"]["id"] == f"LineageLink:{link['uid']}@{iso(day(2))}"
    assert updated["link"]["validFrom"] == updated["link"]["lastSeenAt"] == iso(day(2))
    # an earlier report that arrives late changes what the update left as it was
    await api.link("raw", "clean", at=day(1.5), producer="dbt", **{**WHOLE, "type": "DIRECT"})
    (node,) = (await api("{ lineageLinks { nodes { type confidence validFrom } } }")).data["lineageLinks"]["nodes"]
    assert node == {"type": "DIRECT", "confidence": 0.75, "validFrom": iso(day(2))}
    await clean(api)


async def test_null_resets_a_field_of_a_link_to_its_default(api: Api) -> None:
    await api.lineage("raw", "clean")
    link = await api.link("raw", "clean", **WHOLE)
    reset = await update(api, {"ends": ENDS}, **dict.fromkeys(WHOLE))
    defaults: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": 1.0, "metadata": {}}
    assert {name: reset["link"][name] for name in WHOLE} == defaults
    assert reset["link"]["id"] == f"LineageLink:{link['uid']}"
    assert not (await update(api, {"ends": ENDS}, **defaults))["changed"]
    assert not (await update(api, {"ends": ENDS}))["changed"]


async def test_a_repeated_update_with_a_key_is_not_executed_again(api: Api) -> None:
    await api.lineage("raw", "clean")
    await api.link("raw", "clean")
    first = await update(api, {"ends": ENDS}, confidence=0.5, idempotencyKey="once")
    await update(api, {"ends": ENDS}, confidence=0.25)
    again = await update(api, {"ends": ENDS}, confidence=0.5, idempotencyKey="once")
    assert again["changed"]
    assert {**again["link"], "validTo": None} == first["link"]
    other = await api(UPDATE_LINEAGE, input={"link": {"ends": ENDS}, "confidence": 0.1, "idempotencyKey": "once"})
    assert other.code_and_field == ("CONFLICT", "idempotencyKey")


async def test_a_restored_link_has_its_last_state_again(api: Api) -> None:
    await api.lineage("raw", "clean")
    link = await api.link("raw", "clean", at=day(1), confidence=0.5)
    await api(REMOVE_LINEAGE, input={"link": {"uid": link["uid"]}, "at": iso(day(3))})
    restored = (await restore(api, {"ends": ENDS}, 5)).data["restoreLineage"]
    assert restored == {
        "changed": True,
        "link": {"id": f"LineageLink:{link['uid']}@{iso(day(5))}", "confidence": 0.5, "validFrom": iso(day(5))},
    }
    assert not (await restore(api, {"uid": link["uid"]}, 6)).data["restoreLineage"]["changed"]
    history = "{ lineageLinks { nodes { history { nodes { validFrom validTo } } } } }"
    (node,) = (await api(history)).data["lineageLinks"]["nodes"]
    assert node["history"]["nodes"] == [
        {"validFrom": iso(day(1)), "validTo": iso(day(3))},
        {"validFrom": iso(day(5)), "validTo": None},
    ]
    assert (await restore(api, {"uid": link["uid"]}, 0)).code_and_field == ("NOT_FOUND", "at")
    await clean(api)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"confidence": 1.5}, "confidence"),
        ({"metadata": [1]}, "metadata"),
        ({"transformation": "x" * 10_001}, "transformation"),
        ({"at": "2200-01-01T00:00:00Z"}, "at"),
    ],
)
async def test_a_bad_field_of_an_update_is_named(api: Api, changes: dict[str, Any], field: str) -> None:
    await api.lineage("raw -> clean")
    refused = await api(UPDATE_LINEAGE, input={"link": {"ends": ENDS}, **changes})
    assert refused.code_and_field == ("BAD_INPUT", field)


async def test_what_does_not_exist_is_not_updated_or_restored(api: Api) -> None:
    uids = await api.lineage("raw", "clean", "other")
    link = await api.link("raw", "clean", at=day(1))
    unknown: list[tuple[dict[str, Any], str]] = [
        ({"uid": str(uuid4())}, "link"),
        ({"uid": uids["raw"]}, "link"),
        ({"ends": {**ENDS, "target": {"product": "other"}}}, "link"),
        ({"ends": {**ENDS, "producer": "nobody"}}, "link"),
        ({"ends": {**ENDS, "target": {"product": "missing"}}}, "link.ends.target"),
    ]
    for ref, field in unknown:
        for operation, changes in ((UPDATE_LINEAGE, {"confidence": 0.5}), (RESTORE_LINEAGE, {})):
            assert (await api(operation, input={"link": ref, **changes})).code_and_field == ("NOT_FOUND", field)
    await api(REMOVE_LINEAGE, input={"link": {"uid": link["uid"]}, "at": iso(day(3))})
    removed = {"link": {"uid": link["uid"]}, "confidence": 0.5}
    assert (await api(UPDATE_LINEAGE, input=removed)).code_and_field == ("NOT_FOUND", "link")
    assert (await api(UPDATE_LINEAGE, input={**removed, "at": iso(day(0))})).code_and_field == ("NOT_FOUND", "link")
    assert (await api(DELETE, input={"product": {"uid": uids["raw"]}, "at": iso(day(2))})).data
    # the assertion of day 2 lacks an end
    for operation in (UPDATE_LINEAGE, RESTORE_LINEAGE):
        changes = {"confidence": 0.5} if operation == UPDATE_LINEAGE else {}
        lacking = await api(operation, input={"link": {"uid": link["uid"]}, "at": iso(day(2.5)), **changes})
        assert lacking.code_and_field == ("NOT_FOUND", "link")
        assert "An end of the link does not exist" in lacking.error["message"]
    assert (await api('{ lineageLinks(asOf: "2026-01-02T12:00:00Z") { nodes { confidence history { totalCount } } } }')).data == {
        "lineageLinks": {"nodes": [{"confidence": 1.0, "history": {"totalCount": 1}}]}
    }
    await clean(api)


async def test_an_update_of_a_relationship_replaces_its_attributes(api: Api) -> None:
    await api.put_types()
    await api.put_relationship_type(cardinality="MANY_TO_ONE")
    await api.register()
    person = await api.create("Ann")
    ends: dict[str, Any] = {"type": "steward", "origin": {"product": "orders"}, "related": {"uid": person["uid"]}}
    related = (await api.relate("steward", ends["origin"], ends["related"], attributes={"a": 1})).data["relate"]["relationship"]

    async def change(ref: dict[str, Any], **changes: Any) -> ApiResponse:
        return await api(UPDATE_RELATIONSHIP, input={"relationship": ref, **changes})

    updated = (await change({"ends": ends}, attributes={"b": 2}, at=iso(day(2)))).data["updateRelationship"]
    uid = related["id"].partition(":")[2].partition("@")[0]
    assert updated == {
        "changed": True,
        "relationship": {
            "id": f"Relationship:{uid}@{iso(day(2))}",
            "attributes": {"b": 2},
            "validFrom": iso(day(2)),
            "validTo": None,
        },
    }
    assert not (await change({"uid": uid})).data["updateRelationship"]["changed"]
    assert (await change({"uid": uid}, attributes=None)).data["updateRelationship"]["relationship"]["attributes"] == {}
    assert (await change({"uid": uid}, attributes=[1])).code_and_field == ("BAD_INPUT", "attributes")
    assert (await change({"uid": str(uuid4())}, attributes={})).code_and_field == ("NOT_FOUND", "relationship")
    assert (await change({"uid": uid}, attributes={}, at=iso(day(-1)))).code_and_field == ("NOT_FOUND", "relationship")
    missing = {**ends, "related": {"entity": {"type": "PERSON", "key": "0"}}}
    assert (await change({"ends": missing})).code_and_field == ("NOT_FOUND", "relationship.ends.related")
    await clean(api)
