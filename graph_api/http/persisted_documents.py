"""Documents that are registered: read from the manifest that the tools of their clients write."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from graphql import GraphQLSyntaxError, parse

from schema.execution.document import BY_HASH, hash_of

# Bytes of a manifest. Parsed, its documents take some 60 times as much in each process, and 20 seconds at its start.
MAX_BYTES = 4_194_304

APOLLO = "apollo-persisted-query-manifest"
SHAPES = f'{{"id": "query …"}}, or Apollo\'s {{"format": "{APOLLO}", "version": 1, "operations": […]}}'


class NoManifest(ValueError):
    """What should hold documents does not hold any that could be run."""


def documents_in(file: Path) -> dict[str, str]:
    """The text of each document in a manifest, by its id."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise NoManifest(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise NoManifest(f"{file} has more than {MAX_BYTES} bytes")
    try:
        texts = _each_once(_pairs(json.loads(content, object_pairs_hook=_Pairs)))
    except NoManifest as error:
        raise NoManifest(f"{file}: {error}") from None
    except RecursionError:
        raise NoManifest(f"{file} is nested too deep; it reads like {SHAPES}") from None
    except ValueError as error:
        # no text, no JSON, or a number of thousands of digits
        raise NoManifest(f"{file} is no JSON: {error}; it reads like {SHAPES}") from None
    if not texts:
        raise NoManifest(f"{file} holds no document")
    for name, text in texts.items():
        if fault := _fault(name, text):
            raise NoManifest(f"{file}, {_shown(name)}: {fault}")
    return texts


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, with what it names twice."""

    def get(self, name: str) -> Any:
        return next((value for it, value in self if it == name), None)


def _pairs(content: Any) -> Iterator[tuple[str, str]]:
    """The ids and texts in either shape."""
    if not isinstance(content, _Pairs):
        raise NoManifest(f"it is another shape than {SHAPES}")
    if content.get("format") != APOLLO:
        for name, text in content:
            if not isinstance(text, str):
                raise NoManifest(f"{_shown(name)} has no text; the file reads like {SHAPES}")
            yield name, text
        return
    version, operations = content.get("version"), content.get("operations")
    if version != 1 or isinstance(version, bool):
        raise NoManifest(f"it is a manifest of version {version!r}; 1 is the one that is known")
    if type(operations) is not list:
        raise NoManifest("operations has to be a list")
    for number, operation in enumerate(operations):
        said = operation if isinstance(operation, _Pairs) else _Pairs()
        name, text = said.get("id"), said.get("body")
        if not isinstance(name, str) or not isinstance(text, str):
            raise NoManifest(f"operations[{number}] has no id and body that are text")
        yield name, text


def _each_once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in pairs:
        if texts.setdefault(name, text) != text:
            raise NoManifest(f"{_shown(name)} stands for two texts")
    return texts


def _fault(name: str, text: str) -> str | None:
    """Why a document could not be run whatever the schema is, or could not be named."""
    if not name or not name.isprintable():
        return "an id has to be text that can be written"
    try:
        # how much a document may be is a matter of the limits, as for any other
        parse(text)
    except GraphQLSyntaxError as error:
        place = error.locations[0] if error.locations else None
        return error.message + (f" (line {place.line}, column {place.column})" if place else "")
    if name.startswith(BY_HASH) and name != BY_HASH + (actual := hash_of(text)):
        return f"its text has another hash, {actual}"
    return None


def _shown(name: str) -> str:
    return repr(name[:100])
