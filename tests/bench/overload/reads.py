"""Operations that the readers send. The assets that they name exist at every scale."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.loads.entities import surname
from tests.bench.loads.graph import DEPTH, REACHED, Scale, root_of
from tests.bench.versions import MIDDLE, VERSIONS

_AS_OF = MIDDLE.isoformat()
_PRODUCT = "query Product($name: String!) { product(name: $name) { uid name owner status version domain { name } } }"
_DETAILED = """
query Detailed($asOf: DateTime) {
  entities(first: 50, filter: { types: ["PERSON"] }, asOf: $asOf) {
    nodes { uid displayName details { type { code } value } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
_SEARCH = """
query Search($search: String!) {
  entities(search: $search, first: 20) { nodes { uid type { code } displayName } }
}
"""
WALK = """
query Walk($uid: UUID!, $depth: Int!, $first: Int!, $asOf: DateTime) {
  asset(ref: { uid: $uid }, asOf: $asOf) {
    downstream(maxDepth: $depth, first: $first) {
      edges { depth node { uid label } }
      totalCount
      truncated { reason limit }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Read:
    """An operation. `variables` returns those of a sample, and `weight` is its share in percent."""

    name: str
    weight: int
    document: str
    variables: Callable[[int], dict[str, Any]] = lambda _: {}
    samples: int = 1


def reads(scale: Scale) -> list[Read]:
    """Return the operations of readers on a graph of this scale."""
    products = [f"{number:06} of few-{pipeline}" for pipeline in range(min(scale.few, 10)) for number in (0, 4, 8, 12)]
    return [
        Read("product by name", 30, _PRODUCT, lambda it: {"name": products[it]}, len(products)),
        Read("page of 50 with details", 20, _DETAILED),
        Read("page of 50 with details, as-of", 10, _DETAILED, lambda _: {"asOf": _AS_OF}),
        Read("search", 10, _SEARCH, lambda it: {"search": surname(it, VERSIONS - 1).lower()}, 20),
        _walk("walk of 20", 15, "few", min(scale.few, 50)),
        _walk("walk of 20, as-of", 10, "few", min(scale.few, 50), asOf=_AS_OF),
        _walk("walk of 450", 5, "many", min(scale.many, 2)),
    ]


def _walk(name: str, weight: int, family: str, samples: int, **others: Any) -> Read:
    """Return a walk from the roots of a family of pipelines."""

    def variables(sample: int) -> dict[str, Any]:
        return {"uid": str(root_of(family, sample).uid), "depth": DEPTH, "first": max(REACHED[family], 1_000), **others}

    return Read(name, weight, WALK, variables, samples)
