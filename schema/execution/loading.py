"""Loading: the calls of one turn of the event loop are gathered into one batch, and so into one statement.

A concept declares its loaders beside its types, as in `PRODUCT_BY_UID = Batch(products_by_uid)`, and a resolver gets a value with
`info.context.load(PRODUCT_BY_UID, uid, as_of)`. The context creates a loader from its declaration when it is first used.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar, TypeVarTuple

from aiodataloader import DataLoader

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

    async def values(self, loaders: "Loaders", calls: Sequence[tuple[Any, ...]]) -> list[Value]:
        """Return the value of each call, in order."""
        raise NotImplementedError


class Batch(Loadable[Value, Key, *Shared]):
    """Declaration of a loader by its batch function, which takes a connection, keys and shared arguments."""

    def __init__(self, find: Callable[[ReadConnection, Sequence[Key], *Shared], Awaitable[Sequence[Value]]]) -> None:
        self.find: Callable[..., Awaitable[Sequence[Value]]] = find

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


class Loader(DataLoader[Any, Any]):
    """A loader that gives each caller a separate future: graphql-core cancels the siblings of a field that failed, and another
    field may wait for the same value."""

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

    def load(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared) -> "asyncio.Future[Value]":
        """Return a future of a value. Calls with equal arguments share one value."""
        loader = self._loaders.get(declared)
        if loader is None:
            loader = self._loaders[declared] = self._create(declared)
        return loader.load((key, *shared))

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

        return Loader(batch)
