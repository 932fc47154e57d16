"""What all mutations share."""

import pytest

from tests.builders import Api, day, iso

# A product that feeds another, and one who looks after it.
WORLD = """
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
LISTS = {
    "unrelate": "relationships",
    "removeLineage": "lineageLinks",
    "deleteProduct": "products",
    "deleteEntity": "entities",
}


@pytest.mark.parametrize(("mutation", "of"), LISTS.items())
async def test_a_deletion_names_what_a_cache_has_to_forget(api: Api, mutation: str, of: str) -> None:
    await api(WORLD)
    listed = f"query ($asOf: DateTime) {{ {of}(first: 1, asOf: $asOf) {{ nodes {{ id uid }} }} }}"
    end = f"mutation ($input: DeleteInput!) {{ {mutation}(input: $input) {{ deletedId changed }} }}"
    for at in (None, iso(day(9)), iso(day(8))):
        (before,) = (await api(listed, asOf=at)).data[of]["nodes"]
        answer = await api(end, input={"uid": before["uid"], "at": at, "idempotencyKey": f"end at {at}"})
        assert answer.data[mutation] == {"deletedId": before["id"], "changed": True}
        assert (await api("query ($id: ID!) { node(id: $id) { id } }", id=before["id"])).data["node"] is None
