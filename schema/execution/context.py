"""The context of an operation, as its resolvers see it: principal, transaction and loaders."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import strawberry
from graphql import GraphQLResolveInfo

from db.tenancy.api_key import KeySigner
from schema.execution.external_record import Lookup, PendingRecord
from schema.execution.loading import Key, Loadable, Loaders, Shared, Value
from schema.execution.principal import Principal
from schema.execution.transaction import Transaction
from schema.language.cost_meter import CostMeter
from schema.language.limits import Limits


@dataclass(slots=True)
class Context:
    """State of one attempt at an operation. A retry gets a new one."""

    principal: Principal
    request_id: str
    limits: Limits
    key_signer: KeySigner
    transaction: Transaction
    records: list[PendingRecord] = field(default_factory=list)
    cost_meter: CostMeter = field(default_factory=CostMeter)
    _loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        self._loaders = Loaders(self.transaction.reader, is_single_read=self.transaction.is_single_read)

    def load(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared) -> Coroutine[Any, Any, Value]:
        """Return what a declared loader finds for a key. Calls of one level share a statement."""
        return self._loaders.load(declared, key, *shared)

    def load_all(
        self, declared: Loadable[Value, Key, *Shared], keys: Sequence[Key], *shared: *Shared
    ) -> Coroutine[Any, Any, Sequence[Value]]:
        """Return what a declared loader finds for each key, in order. An exception is the error of its key."""
        return self._loaders.load_all(declared, keys, *shared)

    def prime(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared, value: Value) -> None:
        """Make a loader return a value that was found by other means."""
        self._loaders.prime(declared, key, *shared, value=value)

    def invalidate(self) -> None:
        """Discard what was loaded, so that it is read anew after a write."""
        self._loaders.invalidate()

    def release(self) -> None:
        """Release what was loaded when the attempt is over."""
        self._loaders.release()

    def defer_record(self, lookup: Lookup, raw_info: "GraphQLResolveInfo[Context]") -> PendingRecord:
        """Return a placeholder for an external record, which is fetched when the transaction has ended."""
        pending = PendingRecord(lookup, raw_info.path.as_list(), raw_info.field_nodes)
        self.records.append(pending)
        return pending


Info = strawberry.Info[Context, None]
