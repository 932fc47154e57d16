"""Records elsewhere: asked for while an operation runs, fetched once it is over and holds no connection to the database."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from graphql import FieldNode, GraphQLError

from db.errors import Unavailable


class Lookup(NamedTuple):
    """Which record: that whose field is the key, in a service, at an endpoint."""

    service: str
    endpoint: str
    field: str
    key: str


@dataclass(frozen=True, slots=True, eq=False)
class PendingRecord:
    """Stands in the answer where a record is to come."""

    lookup: Lookup
    path: list[str | int]
    nodes: list[FieldNode]


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom records are fetched."""

    request_id: str
    authorization: str | None = field(default=None, repr=False)
    traceparent: str | None = None


class Fetch(Protocol):
    """Fetches records, each once; given are also the numbers of the places where each is to stand."""

    async def __call__(self, asked: Mapping[Lookup, int], caller: Caller) -> Mapping[Lookup, Any]:
        """Each record, or the exception that says why there is none."""
        ...


async def fetch_nothing(asked: Mapping[Lookup, int], caller: Caller) -> Mapping[Lookup, Any]:
    """What becomes of records where no service is configured."""
    return {lookup: unconfigured(lookup.service) for lookup in asked}


def unconfigured(service: str) -> Unavailable:
    return Unavailable(f"The service {service} is not configured here. Name it in HEADWATER_SERVICES.")


async def resolve_records(
    data: dict[str, Any] | None, asked: Sequence[PendingRecord], fetch: Fetch, caller: Caller
) -> list[GraphQLError]:
    """Puts each record where it was asked for, or null; tells why of each that is not there."""
    places = [(holder, it) for it in asked if (holder := _holder(data, it)) is not None]
    if not places:
        return []
    counts = Counter(it.lookup for _, it in places)
    try:
        found = await fetch(counts, caller)
    except Exception as error:
        # what was done is done: a defect in fetching costs the records, and not the answer
        found = dict.fromkeys(counts, error)
    failed = []
    for holder, it in places:
        record = found[it.lookup]
        if isinstance(record, Exception):
            failed.append(GraphQLError(str(record), it.nodes, path=it.path, original_error=record))
            record = None
        holder[it.path[-1]] = record
    return failed


def _holder(data: dict[str, Any] | None, asked: PendingRecord) -> Any:
    """What holds the place of a record in the answer; None where something above it became null."""
    holder: Any = data
    for step in asked.path[:-1]:
        if holder is None:
            return None
        holder = holder[step]
    return holder
