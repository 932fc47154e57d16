"""A caller's own name for a write: sent again, it is answered as the first time and not done twice."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from db.connection import WriteConnection
from db.errors import Conflict
from db.sql import statement
from db.temporal.change_log import Outcome

_CLAIM = statement("tenancy/idempotency_claim")
_ANSWER_OF = statement("tenancy/idempotency_select")
_REMEMBER = statement("tenancy/idempotency_store")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of a request, and the digest of what it asked for: the same key with other content is a mistake."""

    key: str
    digest: UUID


async def run_once(
    connection: WriteConnection, request: IdempotencyKey | None, write: Callable[[], Awaitable[Outcome]]
) -> Outcome:
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
