"""Requests for lookups: grouping lookups into batches, and the URL of a batch."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import httpx

from db.registries.endpoint import KEY, decode, is_path
from schema.execution.external_record import Lookup

# Characters of a query string beyond which no further key is added.
_MAX_QUERY_LENGTH = 4_000


class InvalidUrl(Exception):
    """No URL within the service can be built for a batch."""


def batch_lookups(lookups: Sequence[Lookup], max_keys: int) -> Iterator[list[Lookup]]:
    """Group lookups of one endpoint and field into batches of at most `max_keys`, or of one if the key is part of the path."""
    groups: dict[tuple[str, str], list[Lookup]] = defaultdict(list)
    for lookup in lookups:
        groups[lookup.endpoint, lookup.field].append(lookup)
    for (endpoint, _), group in groups.items():
        size = 1 if KEY in endpoint else max_keys
        batch: list[Lookup] = []
        length = 0
        for lookup in group:
            batch.append(lookup)
            length += len(_query([lookup]))
            if len(batch) == size or length > _MAX_QUERY_LENGTH:
                yield batch
                batch, length = [], 0
        if batch:
            yield batch


def batch_url(origin: httpx.URL, base_path: str, batch: Sequence[Lookup]) -> httpx.URL | None:
    """Build the URL of a batch. None if a key in the path would leave the path of the endpoint, so that no record can have it.

    Raise InvalidUrl if the endpoint does not lie within the service.
    """
    endpoint, key = batch[0].endpoint, batch[0].key
    if not is_path(endpoint.replace(KEY, "key", 1)):
        raise InvalidUrl(f"has an endpoint that is not a valid path: {endpoint!r}")
    # some servers decode a path twice before they resolve it
    if KEY in endpoint and {"/", "\\"} & set(decode(key)):
        return None
    path = base_path + endpoint.replace(KEY, quote(key, safe=""))
    if not is_path(path):
        return None
    target = (path if KEY in endpoint else f"{path}?{_query(batch)}").encode()
    url = origin.copy_with(raw_path=target)
    # defence in depth: never send anything but the target built above
    if url.raw_path != target:
        raise InvalidUrl("cannot be sent a request for this key")
    return url


def _query(batch: Sequence[Lookup]) -> str:
    return "&".join(f"{quote(it.field, safe='')}={quote(it.key, safe='')}" for it in batch)
