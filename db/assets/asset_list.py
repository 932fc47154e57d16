"""Rows of assets of one kind: the statement that selects them, their keyset pages, and their counts, in all or for each
domain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Select,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from db.assets.asset_fields import PERIOD, computed_fields
from db.assets.domain import DomainAt
from db.connection import ReadConnection
from db.filters import TENANT
from db.pagination import Page, PageShape, Slice
from db.sql import Statement, compose
from db.tables import asset as assets
from db.temporal.kind import Kind

# The domain, and the instant at which it is read, in a statement that runs once for each domain.
DOMAIN = literal_column("wanted.domain", Text)
INSTANT = literal_column("wanted.instant", DateTime(timezone=True))

# The only column of a statement that counts.
NUMBER = func.count().label("number")

_ORDINAL = literal_column("wanted.ordinal", BigInteger)
_DOMAINS = text(
    "unnest(CAST(:in_domains AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS wanted (domain, instant, ordinal)"
)


# The column with the value of a sort key that is no column of the versions.
SORT_KEY = "sort_key"


class _AssetRow(Protocol):
    @property
    def asset_id(self) -> int: ...

    def __getitem__(self, column: str, /) -> Any: ...


Row = TypeVar("Row", bound=_AssetRow)


@dataclass(frozen=True)
class SortKey:
    """The value by which an order sorts assets, before their id. It is never NULL, so that it compares with that of a cursor."""

    value: ColumnElement[Any]
    # type of the value in cursors
    type: type = str
    # the id as the index of the order has it, and what the index requires of rows
    id: ColumnElement[Any] | None = None
    condition: ColumnElement[bool] | None = None

    @property
    def column(self) -> str:
        """The column of a row that holds the value."""
        return self.value.name if isinstance(self.value, Column) else SORT_KEY


def identity_of(kind: Kind) -> ColumnElement[bool]:
    """Build the condition that joins a version of an asset to its identity."""
    versions = kind.versions.c
    return (assets.c.tenant_id == versions.tenant_id) & (assets.c.id == versions.asset_id)


def select_assets(
    kind: Kind, instant: ColumnElement[Any], fields: frozenset[str] | None = None, *, looks_up: bool = False
) -> Select[Any]:
    """Build the statement that reads the assets of a kind at an instant, each with its identity, these fields or else all, and
    that instant. With `looks_up`, PostgreSQL looks each identity up, however few assets it expects in the tenant."""
    versions = kind.versions.c
    identity = identity_of(kind)
    # the limit rules out a join that reads all identities
    joined = select(assets).where(identity).limit(literal_column("1")).lateral("asset") if looks_up else assets
    valid_to = func.nullif(versions.valid_to, text("'infinity'")).label("valid_to")
    period: dict[str, ColumnElement[Any]] = {**{it: versions[it] for it in PERIOD}, "valid_to": valid_to}
    return (
        select(
            joined.c.kind,
            versions.asset_id,
            joined.c.uid,
            joined.c.type,
            *(column for name, column in period.items() if fields is None or name in fields),
            *(versions[field] for field in kind.fields if fields is None or field in fields),
            *_computed(kind, instant, fields),
            instant.label("as_of"),
        )
        .join(joined, true() if looks_up else identity)
        .where(versions.tenant_id == TENANT, kind.valid_at(instant))
    )


def search_matches(kind: Kind, instant: ColumnElement[Any]) -> Select[Any]:
    """Build the statement that finds the ids of all assets of a kind that the text in the parameter `search` finds."""
    kinds = literal_column(f"ARRAY['{kind.name}']", ARRAY(Text))
    matching = func.search_assets(TENANT, bindparam("search", type_=Text), instant, kinds).table_valued("asset_id")
    return select(matching.c.asset_id)


def _computed(kind: Kind, instant: ColumnElement[Any], fields: frozenset[str] | None) -> list[ColumnElement[Any]]:
    """Build the columns of the values that are computed."""
    selected = computed_fields(fields, kind, kind.versions.name, f"{assets.name}.type", str(instant))
    return [text(it.sql).columns(Column(it.name)).scalar_subquery().label(it.name) for it in selected]


class AssetList(Generic[Row]):
    """Pages of the assets of one kind. An order sorts by its key, and by the asset id where that is equal."""

    def __init__(self, kind: Kind, keys: Mapping[Any, SortKey]) -> None:
        self._columns = kind.versions.c
        self._keys = keys

    def cursor_key(self, row: Row, order: Any) -> tuple[Any, ...]:
        """Return the values by which a row sorts. A cursor holds them."""
        return (row[self._keys[order].column], row.asset_id)

    def cursor_types(self, order: Any) -> tuple[type, ...]:
        """Return the types of the values of a cursor."""
        return (self._keys[order].type, int)

    def fields_read(self, fields: frozenset[str] | None, order: Any) -> frozenset[str] | None:
        """Return these fields and the one by which a list sorts."""
        return None if fields is None else fields | {self._keys[order].column}

    def page_statement(self, statement: Select[Any], page: PageShape, order: Any, *, descending: bool) -> Statement:
        """Compose the statement of a page of the assets that a statement reads."""
        key = self._keys[order]
        if key.column == SORT_KEY:
            statement = statement.add_columns(key.value.label(SORT_KEY))
        if key.condition is not None:
            statement = statement.where(key.condition)
        return compose(page.apply(statement, *self._sort_columns(order), descending=descending))

    async def page(self, connection: ReadConnection, statement: Statement, page: Page, parameters: dict[str, Any]) -> Slice[Row]:
        """Fetch a page."""
        rows = await connection.fetch(statement, {**parameters, **page.parameters})
        return page.slice(rows, _as_row)

    def page_by_domain_statement(self, statement: Select[Any], page: PageShape, order: Any) -> Statement:
        """Compose the statement of a page of the assets that a statement reads in `DOMAIN` at `INSTANT`, for each domain."""
        columns = self._sort_columns(order)
        found = page.apply(statement, *columns).lateral("found")
        sorted_by = page.order(*(found.c[str(column.key)] for column in columns))
        return compose(select(_ORDINAL.label("ordinal"), found).select_from(_DOMAINS, found).order_by(_ORDINAL, *sorted_by))

    async def page_by_domain(
        self,
        connection: ReadConnection,
        domains: Sequence[DomainAt],
        statement: Statement,
        page: Page,
        parameters: dict[str, Any],
    ) -> list[Slice[Row]]:
        """Fetch a page for each domain."""
        rows: list[list[Any]] = [[] for _ in domains]
        for row in await connection.fetch(statement, {**parameters, **page.parameters, **_parameters(domains)}):
            rows[row.ordinal - 1].append(row)
        return [page.slice(rows_in_domain, _as_row) for rows_in_domain in rows]

    def _sort_columns(self, order: Any) -> tuple[ColumnElement[Any], ...]:
        key = self._keys[order]
        return (key.value, self._columns.asset_id if key.id is None else key.id)


def _as_row(row: Any) -> Any:
    return row


async def count(connection: ReadConnection, statement: Statement, parameters: dict[str, Any]) -> int:
    """Run a statement that selects `NUMBER`."""
    row = await connection.fetch_one(statement, parameters)
    return int(row.number) if row else 0


def count_by_domain_statement(statement: Select[Any]) -> Statement:
    """Compose the statement that counts the rows of a statement that reads in `DOMAIN` at `INSTANT`, for each domain."""
    return compose(select(_ORDINAL.label("ordinal"), NUMBER).select_from(_DOMAINS, statement.lateral("found")).group_by(_ORDINAL))


async def count_by_domain(
    connection: ReadConnection, domains: Sequence[DomainAt], statement: Statement, parameters: dict[str, Any]
) -> list[int]:
    """Count the assets of each domain."""
    rows = await connection.fetch(statement, {**parameters, **_parameters(domains)})
    counts = {row.ordinal: row.number for row in rows}
    return [counts.get(ordinal, 0) for ordinal in range(1, len(domains) + 1)]


def _parameters(domains: Sequence[DomainAt]) -> dict[str, Any]:
    return {"in_domains": [it.domain for it in domains], "instants": [it.instant for it in domains]}
