"""Operations on products, entities and relationships that are measured. To add one, add it to `ROWS`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench import entities, products
from tests.bench.products import product_name, product_uid
from tests.bench.replay import FRESH
from tests.bench.versions import MIDDLE, VERSIONS


@dataclass(frozen=True, slots=True)
class Row:
    """An operation to measure. `variables` returns the variables of a sample; requests take the samples in turn.

    The response must depend neither on the clock nor on what other rows write, because the responses of the service and the
    baseline server are compared. Writes of different samples must not wait for each other. A row is measured in turn with the
    row before it, and compared with it, if `compared_with` names that row.
    """

    name: str
    document: str
    variables: Callable[[int], dict[str, Any]] = lambda _: {}
    samples: int = 1
    writes: bool = False
    compared_with: str | None = None


_ENTITY = """
query Entity($uid: UUID!, $asOf: DateTime) {
  entity(uid: $uid, asOf: $asOf) { uid type { code } displayName createdAt validFrom validTo }
}
"""
_ENTITIES = """
query Entities($asOf: DateTime) {
  entities(first: 50, asOf: $asOf) {
    nodes { uid displayName details { type { code } value } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
_SEARCH = """
query Search($search: String!) {
  entities(search: $search) { nodes { uid type { code } displayName } pageInfo { hasNextPage endCursor } }
}
"""
_RELATED = """
query Related($asOf: DateTime) {
  entities(first: 50, asOf: $asOf) {
    nodes { uid displayName related(key: "mentors") {
      nodes { uid label related(key: "maintains") {
        nodes { uid label }
      } }
    } }
  }
}
"""
_RELATIONSHIPS = """
query Relationships($uid: UUID!) {
  entity(uid: $uid) {
    relationships(first: 50) {
      nodes { uid type { code } origin { uid label } related { uid label } attributes validFrom validTo }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
AS_OF = MIDDLE.isoformat()


def _entity(sample: int) -> dict[str, Any]:
    return {"uid": str(entities.entity_uid(sample))}


ROWS = (
    Row(
        "product by name",
        "query Product($name: String!) { product(name: $name) { uid name owner status version description domain { name } } }",
        lambda sample: {"name": product_name(sample)},
        samples=50,
    ),
    Row(
        "page of 50 products",
        "{ products(first: 50) { nodes { uid name owner status version domain { name } } pageInfo { hasNextPage endCursor } } }",
    ),
    Row(
        "update of a product",
        "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed product { uid name description } } }",
        lambda sample: {
            "input": {"product": {"uid": str(product_uid(products.UPDATED_FROM + sample))}, "description": f"Now {FRESH}."}
        },
        samples=100,
        writes=True,
    ),
    Row("entity by uid", _ENTITY, _entity, samples=50),
    Row("entity by uid, as-of", _ENTITY, lambda it: {**_entity(it), "asOf": AS_OF}, samples=50, compared_with="entity by uid"),
    Row("page of 50 entities", _ENTITIES),
    Row("page of 50 entities, as-of", _ENTITIES, lambda _: {"asOf": AS_OF}, compared_with="page of 50 entities"),
    Row(
        "search of entities",
        _SEARCH,
        lambda sample: {"search": entities.surname(sample, VERSIONS - 1).lower()},
        samples=20,
    ),
    Row("related two levels deep", _RELATED),
    Row("related two levels deep, as-of", _RELATED, lambda _: {"asOf": AS_OF}, compared_with="related two levels deep"),
    # the first people are managers, with a hundred reports each
    Row("page of 50 relationships", _RELATIONSHIPS, _entity, samples=4),
    Row(
        "update of an entity",
        'mutation ($input: UpdateEntityInput!) { updateEntity(input: $input) { changed entity { uid detail(type: "team") } } }',
        lambda sample: {
            "input": {
                "uid": str(entities.entity_uid(entities.UPDATED_FROM + sample)),
                "details": [{"type": "team", "value": f"Now {FRESH}."}],
            }
        },
        samples=100,
        writes=True,
    ),
)
