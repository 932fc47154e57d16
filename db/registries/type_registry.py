"""Entity types and detail types together, as writes and filters of entities need them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.connection import ReadConnection, WriteConnection
from db.fields import excerpt
from db.registries.registry import unknown_type
from db.sql import statement

_TYPE_REGISTRY = statement("registries/type_registry")
_TYPE_REGISTRY_LOCKED = statement("registries/type_registry_locked")


@dataclass(frozen=True, slots=True)
class TypeRegistry:
    """The codes of the entity types, and the format of each detail type."""

    entities: frozenset[str]
    formats: Mapping[str, str | None]

    def require_entity(self, code: str, *, field: str = "type") -> None:
        """Raise UnknownType if no entity type has the code."""
        if code not in self.entities:
            raise unknown_type(f"There is no entity type {excerpt(code)}.", self.entities, field=field)

    def require_detail(self, code: str, *, field: str = "details") -> None:
        """Raise UnknownType if no detail type has the code."""
        if code not in self.formats:
            raise unknown_type(f"There is no detail type {excerpt(code)}.", self.formats, field=field)


async def read_type_registry(connection: ReadConnection) -> TypeRegistry:
    """Read all entity types and detail types."""
    return _type_registry(await connection.fetch(_TYPE_REGISTRY))


async def read_type_registry_locked(connection: WriteConnection, detail_codes: Collection[str]) -> TypeRegistry:
    """Read all types, and lock the detail types with these codes, so that their formats do not change before the transaction
    ends."""
    return _type_registry(await connection.fetch(_TYPE_REGISTRY_LOCKED, {"codes": list(detail_codes)}))


def _type_registry(rows: Sequence[Any]) -> TypeRegistry:
    return TypeRegistry(
        frozenset(row.code for row in rows if row.is_entity_type),
        {row.code: row.format for row in rows if not row.is_entity_type},
    )
