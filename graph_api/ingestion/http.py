"""POST /api/v1/ingest: JSON lines, loaded as they come, however many."""

import asyncio
import io
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from db.audit_entry import READ
from db.errors import BadInput, Forbidden, HeadwaterError, Timeout, Unauthenticated, Unavailable
from graph_api.http.deadline import CLIENT_CLOSED_REQUEST, time_limit
from graph_api.http.rate_limits import RateLimitStatus
from graph_api.http.responses import error_entry, error_response, json_response, request_id_of, status_of
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.progress import NAMED
from graph_api.ingestion.row import RowError
from schema.execution.principal import Principal
from schema.language.scopes import Scope

# None of them is what a page elsewhere can have a browser send without being asked first.
MEDIA_TYPES = ("application/x-ndjson", "application/jsonl")

# Whoever is refused has perhaps not sent everything yet, and what is left is not worth reading.
_LAST = {"Connection": "close"}


async def ingest(request: Request) -> Response:
    """Loads the body, and answers what became of its lines."""
    scope = request.scope
    try:
        principal: Principal = await request.app.state.authenticator.authenticate(request.headers)
        if Scope.WRITE not in principal.scopes:
            raise _denied(principal)
    except HeadwaterError as error:
        return error_response(scope, status_of([error.code], 400), error, headers=_LAST)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
        reason = BadInput(f"Lines are sent as JSON, one object a line, with Content-Type: {' or '.join(MEDIA_TYPES)}.")
        return error_response(scope, 415, reason, headers=_LAST)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return error_response(scope, 415, BadInput("Lines are sent as they are, without a Content-Encoding."), headers=_LAST)
    try:
        options = _options(request.query_params)
    except BadInput as error:
        return error_response(scope, 400, error, headers=_LAST)
    state = request.app.state
    rate_status = await state.rate_limiter.status(principal.tenant_id, principal.rate_key)
    if rate_status.retry_after:
        headers = {**_LAST, **rate_status.headers, "Retry-After": str(rate_status.retry_after)}
        return error_response(scope, 429, rate_status.error(), headers=headers)
    try:
        # a dry run holds a connection for as long as its client sends
        if principal.operator and options[1]:
            # a dry run leaves nothing, not even the word of it
            await state.database.record_audit(
                principal.tenant_id, principal.author(request_id_of(scope), "ingest, tried out"), READ
            )
        async with state.load_admission.slot(principal.tenant_id, principal.rate_key):
            return await _load(request, principal, rate_status, *options)
    except Unavailable as error:
        return error_response(scope, 503, error, headers=_LAST)


async def _load(
    request: Request, principal: Principal, rate_status: RateLimitStatus, on_error: OnError, dry_run: bool
) -> Response:
    state = request.app.state
    faults: list[RowError] = []

    def reject(fault: RowError) -> None:
        if len(faults) < NAMED:
            faults.append(fault)

    load = Load(
        state.database,
        principal.tenant_id,
        # a client may send one id twice, but what a load has said it has said by itself
        principal.author(f"{request_id_of(request.scope)}/{uuid4()}", "ingest"),
        advanced=lambda rows, position: None,
        rejected=reject,
        on_error=on_error,
        dry_run=dry_run,
    )
    failure: HeadwaterError | None = None
    body = _Body(request, load, state.request_limits.body_timeout)
    try:
        await load.run(io.BufferedReader(body), JsonLines)
    except HeadwaterError as error:
        failure = error
    finally:
        body.abandon()
        await state.rate_limiter.charge(rate_status, max(1, load.summary.rows))
    if body.gone:
        # nobody reads this but the log
        return error_response(
            request.scope, CLIENT_CLOSED_REQUEST, Unavailable("The client went away before its lines were loaded.")
        )
    return _answer(request, load, faults, failure, silent=body.silent)


def _denied(principal: Principal) -> HeadwaterError:
    """Why who cannot write anywhere cannot load: what a line is about shows only when it is written, with many others."""
    if Scope.SELF in principal.scopes:
        return Forbidden("Loading needs the scope write, for every domain; these credentials do not have it.")
    return Unauthenticated("Loading is not for everybody. Send a key as X-API-Key, or as Authorization: Bearer.")


def _answer(request: Request, load: Load, faults: list[RowError], failure: HeadwaterError | None, *, silent: bool) -> Response:
    """What became of the lines: what is kept, if something ended the load, too."""
    content: dict[str, Any] = {
        "created": load.summary.created,
        "updated": load.summary.updated,
        "unchanged": load.summary.unchanged,
        "rejected": load.summary.rejected,
        "rows": load.summary.rows,
        "faults": [fault._asdict() for fault in faults],
    }
    status = 200
    if failure is not None:
        content["errors"] = [error_entry(failure)]
        status = 408 if silent else 503 if isinstance(failure, Unavailable | Timeout) else 400
    elif load.stopped:
        status = 400
    content["extensions"] = {"requestId": request_id_of(request.scope)}
    return json_response(content, status, headers=None if status == 200 else _LAST)


def _options(given: QueryParams) -> tuple[OnError, bool]:
    for name in given:
        if name not in ("on_error", "dry_run"):
            raise BadInput(f"There is no parameter {name!r}. There are dry_run and on_error.", field=name)
    on_error, dry_run = given.get("on_error", OnError.STOP), given.get("dry_run", "false")
    if on_error not in list(OnError):
        raise BadInput(f"on_error is one of {', '.join(OnError)}.", field="on_error")
    if dry_run not in ("true", "false"):
        raise BadInput("dry_run is true or false.", field="dry_run")
    return OnError(on_error), dry_run == "true"


class _Body(io.RawIOBase):
    """A request's body as a file for another thread. That one asks the loop for each piece, and nothing is read ahead of it, so a
    client is slowed down to what the database takes in. One that goes away ends the load, and so does one that is silent."""

    def __init__(self, request: Request, load: Load, patience: float) -> None:
        super().__init__()
        self.gone = False
        self.silent = False
        self._patience = patience
        self._request = request
        self._pieces = request.stream()
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._asked: Future[bytes] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._piece:
            self._asked = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            self._piece = memoryview(self._asked.result())
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def abandon(self) -> None:
        """Nobody reads any more."""
        for waiting in (self._asked, self._watching):
            if waiting is not None:
                waiting.cancel()

    async def _next(self) -> bytes:
        """The next piece; none is the end."""
        try:
            async with time_limit(self._patience):
                async for piece in self._pieces:
                    if piece:
                        return piece
        except Timeout as error:
            self.silent = True
            raise Timeout(f"Nothing of the body came for {self._patience:g} s.") from error
        except ClientDisconnect as error:
            self.gone = True
            raise BadInput("The request ended before its body did.") from error
        self._watching = self._watching or asyncio.create_task(self._watch())
        return b""

    async def _watch(self) -> None:
        """Where the body is read, all that may come is that the client goes away."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._load.leave()
