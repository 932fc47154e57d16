"""Loading: the calls of one level are gathered into one batch, and so into one statement.

A concept declares its loaders beside its types, as in `PRODUCT_BY_UID = Batch(products_by_uid)`, and a resolver gets a value with
`info.context.load(PRODUCT_BY_UID, uid, as_of)`. The context creates a loader from its declaration when it is first used.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar, TypeVarTuple

from aiodataloader import DataLoader, dispatch_queue_batch
from aiodataloader import Loader as Call

from db.connection import ReadConnection

Value = TypeVar("Value")
Key = TypeVar("Key", bound=Hashable)
Shared = TypeVarTuple("Shared")
Source = TypeVar("Source")

# One thread: several that compute at a time would keep the event loop waiting for the interpreter lock.
_COMPUTATIONS = ThreadPoolExecutor(1, "headwater-graphs")

Connect = Callable[[], Awaitable[ReadConnection]]


class Loadable(Generic[Value, Key, *Shared]):
    """Declaration of a loader. A call is a key, followed by the arguments that calls must have in common to share a statement."""

    is_last = False

    async def values(self, loaders: "Loaders", calls: Sequence[tuple[Any, ...]]) -> list[Value]:
        """Return the value of each call, in order."""
        raise NotImplementedError


class Batch(Loadable[Value, Key, *Shared]):
    """Declaration of a loader by its batch function, which takes a connection, keys and shared arguments.

    The last of the loaders waits until no other has calls: what they find leads to further calls of it.
    """

    def __init__(
        self, find: Callable[[ReadConnection, Sequence[Key], *Shared], Awaitable[Sequence[Value]]], *, is_last: bool = False
    ) -> None:
        self.find: Callable[..., Awaitable[Sequence[Value]]] = find
        self.is_last = is_last

    async def values(self, loaders: "Loaders", calls: Sequence[tuple[Any, ...]]) -> list[Value]:
        connection = await loaders.connect()
        indexes_by_shared: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for index, (_, *shared) in enumerate(calls):
            indexes_by_shared[tuple(shared)].append(index)
        values: list[Any] = [None] * len(calls)
        for shared_arguments, indexes in indexes_by_shared.items():
            batch = await self.find(connection, [calls[index][0] for index in indexes], *shared_arguments)
            for index, value in zip(indexes, batch, strict=True):
                values[index] = value
        return values


class Computed(Loadable[Value, Key, *Shared]):
    """Declaration of a loader by a function of another loader's value and the key. It runs on a thread beside the event loop."""

    def __init__(self, source: Loadable[Source, Key, *Shared], compute: Callable[[Source, Key], Value]) -> None:
        self._source: Loadable[Any, Key, *Shared] = source
        self._compute: Callable[[Any, Key], Value] = compute

    async def values(self, loaders: "Loaders", calls: Sequence[tuple[Any, ...]]) -> list[Value]:
        sources = await asyncio.gather(*(loaders.load(self._source, *call) for call in calls))

        def compute_all() -> list[Value]:
            return [self._compute(source, key) for source, (key, *_) in zip(sources, calls, strict=True)]

        return await asyncio.get_running_loop().run_in_executor(_COMPUTATIONS, compute_all)


# Turns of the event loop without a further call after which a batch runs. Fields of one level reach a loader within fewer.
_QUIET_TURNS = 3


class Loader(DataLoader[Any, Any]):
    """A loader that gives each caller a separate future: graphql-core cancels the siblings of a field that failed, and another
    field may wait for the same value."""

    def __init__(
        self, batch: Callable[[list[Any]], Coroutine[Any, Any, list[Any]]], loaders: "Loaders", *, is_last: bool = False
    ) -> None:
        super().__init__(batch)
        self._loaders = loaders
        self._is_last = is_last

    def do_resolve_reject(self, key: Any, future: "asyncio.Future[Any]") -> None:
        """Add a call to the batch. The batch runs when no further call has arrived for some turns and the connection is idle."""
        self._queue.append(Call(key=key, future=future))
        if len(self._queue) == 1:
            if not self._is_last:
                self._loaders.begin()
            self.loop.call_soon(self._wait, 1, _QUIET_TURNS)

    def _wait(self, calls: int, turns: int) -> None:
        if len(self._queue) > calls:
            calls, turns = len(self._queue), _QUIET_TURNS
        if turns:
            self.loop.call_soon(self._wait, calls, turns - 1)
        else:
            asyncio.ensure_future(self._run())  # noqa: RUF006

    async def _run(self) -> None:
        try:
            if self._is_last:
                await self._loaders.others_ended()
            # calls that arrive while the connection is busy join the batch; an error is that of the batch, too
            with suppress(Exception):
                await (await self._loaders.connect()).idle()
            calls, self._queue = self._queue, []
            await dispatch_queue_batch(self, calls)
        finally:
            if not self._is_last:
                self._loaders.end()

    def load(self, key: Any) -> "asyncio.Future[Any]":
        shared = super().load(key)
        if shared.done():
            # it cannot be cancelled any more
            return shared
        own = self.loop.create_future()

        def copy_result(shared: "asyncio.Future[Any]") -> None:
            if shared.cancelled():
                own.cancel()
                return
            error = shared.exception()
            if own.done():
                return
            if error is None:
                own.set_result(shared.result())
                return
            own.set_exception(error)
            # mark the exception as retrieved: asyncio logs one that a cancelled field never awaits
            own.exception()

        shared.add_done_callback(copy_result)
        return own


class Loaders:
    """The loaders of one attempt at an operation, each created from its declaration when first used."""

    def __init__(self, connect: Connect) -> None:
        self.connect = connect
        self._loaders: dict[Loadable[*tuple[Any, ...]], Loader] = {}
        # batches of loaders that are not the last, from their first call until they have ended
        self._batches = 0
        self._without_batches = asyncio.Event()

    def begin(self) -> None:
        """Count a batch."""
        self._batches += 1
        self._without_batches.clear()

    def end(self) -> None:
        """Count a batch no more."""
        self._batches -= 1
        if not self._batches:
            self._without_batches.set()

    async def others_ended(self) -> None:
        """Wait until no loader but the last has calls, and what they found has led to no further ones for some turns."""
        while self._batches:
            await self._without_batches.wait()
            for _ in range(_QUIET_TURNS):
                await asyncio.sleep(0)

    def load(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared) -> "asyncio.Future[Value]":
        """Return a future of a value. Calls with equal arguments share one value."""
        return self._loader(declared).load((key, *shared))

    def prime(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared, value: Value) -> None:
        """Make a loader return a value that was found by other means."""
        self._loader(declared).prime((key, *shared), value)

    def _loader(self, declared: Loadable[*tuple[Any, ...]]) -> Loader:
        loader = self._loaders.get(declared)
        if loader is None:
            loader = self._loaders[declared] = self._create(declared)
        return loader

    def invalidate(self) -> None:
        """Discard all loaders, so that values are read anew after a write."""
        self._loaders = {}

    def release(self) -> None:
        """Clear all values: reference cycles in graphql-core hold the context, and would hold the rows until a collection."""
        for loader in self._loaders.values():
            loader.clear_all()

    def _create(self, declared: Loadable[*tuple[Any, ...]]) -> Loader:
        async def batch(calls: list[tuple[Any, ...]]) -> list[Any]:
            return await declared.values(self, calls)

        return Loader(batch, self, is_last=declared.is_last)
