"""Operations that are measured. To add one, add it to `ROWS`, and its statement to the floor.

Headwater and the floor receive the same document. PostGraphile receives its own, with aliases where its names differ, so that
all responses have the same data. Samples take turns. A response depends neither on the clock nor on what another row writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.bench.requests import pipelines
from tests.bench.requests.pipelines import Size, product_name, product_uid
from tests.bench.versions import VERSIONS, since

# Text of a request that differs each time it is sent.
FRESH = "0" * 20
# Most pipelines of a kind, and most products, whose samples take turns.
_MOST_SAMPLES = 50
_UPDATED = 1_000
_REPRESENTATIONS = 100
# References of a bulk look-up.
_REFS = 100

Variables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """An operation to measure, and the aims of its throughput.

    `variables` returns those of a sample; `samples` counts them. `to_postgraphile` is None if only the floor is compared.
    `postgraphile_aim` and `floor_aim` are factors of their throughput. `before` names the row of which the throughput has to be
    at least 95 %.
    """

    name: str
    document: str
    to_postgraphile: str | None = None
    variables: Callable[[int], Variables] = lambda _: {}
    samples: Callable[[Size], int] = lambda _: 1
    postgraphile_aim: float | None = None
    floor_aim: float | None = None
    before: str | None = None
    writes: bool = False


TYPENAME = "{ __typename }"

_PRODUCT = "query Product($name: String!) { product(name: $name) { uid name owner status version description } }"
_PRODUCT_TO_POSTGRAPHILE = _PRODUCT.replace("product(", "product: productByName(")

_FIELDS = "uid name owner status version"
_UPSTREAM = f"""
query Upstream($name: String!, $asOf: DateTime) {{
  product(name: $name, asOf: $asOf) {{
    name
    upstream(maxDepth: 10, first: 1000) {{ nodes {{ ... on Product {{ {_FIELDS} }} }} }}
  }}
}}
"""
_UPSTREAM_TO_POSTGRAPHILE = f"""
query Upstream($name: String!, $asOf: Datetime) {{
  product: productByName(name: $name, asOf: $asOf) {{
    name
    upstream(maxDepth: 10, asOf: $asOf) {{ nodes {{ {_FIELDS} }} }}
  }}
}}
"""
_EDGES = """
query Edges($name: String!) {
  product(name: $name) {
    upstream(maxDepth: 10, first: 1000) { edges { depth confidence node { uid label } links { type confidence } } }
  }
}
"""
_BETWEEN = """
query Between($name: String!, $from: DateTime!, $to: DateTime!) {
  lineageBetween(of: { product: $name }, direction: UPSTREAM, from: $from, to: $to, maxDepth: 10, first: 1000) {
    edges { depth periods { from to } node { uid label } }
    links { link { confidence } periods { from to } }
  }
}
"""
_COUNTS = "{ products(first: 100) { nodes { uid name owner upstreamCount downstreamCount } } }"
_SHOWN = """
query Shown($name: String!) {
  product(name: $name) {
    upstream(maxDepth: 10, first: 1000) {
      nodes { uid kind typeLabel label key description domain { name } owner url tags }
    }
  }
}
"""
_PRODUCTS = "{ products(first: 50) { nodes { uid name owner status version description } pageInfo { hasNextPage } } }"
_ENTITIES = "{ entities(first: 50) { nodes { uid displayName details { type { code } value } } pageInfo { hasNextPage } } }"
_REPRESENTED = f"""
query Represented($representations: [_Any!]!) {{
  _entities(representations: $representations) {{ ... on Product {{ {_FIELDS} }} }}
}}
"""
_ASSETS = "query Assets($refs: [AssetRef!]!) { assets(refs: $refs) { uid label key } }"
_SEARCH = "query Search($text: String!) { search(text: $text, first: 20) { edges { rank node { uid label } } } }"
_CHANGES = """
query Changes($from: DateTime!, $to: DateTime!) {
  changes(from: $from, to: $to, subjects: [LINEAGE_LINK], first: 100) {
    nodes { kind at actor uid subject { ...Link } subjectBefore { ...Link } }
    pageInfo { hasNextPage }
  }
}
fragment Link on LineageLink { type confidence source { label } target { label } }
"""
_UPDATE = """
mutation Update($input: UpdateProductInput!) { updateProduct(input: $input) { changed product { uid name description } } }
"""


def _nested(field: str, levels: int, nodes: str) -> str:
    """Return the selection of so many nested levels."""
    below = "" if levels == 1 else " " + _nested(field, levels - 1, nodes)
    return f"{field} {{ nodes {{ {nodes}{below} }} }}"


def _nested_query(root: str, field: str, nodes: str) -> str:
    return f"query Nested($name: String!) {{ {root}(name: $name) {{ name {_nested(field, 4, nodes)} }} }}"


_NESTED = _nested_query("product", "upstream(maxDepth: 1, first: 5)", f"... on Product {{ {_FIELDS} }}")
_NESTED_TO_POSTGRAPHILE = _nested_query("product: productByName", "upstream: sources", _FIELDS)


def _root(kind: str, **others: Any) -> Callable[[int], Variables]:
    return lambda sample: {"name": product_name(f"{kind}-{sample:05}", 0), **others}


def _representations(sample: int) -> Variables:
    names = (product_name("unlinked", (sample + number) % _REPRESENTATIONS) for number in range(_REPRESENTATIONS))
    return {"representations": [{"__typename": "Product", "uid": str(product_uid(name))} for name in names]}


def _refs(ref: Callable[[int], Variables]) -> Callable[[int], Variables]:
    return lambda sample: {"refs": [ref((sample + number) % _REFS) for number in range(_REFS)]}


def _changes(sample: int) -> Variables:
    begun = pipelines.LINKS_CHANGED + sample * timedelta(minutes=2)
    return {"from": begun.isoformat(), "to": since(3).isoformat()}


def _update(sample: int) -> Variables:
    product = {"uid": str(product_uid(product_name("unlinked", sample)))}
    return {"input": {"product": product, "description": f"Now {FRESH}."}}


def _upstream(name: str, kind: str, aim: tuple[float, float]) -> tuple[Row, Row]:
    """Return the walk of a kind of pipelines, at present and as of an instant."""
    count: Callable[[Size], int] = lambda size: min(getattr(size, kind), _MOST_SAMPLES)  # noqa: E731
    documents = _UPSTREAM, _UPSTREAM_TO_POSTGRAPHILE
    return (
        Row(name, *documents, _root(kind), count, *aim),
        Row(f"{name} as of an instant", *documents, _root(kind, asOf=pipelines.AS_OF.isoformat()), count, before=name),
    )


ROWS = (
    Row("__typename", TYPENAME, floor_aim=0.4),
    Row(
        "product by name",
        _PRODUCT,
        _PRODUCT_TO_POSTGRAPHILE,
        _root("small"),
        lambda size: min(size.small, _MOST_SAMPLES),
        1.0,
        0.5,
    ),
    *_upstream(f"upstream of {pipelines.SMALL}", "small", (1.0, 0.6)),
    *_upstream(f"upstream of {pipelines.LARGE}", "large", (1.2, 0.6)),
    Row(f"edges of {pipelines.LARGE}", _EDGES, None, _root("large"), lambda size: min(size.large, _MOST_SAMPLES), floor_aim=0.4),
    Row(
        f"lineage between of {pipelines.LARGE}",
        _BETWEEN,
        None,
        _root("large", **{"from": since(1).isoformat(), "to": since(VERSIONS).isoformat()}),
        lambda size: min(size.large, _MOST_SAMPLES),
        floor_aim=0.4,
    ),
    Row("page of 100 products with counts", _COUNTS, floor_aim=0.5),
    Row(f"nodes of {pipelines.LARGE}", _SHOWN, None, _root("large"), lambda size: min(size.large, _MOST_SAMPLES), floor_aim=0.5),
    Row("page of 50 products", _PRODUCTS, _PRODUCTS, postgraphile_aim=1.0, floor_aim=0.5),
    Row("page of 50 entities", _ENTITIES, _ENTITIES, postgraphile_aim=1.0, floor_aim=0.5),
    Row(
        "4 nested levels",
        _NESTED,
        _NESTED_TO_POSTGRAPHILE,
        _root("nested"),
        lambda size: min(size.nested, _MOST_SAMPLES),
        1.2,
        0.5,
    ),
    Row(
        "search of 20",
        _SEARCH,
        variables=lambda sample: {"text": f"Small-{sample:05}"},
        samples=lambda size: min(size.small, _MOST_SAMPLES),
        floor_aim=0.5,
    ),
    Row("100 changes of links", _CHANGES, None, _changes, lambda _: 10, floor_aim=0.5),
    Row("100 of _entities", _REPRESENTED, None, _representations, lambda _: 10, floor_aim=0.5),
    *(
        Row(f"100 assets by {form}", _ASSETS, None, _refs(ref), lambda _: 10, floor_aim=0.5)
        for form, ref in (
            ("uid", lambda number: {"uid": str(product_uid(product_name("unlinked", number)))}),
            ("name", lambda number: {"product": product_name("unlinked", number)}),
            ("key", lambda number: {"entity": {"type": "PERSON", "key": str(number)}}),
        )
    ),
    Row("update of a product", _UPDATE, None, _update, lambda size: min(size.unlinked, _UPDATED), floor_aim=0.5, writes=True),
)
