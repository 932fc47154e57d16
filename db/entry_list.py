"""Pages of small tables, such as registries: all rows of a tenant, in order of columns that identify a row."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Select, Table, func, select

from db.connection import ReadConnection
from db.filters import TENANT
from db.pagination import Page, PageShape, Slice
from db.sql import Statement, compose

Entry = TypeVar("Entry")


class EntryList(Generic[Entry]):
    """The rows of a table, built by a function, in order of some columns, which entries have as attributes."""

    def __init__(self, table: Table, build: Callable[[Any], Entry], *order: Column[Any], without: str | None = None) -> None:
        columns = (it for it in table.columns if it.name != without)
        self._select: Select[Any] = select(*columns).where(table.c.tenant_id == TENANT)
        self._order = order
        self._build = build
        self._pages: dict[PageShape, Statement] = {}
        self._all = compose(self._select.order_by(*order))
        self._count = compose(select(func.count().label("number")).select_from(table).where(table.c.tenant_id == TENANT))

    async def all(self, connection: ReadConnection) -> list[Entry]:
        """List all entries."""
        return [self._build(row) for row in await connection.fetch(self._all)]

    async def page(self, connection: ReadConnection, page: Page) -> Slice[Entry]:
        """Fetch a page."""
        statement = self._pages.get(page.shape)
        if statement is None:
            statement = self._pages[page.shape] = compose(page.shape.apply(self._select, *self._order))
        return page.slice(await connection.fetch(statement, page.parameters), self._build)

    async def count(self, connection: ReadConnection) -> int:
        """Count the entries."""
        (row,) = await connection.fetch(self._count)
        return int(row.number)

    def cursor_key(self, entry: Entry) -> tuple[Any, ...]:
        """Return the values by which an entry sorts. A cursor holds them."""
        return tuple(getattr(entry, str(column.key)) for column in self._order)
