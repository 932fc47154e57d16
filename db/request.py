"""A caller's own name for a write: sent again, it is answered as the first time and not done twice."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from db.connection import WriteConnection
from db.errors import Conflict
from db.sql import load
from db.temporal import Outcome

_CLAIM = text(load("claim_request"))
_ANSWER_OF = text(load("answer_of_request"))
_REMEMBER = text(load("remember_answer"))


@dataclass(frozen=True, slots=True)
class Request:
    """The key of a request, and the digest of what it asked for: the same key with other content is a mistake."""

    key: str
    digest: UUID


async def once(connection: WriteConnection, request: Request | None, write: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Write, unless this request was answered before. Of several alike at once, all but one wait for the one's answer."""
    if request is None:
        return await write()
    named = {"key": request.key, "digest": request.digest}
    if not await connection.execute(_CLAIM, named):
        known = await connection.fetch_one(_ANSWER_OF, named)
        if known is None or known.digest != request.digest:
            raise Conflict(
                "This idempotencyKey was used for another write. Take a new key for new content.", field="idempotencyKey"
            )
        return Outcome(known.subject_id, known.change_ts, known.changed)
    outcome = await write()
    answer = {"subject": outcome.subject_id, "instant": outcome.at, "changed": outcome.changed}
    await connection.execute(_REMEMBER, {**named, **answer})
    return outcome
