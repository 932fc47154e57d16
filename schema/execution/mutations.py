"""Mutations: run a write once per idempotency key, and read anew what was loaded before it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from db.connection import WriteConnection
from db.errors import NotFound
from db.temporal.change_log import Outcome
from db.tenancy.idempotency import IdempotencyKey, run_once
from schema.execution.context import Info
from schema.language.inputs import DeletePayload, idempotency_key_of

Write = Callable[[WriteConnection], Awaitable[Outcome]]
WriteAtOnce = Callable[[WriteConnection], Awaitable[Outcome | None]]


async def write_once(info: Info, key: IdempotencyKey | None, write: Write, at_once: WriteAtOnce | None = None) -> Outcome:
    """Run a write, or return the outcome of the earlier request with the same key. Later loads see the write.

    `at_once` is the same write with one statement, which is tried first where no transaction is needed. Returns None if it takes
    more.
    """
    if at_once is not None and key is None:
        written: Outcome | None = await info.context.transaction.write_at_once(at_once)
        if written is not None:
            return written
    connection = await info.context.transaction.writer(read_now=False)
    outcome = await run_once(connection, key, lambda: write(connection))
    info.context.invalidate()
    return outcome


async def delete_once(
    info: Info,
    mutation: str,
    type_name: str,
    content: dict[str, Any],
    delete: Callable[[WriteConnection, datetime | None], Awaitable[Outcome]],
) -> DeletePayload:
    """Run a deletion once per idempotency key. `type_name` is the GraphQL type that the deleted id names."""
    key, at = idempotency_key_of(mutation, content), content.get("at")
    outcome = await write_once(info, key, lambda connection: delete(connection, at))
    assert outcome.uid is not None, "a deletion knows the uid of its subject"
    return DeletePayload.of(type_name, outcome.uid, at, changed=outcome.changed)


def lost_result_error(subject: str) -> NotFound:
    """Build the error of a repeated mutation whose result no longer exists."""
    return NotFound(
        f"{subject} was deleted at the same instant, or purged, since the first request with this idempotencyKey.", field="at"
    )
