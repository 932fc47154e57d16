"""Those who mean harm. A kind of them is an entry of `HOSTILE`, and nothing else has to know of it."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from tests.bench.client import post
from tests.bench.crowd import LEFT
from tests.bench.graph import root_of
from tests.bench.lineage import ROWS

_MUCH = frozenset({"200 LIMIT_EXCEEDED"})
_NOBODY = frozenset({"401 UNAUTHENTICATED"})
_IN_TURN = frozenset({"200", "503 UNAVAILABLE", "429 RATE_LIMITED"})

_ALIASES = " ".join(["{", *(f"a{number}: __typename" for number in range(10_000)), "}"])
# Each spreads the next one twice: written out, 2^60 fields.
_FRAGMENTS = " ".join(
    ["{ products { nodes { ...f0 } } }"]
    + [f"fragment f{number} on Product {{ ...f{number + 1} ...f{number + 1} }}" for number in range(60)]
    + ["fragment f60 on Product { uid }"]
)
_WALKS = " ".join(f"{way}(first: 1000) {{ nodes {{ {way} {{ totalCount }} }} }}" for way in ("upstream", "downstream"))
_DEAR = f"{{ products(first: 100) {{ nodes {{ {_WALKS} }} }} }}"
_SMALL = "{ products(first: 1) { nodes { uid } } }"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What those who mean harm come with: a key that holds, and three credentials that do not."""

    key: str
    revoked: str
    forged: str
    unsigned: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to do harm: the request, whole, and how it is sent; how it may end by the documentation; and how many more of twenty
    clients do so than one."""

    name: str
    request: Callable[[int, Credentials], str]
    documented: frozenset[str]
    manner: str = "rushes"
    more: int = 0


def _asking(document: str, variables: dict[str, object] | None = None) -> Callable[[int, Credentials], str]:
    """A request with a key that holds."""
    body = orjson.dumps({"query": document, "variables": variables or {}})
    return lambda port, credentials: post(port, body, credentials.key).decode()


def _by(credential: Callable[[Credentials], str]) -> Callable[[int, Credentials], str]:
    """A request with a key that does not hold."""
    body = orjson.dumps({"query": _SMALL})
    return lambda port, credentials: post(port, body, credential(credentials)).decode()


def _by_token(port: int, credentials: Credentials) -> str:
    request = post(port, orjson.dumps({"query": _SMALL}), credentials.unsigned).decode()
    return request.replace("X-API-Key: ", "Authorization: Bearer ")


def _large(port: int, credentials: Credentials) -> str:
    return post(port, orjson.dumps({"query": "#" * 5_000_000}), credentials.key).decode()


(_WALK,) = (it.document for it in ROWS if it.name == "walk of 20")
_HUB = {"uid": str(root_of("hub").uid), "depth": 100, "first": 1_000}

HOSTILE = (
    Kind("10 000 aliases", _asking(_ALIASES), _MUCH, more=1),
    Kind("fragments 60 deep", _asking(_FRAGMENTS), _MUCH, more=1),
    Kind("a cost of 10⁹", _asking(_DEAR), _MUCH, more=1),
    # who is still sending when the connection is closed may not get to see why
    Kind("a body of 5 MB", _large, frozenset({"413 LIMIT_EXCEEDED", "closed"}), more=1),
    Kind("a forged key", _by(lambda it: it.forged), _NOBODY),
    Kind("a revoked key", _by(lambda it: it.revoked), _NOBODY),
    Kind("a token with alg none", _by_token, _NOBODY),
    Kind("a byte a second", _asking(_SMALL), frozenset({"408 TIMEOUT"}), "drips", more=1),
    Kind("walks, and leaves", _asking(_WALK, {**_HUB}), _IN_TURN | {LEFT}, "leaves", more=1),
    Kind("the largest walks", _asking(_WALK, {**_HUB}), _IN_TURN, more=4),
)
