"""The GraphQL endpoint: GraphQL over HTTP, and GraphiQL for browsers."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from db.errors import BadInput, HeadwaterError, LimitExceeded, Timeout, Unavailable
from graph_api.graphiql.examples import EXAMPLES
from graph_api.graphiql.page import CONTENT_SECURITY_POLICY, render_page
from graph_api.http.admission import Admission
from graph_api.http.deadline import CLIENT_CLOSED_REQUEST, cancel_on_disconnect, time_limit
from graph_api.http.media_types import GRAPHQL, JSON, is_json, negotiate
from graph_api.http.rate_limits import RateLimitStatus
from graph_api.http.request_limits import RequestLimits
from graph_api.http.request_parsing import parse_operation, read_json_body, read_query_string
from graph_api.http.responses import error_body, error_response, json_response, request_id_of, status_of
from schema.execution.executor import Executor, PreparedOperation
from schema.execution.executor import Request as Operation
from schema.execution.executor import Response as Result
from schema.execution.principal import Principal

# The rest of a body is not read, so the connection cannot be used again.
_CLOSE = {"Connection": "close"}


async def graphql(request: Request) -> Response:
    """Run the operation of a POST, or of a GET with a preflight header. Show GraphiQL to browsers."""
    if request.method != "POST" and "text/html" in request.headers.get("accept", ""):
        require_auth = request.app.state.authenticator.require_auth
        page = render_page(EXAMPLES, str(request.url.replace(query="")), require_auth=require_auth)
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})
    media_type = negotiate(request.headers.getlist("accept"))
    if media_type is None:
        return error_response(request.scope, 406, BadInput(f"Accept must allow {GRAPHQL} or {JSON}."))
    if request.method == "POST" and not is_json(request.headers.get("content-type", "")):
        reason = BadInput(f"Content-Type must be {JSON}, in UTF-8.")
        return error_response(request.scope, 415, reason, media_type=media_type)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        reason = BadInput("Content-Encoding is not supported. Send the body uncompressed.")
        return error_response(request.scope, 415, reason, media_type=media_type, headers=_CLOSE)
    try:
        principal = await request.app.state.authenticator.authenticate(request.headers)
    except HeadwaterError as error:
        return error_response(request.scope, status_of([error.code], 400), error, media_type=media_type, headers=_CLOSE)
    rate_status = await request.app.state.rate_limiter.status(principal.tenant_id, principal.rate_key)
    outcome = await _RequestHandler(request, principal, rate_status, media_type).run()
    return json_response(outcome.content, outcome.status, media_type=media_type, headers=outcome.headers)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Content, status and headers of the response to an operation or a batch."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class _RequestHandler:
    """Handler of one authenticated request."""

    def __init__(self, request: Request, principal: Principal, rate_status: RateLimitStatus, media_type: str) -> None:
        self._request = request
        self._principal = principal
        self._rate_status = rate_status
        self._media_type = media_type
        self._state = request.app.state
        self._limits: RequestLimits = request.app.state.request_limits
        self._operations: list[str] = []
        self._codes: list[str] = []

    async def run(self) -> _Outcome:
        """Read and run the request, unless the client disconnects."""
        outcome = self._rate_limited() or await self._read_and_run()
        self._request.scope["state"].update(operation=", ".join(self._operations), errors=self._codes)
        return _Outcome(outcome.content, outcome.status, {**self._rate_status.headers, **outcome.headers})

    async def _read_and_run(self) -> _Outcome:
        is_post = self._request.method == "POST"
        try:
            if is_post:
                content = await read_json_body(self._request, self._limits.max_body_bytes, self._limits.body_timeout)
            else:
                content = read_query_string(self._request)
        except Timeout as error:
            return self._reject(error, 408, _CLOSE)
        except LimitExceeded as error:
            return self._reject(error, 413 if is_post else 414, _CLOSE)
        except BadInput as error:
            return self._reject(error, 400)
        try:
            async with cancel_on_disconnect(self._request):
                return await (self._run_batch(content) if isinstance(content, list) else self._run_one(content))
        except ClientDisconnect:
            # only the log shows this response
            return self._reject(Unavailable("The client disconnected before its response."), CLIENT_CLOSED_REQUEST)

    async def _run_batch(self, contents: list[Any]) -> _Outcome:
        """Run operations one after the other, each as if it were sent alone."""
        max_batch = self._limits.max_batch
        if not max_batch:
            reason = BadInput(
                "Batching is off. Send one operation per request, as a JSON object, or set HEADWATER_MAX_BATCH on the server."
            )
            return self._reject(reason, 400)
        if not contents:
            return self._reject(BadInput("The batch has no operations. Send at least one."), 400)
        if len(contents) > max_batch:
            message = f"The batch has {len(contents)} operations; the limit is {max_batch} (HEADWATER_MAX_BATCH)."
            return self._reject(LimitExceeded(message), 400)
        return _Outcome([(await self._run_one(content)).content for content in contents])

    async def _run_one(self, content: Any) -> _Outcome:
        if (rate_limited := self._rate_limited()) is not None:
            return rate_limited
        try:
            operation = parse_operation(content, self._request)
            result = await self._prepare(operation)
            if isinstance(result, PreparedOperation):
                if result.writes and self._request.method != "POST":
                    return self._reject(BadInput("A GET cannot run a mutation. Use POST."), 405, {"Allow": "POST"})
                result = await self._run(result)
            else:
                # parsing and validation cost time, too
                self._rate_status = await self._state.rate_limiter.charge(self._rate_status, 1)
        except HeadwaterError as error:
            return self._reject(error, status_of([error.code], 400))
        codes = [error["extensions"]["code"] for error in result.errors]
        self._operations.append(result.operation)
        self._codes += codes
        body: dict[str, Any] = {"data": result.data} if result.ran else {}
        if result.errors:
            body["errors"] = result.errors
        body["extensions"] = {"requestId": request_id_of(self._request.scope)}
        if result.cost is not None:
            body["extensions"]["cost"] = asdict(result.cost)
        if result.resources is not None:
            body["extensions"]["resources"] = result.resources
        if result.ran:
            return _Outcome(body)
        return _Outcome(body, status_of(codes, 400 if self._media_type == GRAPHQL else 200))

    async def _prepare(self, operation: Operation) -> PreparedOperation | Result:
        """Return the prepared operation, or the result that explains why it cannot run.

        Parsing blocks the event loop and is not charged if the document is rejected. So unknown documents are parsed one at a
        time, in fair order, and each is followed by a pause as long as its parsing took.
        """
        executor: Executor = self._state.executor
        if not executor.needs_parsing(operation, self._principal):
            return executor.prepare(operation, self._principal)
        admission: Admission = self._state.parse_admission
        async with admission.slot(self._principal.tenant_id, self._principal.rate_key):
            started = time.perf_counter()
            prepared = executor.prepare(operation, self._principal)
            await asyncio.sleep(time.perf_counter() - started)
        return prepared

    async def _run(self, prepared: PreparedOperation) -> Result:
        """Run an operation once it has a slot, and charge its actual cost, or its estimated cost if there is no result."""
        cost: int | None = None
        try:
            async with time_limit(self._limits.request_timeout), self._slot(prepared):
                cost = prepared.estimate.requested
                result: Result = await self._state.executor.run(prepared, request_id_of(self._request.scope))
                if result.cost is not None:
                    cost = result.cost.actual
                return result
        except Timeout as error:
            advice = " It may have been committed; retry it only with an idempotencyKey." if prepared.writes else ""
            raise Timeout(f"{error.message}{advice}") from error
        finally:
            if cost is not None:
                self._rate_status = await self._state.rate_limiter.charge(self._rate_status, max(1, cost))

    def _slot(self, prepared: PreparedOperation) -> AbstractAsyncContextManager[Any]:
        """Return a slot, if the operation uses the database."""
        if not prepared.uses_database:
            return nullcontext()
        admission: Admission = self._state.admission
        return admission.slot(self._principal.tenant_id, self._principal.rate_key)

    def _rate_limited(self) -> _Outcome | None:
        """Return the rejection of a caller that has exceeded a rate limit, or None."""
        if not (retry_after := self._rate_status.retry_after):
            return None
        error = self._rate_status.error()
        return self._reject(error, status_of([error.code], 400), {"Retry-After": str(retry_after)})

    def _reject(self, error: HeadwaterError, status: int, headers: dict[str, str] | None = None) -> _Outcome:
        self._codes.append(error.code)
        return _Outcome(error_body(self._request.scope, error), status, headers or {})
