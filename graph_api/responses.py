"""JSON answers, and refusals in the shape that GraphQL errors have."""

from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Scope

from db.errors import HeadwaterError
from schema.errors import INTERNAL

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"


def request_id_of(scope: Scope) -> str:
    """The id that this request goes by."""
    return str(scope["state"]["request_id"])


def answer(content: Any, status: int = 200, *, media_type: str = JSON, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type=f"{media_type}; charset=utf-8")


def described(error: HeadwaterError) -> dict[str, Any]:
    """An error as GraphQL has it."""
    extensions = {"code": error.code} if error.field is None else {"code": error.code, "field": error.field}
    return {"message": error.message, "extensions": extensions}


def refusal(
    scope: Scope, status: int, error: HeadwaterError, *, media_type: str = JSON, headers: dict[str, str] | None = None
) -> Response:
    """A request that was not run, and why."""
    content = {
        "errors": [described(error)],
        "extensions": {"requestId": request_id_of(scope)},
    }
    return answer(content, status, media_type=media_type, headers=headers)


def unforeseen(scope: Scope) -> Response:
    """A defect of ours: the log has the traceback, the client is told what to quote."""
    content = {
        "errors": [{"message": INTERNAL, "extensions": {"code": "INTERNAL"}}],
        "extensions": {"requestId": request_id_of(scope)},
    }
    return answer(content, 500)
