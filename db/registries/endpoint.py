"""Endpoints: where in a service the records of a type are asked for. An endpoint is data, so it is a path and nothing else."""

import re
from typing import Any
from urllib.parse import unquote

from db import fields
from db.errors import BadInput

LENGTH = 2_000
# Stands for the key of the entity whose record is asked for.
KEY = "{key}"

# What RFC 3986 lets stand in a path; no colon ahead of a slash can make a scheme of it, for it begins with a slash.
_PATH = re.compile(r"/(?!/)(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)


def read_endpoint(value: Any) -> str:
    """An endpoint that stays in its service, whatever key is put into it later."""
    endpoint = fields.line("endpoint", value, length=LENGTH)
    if not is_path(endpoint.replace(KEY, "key", 1)):
        raise BadInput(
            f"endpoint is a path in the service, such as /customers or /customers/{KEY}: no address, no query, no . or .. in it."
            " The service's address is configured where Headwater runs.",
            field="endpoint",
        )
    return endpoint


def is_path(text: str) -> bool:
    """Whether it is a plain absolute path, which names the same place to all that read it on its way."""
    if not _PATH.fullmatch(text):
        return False
    # some decode a path before they look at its segments, even twice, or leave off what follows a semicolon
    decoded = unquote(unquote(text)).replace("\\", "/")
    segments = {segment.partition(";")[0] for segment in decoded.split("/")}
    return not segments & {".", ".."} and not any(ord(character) < 32 or ord(character) == 127 for character in decoded)
