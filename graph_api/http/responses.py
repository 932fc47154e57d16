"""JSON answers, and refusals in the shape that GraphQL errors have."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Scope

from db.errors import Forbidden, HeadwaterError, RateLimited, Timeout, Unauthenticated, Unavailable
from graph_api.http.media_types import JSON
from schema.language.errors import INTERNAL

# What HTTP calls a request that was not run, by the code of its error. Any other is the client's to mend.
STATUSES = {
    Unauthenticated.code: 401,
    Forbidden.code: 403,
    RateLimited.code: 429,
    Unavailable.code: 503,
    Timeout.code: 504,
}

# What a client is told beside that, so that it knows how to go on. Whoever knows better says so.
_HOW_TO_GO_ON = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


def request_id_of(scope: Scope) -> str:
    """The id that this request goes by."""
    return str(scope["state"]["request_id"])


def answer(content: Any, status: int = 200, *, media_type: str = JSON, headers: Mapping[str, str] | None = None) -> Response:
    told = {**_HOW_TO_GO_ON.get(status, {}), **(headers or {})}
    return Response(orjson.dumps(content), status, told, media_type=f"{media_type}; charset=utf-8")


def described(error: HeadwaterError) -> dict[str, Any]:
    """An error as GraphQL has it."""
    extensions = {"code": error.code} if error.field is None else {"code": error.code, "field": error.field}
    return {"message": error.message, "extensions": extensions}


def status_of(codes: Iterable[str], otherwise: int) -> int:
    """The status of a request that was not run, by what was wrong with it."""
    return next((STATUSES[code] for code in codes if code in STATUSES), otherwise)


def refused(scope: Scope, error: HeadwaterError) -> dict[str, Any]:
    """Why a request was not run, as its answer has it."""
    return {"errors": [described(error)], "extensions": {"requestId": request_id_of(scope)}}


def refusal(
    scope: Scope, status: int, error: HeadwaterError, *, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """A request that was not run, and why."""
    return answer(refused(scope, error), status, media_type=media_type, headers=headers)


def internal_error(scope: Scope) -> Response:
    """A defect of ours: the log has the traceback, the client is told what to quote."""
    content = {
        "errors": [{"message": INTERNAL, "extensions": {"code": "INTERNAL"}}],
        "extensions": {"requestId": request_id_of(scope)},
    }
    return answer(content, 500)
