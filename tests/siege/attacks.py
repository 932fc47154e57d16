"""Attacks on the service. To add one, add it to `ATTACKS`, or to `OVERLOAD` if the overload of the bench mixes it, too."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import orjson

from tests.bench.client import post
from tests.bench.loads.graph import Asset, root_of
from tests.bench.overload.reads import WALK
from tests.bench.versions import VERSIONS, since
from tests.siege.crowd import CLOSED, LEFT, UNIQUE

_LIMIT, _STRANGE = "200 LIMIT_EXCEEDED", "401 UNAUTHENTICATED"
_LIMITED, _REFUSED = frozenset({_LIMIT}), frozenset({_STRANGE})
# a large body is charged by its size, so the rate is soon used up
_LARGE_AND_LIMITED = _LIMITED | {"429 RATE_LIMITED", CLOSED}
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
    """Credentials of attackers: a valid key, three that are not valid, and a key that may write."""

    key: str
    revoked: str
    forged: str
    unsigned: str
    writing: str


@dataclass(frozen=True, slots=True)
class Attack:
    """A kind of attack: the whole request, the behaviour of the client, and the documented outcomes.

    `clients`: so many attack in the siege. `more`: so many of twenty attackers of the overload use it beyond the first. `alone`:
    the outcome of one request that is awaited. None: its clients leave, or hold up their request for longer than an attack.
    """

    name: str
    request: Callable[[int, Credentials], str]
    documented: frozenset[str]
    behaviour: str = "rushes"
    more: int = 0
    clients: int = 10
    alone: str | None = "200"

    @property
    def sufficient(self) -> frozenset[str]:
        """Outcomes of which an attack has at least one, or else it did nothing."""
        return self.documented | {LEFT} if self.alone is None else self.documented - {LEFT}


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


def _without_key(document: str) -> Callable[[int, Credentials], str]:
    body = orjson.dumps({"query": document})
    return lambda port, _: post(port, body, None).decode()


def _health(port: int, _: Credentials) -> str:
    return f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"


def _unread_body(port: int, _: Credentials) -> str:
    return f"POST /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100000000000\r\n\r\n"


def _refused_body(port: int, credentials: Credentials) -> str:
    head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}X-API-Key: {credentials.forged}\r\nContent-Length: 100000000000\r\n\r\n"


def _bad_lines(port: int, credentials: Credentials) -> str:
    body = b'{"kind": "none"}\n' * 300_000
    return post(port, body, credentials.writing, "/api/v1/ingest?on_error=skip", "application/x-ndjson").decode()


_HUB = {"uid": str(root_of("hub").uid), "depth": 100, "first": 1_000}

OVERLOAD = (
    Attack("10 000 aliases", _with_key(_ALIASES), _LARGE_AND_LIMITED, more=1, alone=_LIMIT),
    Attack("fragments 60 deep", _with_key(_FRAGMENTS), _LIMITED, more=1, alone=_LIMIT),
    Attack("a cost of 10⁹", _with_key(_EXPENSIVE), _LIMITED, more=1, alone=_LIMIT),
    # a client that still sends when the connection is closed may not receive the reason
    Attack("a body of 5 MB", _large_body, frozenset({"413 LIMIT_EXCEEDED", "closed"}), more=1, alone="413 LIMIT_EXCEEDED"),
    Attack("a forged key", _with_invalid_key(lambda it: it.forged), _REFUSED, alone=_STRANGE),
    Attack("a revoked key", _with_invalid_key(lambda it: it.revoked), _REFUSED, alone=_STRANGE),
    Attack("a token with alg none", _with_unsigned_token, _REFUSED, alone=_STRANGE),
    Attack("a byte a second", _with_key(_CHEAP), frozenset({"408 TIMEOUT"}), "drips", more=1, alone=None),
    Attack("walks, then leaves", _with_key(WALK, {**_HUB}), _QUEUED | {LEFT}, "leaves", more=1, alone=None),
    Attack("the largest walks", _with_key(WALK, {**_HUB}), _QUEUED, more=4),
)

# An answer, or a refusal that names a limit.
_BOUNDED = frozenset(
    {
        *("200", "200 LIMIT_EXCEEDED", "200 TIMEOUT", "429 RATE_LIMITED", "503 UNAVAILABLE", "504 TIMEOUT"),
        *(LEFT, CLOSED),
    }
)
_FROM, _TO = since(0).isoformat(), since(VERSIONS).isoformat()
_NAMES = [f"t{number}" for number in range(20_000)]
_NAMED_TAGS = "query($given: [String!]) { products(filter: { tags: $given }) { totalCount } }"
_NAMED_DOMAINS = "query($given: [String!]) { products(filter: { domains: $given, owners: $given }) { totalCount } }"
_INSTANTS = " ".join(
    f'a{number}: analytics(asOf: "{since(0) + timedelta(days=14 * number):%Y-%m-%dT00:00:00Z}")'
    " { domains { products inboundLinks } lineage { links averageConfidence longestPath cycles } }"
    for number in range(9)
)
_CHANGES = (
    "query($from: DateTime!, $to: DateTime!) { changes(from: $from, to: $to, last: 100) { totalCount nodes { __typename } } }"
)
_DIFF = _CHANGES.replace("changes(", "diff(")
_SEARCHES = " ".join(f'a{number}: products(search: "o{number}") {{ totalCount }}' for number in range(10))
_CLIQUE_WALK = "downstream(maxDepth: 100, first: 1) { cycles edges { confidence } }"
_CLIQUE = (
    "query($roots: [_Any!]!) { _entities(representations: $roots) {"
    f" ... on Product {{ {_CLIQUE_WALK} }} ... on Entity {{ {_CLIQUE_WALK} }} }} }}"
)
_FIELDS = "uid name owner status version label validFrom domain { name } upstream(first: 5) { nodes { uid label } }"


def _new_text(fragments: int) -> str:
    """Return a document with so many fragments that differs in the name of its operation alone, so that each is new."""
    spreads = " ".join(f"...f{number}" for number in range(fragments))
    definitions = " ".join(f"fragment f{number} on Product {{ {_FIELDS} }}" for number in range(fragments))
    return f"query q{UNIQUE} {{ products(first: 1) {{ nodes {{ {spreads} }} }} }} {definitions}"


_LARGE = (
    "query($uid: UUID!) { asset(ref: { uid: $uid }) { downstream(maxDepth: 1, first: 1000) { edges { cursor depth confidence"
    " node { uid label validFrom createdAt ... on Product { name owner status version domain { name } } } } } } }"
)


def _clique_roots() -> list[dict[str, str]]:
    """Return representations of the assets of the clique."""
    assets = (Asset("clique", number) for number in range(100))
    return [{"__typename": "Entity" if it.number % 4 else "Product", "uid": str(it.uid)} for it in assets]


ATTACKS = (
    Attack("pipelined health checks", _health, frozenset({"200", CLOSED, LEFT}), "pipelines", clients=1),
    Attack("pipelined health checks, eight times", _health, frozenset({"200", CLOSED, LEFT}), "pipelines", clients=8),
    Attack("20 000 tags", _with_key(_NAMED_TAGS, {"given": _NAMES}), _BOUNDED, alone=_LIMIT),
    Attack("20 000 domains and owners", _with_key(_NAMED_DOMAINS, {"given": _NAMES}), _BOUNDED, alone=_LIMIT),
    Attack("100 roots in a clique", _with_key(_CLIQUE, {"roots": _clique_roots()}), _BOUNDED, alone=_LIMIT),
    Attack("analytics at nine instants", _with_key(f"{{ {_INSTANTS} }}"), _BOUNDED),
    Attack("changes over all time", _with_key(_CHANGES, {"from": _FROM, "to": _TO}), _BOUNDED),
    Attack("a diff over all time", _with_key(_DIFF, {"from": _FROM, "to": _TO}), _BOUNDED),
    Attack("ten searches", _with_key(f"{{ {_SEARCHES} }}"), _BOUNDED),
    Attack("new texts by strangers", _without_key(_new_text(45)), _BOUNDED | _REFUSED, clients=60, alone=_LIMIT),
    Attack("smaller new texts by strangers", _without_key(_new_text(14)), _BOUNDED | _REFUSED, clients=60, alone=_STRANGE),
    Attack("new texts by a key", _with_key(_new_text(45)), _BOUNDED),
    Attack("a load of bad lines", _bad_lines, frozenset({"200", "503 UNAVAILABLE", LEFT}), clients=1, alone=None),
    Attack(
        "slow readers", _with_key(_LARGE, {"uid": _HUB["uid"]}), frozenset({LEFT, CLOSED}), "reads slowly", clients=30, alone=None
    ),
    Attack(
        "a body that nobody reads", _unread_body, frozenset({"405", CLOSED, LEFT}), "sends on", clients=50, alone="405 BAD_INPUT"
    ),
    Attack("refused bodies", _refused_body, frozenset({"401", CLOSED, LEFT}), "sends on", clients=50, alone=_STRANGE),
    Attack("held connections", _health, frozenset({"200", CLOSED, LEFT}), "holds", clients=800),
    *OVERLOAD,
)
