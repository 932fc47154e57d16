"""Fields that nodes of a graph show of entities: from the type, and from details that play a role.

A row of an entity carries them as its display. Those of rows without one are read with one statement a level.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from db.assets.asset_fields import DISPLAY
from db.assets.node import displays_by_id
from db.filters import distinct
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.columns import reads
from schema.language.fields import batched, carried
from schema.language.scopes import READ
from schema.lazy import LazyDomain, domain_at

DISPLAY_BY_ID = Batch(displays_by_id)


async def _displays(info: Info, entities: Sequence[Any]) -> list[Mapping[str, Any]]:
    unread = [(it.row.asset_id, it.row.as_of) for it in entities if DISPLAY not in it.row]
    loaded = iter(await info.context.load_all(DISPLAY_BY_ID, unread) if unread else ())
    return [it.row[DISPLAY] if DISPLAY in it.row else next(loaded) for it in entities]


def _details_of(display: Mapping[str, Any], role: str) -> list[str]:
    """Return the details of an entity that play a role, in order of their type."""
    return [value for of_role, value in display["roles"] or () if of_role == role]


async def _type_labels(entities: Sequence[Any], info: Info) -> list[str]:
    return [it["label"] for it in await _displays(info, entities)]


async def _domains(entities: Sequence[Any], info: Info) -> list[LazyDomain | None]:
    return [
        None if display["domain"] is None else domain_at(display["domain"], it.row.as_of, it.pinned)
        for it, display in zip(entities, await _displays(info, entities), strict=True)
    ]


async def _tags(entities: Sequence[Any], info: Info) -> list[list[str]]:
    return [distinct(_details_of(it, "TAG")) for it in await _displays(info, entities)]


def _values(role: str) -> Callable[..., Awaitable[list[str | None]]]:
    async def values(entities: Sequence[Any], info: Info) -> list[str | None]:
        return [next(iter(_details_of(it, role)), None) for it in await _displays(info, entities)]

    return values


def _field(description: str, find_all: Any, *columns: str) -> Any:
    return reads(DISPLAY, *columns)(carried()(batched(READ, description)(staticmethod(find_all))))


def type_label_field(description: str) -> Any:
    """Declare the field of the label of the type."""
    return _field(description, _type_labels)


def domain_field(description: str) -> Any:
    """Declare the field of the domain of the type."""
    return _field(description, _domains, "as_of")


def tags_field(description: str) -> Any:
    """Declare the field of the tags in details."""
    return _field(description, _tags)


def role_field(role: str, description: str) -> Any:
    """Declare the field of the detail that plays a role."""
    return _field(description, _values(role))
