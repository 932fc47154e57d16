"""Media types: what a body may be, and what an answer is to be, as RFC 9110 has Accept."""

import re
from collections.abc import Iterable, Mapping

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"

# More than RFC 9110 has: clients of old leave out the 0, or write more digits.
_WEIGHT = re.compile(r"0?\.[0-9]+|0|0\.|1(\.0*)?")
_UTF_8 = {"utf-8", "utf8"}


def acceptable(accept: Iterable[str]) -> str | None:
    """The media type to answer in: the one that weighs more; of two that weigh the same the one that is named, not meant by a *;
    of two that are named the more telling one. A * alone means what clients have been sent ever since."""
    said = [it for it in ",".join(accept).split(",") if it.strip()]
    ranges: dict[str, float] = {}
    for name, charset, weight in map(_parts, said):
        if charset in _UTF_8 and _WEIGHT.fullmatch(weight):
            ranges[name] = max(float(weight), ranges.get(name, 0))
    if not said:
        ranges["*/*"] = 1
    chosen, *_, media_type = max(_rank(GRAPHQL, ranges), _rank(JSON, ranges))
    return media_type if chosen else None


def is_json(content_type: str) -> bool:
    """Whether a body is JSON, in the one encoding that JSON is sent in."""
    name, charset, _ = _parts(content_type)
    return name == JSON and charset in _UTF_8


def _rank(media_type: str, ranges: Mapping[str, float]) -> tuple[float, int, bool, str]:
    """What a type weighs, by what is said of it most closely; how closely that is; and whether it is preferred then."""
    for closeness, name in ((2, media_type), (1, "application/*"), (0, "*/*")):
        if name in ranges:
            return ranges[name], closeness, (media_type == GRAPHQL) == (closeness == 2), media_type
    return 0, 0, False, media_type


def _parts(said: str) -> tuple[str, str, str]:
    """A media type, its charset and its weight. Other parameters tell nothing of the types here."""
    name, *parameters = (it.strip().lower() for it in said.split(";"))
    given = dict(it.partition("=")[::2] for it in parameters)
    return name, given.get("charset", "utf-8").strip('"'), given.get("q", "1").strip('" ')
