"""Attacks on the service. To add one, add it to `ATTACKS`."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from tests.bench.client import post
from tests.bench.loads.graph import root_of
from tests.bench.overload.crowd import LEFT
from tests.bench.overload.reads import WALK

_LIMITED = frozenset({"200 LIMIT_EXCEEDED"})
_REFUSED = frozenset({"401 UNAUTHENTICATED"})
_QUEUED = frozenset({"200", "503 UNAVAILABLE", "429 RATE_LIMITED"})

_ALIASES = " ".join(["{", *(f"a{number}: __typename" for number in range(10_000)), "}"])
# Each fragment spreads the next one twice: expanded, 2^60 fields.
_FRAGMENTS = " ".join(
    ["{ products { nodes { ...f0 } } }"]
    + [f"fragment f{number} on Product {{ ...f{number + 1} ...f{number + 1} }}" for number in range(60)]
    + ["fragment f60 on Product { uid }"]
)
_WALKS = " ".join(
    f"{direction}(first: 1000) {{ nodes {{ {direction} {{ totalCount }} }} }}" for direction in ("upstream", "downstream")
)
_EXPENSIVE = f"{{ products(first: 100) {{ nodes {{ {_WALKS} }} }} }}"
_CHEAP = "{ products(first: 1) { nodes { uid } } }"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials of attackers: a valid key, and three that are not valid."""

    key: str
    revoked: str
    forged: str
    unsigned: str


@dataclass(frozen=True, slots=True)
class Attack:
    """A kind of attack: the whole request, the behaviour of the client, the documented outcomes, and how many of twenty attackers
    use it beyond the first."""

    name: str
    request: Callable[[int, Credentials], str]
    documented: frozenset[str]
    behaviour: str = "rushes"
    more: int = 0


def _with_key(document: str, variables: dict[str, object] | None = None) -> Callable[[int, Credentials], str]:
    """Return an operation with a valid key."""
    body = orjson.dumps({"query": document, "variables": variables or {}})
    return lambda port, credentials: post(port, body, credentials.key).decode()


def _with_invalid_key(credential: Callable[[Credentials], str]) -> Callable[[int, Credentials], str]:
    """Return a cheap operation with a key that is not valid."""
    body = orjson.dumps({"query": _CHEAP})
    return lambda port, credentials: post(port, body, credential(credentials)).decode()


def _with_unsigned_token(port: int, credentials: Credentials) -> str:
    request = post(port, orjson.dumps({"query": _CHEAP}), credentials.unsigned).decode()
    return request.replace("X-API-Key: ", "Authorization: Bearer ")


def _large_body(port: int, credentials: Credentials) -> str:
    return post(port, orjson.dumps({"query": "#" * 5_000_000}), credentials.key).decode()


_HUB = {"uid": str(root_of("hub").uid), "depth": 100, "first": 1_000}

ATTACKS = (
    Attack("10 000 aliases", _with_key(_ALIASES), _LIMITED, more=1),
    Attack("fragments 60 deep", _with_key(_FRAGMENTS), _LIMITED, more=1),
    Attack("a cost of 10⁹", _with_key(_EXPENSIVE), _LIMITED, more=1),
    # a client that still sends when the connection is closed may not receive the reason
    Attack("a body of 5 MB", _large_body, frozenset({"413 LIMIT_EXCEEDED", "closed"}), more=1),
    Attack("a forged key", _with_invalid_key(lambda it: it.forged), _REFUSED),
    Attack("a revoked key", _with_invalid_key(lambda it: it.revoked), _REFUSED),
    Attack("a token with alg none", _with_unsigned_token, _REFUSED),
    Attack("a byte a second", _with_key(_CHEAP), frozenset({"408 TIMEOUT"}), "drips", more=1),
    Attack("walks, then leaves", _with_key(WALK, {**_HUB}), _QUEUED | {LEFT}, "leaves", more=1),
    Attack("the largest walks", _with_key(WALK, {**_HUB}), _QUEUED, more=4),
)
