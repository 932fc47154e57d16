"""The way in for whatever comes in bulk: a batch of states from any source, in a constant number of statements.

Identities are given or locked in one order, so that two loads cannot wait for each other; what each row does is judged in one
statement, appended to the log, and folded. What is refused is refused by itself and leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.asset import Ref, add_or_lock_each
from db.connection import WriteConnection
from db.errors import HeadwaterError
from db.temporal import Assertion, Kind, Operation, Outcome, ahead, record_each

# What one transaction takes in: enough to make statements cheap, few enough to hold its locks for moments only.
BATCH = 5_000


class Stated(NamedTuple):
    """The whole state, checked, that a source says an asset has from an instant on; without one, from now on."""

    ref: Ref
    payload: Mapping[str, Any]
    at: datetime | None = None


async def ingest(connection: WriteConnection, kind: Kind, batch: Sequence[Stated]) -> list[Outcome | HeadwaterError]:
    """Write a batch: what became of each, in its order. Of a subject at an instant, one request may say one thing."""
    results: list[Outcome | HeadwaterError | None] = [ahead(it.at, connection.now) for it in batch]
    identified = [place for place, refused in enumerate(results) if refused is None]
    identities = await add_or_lock_each(connection, kind, [batch[place].ref for place in identified])
    heard: list[int] = []
    assertions: list[Assertion] = []
    for place, identity in zip(identified, identities, strict=True):
        if isinstance(identity, HeadwaterError):
            results[place] = identity
        else:
            heard.append(place)
            assertions.append(Assertion(identity.asset_id, Operation.SET, batch[place].payload, batch[place].at))
    for place, outcome in zip(heard, await record_each(connection, kind, assertions, once=True), strict=True):
        results[place] = outcome
    return [it for it in results if it is not None]
