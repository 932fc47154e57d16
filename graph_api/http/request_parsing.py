"""Parsing of GraphQL requests: a JSON body, or the query string of a GET."""

import re
from math import inf
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.types import Receive

from db.errors import BadInput, LimitExceeded, Timeout
from graph_api.http.deadline import within
from graph_api.http.request import HttpRequest
from schema.execution.document import HASH_PREFIX, document_hash
from schema.execution.operation import Request as Operation

# Characters of the query string of a GET.
MAX_QUERY_STRING = 16_384

# Bytes of a body from which on reading it and parsing its JSON takes longer than most operations, and the greatest body without
# a credential.
LARGE_BODY_BYTES = 16_384

# Bytes of a large body, or of a refused document, that cost as much as an object.
BYTES_PER_COST = 100

_HASH = re.compile(r"[0-9a-f]{64}")


def body_size(request: HttpRequest) -> float:
    """Return the size of a body that has arrived, or that the client announces; infinite: it is not known."""
    # most bodies arrive together with their head, and the server passes them on at once
    if (body := request.scope.get("body")) is not None:
        return len(body)
    length = request.headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else inf


async def read_body(request: HttpRequest, receive: Receive, max_bytes: int, seconds: float) -> bytes:
    """Read a body within limits of bytes and seconds. The request keeps no copy of it."""
    if inf > body_size(request) > max_bytes:
        raise _too_large(max_bytes)
    body: bytes | None = request.scope.pop("body", None)
    if body is not None:
        return body
    try:
        return await within(seconds, _read_body(receive, max_bytes))
    except Timeout as error:
        raise Timeout(f"The request body did not arrive within {seconds:g} s.") from error


def parse_json(body: bytes) -> Any:
    """Parse the JSON of a body."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The request body is not valid JSON: {error}.") from error


def read_query_string(request: HttpRequest) -> dict[str, Any]:
    """Read the query string of a GET into the shape of a JSON body."""
    query_string = request.scope["query_string"]
    if len(query_string) > MAX_QUERY_STRING:
        raise LimitExceeded(f"The query string is longer than {MAX_QUERY_STRING} characters. Use POST.")
    content: dict[str, Any] = {}
    for name, value in QueryParams(query_string).multi_items():
        if name in content:
            raise BadInput(f"The parameter {name} appears twice. Send it once.", field=name)
        content[name] = value
    for name in ("variables", "extensions"):
        if content.get(name):
            try:
                content[name] = orjson.loads(content[name])
            except orjson.JSONDecodeError as error:
                raise BadInput(f"{name} is not valid JSON: {error}.", field=name) from error
        else:
            content.pop(name, None)
    return content


def parse_operation(content: Any, request: HttpRequest, authorization: str | None) -> Operation:
    """Parse the content of a body or query string into an operation. Other services may receive the `authorization`."""
    if not isinstance(content, dict):
        raise BadInput('An operation must be a JSON object, such as {"query": "{ __typename }"}.')
    variables, name = content.get("variables"), content.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        raise BadInput("variables must be a JSON object.", field="variables")
    if name is not None and not isinstance(name, str):
        raise BadInput("operationName must be a string.", field="operationName")
    if content.get("extensions") is not None and not isinstance(content["extensions"], dict):
        raise BadInput("extensions must be a JSON object.", field="extensions")
    query, document_id = _document(content)
    return Operation(
        query,
        variables,
        name or None,
        authorization,
        request.headers.get(b"x-debug-resource-tracking", b"").strip().lower() == b"true",
        request.traceparent,
        document_id,
    )


def _document(content: dict[str, Any]) -> tuple[str | None, str]:
    """Return the text of the document, or None and its id. Check that text and hash agree if both are sent."""
    query, document_id = content.get("query"), content.get("documentId")
    hash_field = "documentId"
    if (persisted_query := (content.get("extensions") or {}).get("persistedQuery")) is not None:
        if document_id is not None:
            raise BadInput("documentId and extensions.persistedQuery both name a document. Send one.", field="documentId")
        hash_field = "extensions.persistedQuery.sha256Hash"
        document_id = _persisted_query_id(persisted_query)
    if document_id is None:
        if not isinstance(query, str) or not query:
            raise BadInput("query must be a string: the GraphQL document to run. Send it, or a documentId.", field="query")
        return query, ""
    if not isinstance(document_id, str) or not document_id:
        raise BadInput(
            "documentId must be a string: sha256: and the hash of a document, or the id of a registered one.", field="documentId"
        )
    if document_id.startswith(HASH_PREFIX) and not _HASH.fullmatch(document_id.removeprefix(HASH_PREFIX)):
        raise BadInput(f"{hash_field} must be a SHA-256 of 64 hexadecimal digits in lower case.", field=hash_field)
    if query is None or query == "":
        return None, document_id
    if not isinstance(query, str):
        raise BadInput("query must be a string: the GraphQL document to run.", field="query")
    if not document_id.startswith(HASH_PREFIX):
        raise BadInput("query and a documentId that is not a hash cannot be combined. Send one.", field="documentId")
    if document_id != HASH_PREFIX + (actual := document_hash(query)):
        raise BadInput(f"{hash_field} is not the hash of query, which is {actual}.", field=hash_field)
    return query, ""


def _persisted_query_id(extension: Any) -> str:
    """Return the document id that the extension of automatic persisted queries names."""
    path = "extensions.persistedQuery"
    if not isinstance(extension, dict):
        raise BadInput(f"{path} must be a JSON object.", field=path)
    version, sha256 = extension.get("version"), extension.get("sha256Hash")
    if version != 1 or isinstance(version, bool):
        raise BadInput(f"{path}.version must be 1.", field=f"{path}.version")
    if not isinstance(sha256, str):
        raise BadInput(f"{path}.sha256Hash must be a string.", field=f"{path}.sha256Hash")
    return HASH_PREFIX + sha256


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("The client disconnected before its request body was complete.")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(max_bytes: int) -> LimitExceeded:
    return LimitExceeded(f"The request body is larger than {max_bytes} bytes. Send less in one request.")
