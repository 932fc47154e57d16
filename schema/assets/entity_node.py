"""Fields that nodes of a graph show of entities: from the type, and from details that play a role.

One statement reads the types of all entities of a level.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from db.registries.node_type import NodeType, node_types
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.columns import reads
from schema.language.fields import batched
from schema.language.scopes import READ
from schema.lazy import LazyDomain, domain_at

NODE_TYPE_BY_CODE = Batch(node_types)


async def _types_of(info: Info, entities: Sequence[Any]) -> Sequence[NodeType]:
    return await info.context.load_all(NODE_TYPE_BY_CODE, [it.row.type for it in entities])


async def _type_labels(entities: Sequence[Any], info: Info) -> list[str]:
    return [it.label for it in await _types_of(info, entities)]


async def _domains(entities: Sequence[Any], info: Info) -> list[LazyDomain | None]:
    return [
        None if type_.domain is None else domain_at(type_.domain, it.row.as_of, it.pinned)
        for it, type_ in zip(entities, await _types_of(info, entities), strict=True)
    ]


async def _tags(entities: Sequence[Any], info: Info) -> list[list[str]]:
    types = await _types_of(info, entities)
    return [type_.tags(it.row.details) for it, type_ in zip(entities, types, strict=True)]


def _values(role: str) -> Callable[..., Awaitable[list[str | None]]]:
    async def values(entities: Sequence[Any], info: Info) -> list[str | None]:
        types = await _types_of(info, entities)
        return [type_.value(role, it.row.details) for it, type_ in zip(entities, types, strict=True)]

    return values


def type_label_field(description: str) -> Any:
    """Declare the field of the label of the type."""
    return batched(READ, description)(staticmethod(_type_labels))


def domain_field(description: str) -> Any:
    """Declare the field of the domain of the type."""
    return reads("as_of")(batched(READ, description)(staticmethod(_domains)))


def tags_field(description: str) -> Any:
    """Declare the field of the tags in details."""
    return reads("details")(batched(READ, description)(staticmethod(_tags)))


def role_field(role: str, description: str) -> Any:
    """Declare the field of the detail that plays a role."""
    return reads("details")(batched(READ, description)(staticmethod(_values(role))))
