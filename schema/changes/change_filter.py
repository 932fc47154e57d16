"""Filters of changes and differences: which subjects, which kinds of changes, and which authors."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from db.errors import BadInput, LimitExceeded, NotFound
from db.instants import MICROSECOND, write_instant
from db.lineage.walk import Direction
from db.lineage.window import WalkWindow
from db.registries.type_registry import TypeCode
from db.temporal.change_query import ChangeQuery, LineageIds, SubjectTypes
from schema.associations.lineage_link import LineageType, parts_of
from schema.changes.subjects import KIND_OF_SUBJECT, SubjectKind
from schema.execution.context import Info
from schema.language.inputs import input_field, optional_input_field, provided_fields
from schema.language.references import AssetRef, asset_ref
from schema.lazy import REFERENCE_IN_WINDOW
from schema.lineage.between import load_reached
from schema.lineage.diff import LineageDirection
from schema.lineage.walk_arguments import unfiltered_walk_query
from schema.registries.filter_types import require_types
from schema.registries.relationship_type import registry_of


@strawberry.enum(description="Kind of a change.")
class ChangeKind(Enum):
    CREATED = strawberry.enum_value("CREATED", description="The subject was created.")
    UPDATED = strawberry.enum_value("UPDATED", description="The subject existed and changed.")
    DELETED = strawberry.enum_value("DELETED", description="The subject was deleted, or an end of it was.")
    RESTORED = strawberry.enum_value("RESTORED", description="The subject had been deleted and was restored.")


@strawberry.input(description="Names the lineage of an asset: the asset, and what a walk from it reaches in the window.")
class LineageOf:
    asset: AssetRef = input_field("The asset. A name or key is read as in `assets`.")
    direction: LineageDirection = input_field("Direction of the walk.")
    max_depth: int = input_field("Maximum distance from the asset, in links.", default=5)


@strawberry.input(
    description="Filter of changes. A change matches if it matches every given field. An empty list matches nothing. Of the"
    " three fields with types, one has to match: products have no type and match none."
)
class ChangeFilter:
    kinds: list[ChangeKind] | None = optional_input_field(
        "Any of these kinds. In diff, CREATED and RESTORED select ADDED, DELETED selects REMOVED, UPDATED selects CHANGED."
    )
    assets: list[AssetRef] | None = optional_input_field(
        "Any of these assets, and lineage links and relationships that have one of them at an end. A name or key means the asset"
        " that has it at the last instant, or else at `from`. The last instant of changes is that before `to`, that of diff is"
        " `to`."
    )
    lineage_of: LineageOf | None = optional_input_field(
        "The asset, and the assets and lineage links that a walk from it reaches at some instant of the window. It matches no"
        " relationships. LIMIT_EXCEEDED if the walk has more than its limits allow."
    )
    entity_types: list[str] | None = optional_input_field("Entities of any of these types, by their codes.")
    relationship_types: list[str] | None = optional_input_field("Relationships of any of these types, by their keys or codes.")
    link_types: list[LineageType] | None = optional_input_field("Lineage links that have any of these types before or after.")
    domains: list[str] | None = optional_input_field(
        "Products that are in any of these domains before or after, entities whose type belongs to one, and lineage links and"
        " relationships with such an asset at an end."
    )
    actors: list[str] | None = optional_input_field(
        "Made by any of these actors. In diff: subjects that any of them changed in between."
    )
    requests: list[str] | None = optional_input_field(
        "Made by any of these requests, by their ids. In diff: subjects that any of them changed in between."
    )


From = Annotated[datetime, strawberry.argument(name="from", description="The earlier instant.")]
To = Annotated[datetime, strawberry.argument(description="The later instant.")]
Filter = Annotated[ChangeFilter | None, strawberry.argument(description="Filter.")]


async def query_of(
    info: Info,
    since: datetime,
    until: datetime,
    subjects: Sequence[SubjectKind],
    filter: ChangeFilter | None,
    *,
    of_states: bool = False,
) -> ChangeQuery:
    """Build the query of the changes between two instants, or of the differences of the states at both. Find the assets and the
    types that its filter names."""
    if until <= since:
        raise BadInput(f"to is {write_instant(until)}. It must be after from ({write_instant(since)}).", field="to")
    fields = {name: part for name, part in (provided_fields(filter) or {}).items() if part is not None}
    assets, lineage = fields.pop("assets", None), fields.pop("lineage_of", None)
    parts = parts_of(fields)
    names = {name: parts.pop(f"{name}_types", None) for name in ("entity", "relationship", "link")}
    last = until if of_states else until - MICROSECOND
    return ChangeQuery(
        since,
        until,
        tuple(sorted(KIND_OF_SUBJECT[it].name for it in set(subjects))),
        assets=None if assets is None else await _asset_ids(info, assets, since, last, field="assets"),
        lineage=None if lineage is None else await _lineage(info, lineage, since, last, of_states=of_states),
        types=None if set(names.values()) == {None} else await _types(info, names),
        **parts,
    )


async def _asset_ids(info: Info, named: Sequence[Any], first: datetime, last: datetime, *, field: str) -> tuple[int, ...]:
    """Find the assets that references name, which are given as plain values, at the first or last instant of a window."""
    refs = [asset_ref(it) for it in named]
    found = await info.context.load_all(REFERENCE_IN_WINDOW, [(ref, first, last) for ref in refs])
    for ref, asset in zip(refs, found, strict=True):
        if not asset.is_found:
            raise NotFound(f"There is no {ref}, neither at {write_instant(last)} nor at {write_instant(first)}.", field=field)
    return tuple(sorted({it.asset_id for it in found}))


async def _lineage(info: Info, fields: dict[str, Any], first: datetime, last: datetime, *, of_states: bool) -> LineageIds:
    """Find the assets and the links of a lineage. What a change at the first instant ends is in it."""
    (root,) = await _asset_ids(info, [fields["asset"]], first, last, field="lineageOf.asset")
    direction, max_depth = Direction(fields["direction"]), fields["max_depth"]
    window = WalkWindow(root, first if of_states else first - MICROSECOND, last + MICROSECOND)
    query = unfiltered_walk_query(info.context.limits, direction, max_depth)
    reached = await load_reached(info, window, query)
    if (bound := reached.truncation or reached.links_truncation) is not None:
        raise LimitExceeded(
            f"The walk of lineageOf met its limit of {bound.limit} ({bound.reason.value}). Give a smaller maxDepth, or a shorter"
            " window.",
            field="lineageOf",
        )
    assets = (root, *(it.asset_id for it in reached.assets))
    return LineageIds((root, direction.value, max_depth), assets, tuple(it.link_id for it in reached.links))


async def _types(info: Info, names: dict[str, Any]) -> SubjectTypes:
    """Find the types of a filter. Raise an error that lists the known ones for a name that none has."""
    entities, relationships, links = (names[it] or () for it in ("entity", "relationship", "link"))
    await require_types(info, [("entityTypes", TypeCode(True, it)) for it in entities])
    ids: set[int] = set()
    if relationships:
        types = await registry_of(info)
        ids = {it.type_id for name in relationships for it in types.matching(name, field="relationshipTypes", like=name)}
    return SubjectTypes(entities, tuple(sorted(ids)), links)
