"""The GraphQL view: a request comes in, is run, and its answer goes out. GraphQL over HTTP, and GraphiQL for browsers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from db.errors import BadInput, LimitExceeded, Unavailable
from graph_api import explorer
from graph_api.auth import OPEN
from graph_api.examples import EXAMPLES
from graph_api.responses import GRAPHQL, JSON, answer, refusal, request_id_of
from schema.executor import Executor
from schema.executor import Request as Operation

# What log readers know a client by that did not wait for its answer; HTTP has no word for it.
CLIENT_GONE = 499


async def graphql(request: Request) -> Response:
    """POST runs an operation; a browser's GET opens GraphiQL."""
    if request.method == "POST":
        return await _run(request)
    if "text/html" in request.headers.get("accept", ""):
        page = explorer.page(EXAMPLES, str(request.url.replace(query="")))
        return HTMLResponse(page, headers={"Content-Security-Policy": explorer.CONTENT_SECURITY_POLICY})
    reason = BadInput("Send operations by POST, as JSON. A browser that asks for text/html is shown GraphiQL here.")
    return refusal(request.scope, 405, reason, headers={"Allow": "GET, POST"})


async def _run(request: Request) -> Response:
    scope = request.scope
    media_type = _acceptable(request.headers.get("accept", "*/*"))
    if media_type is None:
        return refusal(scope, 406, BadInput(f"Answers are {GRAPHQL} or {JSON}; Accept names neither."))
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        reason = BadInput(f"An operation is sent as JSON, with Content-Type: {JSON}.")
        return refusal(scope, 415, reason, media_type=media_type)
    try:
        body = await _body(request, request.app.state.settings.max_body_bytes)
        operation = _read(body, request.headers.get("authorization"))
    except LimitExceeded as error:
        # the rest of the body is not worth reading
        return refusal(scope, 413, error, media_type=media_type, headers={"Connection": "close"})
    except BadInput as error:
        return refusal(scope, 400, error, media_type=media_type)
    executor: Executor = request.app.state.executor
    try:
        async with until_gone(request):
            result = await executor.execute(operation, OPEN, request_id_of(scope))
    except ClientDisconnect:
        # nobody reads this but the log
        return refusal(scope, CLIENT_GONE, Unavailable("The client went away before its answer was there."))
    scope["state"]["operation"] = result.operation
    scope["state"]["errors"] = [error["extensions"]["code"] for error in result.errors]
    content: dict[str, Any] = {"data": result.data} if result.ran else {}
    if result.errors:
        content["errors"] = result.errors
    content["extensions"] = {"requestId": request_id_of(scope)}
    if result.cost is not None:
        content["extensions"]["cost"] = asdict(result.cost)
    status = 400 if media_type == GRAPHQL and not result.ran else 200
    return answer(content, status, media_type=media_type)


@asynccontextmanager
async def until_gone(request: Request) -> AsyncIterator[None]:
    """Ends what runs within when the client goes away, for nobody waits for it any more. The body has to be read before."""
    task = asyncio.current_task()
    assert task is not None, "requests run in tasks"
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        watching.cancel()


def _acceptable(accept: str) -> str | None:
    """The media type to answer in: the more telling one where the client takes it."""
    offered = set()
    for part in accept.split(","):
        name, *parameters = (it.strip().lower() for it in part.split(";"))
        if not any(it.startswith("q=0") and not it.strip("q=0.") for it in parameters):
            offered.add(name)
    if GRAPHQL in offered:
        return GRAPHQL
    return JSON if offered & {JSON, "*/*", "application/*", ""} else None


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


def _read(body: bytes, authorization: str | None) -> Operation:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The body is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise BadInput('The body has to be a JSON object, such as {"query": "{ __typename }"}.')
    query, variables, name = content.get("query"), content.get("variables"), content.get("operationName")
    if not isinstance(query, str) or not query:
        raise BadInput("query has to be text: the GraphQL document to run.", field="query")
    if variables is not None and not isinstance(variables, dict):
        raise BadInput("variables has to be a JSON object.", field="variables")
    if name is not None and not isinstance(name, str):
        raise BadInput("operationName has to be text.", field="operationName")
    if content.get("extensions") is not None and not isinstance(content["extensions"], dict):
        raise BadInput("extensions has to be a JSON object.", field="extensions")
    return Operation(query, variables, name or None, authorization)
