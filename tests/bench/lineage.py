"""Operations on lineage that are measured. The assets that they name exist at every scale and reach the same number of others."""

from typing import Any

from tests.bench.graph import DEPTH, REACHED, Asset, root_of
from tests.bench.rows import AS_OF, Row

# Depth of walks over the components that are hard to walk: the greatest that the service admits.
_DEEPEST = 100

_WALK = """
query Walk($uid: UUID!, $depth: Int!, $first: Int!, $asOf: DateTime) {
  asset(uid: $uid, asOf: $asOf) {
    downstream(maxDepth: $depth, first: $first) {
      edges { depth node { uid label } }
      totalCount
      truncated { reason limit }
    }
  }
}
"""
_DRAWING = """
query Drawing($uid: UUID!, $depth: Int!) {
  asset(uid: $uid) {
    downstream(maxDepth: $depth, first: 1000) {
      nodes { uid label }
      links { source { uid } target { uid } type }
      truncated { reason limit }
    }
  }
}
"""
_FIFTY = """
query Fifty($depth: Int!) {
  products(first: 50, filter: { domains: ["few"] }) {
    nodes { uid downstream(maxDepth: $depth) { edges { depth node { uid label } } totalCount } }
  }
}
"""
_NESTED = """
query Nested($uid: UUID!) {
  asset(uid: $uid) {
    upstream(maxDepth: 2) {
      nodes { uid upstream(maxDepth: 2) {
        nodes { uid upstream(maxDepth: 2) {
          nodes { uid upstream(maxDepth: 2) {
            nodes { uid }
          } }
        } }
      } }
    }
  }
}
"""
_PATHS = """
query Paths($from: UUID!, $to: UUID!, $mode: PathMode!, $depth: Int!) {
  lineagePaths(from: $from, to: $to, mode: $mode, maxDepth: $depth) {
    paths { assets { uid label } links { uid } confidence }
    exhaustive
  }
}
"""


def _walks(name: str, family: str, samples: int) -> tuple[Row, Row]:
    """Return a walk from roots of a family of pipelines, at present and as of an instant."""

    def variables(sample: int) -> dict[str, Any]:
        return {"uid": str(root_of(family, sample).uid), "depth": DEPTH, "first": max(REACHED[family], 1_000)}

    return (
        Row(name, _WALK, variables, samples=samples),
        Row(f"{name}, as-of", _WALK, lambda it: {**variables(it), "asOf": AS_OF}, samples=samples, compared_with=name),
    )


def _hard_walk(name: str) -> Row:
    variables = {"uid": str(root_of(name).uid), "depth": _DEEPEST, "first": 1_000}
    return Row(f"walk of the {name}", _WALK, lambda _: variables)


def _paths(name: str, mode: str, source: Asset, target: Asset, depth: int) -> Row:
    variables = {"from": str(source.uid), "to": str(target.uid), "mode": mode, "depth": depth}
    return Row(name, _PATHS, lambda _: variables)


_FIRST, _LAST = root_of("many", 0), Asset("many-0", REACHED["many"])

ROWS = (
    *_walks("walk of 20", "few", 50),
    *_walks("walk of 450", "many", 2),
    *_walks("walk of 8000", "most", 1),
    Row("50 roots at once", _FIFTY, lambda _: {"depth": DEPTH}),
    Row("4 nested levels", _NESTED, lambda _: {"uid": str(_LAST.uid)}),
    Row("drawing of 450", _DRAWING, lambda _: {"uid": str(_FIRST.uid), "depth": DEPTH}),
    _paths("shortest paths", "SHORTEST", _FIRST, _LAST, DEPTH),
    _paths("all paths", "ALL", _FIRST, _LAST, DEPTH),
    _paths("all paths up the ladder", "ALL", root_of("ladder"), Asset("ladder", 120), _DEEPEST),
    *(_hard_walk(name) for name in ("ladder", "chain", "hub", "clique", "cycle", "tree")),
)
