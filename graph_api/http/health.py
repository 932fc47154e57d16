"""Health and readiness endpoints."""

from starlette.requests import Request
from starlette.responses import Response

from db.errors import HeadwaterError, ReadOnly
from db.revision import latest_revision
from graph_api.http.responses import json_response
from schema.language.errors import log_unavailable


async def health(_: Request) -> Response:
    """Answer 200: the process runs."""
    return json_response({"status": "ok"})


async def ready(request: Request) -> Response:
    """Answer 200 if the database responds and has the schema revision of this code, else 503. A database that accepts reads only
    is ready, and the answer says so."""
    try:
        revision, is_read_only = await request.app.state.database_status.get(None)
    except HeadwaterError as error:
        log_unavailable([error])
        return json_response({"status": "unavailable", "reason": error.message}, 503)
    if revision != latest_revision():
        reason = f"The database is at revision {revision}, this service needs {latest_revision()}. Run: headwater migrate"
        return json_response({"status": "unavailable", "reason": reason}, 503)
    if is_read_only:
        reason = ReadOnly().message
        return json_response({"status": "read-only", "revision": revision, "reason": reason})
    return json_response({"status": "ok", "revision": revision})
