"""Media types of request bodies and responses, and the negotiation of RFC 9110 (Accept)."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"

# More lenient than RFC 9110: old clients leave out the 0, or write more digits.
_WEIGHT = re.compile(r"0?\.[0-9]+|0|0\.|1(\.0*)?")
_UTF_8 = {"utf-8", "utf8"}


# Bytes of a header value whose meaning is cached. Clients send few different ones; a longer one may be anything.
_MAX_CACHED_BYTES = 256


def response_type(accept: bytes) -> str | None:
    """Choose the media type of a response by the value of Accept, as `negotiate` does."""
    return _cached_response_type(accept) if len(accept) <= _MAX_CACHED_BYTES else negotiate([accept.decode("latin-1")])


def is_json_type(content_type: bytes) -> bool:
    """True if the value of a Content-Type is JSON in UTF-8."""
    return _cached_is_json(content_type) if len(content_type) <= _MAX_CACHED_BYTES else is_json(content_type.decode("latin-1"))


@lru_cache(1_000)
def _cached_response_type(accept: bytes) -> str | None:
    return negotiate([accept.decode("latin-1")])


@lru_cache(1_000)
def _cached_is_json(content_type: bytes) -> bool:
    return is_json(content_type.decode("latin-1"))


def negotiate(accept: Iterable[str]) -> str | None:
    """Choose the media type of a response, or return None if Accept allows neither.

    The type with the higher weight wins; at equal weights one that is named wins over one that a wildcard matches; of two that
    are named the GraphQL type wins. A wildcard alone, or no Accept header, selects JSON, which clients have always received.
    """
    entries = [it for it in ",".join(accept).split(",") if it.strip()]
    weights: dict[str, float] = {}
    for name, charset, weight in map(_parse, entries):
        if charset in _UTF_8 and _WEIGHT.fullmatch(weight):
            weights[name] = max(float(weight), weights.get(name, 0))
    if not entries:
        weights["*/*"] = 1
    best, *_, media_type = max(_rank(GRAPHQL, weights), _rank(JSON, weights))
    return media_type if best else None


def is_json(content_type: str) -> bool:
    """True if a Content-Type is JSON in UTF-8."""
    name, charset, _ = _parse(content_type)
    return name == JSON and charset in _UTF_8


def _rank(media_type: str, weights: Mapping[str, float]) -> tuple[float, int, bool, str]:
    """Return the sort key of a type: its weight by the most specific range, how specific that is, and the tie-breaker."""
    for specificity, name in ((2, media_type), (1, "application/*"), (0, "*/*")):
        if name in weights:
            return weights[name], specificity, (media_type == GRAPHQL) == (specificity == 2), media_type
    return 0, 0, False, media_type


def _parse(entry: str) -> tuple[str, str, str]:
    """Split a media type into name, charset and weight. Other parameters do not matter for JSON."""
    name, *parts = (it.strip().lower() for it in entry.split(";"))
    parameters = dict(it.partition("=")[::2] for it in parts)
    return name, parameters.get("charset", "utf-8").strip('"'), parameters.get("q", "1").strip('" ')
