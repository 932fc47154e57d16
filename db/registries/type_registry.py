"""Entity types and detail types together, as writes and filters of entities need them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from db.connection import ReadConnection, WriteConnection
from db.errors import UnknownType
from db.fields import excerpt
from db.registries.registry import unknown_type
from db.sql import statement

_BY_CODE = statement("registries/types_by_code")
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
            raise self.unknown_entity(code, field)

    def require_detail(self, code: str, *, field: str = "details") -> None:
        """Raise UnknownType if no detail type has the code."""
        if code not in self.formats:
            raise self.unknown_detail(code, field)

    def unknown_entity(self, code: str, field: str, *, like: str | None = None) -> UnknownType:
        """Build the error for the code of an entity type that does not exist."""
        return unknown_type(f"There is no entity type {excerpt(code)}.", self.entities, field=field, like=like)

    def unknown_detail(self, code: str, field: str, *, like: str | None = None) -> UnknownType:
        """Build the error for the code of a detail type that does not exist."""
        return unknown_type(f"There is no detail type {excerpt(code)}.", self.formats, field=field, like=like)


class TypeCode(NamedTuple):
    """Code of an entity type, or else of a detail type."""

    is_entity_type: bool
    code: str


class KnownType(NamedTuple):
    """An entity type or a detail type that exists, the latter with its format."""

    format: str | None


async def find_types(connection: ReadConnection, types: Sequence[TypeCode]) -> list[KnownType | None]:
    """Find types by code."""
    parameters = {
        "entity_types": [it.code for it in types if it.is_entity_type],
        "detail_types": [it.code for it in types if not it.is_entity_type],
    }
    rows = await connection.fetch(_BY_CODE, parameters)
    known = {TypeCode(row.is_entity_type, row.code): KnownType(row.format) for row in rows}
    return [known.get(it) for it in types]


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
