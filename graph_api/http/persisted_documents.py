"""Manifests of persisted documents, as the tools of GraphQL clients write them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from graphql import GraphQLSyntaxError, parse

from schema.execution.document import HASH_PREFIX, document_hash

# Bytes of a manifest. Its parsed documents take some 60 times as much memory in each process, and 20 seconds at startup.
MAX_BYTES = 4_194_304

APOLLO_FORMAT = "apollo-persisted-query-manifest"
SHAPES = f'{{"id": "query …"}}, or the format of Apollo: {{"format": "{APOLLO_FORMAT}", "version": 1, "operations": […]}}'


class InvalidManifest(ValueError):
    """A manifest cannot be read, or has a document that could never run."""


def read_manifest(file: Path) -> dict[str, str]:
    """Read the text of each document in a manifest, by its id."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidManifest(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InvalidManifest(f"{file} is larger than {MAX_BYTES} bytes")
    try:
        texts = _unique_ids(_documents(json.loads(content, object_pairs_hook=_Object)))
    except InvalidManifest as error:
        raise InvalidManifest(f"{file}: {error}") from None
    except RecursionError:
        raise InvalidManifest(f"{file} is nested too deeply; expected {SHAPES}") from None
    except ValueError as error:
        # not UTF-8, not JSON, or a number of thousands of digits
        raise InvalidManifest(f"{file} is not valid JSON: {error}; expected {SHAPES}") from None
    if not texts:
        raise InvalidManifest(f"{file} has no documents")
    for document_id, text in texts.items():
        if reason := _invalid_reason(document_id, text):
            raise InvalidManifest(f"{file}, {_quote(document_id)}: {reason}")
    return texts


class _Object(list[tuple[str, Any]]):
    """A JSON object that keeps names that appear twice."""

    def get(self, name: str) -> Any:
        return next((value for it, value in self if it == name), None)


def _documents(content: Any) -> Iterator[tuple[str, str]]:
    """Yield ids and texts of a manifest in either format."""
    if not isinstance(content, _Object):
        raise InvalidManifest(f"expected {SHAPES}")
    if content.get("format") != APOLLO_FORMAT:
        for document_id, text in content:
            if not isinstance(text, str):
                raise InvalidManifest(f"the value of {_quote(document_id)} is not a string; expected {SHAPES}")
            yield document_id, text
        return
    version, operations = content.get("version"), content.get("operations")
    if version != 1 or isinstance(version, bool):
        raise InvalidManifest(f"version is {version!r}, and only version 1 is supported")
    if type(operations) is not list:
        raise InvalidManifest("operations must be a list")
    for index, operation in enumerate(operations):
        members = operation if isinstance(operation, _Object) else _Object()
        document_id, text = members.get("id"), members.get("body")
        if not isinstance(document_id, str) or not isinstance(text, str):
            raise InvalidManifest(f"operations[{index}] needs an id and a body that are strings")
        yield document_id, text


def _unique_ids(documents: Iterable[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for document_id, text in documents:
        if texts.setdefault(document_id, text) != text:
            raise InvalidManifest(f"{_quote(document_id)} is the id of two different documents")
    return texts


def _invalid_reason(document_id: str, text: str) -> str | None:
    """Return the reason why a document could not be requested or parsed under any schema, or None."""
    if not document_id or not document_id.isprintable():
        return "an id must be printable text"
    try:
        # the limits of a document are checked when it is registered, as for any other
        parse(text)
    except GraphQLSyntaxError as error:
        location = error.locations[0] if error.locations else None
        return error.message + (f" (line {location.line}, column {location.column})" if location else "")
    if document_id.startswith(HASH_PREFIX) and document_id != HASH_PREFIX + (actual := document_hash(text)):
        return f"the id is not the hash of the text, which is {actual}"
    return None


def _quote(document_id: str) -> str:
    return repr(document_id[:100])
