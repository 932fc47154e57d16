"""Endpoints: the path at which a service serves the records of an entity type. An endpoint is data, so it may only be a path."""

import re
from typing import Any
from urllib.parse import unquote

from db import fields
from db.errors import BadInput

LENGTH = 2_000
# Placeholder for the key of the entity whose record is fetched.
KEY = "{key}"

# An absolute path by RFC 3986. It begins with one slash, so it holds neither a scheme nor an authority.
_PATH = re.compile(r"/(?!/)(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)


def read_endpoint(value: Any) -> str:
    """Validate an endpoint, which has to stay within its service for any key."""
    endpoint = fields.line("endpoint", value, length=LENGTH)
    if not is_path(endpoint.replace(KEY, "key", 1)):
        raise BadInput(
            f"endpoint must be a path in the service, such as /customers or /customers/{KEY}, without an address, a query, or the"
            " segments . and .. in it. The address of the service is configured where Headwater runs.",
            field="endpoint",
        )
    return endpoint


def is_below(endpoint: str, prefix: str) -> bool:
    """Return true if every server and proxy on the way finds the endpoint at this path or below it.

    Both are split into segments as they are written, and again after each decoding, so that neither an encoded slash nor an empty
    segment passes for a part of the prefix.
    """
    prefix = prefix.rstrip("/")
    if not prefix:
        return True
    while True:
        expected = prefix.split("/")
        if _segments(endpoint)[: len(expected)] != expected:
            return False
        decoded = unquote(endpoint)
        if decoded == endpoint:
            return True
        endpoint, prefix = decoded, unquote(prefix)


def decode(text: str) -> str:
    """Return a text as a chain of servers finds it, each of which decodes it once more."""
    while (decoded := unquote(text)) != text:
        text = decoded
    return text


def is_path(text: str) -> bool:
    """Return true if a text is an absolute path that every server and proxy on the way resolves alike."""
    if not _PATH.fullmatch(text):
        return False
    # some servers decode a path before they split it, even twice, and some ignore what follows a semicolon
    decoded = decode(text)
    segments = {segment.partition(";")[0] for segment in _segments(decoded)}
    return not segments & {".", ".."} and not any(ord(character) < 32 or ord(character) == 127 for character in decoded)


def _segments(path: str) -> list[str]:
    return path.replace("\\", "/").split("/")
