"""External records: deferred while an operation runs, and fetched when it has released its connection to the database."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from graphql import FieldNode, GraphQLError

from db.errors import Unavailable
from db.registries.service_grants import ServiceGrants


class Lookup(NamedTuple):
    """Address of an external record: a service, an endpoint, and the field that equals a key."""

    service: str
    endpoint: str
    field: str
    key: str


@dataclass(frozen=True, slots=True, eq=False)
class PendingRecord:
    """Placeholder in the result for a record that is fetched later."""

    lookup: Lookup
    path: list[str | int]
    nodes: list[FieldNode]


@dataclass(frozen=True, slots=True)
class Caller:
    """Request for which records are fetched."""

    request_id: str
    tenant: str
    tenant_id: int
    # key under which slots are counted
    credential: str
    authorization: str | None = field(default=None, repr=False)
    traceparent: str | None = None


class Fetch(Protocol):
    """Function that fetches records, each once."""

    async def __call__(self, requested: Mapping[Lookup, int], caller: Caller, /) -> Mapping[Lookup, Any]:
        """Return each record, or the exception that prevented it. `requested` counts the placeholders of each record."""
        ...


class FindGrants(Protocol):
    """Function that finds the services that sources of a tenant may name."""

    async def __call__(self, tenant: str, /) -> ServiceGrants | None:
        """Return the services and their paths. None: no service is configured, so that sources may name any."""
        ...


async def fetch_nothing(requested: Mapping[Lookup, int], caller: Caller) -> Mapping[Lookup, Any]:
    """Return an error for each record: no service is configured."""
    return {lookup: unconfigured(lookup, caller) for lookup in requested}


async def grant_any(tenant: str) -> ServiceGrants | None:
    """Return None: no service is configured."""
    return None


def unconfigured(lookup: Lookup, caller: Caller) -> Unavailable:
    """Return the error of a record whose service is not configured for the tenant, or not for the path of its endpoint.

    It is the same for a service that is configured for other tenants, whose names and paths are none of this tenant's business.
    """
    return Unavailable(
        f"The service {lookup.service} is not configured for the tenant {caller.tenant} at {lookup.endpoint}. Add it to"
        " HEADWATER_SERVICES, with the tenant and the path in its option tenants."
    )


async def resolve_records(
    data: dict[str, Any] | None, pending: Sequence[PendingRecord], fetch: Fetch, caller: Caller
) -> list[GraphQLError]:
    """Replace the placeholders in `data` by their records, or by null where the fetch failed. Return the errors."""
    placed = [(parent, it) for it in pending if (parent := _parent(data, it)) is not None]
    if not placed:
        return []
    counts = Counter(it.lookup for _, it in placed)
    try:
        fetched = await fetch(counts, caller)
    except Exception as error:
        # the operation is complete: a defect in fetching fails the records only
        fetched = dict.fromkeys(counts, error)
    errors = []
    for parent, it in placed:
        record = fetched[it.lookup]
        if isinstance(record, Exception):
            errors.append(GraphQLError(str(record), it.nodes, path=it.path, original_error=record))
            record = None
        parent[it.path[-1]] = record
    return errors


def _parent(data: dict[str, Any] | None, pending: PendingRecord) -> Any:
    """Return the object or list that contains a placeholder; None: something above it became null."""
    parent: Any = data
    for step in pending.path[:-1]:
        if parent is None:
            return None
        parent = parent[step]
    return parent
