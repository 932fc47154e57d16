"""Inputs and payloads that several mutations share."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from schema.language.inputs import idempotency_key_of
from tests.builders import Api, day, iso

# Two products with a link between them, and a person who is related to one.
SETUP = """
  mutation {
    putEntityType(input: { code: "PERSON", label: "Person" }) { entityType { code } }
    putRelationshipType(
      input: { key: "steward", reverseKey: "looks_after", origin: "PRODUCT", related: "PERSON", cardinality: MANY_TO_ONE }
    ) { relationshipType { code } }
    a: registerProduct(input: { name: "a", domain: "d", owner: "o", schema: {}, at: "2026-01-01" }) { changed }
    b: registerProduct(input: { name: "b", domain: "d", owner: "o", schema: {}, at: "2026-01-01" }) { changed }
    ann: createEntity(input: { type: "PERSON", key: "1", displayName: "Ann", at: "2026-01-01" }) { changed }
    registerLineage(input: { source: { product: "a" }, target: { product: "b" }, at: "2026-01-01" }) { changed }
    relate(
      input: { type: "steward", origin: { product: "a" }, related: { entity: { type: "PERSON", key: "1" } }, at: "2026-01-01" }
    ) { changed }
  }
"""
# The list that contains what each mutation deletes.
LISTS = {
    "unrelate": "relationships",
    "removeLineage": "lineageLinks",
    "deleteProduct": "products",
    "deleteEntity": "entities",
}


@pytest.mark.parametrize(("mutation", "list_field"), LISTS.items())
async def test_a_deletion_names_the_id_to_remove_from_caches(api: Api, mutation: str, list_field: str) -> None:
    await api(SETUP)
    listing = f"query ($asOf: DateTime) {{ {list_field}(first: 1, asOf: $asOf) {{ nodes {{ id uid }} }} }}"
    delete = f"mutation ($input: DeleteInput!) {{ {mutation}(input: $input) {{ deletedId changed }} }}"
    for at in (None, iso(day(9)), iso(day(8))):
        (before,) = (await api(listing, asOf=at)).data[list_field]["nodes"]
        answer = await api(delete, input={"uid": before["uid"], "at": at, "idempotencyKey": f"delete at {at}"})
        assert answer.data[mutation] == {"deletedId": before["id"], "changed": True}
        assert (await api("query ($id: ID!) { node(id: $id) { id } }", id=before["id"])).data["node"] is None


def test_the_digest_of_a_request_is_the_same_as_in_earlier_versions() -> None:
    """Digests are stored: a request that is repeated after an upgrade has to match its first execution."""
    content = {"product": {"name": "x"}, "at": datetime(2026, 5, 1, tzinfo=UTC), "owner": "bob", "idempotency_key": "k"}
    key = idempotency_key_of("updateProduct", content)
    assert key is not None
    assert (key.key, key.digest) == ("k", UUID("a099b0ba-ad86-7ea8-1580-f4aab0e72aef"))
