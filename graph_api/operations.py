"""What a request asks to be run: read from its body, or from its address."""

from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from db.errors import BadInput, LimitExceeded, Timeout
from graph_api.auth import bears_key
from graph_api.browsers import PREFLIGHT_HEADERS
from graph_api.deadline import within
from graph_api.responses import GRAPHQL, JSON
from graph_api.traces import traceparent_of
from schema.executor import Request as Operation

# Characters of an address that asks something; whoever asks more sends it by POST.
ADDRESS_LENGTH = 16_384


def acceptable(accept: str) -> str | None:
    """The media type to answer in: the more telling one where the client takes it."""
    offered = set()
    for part in accept.split(","):
        name, *parameters = (it.strip().lower() for it in part.split(";"))
        if not any(it.startswith("q=0") and not it.strip("q=0.") for it in parameters):
            offered.add(name)
    if GRAPHQL in offered:
        return GRAPHQL
    return JSON if offered & {JSON, "*/*", "application/*", ""} else None


def is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON


async def from_body(request: Request, largest: int, seconds: float) -> Any:
    """The JSON that is sent, of so many bytes at the most, within so many seconds."""
    try:
        async with within(seconds):
            body = await _body(request, largest)
    except Timeout as error:
        raise Timeout(f"The body did not come within {seconds:g} s.") from error
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The body is not JSON: {error}.") from error


def from_address(request: Request) -> dict[str, Any]:
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


def operation_in(content: Any, request: Request) -> Operation:
    """The operation that some JSON is, asked by whoever sent the request."""
    if not isinstance(content, dict):
        raise BadInput('An operation has to be a JSON object, such as {"query": "{ __typename }"}.')
    query, variables, name = content.get("query"), content.get("variables"), content.get("operationName")
    if not isinstance(query, str) or not query:
        raise BadInput("query has to be text: the GraphQL document to run.", field="query")
    if variables is not None and not isinstance(variables, dict):
        raise BadInput("variables has to be a JSON object.", field="variables")
    if name is not None and not isinstance(name, str):
        raise BadInput("operationName has to be text.", field="operationName")
    if content.get("extensions") is not None and not isinstance(content["extensions"], dict):
        raise BadInput("extensions has to be a JSON object.", field="extensions")
    headers = request.headers
    return Operation(
        query,
        variables,
        name or None,
        # a key of ours is nobody else's business
        None if bears_key(headers) else headers.get("authorization"),
        headers.get("x-debug-resource-tracking", "").strip().lower() == "true",
        traceparent_of(request.scope),
    )


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
