"""The loaders of one operation: each gathers what is asked for in one turn of the event loop into one statement."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from aiodataloader import DataLoader

from db import entity, entity_type, history, product
from db.asset import Identity, identities
from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.temporal import Kind
from schema.entity import EntityDetail
from schema.entity_type import EntityType

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

Connect = Callable[[], Awaitable[ReadConnection]]


class Loaders:
    """One loader a batch function. A loader's name says what it finds and by what.

    A key is what is asked for, followed by whatever else changes the answer; keys alike in the latter share a statement.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self.product_by_uid: DataLoader[tuple[UUID, datetime | None], product.ProductRow | None]
        self.product_by_name: DataLoader[tuple[str, datetime | None], product.ProductRow | None]
        self.entity_by_uid: DataLoader[tuple[UUID, datetime | None], entity.EntityRow | None]
        self.entity_by_key: DataLoader[tuple[tuple[str, str], datetime | None], entity.EntityRow | None]
        self.details_by_entity: DataLoader[tuple[tuple[int, datetime], tuple[str, ...] | None], list[EntityDetail]]
        self.entity_type_by_code: DataLoader[tuple[str], EntityType]
        self.identity_by_uid: DataLoader[tuple[UUID], Identity | None]
        self.history_by_subject: DataLoader[tuple[int, Kind, Page], Slice[history.VersionRow]]
        self.history_count_by_subject: DataLoader[tuple[int, Kind], int]
        self.forget()

    def forget(self) -> None:
        """Read anew from here on: something was written."""
        self.product_by_uid = self._loader(product.products_by_uid)
        self.product_by_name = self._loader(product.products_by_name)
        self.entity_by_uid = self._loader(entity.entities_by_uid)
        self.entity_by_key = self._loader(entity.entities_by_key)
        self.details_by_entity = self._loader(entity.details_by_entity, EntityDetail.of_all)
        self.entity_type_by_code = self._loader(entity_type.entity_types_by_code, EntityType.of)
        self.identity_by_uid = self._loader(identities)
        self.history_by_subject = self._loader(history.histories)
        self.history_count_by_subject = self._loader(history.count_histories)

    def _loader(
        self, find: Callable[..., Awaitable[Sequence[Any]]], build: Callable[[Any], Any] | None = None
    ) -> "DataLoader[Any, Any]":
        """A loader of what is found, or of what is built of it: then a resolver may give the loader's future as it is."""

        async def batch(keys: list[tuple[Any, ...]]) -> list[Any]:
            connection = await self._connect()
            positions: dict[tuple[Any, ...], list[int]] = defaultdict(list)
            for position, (_, *shared) in enumerate(keys):
                positions[tuple(shared)].append(position)
            found: list[Any] = [None] * len(keys)
            for shared_part, places in positions.items():
                values = await find(connection, [keys[place][0] for place in places], *shared_part)
                for place, value in zip(places, values, strict=True):
                    found[place] = value if build is None else build(value)
            return found

        return DataLoader(batch)
