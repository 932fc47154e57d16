"""The GraphQL view: a request comes in, is run, and its answer goes out. GraphQL over HTTP, and GraphiQL for browsers."""

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
from graph_api.http.deadline import CLIENT_GONE, cancel_on_disconnect, time_limit
from graph_api.http.media_types import GRAPHQL, JSON, acceptable, is_json
from graph_api.http.rate_limits import RateLimitStatus
from graph_api.http.request_parsing import parse_operation, read_json_body, read_query_string
from graph_api.http.responses import answer, refusal, refused, request_id_of, status_of
from graph_api.settings import Settings
from schema.execution.executor import Executor, PreparedOperation
from schema.execution.executor import Request as Operation
from schema.execution.executor import Response as Result
from schema.execution.principal import Principal

# The rest of a body is not worth reading.
_LAST = {"Connection": "close"}


async def graphql(request: Request) -> Response:
    """POST runs an operation, and so does a GET that no page elsewhere can have sent; a browser's GET opens GraphiQL."""
    if request.method != "POST" and "text/html" in request.headers.get("accept", ""):
        page = render_page(EXAMPLES, str(request.url.replace(query="")), guarded=request.app.state.door.guarded)
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})
    media_type = acceptable(request.headers.getlist("accept"))
    if media_type is None:
        return refusal(request.scope, 406, BadInput(f"Answers are {GRAPHQL} or {JSON}; Accept names neither."))
    if request.method == "POST" and not is_json(request.headers.get("content-type", "")):
        reason = BadInput(f"An operation is sent as JSON in UTF-8, with Content-Type: {JSON}.")
        return refusal(request.scope, 415, reason, media_type=media_type)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        reason = BadInput("An operation is sent as it is, without a Content-Encoding.")
        return refusal(request.scope, 415, reason, media_type=media_type, headers=_LAST)
    try:
        principal = await request.app.state.door.enter(request.headers)
    except HeadwaterError as error:
        return refusal(request.scope, status_of([error.code], 400), error, media_type=media_type, headers=_LAST)
    standing = await request.app.state.rates.standing(principal.tenant_id, principal.rate_key)
    outcome = await _RequestHandler(request, principal, standing, media_type).run()
    return answer(outcome.content, outcome.status, media_type=media_type, headers=outcome.headers)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What an operation, or a request of several, is answered."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class _RequestHandler:
    """One request of a caller who is known, and where that one stands."""

    def __init__(self, request: Request, principal: Principal, standing: RateLimitStatus, media_type: str) -> None:
        self._request = request
        self._principal = principal
        self._standing = standing
        self._media_type = media_type
        self._state = request.app.state
        self._operations: list[str] = []
        self._codes: list[str] = []

    async def run(self) -> _Outcome:
        """Reads what is asked, and runs it, for as long as somebody waits for the answer."""
        outcome = self._rate_limited() or await self._read_and_run()
        self._request.scope["state"].update(operation=", ".join(self._operations), errors=self._codes)
        return _Outcome(outcome.content, outcome.status, {**self._standing.headers, **outcome.headers})

    async def _read_and_run(self) -> _Outcome:
        posted = self._request.method == "POST"
        settings: Settings = self._state.settings
        try:
            if posted:
                content = await read_json_body(self._request, settings.max_body_bytes, settings.body_timeout)
            else:
                content = read_query_string(self._request)
        except Timeout as error:
            return self._refuse(error, 408, _LAST)
        except LimitExceeded as error:
            return self._refuse(error, 413 if posted else 414, _LAST)
        except BadInput as error:
            return self._refuse(error, 400)
        try:
            async with cancel_on_disconnect(self._request):
                return await (self._several(content) if isinstance(content, list) else self._one(content))
        except ClientDisconnect:
            # nobody reads this but the log
            return self._refuse(Unavailable("The client went away before its answer was there."), CLIENT_GONE)

    async def _several(self, contents: list[Any]) -> _Outcome:
        """One after the other, each as if it were sent alone."""
        most = self._state.settings.max_batch
        if not most:
            reason = BadInput("Batching is off: send one operation a request, as a JSON object. HEADWATER_MAX_BATCH allows more.")
            return self._refuse(reason, 400)
        if not contents:
            return self._refuse(BadInput("The list of operations is empty."), 400)
        if len(contents) > most:
            return self._refuse(LimitExceeded(f"A request may send {most} operations; these are {len(contents)}."), 400)
        return _Outcome([(await self._one(content)).content for content in contents])

    async def _one(self, content: Any) -> _Outcome:
        if (overdrawn := self._rate_limited()) is not None:
            return overdrawn
        try:
            operation = parse_operation(content, self._request)
            result = await self._prepare(operation)
            if isinstance(result, PreparedOperation):
                if result.writes and self._request.method != "POST":
                    return self._refuse(BadInput("A GET only reads. Send mutations by POST."), 405, {"Allow": "POST"})
                result = await self._run(result)
            else:
                # to read it was work, too
                self._standing = await self._state.rates.charge(self._standing, 1)
        except HeadwaterError as error:
            return self._refuse(error, status_of([error.code], 400))
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
        """What is to be run, or why it is not. A document that is not known is read in its turn, and then none for as long again:
        reading is work that nothing else runs beside, and whoever sends what is refused is not charged for it."""
        executor: Executor = self._state.executor
        if not executor.has_to_read(operation, self._principal):
            return executor.prepare(operation, self._principal)
        reading: Admission = self._state.reading
        async with reading.place(self._principal.tenant_id, self._principal.rate_key):
            began = time.perf_counter()
            prepared = executor.prepare(operation, self._principal)
            await asyncio.sleep(time.perf_counter() - began)
        return prepared

    async def _run(self, ready: PreparedOperation) -> Result:
        """Runs an operation when its turn comes, and charges what it cost; what it asked for, if it came to no result."""
        cost: int | None = None
        try:
            async with time_limit(self._state.settings.request_timeout), self._turn(ready):
                cost = ready.reckoning.requested
                result: Result = await self._state.executor.run(ready, request_id_of(self._request.scope))
                if result.cost is not None:
                    cost = result.cost.actual
                return result
        except Timeout as error:
            kept = " Whether it was kept is not known; with an idempotencyKey it is safe to send it again."
            raise Timeout(f"{error.message}{kept if ready.writes else ''}") from error
        finally:
            if cost is not None:
                self._standing = await self._state.rates.charge(self._standing, max(1, cost))

    def _turn(self, ready: PreparedOperation) -> AbstractAsyncContextManager[Any]:
        """A place at the database, for what asks for something there."""
        if not ready.asks_database:
            return nullcontext()
        admission: Admission = self._state.admission
        return admission.place(self._principal.tenant_id, self._principal.rate_key)

    def _rate_limited(self) -> _Outcome | None:
        """Why nothing more is run for now, if that is so."""
        if not (wait := self._standing.wait):
            return None
        reason = self._standing.overdrawn()
        return self._refuse(reason, status_of([reason.code], 400), {"Retry-After": str(wait)})

    def _refuse(self, error: HeadwaterError, status: int, headers: dict[str, str] | None = None) -> _Outcome:
        self._codes.append(error.code)
        return _Outcome(refused(self._request.scope, error), status, headers or {})
