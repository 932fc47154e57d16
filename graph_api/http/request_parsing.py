"""What a request asks to be run: read from its body, or from its address."""

import re
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from db.errors import BadInput, LimitExceeded, Timeout
from graph_api.auth.authenticator import bears_key
from graph_api.http.browsers import PREFLIGHT_HEADERS
from graph_api.http.deadline import time_limit
from graph_api.http.traces import traceparent_of
from schema.execution.document import BY_HASH, hash_of
from schema.execution.executor import Request as Operation

# Characters of an address that asks something; whoever asks more sends it by POST.
ADDRESS_LENGTH = 16_384

_HASH = re.compile(r"[0-9a-f]{64}")


async def read_json_body(request: Request, largest: int, seconds: float) -> Any:
    """The JSON that is sent, of so many bytes at the most, within so many seconds."""
    try:
        async with time_limit(seconds):
            body = await _body(request, largest)
    except Timeout as error:
        raise Timeout(f"The body did not come within {seconds:g} s.") from error
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The body is not JSON: {error}.") from error


def read_query_string(request: Request) -> dict[str, Any]:
    """What a GET asks, as a body would have it."""
    if not any(request.headers.get(name, "").strip() for name in PREFLIGHT_HEADERS):
        raise BadInput(
            f"A GET runs a query only with a header {PREFLIGHT_HEADERS[0]} that is not empty, which no page elsewhere can have a"
            " browser send unasked. Or send it by POST, as JSON. A browser that asks for text/html is shown GraphiQL here."
        )
    if len(request.scope["query_string"]) > ADDRESS_LENGTH:
        raise LimitExceeded(f"The address is longer than {ADDRESS_LENGTH} characters. Send the query by POST.")
    content: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in content:
            raise BadInput(f"{name} is given twice.", field=name)
        content[name] = value
    for name in ("variables", "extensions"):
        if content.get(name):
            try:
                content[name] = orjson.loads(content[name])
            except orjson.JSONDecodeError as error:
                raise BadInput(f"{name} is not JSON: {error}.", field=name) from error
        else:
            content.pop(name, None)
    return content


def parse_operation(content: Any, request: Request) -> Operation:
    """The operation that some JSON is, asked by whoever sent the request."""
    if not isinstance(content, dict):
        raise BadInput('An operation has to be a JSON object, such as {"query": "{ __typename }"}.')
    variables, name = content.get("variables"), content.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        raise BadInput("variables has to be a JSON object.", field="variables")
    if name is not None and not isinstance(name, str):
        raise BadInput("operationName has to be text.", field="operationName")
    if content.get("extensions") is not None and not isinstance(content["extensions"], dict):
        raise BadInput("extensions has to be a JSON object.", field="extensions")
    query, document_id = _document_in(content)
    headers = request.headers
    return Operation(
        query,
        variables,
        name or None,
        # a key of ours is nobody else's business
        None if bears_key(headers) else headers.get("authorization"),
        headers.get("x-debug-resource-tracking", "").strip().lower() == "true",
        traceparent_of(request.scope),
        document_id,
    )


def _document_in(content: dict[str, Any]) -> tuple[str | None, str]:
    """The text of the document, or else what names it. Where both are sent they have to be of the same."""
    query, document_id = content.get("query"), content.get("documentId")
    hash_field = "documentId"
    if (persisted := (content.get("extensions") or {}).get("persistedQuery")) is not None:
        if document_id is not None:
            raise BadInput("documentId and extensions.persistedQuery both name a document. Send one.", field="documentId")
        hash_field = "extensions.persistedQuery.sha256Hash"
        document_id = _persisted_query(persisted)
    if document_id is None:
        if not isinstance(query, str) or not query:
            raise BadInput("query has to be text: the GraphQL document to run. Or send its documentId.", field="query")
        return query, ""
    if not isinstance(document_id, str) or not document_id:
        raise BadInput("documentId has to be text: sha256: and the hash of a document, or the id of one.", field="documentId")
    if document_id.startswith(BY_HASH) and not _HASH.fullmatch(document_id.removeprefix(BY_HASH)):
        raise BadInput(f"{hash_field}: a SHA-256 is 64 hexadecimal digits, in lower case.", field=hash_field)
    if query is None or query == "":
        return None, document_id
    if not isinstance(query, str):
        raise BadInput("query has to be text: the GraphQL document to run.", field="query")
    if not document_id.startswith(BY_HASH):
        raise BadInput("query and a documentId that is no hash: send either.", field="documentId")
    if document_id != BY_HASH + (actual := hash_of(query)):
        raise BadInput(f"{hash_field} is the hash of another text than query, which has {actual}.", field=hash_field)
    return query, ""


def _persisted_query(said: Any) -> str:
    """What the extension of automatic persisted queries names, as a documentId."""
    place = "extensions.persistedQuery"
    if not isinstance(said, dict):
        raise BadInput(f"{place} has to be a JSON object.", field=place)
    version, hashed = said.get("version"), said.get("sha256Hash")
    if version != 1 or isinstance(version, bool):
        raise BadInput(f"{place}.version has to be 1.", field=f"{place}.version")
    if not isinstance(hashed, str):
        raise BadInput(f"{place}.sha256Hash has to be text.", field=f"{place}.sha256Hash")
    return BY_HASH + hashed


async def _body(request: Request, largest: int) -> bytes:
    length = request.headers.get("content-length", "0")
    body = bytearray()
    if not length.isdigit() or int(length) <= largest:
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    break
            else:
                return bytes(body)
        except ClientDisconnect as error:
            raise BadInput("The request ended before its body did.") from error
    raise LimitExceeded(f"The body is larger than {largest} bytes. Send less at once.")
