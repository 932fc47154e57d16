"""Payloads of writes: they show what a read at the same instant finds, although most are not read."""

from typing import Any

import pytest

from db.driver_connection import StatementHook
from db.temporal.verification import verify_tenant
from db.tenancy.audit import latest
from tests.builders import Api, day, detail_list, iso, product_fields

pytestmark = pytest.mark.api

PRODUCT = """
  id uid label asOf validFrom validTo createdAt updatedAt name domain { name } owner description schema status version tags
  fields { name type }
"""
ENTITY = "id uid label asOf validFrom validTo createdAt updatedAt displayName type { code } key details { type { code } value }"
# Each write, with the type of its input.
WRITES = {
    "registerProduct": "RegisterProductInput",
    "updateProduct": "UpdateProductInput",
    "restoreProduct": "RestoreProductInput",
    "deleteProduct": "DeleteProductInput",
    "createEntity": "CreateEntityInput",
    "updateEntity": "UpdateEntityInput",
    "restoreEntity": "RestoreEntityInput",
    "deleteEntity": "DeleteEntityInput",
}
# The statement that reads a product or an entity back.
READ_BACK = "AS as_of"


async def write(api: Api, mutation: str, *, read_back: bool = False, **given: Any) -> str:
    """Run a write, check its payload, and return the uid."""
    kind = "Product" if mutation.endswith("Product") else "Entity"
    selection = PRODUCT if kind == "Product" else ENTITY
    payload = "uid" if mutation.startswith("delete") else f"changed {kind.lower()} {{ {selection} }}"
    api.statements.clear()
    document = f"mutation ($input: {WRITES[mutation]}!) {{ {mutation}(input: $input) {{ {payload} }} }}"
    answer: dict[str, Any] = (await api(document, input=given)).data[mutation]
    if mutation.startswith("delete"):
        return str(answer["uid"])
    assert any(READ_BACK in it for it in api.statements.executed) is read_back
    written = answer[kind.lower()]
    asset = f"asset(ref: {{ uid: $uid }}, asOf: $asOf) {{ ... on {kind} {{ {selection} }} }}"
    reading = f"query ($uid: UUID!, $asOf: DateTime) {{ {asset} }}"
    read = (await api(reading, uid=written["uid"], asOf=written["asOf"])).data["asset"]
    # the id has the instant that was requested, which is that of the read here
    assert {**written, "id": read["id"], "validTo": read["validTo"] if read_back else None} == read
    return str(written["uid"])


async def test_the_payload_of_a_product_is_what_a_read_finds(api: Api) -> None:
    schema = {"fields": [{"name": "x", "type": "int"}]}
    uid = await write(api, "registerProduct", **product_fields("a", schema=schema, tags=["t"], at=iso(day(0))))
    await write(api, "updateProduct", product={"uid": uid}, owner="bob", tags=None, description="d")
    await write(api, "updateProduct", product={"name": "a"}, name="b", domain="other", schema={}, status="INACTIVE")
    await write(api, "deleteProduct", product={"uid": uid})
    await write(api, "restoreProduct", product={"uid": uid})
    # a write that changes nothing, and one that is late
    await write(api, "updateProduct", product={"uid": uid}, owner="bob")
    await write(api, "updateProduct", product={"uid": uid}, owner="cid", at=iso(day(1)), read_back=True)


async def test_the_payload_of_an_entity_is_what_a_read_finds(api: Api) -> None:
    await api.put_types()
    details = detail_list({"email": "ann@example.org", "note": "n"})
    uid = await write(api, "createEntity", type="PERSON", key="1", displayName="Ann", details=details, at=iso(day(0)))
    await write(api, "updateEntity", entity={"uid": uid}, details=detail_list({"height": "180"}), removeDetails=["note"])
    await write(api, "deleteEntity", entity={"uid": uid})
    await write(api, "restoreEntity", entity={"uid": uid})
    await write(api, "updateEntity", entity={"uid": uid}, displayName="Bea", at=iso(day(1)), read_back=True)


async def test_an_update_of_a_product_takes_one_statement(api: Api) -> None:
    """It locks the product, appends the change and the audit entry, and commits by itself."""
    product = await api.register()
    document = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { product { name } } }"
    # the first one sets the tenant of the session
    assert (await api(document, input={"product": {"uid": product["uid"]}, "owner": "first"})).data
    for given in ({"uid": product["uid"]}, {"name": "orders"}):
        api.statements.clear()
        before = api.statements.all_statements
        assert (await api(document, input={"product": given, "owner": str(given)})).data
        # to find a product by its name takes a statement before and after the lock is granted
        statements = 3 if "name" in given else 1
        assert len(api.statements) == statements
        assert api.statements.all_statements - before == (5 if "name" in given else 1), "BEGIN and COMMIT"


async def test_an_update_of_a_product_that_is_not_in_order_takes_no_statement_more(api: Api) -> None:
    """One that changes nothing is only logged. For a late one, one locks the product, one judges the change, one folds those that
    follow it, and one reads the product."""
    uid = (await api.register())["uid"]
    for others, statements in (({"owner": "ann"}, 1), ({"owner": "late", "at": iso(day(1))}, 4)):
        api.statements.clear()
        document = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { product { name } } }"
        assert (await api(document, input={"product": {"uid": uid}, **others})).data
        assert len(api.statements) == statements


@pytest.mark.parametrize("lost", [True, False])
async def test_a_write_of_one_statement_is_atomic(api: Api, lost: bool) -> None:
    """A statement that fails writes nothing; of one whose connection is lost, the outcome is unknown."""
    uid, _ = (await api.register("a"))["uid"], await api.register("b")
    document = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { product { name } } }"

    class _Loses(StatementHook):
        async def before(self, connection: Any, text: str, arguments: Any) -> str:
            if text.startswith("WITH locked"):
                connection.terminate()
            return text

    if lost:
        api.database.hooks.append(hook := _Loses())
    answer = await api(document, input={"product": {"uid": uid}, "name": "b"})
    if lost:
        api.database.hooks.remove(hook)
        assert answer.code_and_field == ("UNAVAILABLE", None)
        assert "It is unknown if the mutation was committed." in answer.errors[0]["message"]
    else:
        assert answer.code_and_field == ("CONFLICT", "name")
    async with api.database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []
        outcomes = [it.outcome for it in await latest(connection, 3)]
    assert outcomes == ["UNAVAILABLE" if lost else "CONFLICT", "KEPT", "KEPT"]
    # the next one gets another connection
    assert (await api(document, input={"product": {"uid": uid}, "name": "c"})).data
