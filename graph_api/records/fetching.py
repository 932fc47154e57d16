"""Fetching of external records, from configured services only."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import structlog

from db.errors import LimitExceeded, Unavailable
from graph_api.records.configuration import Service
from graph_api.records.remote_service import RemoteService
from graph_api.records.results import RecordResults
from schema.execution.external_record import Caller, FindGrants, Lookup, unconfigured

# Seconds that one request waits for all its records.
TOTAL_TIMEOUT = 10

log = structlog.get_logger("headwater.records")


class RecordFetcher:
    """Fetcher of external records; one per process. It fetches each record of a request once."""

    def __init__(self, services: Mapping[str, Service], find_grants: FindGrants) -> None:
        self._find_grants = find_grants
        self._services = {name: RemoteService(name, service) for name, service in services.items()}

    async def __call__(self, requested: Mapping[Lookup, int], caller: Caller) -> dict[Lookup, Any]:
        results = RecordResults(requested)
        # the type may have been registered when the service was for other tenants or paths, or by a load elsewhere
        grants = await self._find_grants(caller.tenant)
        by_service: dict[str, list[Lookup]] = defaultdict(list)
        for lookup in requested:
            if grants is not None and grants.covers(lookup.service, lookup.endpoint):
                by_service[lookup.service].append(lookup)
            else:
                results.records[lookup] = unconfigured(lookup, caller)
        workers = []
        for name, lookups in by_service.items():
            service = self._services[name]
            # no more workers than the service allows requests: a large request takes turns with small ones
            batches = service.batches(lookups)
            workers += [
                asyncio.create_task(service.work(batches, results, caller)) for _ in range(min(len(lookups), service.concurrency))
            ]
        try:
            if workers:
                await asyncio.wait(workers, timeout=TOTAL_TIMEOUT)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        timed_out = Unavailable(
            f"Fetching the external records of this request took longer than {TOTAL_TIMEOUT} s. Select fewer in one request."
        )
        records = {lookup: results.records.get(lookup, timed_out) for lookup in requested}
        _log_failures(records, results.causes)
        return records

    async def close(self) -> None:
        for service in self._services.values():
            await service.close()


def _log_failures(records: Mapping[Lookup, Any], causes: Mapping[str, str]) -> None:
    """Log one line per service and reason. The cause is in the log only; the client does not get it."""
    failures = Counter(
        (lookup.service, record.message) for lookup, record in records.items() if isinstance(record, Unavailable | LimitExceeded)
    )
    for (service, reason), count in failures.items():
        log.warning("record fetch failed", service=service, reason=reason, records=count, cause=causes.get(reason))
