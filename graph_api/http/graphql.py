"""The GraphQL endpoint: GraphQL over HTTP, and GraphiQL for browsers."""

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from starlette.datastructures import URL
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope

from db.admission import Admission
from db.errors import BadInput, HeadwaterError, LimitExceeded, Timeout, Unavailable
from db.tenant_ids import NO_TENANT_ID
from graph_api.auth.authenticator import Authenticator
from graph_api.graphiql.examples import EXAMPLES
from graph_api.graphiql.page import CONTENT_SECURITY_POLICY, render_page
from graph_api.http.browsers import CrossOriginPolicy
from graph_api.http.connection_limits import claim_connection
from graph_api.http.deadline import CLIENT_CLOSED_REQUEST, CancelOnDisconnect, watched
from graph_api.http.preparation import Preparation
from graph_api.http.rate_limits import RateLimiter, RateLimitStatus
from graph_api.http.request import HttpRequest
from graph_api.http.request_limits import RequestLimits
from graph_api.http.request_parsing import (
    BYTES_PER_COST,
    LARGE_BODY_BYTES,
    body_size,
    parse_json,
    parse_operation,
    read_body,
    read_query_string,
)
from graph_api.http.responses import (
    GRAPHQL,
    JSON,
    error_body,
    error_response,
    is_json_type,
    json_response,
    response_type,
    status_of,
)
from schema.execution.executor import Executor
from schema.execution.operation import PreparedOperation
from schema.execution.operation import Response as Result
from schema.execution.principal import Principal

_METHODS = ("GET", "HEAD", "POST")

_NO_HEADERS: Mapping[str, str] = {}

# The rest of a body is not read, so the connection cannot be used again.
_CLOSE = {"Connection": "close"}


class GraphQLEndpoint:
    """The endpoint that runs the operation of a POST, or of a GET that no page can forge, and shows GraphiQL to browsers."""

    def __init__(
        self,
        executor: Executor,
        authenticator: Authenticator,
        rate_limiter: RateLimiter,
        admission: Admission,
        body_admission: Admission,
        preparation: Preparation,
        limits: RequestLimits,
        cross_origin_policy: CrossOriginPolicy,
    ) -> None:
        self.executor = executor
        self.rate_limiter = rate_limiter
        self.admission = admission
        self.body_admission = body_admission
        self.preparation = preparation
        self.limits = limits
        self.cross_origin_policy = cross_origin_policy
        self._authenticator = authenticator

    async def respond(self, request: HttpRequest, receive: Receive) -> Response:
        scope, headers, request_id = request.scope, request.headers, request.request_id
        method = scope["method"]
        if method != "POST":
            if method not in _METHODS:
                reason = BadInput(f"{method} {scope['path']}: Method Not Allowed. The API is at POST /graphql.")
                return error_response(request_id, 405, reason, headers={"Allow": ", ".join(_METHODS)})
            if "text/html" in (headers.text(b"accept") or ""):
                return self._graphiql(scope)
        media_type = response_type(b",".join(headers.all(b"accept")))
        if media_type is None:
            return error_response(request_id, 406, BadInput(f"Accept must allow {GRAPHQL} or {JSON}."))
        if method == "POST" and not is_json_type(headers.get(b"content-type", b"")):
            reason = BadInput(f"Content-Type must be {JSON}, in UTF-8.")
            return error_response(request_id, 415, reason, media_type=media_type)
        if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
            reason = BadInput("Content-Encoding is not supported. Send the body uncompressed.")
            return error_response(request_id, 415, reason, media_type=media_type, headers=_CLOSE)
        try:
            credentials = headers.credentials()
            principal = await self._authenticator.authenticate(credentials)
            claim_connection(scope, principal.tenant_id)
        except HeadwaterError as error:
            return error_response(request_id, status_of([error.code], 400), error, media_type=media_type, headers=_CLOSE)
        rate_status = await self.rate_limiter.status(principal.tenant_id, principal.rate_key)
        return await _RequestHandler(self, request, receive, principal, credentials.forwarded, rate_status, media_type).respond()

    def _graphiql(self, scope: Scope) -> Response:
        url = str(URL(scope=scope).replace(query=""))
        page = render_page(EXAMPLES, url, require_auth=self._authenticator.require_auth)
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


