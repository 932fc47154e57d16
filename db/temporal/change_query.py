"""Queries of changes and of differences: the subjects and filters, and the parts of statements that depend on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from db.sql import tokens_of
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS, ENTITY, KINDS, LINK, RELATIONSHIP


class ChangeKind(StrEnum):
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    RESTORED = "RESTORED"


# Kinds of changes that begin a version.
VERSION_STARTS = frozenset({ChangeKind.CREATED, ChangeKind.UPDATED, ChangeKind.RESTORED})

# The ids of assets are distinct, and so are those of each kind of association: the group and the id identify a subject.
GROUPS: dict[Kind, int] = {
    **dict.fromkeys(ASSET_KINDS, 0),
    **{kind: number for number, kind in enumerate(ASSOCIATION_KINDS, 1)},
}

# Bounds below and above every id. Without a cursor, changes at the start of a period belong to it, and those at its end do not.
_BELOW_IDS, _ABOVE_IDS = 0, 2**63 - 1

# The files of the filters on the types of each kind. Products have no type.
_TYPE_FILTERS = {
    ENTITY: "temporal/_filter_entity_types",
    LINK: "temporal/_filter_link_types",
    RELATIONSHIP: "temporal/_filter_relationship_types",
}


class SubjectTypes(NamedTuple):
    """Types of subjects: codes of entity types, ids of relationship types, and types of lineage links."""

    entities: tuple[str, ...] = ()
    relationships: tuple[int, ...] = ()
    links: tuple[str, ...] = ()

    def of(self, kind: Kind) -> tuple[Any, ...]:
        """Return the types that subjects of a kind may have."""
        return {ENTITY: self.entities, RELATIONSHIP: self.relationships, LINK: self.links}.get(kind, ())


@dataclass(frozen=True, slots=True)
class LineageIds:
    """Ids of the assets and of the links in the lineage of an asset."""

    # what names the lineage: a late change may add to its ids
    of: tuple[int, str, int]
    assets: tuple[int, ...] = field(repr=False)
    links: tuple[int, ...] = field(repr=False)


class ChangeShape(NamedTuple):
    """The part of a query that its statement depends on: the kinds that it reads, and the filters that it has."""

    kinds_of_changes: frozenset[ChangeKind]
    kinds_of_subjects: tuple[Kind, ...]
    filters: frozenset[str]


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """Filter on changes between two instants. A filter that is None excludes nothing; an empty one excludes everything."""

    since: datetime
    until: datetime
    # names of kinds
    subjects: tuple[str, ...] = tuple(kind.name for kind in ASSET_KINDS)
    kinds: tuple[str, ...] | None = None
    # ids of assets: these, and the associations that have one of them at an end
    assets: tuple[int, ...] | None = None
    types: SubjectTypes | None = None
    domains: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None
    requests: tuple[str, ...] | None = None
    lineage: LineageIds | None = None

    @property
    def kinds_of_changes(self) -> frozenset[ChangeKind]:
        return frozenset(ChangeKind) if self.kinds is None else frozenset(map(ChangeKind, self.kinds))

    @property
    def kinds_of_subjects(self) -> tuple[Kind, ...]:
        """Kinds of subjects to read; none, if a filter excludes everything."""
        if () in (self.kinds, self.assets, self.domains, self.actors, self.requests):
            return ()
        return tuple(
            kind
            for kind in KINDS
            if kind.name in self.subjects
            and (self.types is None or self.types.of(kind))
            and (self.lineage is None or kind is not RELATIONSHIP)
        )

    @property
    def shape(self) -> ChangeShape:
        filters = ("assets", "types", "domains", "actors", "requests", "lineage")
        given = frozenset(name for name in filters if getattr(self, name) is not None)
        return ChangeShape(self.kinds_of_changes, self.kinds_of_subjects, given)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the filters, but for that on kinds."""
        types = self.types or SubjectTypes()
        return {
            "assets": self.assets,
            "entity_types": types.entities,
            "relationship_types": types.relationships,
            "link_types": types.links,
            "domains": self.domains,
            "actors": self.actors,
            "requests": self.requests,
            "lineage_assets": None if self.lineage is None else self.lineage.assets,
            "lineage_links": None if self.lineage is None else self.lineage.links,
        }


def subject_filters(kind: Kind, shape: ChangeShape, *, valid: str) -> str:
    """Render the filters on subjects of a kind. `valid` is the condition that a row `v` is valid at an instant that is compared.
    Filters that a query lacks are not part of its statement, so that each combination is planned for itself."""
    paths = {
        "lineage": "temporal/_filter_ids",
        "assets": "temporal/_filter_ids" if kind.is_asset_kind else "temporal/_filter_ends",
        "types": _TYPE_FILTERS.get(kind, ""),
        "domains": "temporal/_filter_domains" if kind.is_asset_kind else "temporal/_filter_domains_of_ends",
    }
    rendered = []
    for name, path in paths.items():
        if name in shape.filters:
            ids = ":assets" if name == "assets" else ":lineage_assets" if kind.is_asset_kind else ":lineage_links"
            needed = {"valid": valid, "ids": ids}
            rendered.append(kind.render(path, **{token: needed[token] for token in needed.keys() & tokens_of(path)}))
    return "".join(rendered)


def author_filters(kind: Kind, shape: ChangeShape, path: str) -> str:
    """Render the filters on the authors of changes."""
    columns = {"actors": "actor", "requests": "request_id"}
    return "".join(
        kind.render(path, column=column, values=f":{name}") for name, column in columns.items() if name in shape.filters
    )


def cursor_ids(name: str, cursor: Sequence[int] | None) -> dict[str, int]:
    """Build the parameters that bound the ids of each group by the group and the id of a cursor. The ids of the groups before it
    are all before the cursor, and those of the groups after it are after."""
    group, subject_id = cursor or (-1, _BELOW_IDS)
    return {
        f"{name}_{number}": subject_id if number == group else _ABOVE_IDS if number < group else _BELOW_IDS
        for number in set(GROUPS.values())
    }


def union_all(parts: Iterable[str]) -> str:
    """Combine queries into one that selects the rows of all."""
    return "UNION ALL\n".join(f"{part}\n" for part in parts)
