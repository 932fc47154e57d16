"""Preparation of operations whose documents or plans are not known: parsed and planned one at a time, in fair order."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple, TypeVar

from starlette.types import Receive

from db.admission import Admission
from db.errors import Unavailable
from db.tenant_ids import NO_TENANT_ID
from graph_api.http.deadline import CancelOnDisconnect, watched
from graph_api.http.single_flight import SingleFlight
from schema.execution.document import PreparedDocument
from schema.execution.executor import Executor
from schema.execution.operation import PreparedOperation, Request, Response
from schema.execution.principal import Principal
from schema.planning.cache import PlannedOperation

T = TypeVar("T")

# Pause after a document of an anonymous request, as a multiple of the time that it took.
_ANONYMOUS_PAUSE = 3

# Seconds after which an anonymous request for which the queue is full is answered, so that those who retry at once are few.
_ANONYMOUS_REFUSAL = 0.5


class _Reading(NamedTuple):
    """A document that was read for an operation, and the operation prepared from it."""

    operation: Request
    # None: it was known, or is not read
    document: PreparedDocument | None
    prepared: PreparedOperation | Response


class Preparation:
    """Turns in which operations are prepared. Requests of a tenant that need the same at the same time share a turn."""

    def __init__(self, executor: Executor, admission: Admission, anonymous_admission: Admission, request_timeout: float) -> None:
        self._executor = executor
        self._admission = admission
        self._anonymous_admission = anonymous_admission
        self._request_timeout = request_timeout
        # by tenant, whose requests have their turns in order of arrival; and by text, or by plan
        self._readings = SingleFlight[tuple[int, str], _Reading]()
        self._plannings = SingleFlight[tuple[int, Hashable], PlannedOperation]()

    async def prepare(self, operation: Request, principal: Principal, receive: Receive) -> PreparedOperation | Response:
        """Return the operation, planned unless it lacks figures, or the result that explains why it cannot run.

        Requests of a tenant that send one new text at the same time wait for one turn, in which it is read for all of them, and
        planned for the first.
        """
        executor = self._executor

        async def read() -> _Reading:
            document = await executor.read(operation, principal)
            prepared = executor.prepare(operation, principal, document)
            if isinstance(prepared, PreparedOperation) and not prepared.lacks_figures:
                prepared = executor.plan(prepared)
            return _Reading(operation, document, prepared)

        document: PreparedDocument | None = None
        if executor.needs_parsing(operation, principal):
            key = principal.tenant_id, operation.query or ""
            async with CancelOnDisconnect(receive):
                reading = await self._readings.run(key, lambda: self.in_turn(principal, read))
            if reading.operation is operation:
                return reading.prepared
            document = reading.document
        prepared = executor.prepare(operation, principal, document)
        if isinstance(prepared, PreparedOperation) and not prepared.lacks_figures:
            return await self._plan(prepared, principal, receive)
        return prepared

    async def estimate_again(
        self, prepared: PreparedOperation, principal: Principal, receive: Receive
    ) -> PreparedOperation | Response:
        """Estimate an operation with the first figures of the tenant, and plan it, or return the result that refuses it."""
        estimated = await watched(receive, self._request_timeout, self._executor.estimate_again(prepared))
        return await self._plan(estimated, principal, receive) if isinstance(estimated, PreparedOperation) else estimated

    async def in_turn(self, principal: Principal, prepare: Callable[[], Awaitable[T]]) -> T:
        """Parse or plan when it is the turn of a principal.

        A large document is parsed in a thread, which shares the interpreter with the event loop; all else blocks the loop. So
        unknown documents are parsed, and plans that are not kept are compiled, one at a time, in fair order, and each is followed
        by a pause as long as it took. That of an anonymous request is longer, and holds up only others of the kind.
        """
        slot = self._admission.slot(principal.tenant_id, principal.rate_key)
        if principal.tenant_id != NO_TENANT_ID:
            async with slot:
                started = time.perf_counter()
                try:
                    return await prepare()
                finally:
                    await asyncio.sleep(time.perf_counter() - started)
        try:
            async with self._anonymous_admission.slot(principal.tenant_id, principal.rate_key):
                async with slot:
                    started = time.perf_counter()
                    prepared = await prepare()
                    seconds = time.perf_counter() - started
                await asyncio.sleep(seconds * _ANONYMOUS_PAUSE)
                return prepared
        except Unavailable:
            await asyncio.sleep(_ANONYMOUS_REFUSAL)
            raise

    async def _plan(self, prepared: PreparedOperation, principal: Principal, receive: Receive) -> PreparedOperation:
        """Return an operation with its plan. One that is not kept is compiled in a turn, once for those who wait for it."""
        if prepared.is_planned:
            return prepared

        async def plan() -> PlannedOperation:
            planned = self._executor.plan(prepared).execution.planned
            assert planned is not None, "it is planned now"
            return planned

        key = principal.tenant_id, prepared.plan_key
        async with CancelOnDisconnect(receive):
            planned = await self._plannings.run(key, lambda: self.in_turn(principal, plan))
        return prepared.with_plan(planned)
