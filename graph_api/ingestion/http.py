"""POST /api/v1/ingest: JSON lines, loaded as they are received, in bounded memory."""

import io
from contextlib import nullcontext
from typing import Any, NamedTuple
from uuid import uuid4

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from db.audit_entry import READ
from db.errors import BadInput, Forbidden, HeadwaterError, RateLimited, Unauthenticated, Unavailable
from graph_api.http.connection_limits import claim_connection
from graph_api.http.deadline import CLIENT_CLOSED_REQUEST, TimeLimit
from graph_api.http.rate_limits import RateLimiter, RateLimitStatus
from graph_api.http.request import request_of
from graph_api.http.request_limits import RequestLimits
from graph_api.http.responses import error_entry, error_response, json_response, status_of
from graph_api.ingestion.http_body import BodyFile
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.progress import NAMED
from graph_api.ingestion.row import RowError
from schema.execution.principal import Principal
from schema.language.scopes import Scope

# A browser sends none of these for a page of another origin without a preflight request.
MEDIA_TYPES = ("application/x-ndjson", "application/jsonl")

# Closes the connection: a client that gets an error may still be sending a body that is not worth reading.
_CLOSE = {"Connection": "close"}

# A load costs 1 for so many bytes, if that is more than its rows cost.
_BYTES_PER_COST = 1_000

_DRY_RUN_TIMEOUT = "The dry run took longer than {:g} s and was ended. Send fewer lines, or use headwater ingest --dry-run."


class _Options(NamedTuple):
    """Query parameters of a load."""

    on_error: OnError
    dry_run: bool


async def ingest(request: Request) -> Response:
    """Load the body, and respond with the counts of its lines."""
    incoming = request_of(request.scope)
    try:
        principal: Principal = await request.app.state.authenticator.authenticate(incoming.headers.credentials())
        claim_connection(request.scope, principal.tenant_id)
        if Scope.WRITE not in principal.scopes:
            raise _missing_scope(principal)
    except HeadwaterError as error:
        return error_response(incoming.request_id, status_of([error.code], 400), error, headers=_CLOSE)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in MEDIA_TYPES:
        unsupported = BadInput(f"Send JSON, one object on each line, with Content-Type: {' or '.join(MEDIA_TYPES)}.")
        return error_response(incoming.request_id, 415, unsupported, headers=_CLOSE)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        return error_response(incoming.request_id, 415, BadInput("Send the lines without a Content-Encoding."), headers=_CLOSE)
    try:
        options = _options(request.query_params)
    except BadInput as error:
        return error_response(incoming.request_id, 400, error, headers=_CLOSE)
    state = request.app.state
    rate_status = await state.rate_limiter.status(principal.tenant_id, principal.rate_key)
    if rate_status.retry_after:
        return error_response(incoming.request_id, 429, rate_status.error(), headers=_rate_headers(rate_status))
    try:
        # A dry run rolls back its own entry of the audit log.
        if principal.operator and options.dry_run:
            author = principal.author(incoming.request_id, "ingest, tried out")
            await state.database.record_audit(principal.tenant_id, author, READ)
        # A load holds its slot for as long as the client sends.
        async with state.load_admission.slot(principal.tenant_id, principal.rate_key):
            return await _load(request, principal, options)
    except Unavailable as error:
        return error_response(incoming.request_id, 503, error, headers=_CLOSE)


