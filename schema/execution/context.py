"""The context of an operation, as its resolvers see it: principal, transaction, loaders, cost, and what is selected."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import strawberry
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLResolveInfo,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_directive_values,
)
from graphql.execution.values import VariableValues

from db.errors import LimitExceeded
from db.lineage.figures import Figures
from db.lineage.walk import Walk
from db.registries.service_grants import ServiceGrants
from db.tenancy.api_key import KeySigner
from schema.execution.external_record import FindGrants, Lookup, PendingRecord
from schema.execution.loading import Key, Loadable, Loaders, Shared, Value
from schema.execution.principal import Principal
from schema.execution.transaction import Transaction
from schema.language.cost import COUNTED_PER_OBJECT, LINKS_PER_OBJECT, ROWS_PER_OBJECT
from schema.language.cursors import CursorCipher
from schema.language.limits import Limits
from schema.language.walk_extent import WalkExtent

T = TypeVar("T")


@dataclass(slots=True)
class CostMeter:
    """Actual cost of one attempt at an operation."""

    objects: int = 0
    walks: set[Walk] = field(default_factory=set)
    # links among the assets of walks, by the walk and the loader that reads them
    links: dict[tuple[Any, Walk], int] = field(default_factory=dict)
    # rows that the search for paths has read
    visited: int = 0
    # rows that were counted for totalCount
    counted: int = 0
    # links that were read to count neighbours, by the asset, its instant and the direction
    neighbours: dict[Any, int] = field(default_factory=dict)
    # products that were read for the owners of domains, by the domain and its instant
    products: dict[Any, int] = field(default_factory=dict)
    # estimated cost of the walks that run now
    reserved: int = 0
    # actual cost of the walks that have run
    walked: int = 0

    def reserve(self, cost: int, limit: int) -> None:
        """Reserve the cost of a walk. Raise LimitExceeded if it exceeds the limit together with what was walked before."""
        if self.walked + self.visited + self.reserved + cost > limit:
            raise LimitExceeded(
                f"The walks of the operation cost more than {limit}, because they reach more or a list above them is longer than"
                " estimated. Start from fewer assets at once."
            )
        self.reserved += cost

    def settle(self, reserved: int, walks: Iterable[Walk]) -> None:
        """Replace a reserved cost by that of the walks that have run."""
        self.reserved -= reserved
        for walk in walks:
            if walk not in self.walks:
                self.walks.add(walk)
                self.walked += WalkExtent.of(walk).cost(walk.query.bounds)

    @property
    def total(self) -> int:
        links = sum(it // LINKS_PER_OBJECT for it in self.links.values())
        counted = self.counted + sum(self.neighbours.values())
        rows = counted // COUNTED_PER_OBJECT + sum(self.products.values()) // ROWS_PER_OBJECT
        return self.objects + self.visited + self.walked + links + rows


@dataclass(slots=True)
class Context:
    """State of one attempt at an operation. A retry gets a new one."""

    principal: Principal
    request_id: str
    limits: Limits
    key_signer: KeySigner
    transaction: Transaction
    find_grants: FindGrants
    cipher_of_tenant: Callable[[int], CursorCipher]
    # those by which the cost was estimated; None: it was estimated by what the schema announces
    figures: Figures | None = None
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

    def read_once(self) -> None:
        """Declare that the next call of a loader reads all that the field needs.

        It takes one statement, without a transaction, if no other field of the operation reads.
        """
        if self.transaction.read_once():
            self._loaders = Loaders(self.transaction.reader, is_single_read=True)

    def prime(self, declared: Loadable[Value, Key, *Shared], key: Key, *shared: *Shared, value: Value) -> None:
        """Make a loader return a value that was found by other means."""
        self._loaders.prime_all(declared, {key: value}, *shared)

    def prime_all(self, declared: Loadable[Value, Key, *Shared], values: Mapping[Key, Value], *shared: *Shared) -> None:
        """Make a loader return values that were found by other means, by their keys."""
        self._loaders.prime_all(declared, values, *shared)

    def invalidate(self) -> None:
        """Discard what was loaded, so that it is read anew after a write."""
        self._loaders.invalidate()

    def release(self) -> None:
        """Release what was loaded when the attempt is over."""
        self._loaders.release()

    @property
    def cursor_cipher(self) -> CursorCipher:
        """The cipher of the tenant's cursors."""
        return self.cipher_of_tenant(self.principal.tenant_id)

    async def service_grants(self) -> ServiceGrants | None:
        """Return the services that sources of the tenant may name. None: no service is configured, so they may name any."""
        return await self.find_grants(self.principal.tenant)

    def defer_record(self, lookup: Lookup, raw_info: "GraphQLResolveInfo[Context]") -> PendingRecord:
        """Return a placeholder for an external record, which is fetched when the transaction has ended."""
        pending = PendingRecord(lookup, raw_info.path.as_list(), raw_info.field_nodes)
        self.records.append(pending)
        return pending


Info = strawberry.Info[Context, None]


def of_selection(info: Info, find: Callable[[Info], T]) -> T:
    """Return what a function finds in the selection below the field that is being resolved. A plan keeps it."""
    kept: dict[Callable[[Info], Any], Any] | None = getattr(info._raw_info, "of_selection", None)
    if kept is None:
        return find(info)
    found: T | None = kept.get(find)
    if found is None:
        found = kept[find] = find(info)
    return found


def selects(info: Info, *paths: str) -> bool:
    """True if one of these fields, such as `links` or `edges.confidence`, is selected below the field that is being resolved."""
    raw = info._raw_info
    selection = _Selection(raw.fragments, raw.variable_values)
    return any(selection.has(node.selection_set, path.split(".")) for node in raw.field_nodes for path in paths)


class _Selection(NamedTuple):
    """Fragments of an operation, and the variables that decide what is included."""

    fragments: Mapping[str, FragmentDefinitionNode]
    variables: VariableValues

    def has(self, selection_set: SelectionSetNode | None, path: list[str]) -> bool:
        """True if a selection set has the field at a path, and no directive excludes it."""
        for node in selection_set.selections if selection_set else ():
            match node:
                case FieldNode():
                    selected = node.name.value == path[0] and (len(path) == 1 or self.has(node.selection_set, path[1:]))
                case FragmentSpreadNode():
                    selected = self.has(self.fragments[node.name.value].selection_set, path)
                case InlineFragmentNode():
                    selected = self.has(node.selection_set, path)
                case _:
                    raise AssertionError("a selection is a field, a fragment spread or an inline fragment")
            if selected and self._is_included(node):
                return True
        return False

    def _is_included(self, node: SelectionNode) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self.variables)
        include = get_directive_values(GraphQLIncludeDirective, node, self.variables)
        return not (skip and skip["if"]) and (include is None or include["if"])