class _Outcome(NamedTuple):
    """Content, status and headers of the response to an operation or a batch."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = _NO_HEADERS


class _RequestHandler:
    """Handler of one authenticated request."""

    def __init__(
        self,
        endpoint: GraphQLEndpoint,
        request: HttpRequest,
        receive: Receive,
        principal: Principal,
        # header that other services may receive
        authorization: str | None,
        rate_status: RateLimitStatus,
        media_type: str,
    ) -> None:
        self._endpoint = endpoint
        self._request = request
        self._receive = receive
        self._principal = principal
        self._authorization = authorization
        self._rate_status = rate_status
        self._media_type = media_type
        self._is_post = request.scope["method"] == "POST"
        self._max_body_bytes = endpoint.limits.max_body_bytes
        if principal.tenant_id == NO_TENANT_ID:
            # who has no credential can only read the schema
            self._max_body_bytes = min(self._max_body_bytes, LARGE_BODY_BYTES)
        self._operations: list[str] = []
        self._codes: list[str] = []

    async def respond(self) -> Response:
        """Read and run the request, unless the client disconnects."""
        outcome = self._rate_limited()
        if outcome is None:
            outcome = await (self._run_in_body_slot() if self._is_post and self._may_be_large() else self._read_and_run())
        elif self._is_post and body_size(self._request) > self._endpoint.limits.max_body_bytes:
            # what is no body is not even discarded
            outcome = outcome._replace(headers={**outcome.headers, **_CLOSE})
        self._request.operation, self._request.errors = ", ".join(self._operations), self._codes
        headers = {**self._rate_status.headers, **outcome.headers}
        return json_response(outcome.content, outcome.status, media_type=self._media_type, headers=headers)

    def _may_be_large(self) -> bool:
        """True unless the body is small, or is refused for its size at once."""
        size, max_bytes = body_size(self._request), self._max_body_bytes
        return size > LARGE_BODY_BYTES and max_bytes > LARGE_BODY_BYTES and (size <= max_bytes or size == inf)

    async def _run_in_body_slot(self) -> _Outcome:
        """Read and run a request with a large body in a slot of its own, so that a tenant has few such bodies in memory: the
        values in one take up to 25 times its size.
        """
        try:
            async with self._endpoint.body_admission.slot(self._principal.tenant_id, self._principal.rate_key):
                return await self._read_and_run()
        except Unavailable as error:
            return self._reject(error, 503, _CLOSE)

    async def _read_and_run(self) -> _Outcome:
        try:
            try:
                content = await self._read_json() if self._is_post else self._read_query_string()
            except Timeout as error:
                return self._reject(error, 408, _CLOSE)
            except LimitExceeded as error:
                return self._reject(error, 413 if self._is_post else 414, _CLOSE)
            except Unavailable as error:
                return self._reject(error, 503, _CLOSE)
            except BadInput as error:
                return self._reject(error, 400)
            return await (self._run_batch(content) if isinstance(content, list) else self._run_one(content))
        except ClientDisconnect:
            # only the log shows this response
            return self._reject(Unavailable("The client disconnected before its response."), CLIENT_CLOSED_REQUEST)

    def _read_query_string(self) -> dict[str, Any]:
        self._endpoint.cross_origin_policy.refuse_forgeable_get(self._request.headers)
        return read_query_string(self._request)

    async def _read_json(self) -> Any:
        """Read the JSON of the body.

        A large body is charged by its size, whatever it holds, and its JSON, which blocks the event loop, is parsed as documents
        are: one at a time, in fair order, followed by a pause as long as it took.
        """
        receive, endpoint, principal = self._receive, self._endpoint, self._principal
        body = await read_body(self._request, receive, self._max_body_bytes, endpoint.limits.body_timeout)
        if len(body) <= LARGE_BODY_BYTES:
            return parse_json(body)
        self._rate_status = await endpoint.rate_limiter.charge(self._rate_status, len(body) // BYTES_PER_COST)

        async def parse() -> Any:
            return parse_json(body)

        async with CancelOnDisconnect(receive):
            return await endpoint.preparation.in_turn(principal, parse)

    async def _run_batch(self, contents: list[Any]) -> _Outcome:
        """Run operations one after the other, each as if it were sent alone."""
        max_batch = self._endpoint.limits.max_batch
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
        return _Outcome([(self._rate_limited() or await self._run_one(content)).content for content in contents])

    async def _run_one(self, content: Any) -> _Outcome:
        try:
            operation = parse_operation(content, self._request, self._authorization)
            result = self._endpoint.executor.prepare_known(operation, self._principal)
            if result is None:
                result = await self._endpoint.preparation.prepare(operation, self._principal, self._receive)
            if isinstance(result, PreparedOperation) and result.lacks_figures:
                result = await self._endpoint.preparation.estimate_again(result, self._principal, self._receive)
            if isinstance(result, PreparedOperation):
                if result.writes and not self._is_post:
                    return self._reject(BadInput("A GET cannot run a mutation. Use POST."), 405, {"Allow": "POST"})
                ran = await self._run(result)
                if isinstance(ran, _Outcome):
                    return ran
                result = ran
            else:
                # parsing and validation cost time, too
                cost = max(1, len(operation.query or "") // BYTES_PER_COST)
                self._rate_status = await self._endpoint.rate_limiter.charge(self._rate_status, cost)
        except HeadwaterError as error:
            return self._reject(error, status_of([error.code], 400))
        self._operations.append(result.operation)
        body: dict[str, Any] = {"data": result.data} if result.ran else {}
        status = 200
        if result.errors:
            body["errors"] = result.errors
            codes = [error["extensions"]["code"] for error in result.errors]
            # each once: hundreds of fields can fail alike
            self._codes += dict.fromkeys(codes)
            if not result.ran:
                status = status_of(codes, 400 if self._media_type == GRAPHQL else 200)
        extensions = body["extensions"] = {"requestId": self._request.request_id}
        if result.cost is not None:
            extensions["cost"] = result.cost
        if result.resources is not None:
            extensions["resources"] = result.resources
        return _Outcome(body, status)

    async def _run(self, prepared: PreparedOperation) -> Result | _Outcome:
        """Charge the estimated cost of an operation and run it, or reject it if a rate limit is exceeded. Replace the estimate by
        the actual cost when it ends. An operation that uses the database runs in a slot, within its time, and only as long as
        the client is connected.

        One that began and has no result is charged its estimated cost.
        """
        executor, limiter = self._endpoint.executor, self._endpoint.rate_limiter
        charge = await limiter.enter(self._rate_status, max(1, prepared.estimate.requested))
        self._rate_status = charge.status
        if not charge.is_admitted:
            return self._rate_limited() or self._reject(self._rate_status.error(), 429)
        # what waits in vain for a slot costs nothing
        cost = 0
        try:
            if prepared.uses_database:

                async def run_in_slot() -> Result:
                    nonlocal cost
                    async with self._endpoint.admission.slot(self._principal.tenant_id, self._principal.rate_key):
                        cost = charge.cost
                        return await executor.run(prepared, self._request.request_id)

                result = await watched(self._receive, self._endpoint.limits.request_timeout, run_in_slot())
            else:
                # it waits for nothing
                cost = charge.cost
                result = await executor.run(prepared, self._request.request_id)
            if result.cost is not None:
                cost = max(1, result.cost.actual)
            return result
        except Timeout as error:
            advice = " It may have been committed; retry it only with an idempotencyKey." if prepared.writes else ""
            raise Timeout(f"{error.message}{advice}") from error
        finally:
            self._rate_status = await limiter.settle(charge, cost)

    def _rate_limited(self) -> _Outcome | None:
        """Return the rejection of a caller that has exceeded a rate limit, or None."""
        if not (retry_after := self._rate_status.retry_after):
            return None
        error = self._rate_status.error()
        return self._reject(error, status_of([error.code], 400), {"Retry-After": str(retry_after)})

    def _reject(self, error: HeadwaterError, status: int, headers: Mapping[str, str] = _NO_HEADERS) -> _Outcome:
        self._codes.append(error.code)
        return _Outcome(error_body(self._request.request_id, error), status, headers)