class _Charge:
    """Charges a load for its rows as they are written, or for the bytes that are received, if these cost more."""

    def __init__(self, limiter: RateLimiter, principal: Principal) -> None:
        self._limiter = limiter
        self._principal = principal
        self._charged = 0
        self.rate_status = RateLimitStatus()

    async def rows(self, count: int) -> RateLimited | None:
        """Charge for a number of rows in all. Return the error of a caller who has no cost left."""
        return await self._charge(count)

    async def bytes(self, count: int) -> RateLimited | None:
        """Charge for a number of bytes in all, of which rows may be deferred or lines empty, likewise."""
        return await self._charge(count // _BYTES_PER_COST)

    async def _charge(self, cost: int) -> RateLimited | None:
        more = cost - self._charged
        # the rows and the bytes are charged by two tasks
        self._charged = max(self._charged, cost)
        status = await self._limiter.status(self._principal.tenant_id, self._principal.rate_key)
        if more > 0:
            status = await self._limiter.charge(status, more)
        self.rate_status = status
        return status.error() if status.retry_after else None


async def _load(request: Request, principal: Principal, options: _Options) -> Response:
    state = request.app.state
    limits: RequestLimits = state.request_limits
    charge = _Charge(state.rate_limiter, principal)
    row_errors: list[RowError] = []

    def reject(error: RowError) -> None:
        if len(row_errors) < NAMED:
            row_errors.append(error)

    load = Load(
        state.database,
        principal.tenant_id,
        # A client may repeat a request id. A load needs a unique one: rows that contradict others of the same request are
        # rejected.
        principal.author(f"{request_of(request.scope).request_id}/{uuid4()}", "ingest"),
        advanced=lambda rows, position: None,
        rejected=reject,
        on_error=options.on_error,
        dry_run=options.dry_run,
        charge=charge.rows,
        grants=await state.find_grants(principal.tenant),
        may_read=Scope.READ in principal.scopes,
    )
    failure: HeadwaterError | None = None
    body = BodyFile(request, load, limits, charge.bytes)
    # Its transaction keeps PostgreSQL from removing dead rows, those of other tenants included.
    time_limit = TimeLimit(limits.request_timeout, _DRY_RUN_TIMEOUT.format(limits.request_timeout))
    try:
        async with time_limit if options.dry_run else nullcontext():
            await load.run(io.BufferedReader(body), JsonLines)
    except HeadwaterError as error:
        failure = error
    finally:
        body.abandon()
        state.figures.expire(principal.tenant_id)
        await charge.rows(max(1, load.summary.rows))
    if body.disconnected:
        # Only the log shows this response.
        disconnected = Unavailable("The client disconnected before its lines were loaded.")
        return error_response(request_of(request.scope).request_id, CLIENT_CLOSED_REQUEST, disconnected)
    return _response(request, load, row_errors, failure, charge.rate_status, timed_out=body.timed_out)


def _missing_scope(principal: Principal) -> HeadwaterError:
    """Return the error for a principal without the scope `write`.

    Domains are no substitute: the domain of a line is known only when it is written, together with many others.
    """
    if Scope.SELF in principal.scopes:
        return Forbidden("Loading needs the scope write, for all domains. Use credentials that have it.")
    return Unauthenticated("Loading needs credentials. Send a key as X-API-Key, or as Authorization: Bearer.")


def _response(
    request: Request,
    load: Load,
    row_errors: list[RowError],
    failure: HeadwaterError | None,
    rate_status: RateLimitStatus,
    *,
    timed_out: bool,
) -> Response:
    """Return the counts of what is kept, also if the load ended early, with the first row errors."""
    content: dict[str, Any] = {
        "created": load.summary.created,
        "updated": load.summary.updated,
        "unchanged": load.summary.unchanged,
        "rejected": load.summary.rejected,
        "rows": load.summary.rows,
        "faults": [error._asdict() for error in row_errors],
    }
    status, headers = 200, _CLOSE
    if failure is not None:
        content["errors"] = [error_entry(failure, may_read=load.may_read)]
        status = 408 if timed_out else status_of([failure.code], 400)
        if isinstance(failure, RateLimited):
            headers = _rate_headers(rate_status)
    elif load.failed:
        status = 400
    content["extensions"] = {"requestId": request_of(request.scope).request_id}
    return json_response(content, status, headers=None if status == 200 else headers)


def _rate_headers(rate_status: RateLimitStatus) -> dict[str, str]:
    """Return the headers for a caller who has no cost left."""
    return {**_CLOSE, **rate_status.headers, "Retry-After": str(rate_status.retry_after)}


def _options(parameters: QueryParams) -> _Options:
    for name in parameters:
        if name not in ("on_error", "dry_run"):
            raise BadInput(f"There is no parameter {name!r}. There are dry_run and on_error.", field=name)
    on_error, dry_run = parameters.get("on_error", OnError.STOP), parameters.get("dry_run", "false")
    if on_error not in list(OnError):
        raise BadInput(f"on_error must be one of {', '.join(OnError)}.", field="on_error")
    if dry_run not in ("true", "false"):
        raise BadInput("dry_run must be true or false.", field="dry_run")
    return _Options(OnError(on_error), dry_run == "true")
