"""Tests of what entries of registries say of themselves: when and by whom they were put, and the roles of details."""

from datetime import datetime
from typing import Any

import pytest

from db.author import Author
from db.registries import detail_type, entity_type, relationship_type
from tests.builders import Api

RECORD = "createdAt updatedAt actor"
PUTS = {
    "entityTypes": """mutation ($label: String!) { put: putEntityType(input: { code: "TABLE", label: $label }) {
      type: entityType { %s } } }""",
    "detailTypes": """mutation ($label: String!) { put: putDetailType(input: { code: "note", label: $label }) {
      type: detailType { %s } } }""",
    "relationshipTypes": """mutation ($label: String!) { put: putRelationshipType(input: {
      key: "feeds", reverseKey: "fedBy", origin: "PRODUCT", related: "PRODUCT", cardinality: MANY_TO_MANY, foreignKeyField: $label
    }) { type: relationshipType { %s } } }""",
}
LIST = f"{{ detailTypes {{ nodes {{ code role {RECORD} }} }} }}"
DETAIL_TYPES = "query ($uid: UUID!) { entity(ref: { uid: $uid }) { details { type { code role createdAt updatedAt actor } } } }"


@pytest.fixture
def api(shared_api: Api) -> Api:
    return shared_api


async def put(api: Api, registry: str, label: str) -> dict[str, Any]:
    record: dict[str, Any] = (await api(PUTS[registry] % RECORD, label=label)).data["put"]["type"]
    return record


async def put_by_another(api: Api, registry: str, label: str) -> None:
    async with api.database.transaction(1, Author("another")) as connection:
        if registry == "entityTypes":
            await entity_type.put(connection, "TABLE", label)
        elif registry == "detailTypes":
            await detail_type.put(connection, "note", label)
        else:
            await relationship_type.put(
                connection,
                key="feeds",
                reverse_key="fedBy",
                origin="PRODUCT",
                related="PRODUCT",
                cardinality="MANY_TO_MANY",
                foreign_key_field=label,
            )


async def listed(api: Api, registry: str) -> dict[str, Any]:
    (record,) = (await api(f"{{ {registry} {{ nodes {{ {RECORD} }} }} }}")).data[registry]["nodes"]
    return dict(record)


@pytest.mark.parametrize("registry", PUTS)
async def test_a_type_says_when_and_by_whom_it_was_registered_and_changed(api: Api, registry: str) -> None:
    first = await put(api, registry, "First")
    assert first == {"createdAt": first["createdAt"], "updatedAt": first["createdAt"], "actor": "anonymous"}
    await put_by_another(api, registry, "First")
    assert await put(api, registry, "First") == await listed(api, registry) == first, "nothing has changed"
    await put_by_another(api, registry, "Second")
    second = await listed(api, registry)
    assert second == {**first, "updatedAt": second["updatedAt"], "actor": "another"}
    assert datetime.fromisoformat(second["updatedAt"]) > datetime.fromisoformat(first["updatedAt"])


async def test_details_carry_the_records_of_their_types(api: Api) -> None:
    await api.put_types()
    put_note = 'mutation { putDetailType(input: { code: "note", label: "Note", role: DESCRIPTION }) { detailType { role } } }'
    assert (await api(put_note)).data["putDetailType"]["detailType"] == {"role": "DESCRIPTION"}
    uid = (await api.create(details={"note": "Head of sales", "height": "1.7"}))["uid"]
    types = {it["code"]: it for it in (await api(LIST)).data["detailTypes"]["nodes"]}
    assert (types["note"]["role"], types["height"]["role"]) == ("DESCRIPTION", None)
    api.statements.clear()
    details = (await api(DETAIL_TYPES, uid=uid)).data["entity"]["details"]
    assert [it["type"] for it in details] == [types["height"], types["note"]]
    assert len(api.statements) == 1
    assert await api.execute_without_cost_limit(DETAIL_TYPES, uid=uid) == {"entity": {"details": details}}


async def test_a_role_is_removed_by_a_definition_without_it(api: Api) -> None:
    put_type = "mutation ($input: PutDetailTypeInput!) { putDetailType(input: $input) { detailType { role updatedAt } } }"
    given = {"code": "steward", "label": "Steward"}
    roles = [
        (await api(put_type, input={**given, **role})).data["putDetailType"]["detailType"]
        for role in ({"role": "OWNER"}, {"role": None}, {"role": "TAG"}, {})
    ]
    assert [it["role"] for it in roles] == ["OWNER", None, "TAG", None]
    assert len({it["updatedAt"] for it in roles}) == 4
    assert (await api(put_type, input={**given, "role": "BOSS"})).error["extensions"]["code"] == "BAD_INPUT"
