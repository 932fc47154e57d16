"""Inputs and payloads that several mutations share."""

from datetime import UTC, datetime
from typing import Any
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
# The list that contains what each mutation deletes, the field of its input that names this, and such a name.
LISTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unrelate": (
        "relationships",
        "relationship",
        {"ends": {"type": "steward", "origin": {"product": "a"}, "related": {"entity": {"type": "PERSON", "key": "1"}}}},
    ),
    "removeLineage": ("lineageLinks", "link", {"ends": {"source": {"product": "a"}, "target": {"product": "b"}}}),
    "deleteProduct": ("products", "product", {"name": "a"}),
    "deleteEntity": ("entities", "entity", {"key": {"type": "PERSON", "key": "1"}}),
}


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("mutation", LISTS)
async def test_a_deletion_names_the_id_to_remove_from_caches(api: Api, mutation: str, by_name: bool) -> None:
    list_field, named, name = LISTS[mutation]
    await api(SETUP)
    listing = f"query ($asOf: DateTime) {{ {list_field}(first: 1, asOf: $asOf) {{ nodes {{ id uid }} }} }}"
    input_type = f"{mutation[0].upper()}{mutation[1:]}Input"
    delete = f"mutation ($input: {input_type}!) {{ {mutation}(input: $input) {{ uid deletedId changed }} }}"
    for at in (None, iso(day(9)), iso(day(8))):
        (before,) = (await api(listing, asOf=at)).data[list_field]["nodes"]
        ref = name if by_name else {"uid": before["uid"]}
        deletion = {named: ref, "at": at, "idempotencyKey": f"delete at {at}"}
        answer = (await api(delete, input=deletion)).data[mutation]
        assert answer == {"uid": before["uid"], "deletedId": before["id"], "changed": True}
        assert (await api(delete, input=deletion)).data[mutation] == answer, "a repetition has the same answer"
        again = (await api(delete, input={named: ref})).data[mutation]
        assert (again["uid"], again["changed"]) == (before["uid"], False), "it is named in the same way when it is gone"
        assert (await api("query ($id: ID!) { node(id: $id) { id } }", id=before["id"])).data["node"] is None


def test_the_digest_of_a_request_is_the_same_as_in_earlier_versions() -> None:
    """Digests are stored: a request that is repeated after an upgrade has to match its first execution."""
    content = {"product": {"name": "x"}, "at": datetime(2026, 5, 1, tzinfo=UTC), "owner": "bob", "idempotency_key": "k"}
    key = idempotency_key_of("updateProduct", content)
    assert key is not None
    assert (key.key, key.digest) == ("k", UUID("a099b0ba-ad86-7ea8-1580-f4aab0e72aef"))
