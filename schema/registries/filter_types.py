"""The types that filters name: all filters refuse an unknown one alike."""

from collections.abc import Sequence

from db.connection import ReadConnection
from db.fields import refuse_unstorable
from db.registries.type_registry import KnownType, TypeCode, TypeRegistry, find_types, read_type_registry
from schema.execution.context import Info
from schema.execution.loading import Batch


async def _type_registries(connection: ReadConnection, keys: Sequence[None]) -> list[TypeRegistry]:
    return [await read_type_registry(connection)] * len(keys)


KNOWN_TYPES = Batch(find_types)
TYPE_REGISTRY = Batch(_type_registries)


async def require_types(info: Info, named: Sequence[tuple[str, TypeCode]]) -> list[KnownType]:
    """Return the types that a filter names, each with the name of the field that names it.

    Raise UnknownType for the first that does not exist, with the known ones, the nearest first. An operation looks each up once.
    """
    if not named:
        return []
    for field, (_, code) in named:
        # text that PostgreSQL cannot store would fail all look-ups of the batch
        refuse_unstorable(field, code)
    types = await info.context.load_all(KNOWN_TYPES, [it for _, it in named])
    known: list[KnownType] = []
    for (field, (is_entity_type, code)), type_ in zip(named, types, strict=True):
        if type_ is None:
            registry = await info.context.load(TYPE_REGISTRY, None)
            raise (
                registry.unknown_entity(code, field, like=code)
                if is_entity_type
                else registry.unknown_detail(code, field, like=code)
            )
        known.append(type_)
    return known
