"""Loading: the calls of one level are gathered into one batch, and so into one statement.

A concept declares its loaders beside its types, as in `PRODUCT_BY_UID = Batch(products_by_uid)`. A resolver gets a value with
`await info.context.load(PRODUCT_BY_UID, uid, as_of)`, and a batched field gets those of all its parents with `load_all`. The
context creates a loader from its declaration when it is first used.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, TypeVarTuple

from aiodataloader import DataLoader, dispatch_queue_batch
from aiodataloader import Loader as QueuedCall

from db.computation import Computation, ComputationThread
from db.connection import ReadConnection

Value = TypeVar("Value")
Key = TypeVar("Key", bound=Hashable)
Shared = TypeVarTuple("Shared")
Source = TypeVar("Source")

# A computation on so many parts takes some milliseconds at most, about as long as to change threads beside a busy event loop.
_FEW_PARTS = 2_000

# Parts after which the computations of other operations have a turn, if a value is complete: some hundredths of a second.
_PARTS_PER_TURN = 20_000

Connect = Callable[[], Awaitable[ReadConnection]]


class Loadable(ABC, Generic[Value, Key, *Shared]):
    """Declaration of a loader. A call names keys, and the arguments that calls must have in common to share a statement."""

    is_last = False

    @abstractmethod
    async def find(self, loaders: "Loaders", keys: Sequence[Key], *shared: *Shared) -> Sequence[Value]:
        """Return the value of each key, in order."""


class Batch(Loadable[Value, Key, *Shared]):
    """Declaration of a loader by its batch function, which takes a connection, keys and shared arguments.

    The last of the loaders waits until no other has calls: what they find leads to further calls of it.
    """

    def __init__(
        self, find: Callable[[ReadConnection, Sequence[Key], *Shared], Awaitable[Sequence[Value]]], *, is_last: bool = False
    ) -> None:
        self._find: Callable[..., Awaitable[Sequence[Value]]] = find
        self.is_last = is_last

    async def find(self, loaders: "Loaders", keys: Sequence[Key], *shared: *Shared) -> Sequence[Value]:
        return await self._find(await loaders.connect(), keys, *shared)


class Computed(Loadable[Value, Key, *Shared]):
    """Declaration of a loader by a function of another loader's value and the key.

    It runs on a thread beside the event loop, unless the values together have so few parts, which `size` counts, that changing
    threads takes longer. `seconds` returns the time limit of a value from the shared arguments.
    """

    def __init__(
        self,
        source: Loadable[Source, Key, *Shared],
        compute: Callable[[Source, Key, Computation], Value],
        *,
        size: Callable[[Source], int],
        seconds: Callable[[*Shared], float],
        thread: ComputationThread,
    ) -> None:
        self._source: Loadable[Any, Key, *Shared] = source
        self._compute: Callable[[Any, Key, Computation], Value] = compute
        self._size: Callable[[Any], int] = size
        self._seconds: Callable[..., float] = seconds
        self._thread = thread

    async def find(self, loaders: "Loaders", keys: Sequence[Key], *shared: *Shared) -> Sequence[Value]:
        sources = await loaders.load_all(self._source, keys, *shared)
        seconds = self._seconds(*shared)
        sizes = list(map(self._size, sources))
        if sum(sizes) <= _FEW_PARTS:
            computation = Computation(seconds)
            return [self._compute(source, key, computation) for source, key in zip(sources, keys, strict=True)]
        connection = await loaders.connect()
        values: list[Value] = []
        while (start := len(values)) < len(keys):
            stop, parts = start + 1, sizes[start]
            while stop < len(keys) and (parts := parts + sizes[stop]) <= _PARTS_PER_TURN:
                stop += 1

            def compute_some(computation: Computation, start: int = start, stop: int = stop) -> list[Value]:
                return [self._compute(sources[it], keys[it], computation) for it in range(start, stop)]

            values += await connection.compute(self._thread, seconds, compute_some)
        return values


@dataclass(slots=True, eq=False)
class Call:
    """A call of a loader: the keys of which the values are wanted, and the shared arguments."""

    keys: Sequence[Any]
    shared: tuple[Any, ...]


# Turns of the event loop without a further call after which a batch runs. Fields of one level reach a loader within fewer.
_QUIET_TURNS = 3


# Values by key, by the shared arguments.
Known = defaultdict[tuple[Any, ...], dict[Any, Any]]


class Loader(DataLoader[Call, list[Any]]):
    """The loader of a declaration. It finds the value of a key once."""

    # each call has a future of its own: graphql-core cancels the siblings of a field that failed
    cache = False

    def __init__(self, declared: Loadable[*tuple[Any, ...]], loaders: "Loaders", known: Known) -> None:
        super().__init__(self._values_of_calls)
        self._declared = declared
        self._loaders = loaders
        self._known = known
        # one batch at a time, so that no two find the same value
        self._lock = asyncio.Lock()

    def do_resolve_reject(self, key: Call, future: "asyncio.Future[list[Any]]") -> None:
        """Add a call to the batch. The batch runs when no further call has arrived for some turns and the connection is idle."""
        self._queue.append(QueuedCall(key=key, future=future))
        if len(self._queue) == 1:
            if not self._declared.is_last:
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
            if self._declared.is_last:
                await self._loaders.others_ended()
            async with self._lock:
                # calls that arrive while the connection is busy join the batch; an error is that of the batch, too
                with suppress(Exception):
                    await (await self._loaders.connect()).idle()
                calls, self._queue = self._queue, []
                await dispatch_queue_batch(self, calls)
        finally:
            if not self._declared.is_last:
                self._loaders.end()

    async def _values_of_calls(self, calls: Sequence[Call]) -> list[list[Any]]:
        """Return the values of each call. Those that are not known are found with one statement for equal shared arguments."""
        # the values that are found now stay until the batch ends, also if the operation ends before
        known = {call.shared: self._known[call.shared] for call in calls}
        missing: defaultdict[tuple[Any, ...], dict[Any, None]] = defaultdict(dict)
        for call in calls:
            missing[call.shared].update((key, None) for key in call.keys if key not in known[call.shared])
        for shared, keys in missing.items():
            if keys:
                found = await self._declared.find(self._loaders, list(keys), *shared)
                known[shared].update(zip(keys, found, strict=True))
        return [[known[call.shared][key] for key in call.keys] for call in calls]


class Loaders:
    """The loaders of one attempt at an operation, each created from its declaration when first used.

    An operation that runs one statement at most needs no loader: no other call can share the statement.
    """

    def __init__(self, connect: Connect, *, is_single_read: bool = False) -> None:
        self.connect = connect
        self._is_single_read = is_single_read
        self._loaders: dict[Loadable[*tuple[Any, ...]], Loader] = {}
        # what was found or primed
        self._known: dict[Loadable[*tuple[Any, ...]], Known] = {}
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

    async def load(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared) -> Value:
        """Return a value, or raise it if it is an exception."""
        known = self._known_of(declared)[shared]
        value: Value
        if key in known:
            value = known[key]
        elif self._is_single_read:
            (value,) = await declared.find(self, [key], *shared)
        else:
            (value,) = await self._loader(declared).load(Call([key], shared))
        if isinstance(value, Exception):
            raise value
        return value

    async def load_all(self, declared: Loadable[Value, Key, *Shared], keys: Sequence[Key], *shared: *Shared) -> Sequence[Value]:
        """Return the value of each key, in order. An exception among them is the error of its key."""
        known = self._known_of(declared)[shared]
        if all(key in known for key in keys):
            return [known[key] for key in keys]
        if self._is_single_read:
            distinct = list(dict.fromkeys(keys))
            values = await declared.find(self, distinct, *shared)
            found = dict(zip(distinct, values, strict=True))
            return [found[key] for key in keys]
        return await self._loader(declared).load(Call(keys, shared))

    def prime_all(self, declared: Loadable[Value, Key, *Shared], values: Mapping[Key, Value], *shared: *Shared) -> None:
        """Make a loader return values that were found by other means, by their keys."""
        self._known_of(declared)[shared].update(values)

    def invalidate(self) -> None:
        """Discard all loaders and what they know, so that values are read anew after a write."""
        self._loaders, self._known = {}, {}

    def release(self) -> None:
        """Forget all values: reference cycles in graphql-core hold the context, and would hold the rows until a collection."""
        for known in self._known.values():
            known.clear()

    def _loader(self, declared: Loadable[*tuple[Any, ...]]) -> Loader:
        loader = self._loaders.get(declared)
        if loader is None:
            loader = self._loaders[declared] = Loader(declared, self, self._known_of(declared))
        return loader

    def _known_of(self, declared: Loadable[*tuple[Any, ...]]) -> Known:
        known = self._known.get(declared)
        if known is None:
            known = self._known[declared] = defaultdict(dict)
        return known
