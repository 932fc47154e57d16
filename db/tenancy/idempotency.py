"""Idempotency keys: a write that is sent again with the same key is not done twice, and has the same outcome."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from db.connection import WriteConnection
from db.errors import Conflict
from db.sql import statement
from db.temporal.change_log import Outcome

_CLAIM = statement("tenancy/idempotency_claim")
_SELECT = statement("tenancy/idempotency_select")
_STORE = statement("tenancy/idempotency_store")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of a request and the digest of its content: the same key with other content is refused."""

    key: str
    digest: UUID


async def run_once(
    connection: WriteConnection, idempotency_key: IdempotencyKey | None, write: Callable[[], Awaitable[Outcome]]
) -> Outcome:
    """Run the write, or return the stored outcome if a request with this key has committed. Of several concurrent requests with
    one key, one writes and the others wait for it."""
    if idempotency_key is None:
        return await write()
    request = {"key": idempotency_key.key, "digest": idempotency_key.digest}
    if not await connection.execute(_CLAIM, request):
        stored = await connection.fetch_one(_SELECT, {"key": idempotency_key.key})
        if stored is None or stored.digest != idempotency_key.digest:
            raise Conflict(
                "This idempotencyKey was used for another write. Use a new key for new content.", field="idempotencyKey"
            )
        return Outcome(stored.subject_id, stored.change_ts, stored.changed, uid=stored.uid)
    outcome = await write()
    stored_outcome = {"subject": outcome.subject_id, "uid": outcome.uid, "instant": outcome.at, "changed": outcome.changed}
    await connection.execute(_STORE, {**request, **stored_outcome})
    return outcome
