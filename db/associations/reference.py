"""References to lineage links and relationships, and the one way to resolve them to uids."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from db.assets.reference import AssetRef, resolve_for_reading
from db.associations.association import EndRefs, Ends, missing_end_error, resolve_and_lock
from db.associations.relationship_type_choice import TypeCandidates, candidate_types, choose_type
from db.connection import ReadConnection, WriteConnection
from db.errors import Ambiguous, BadInput, HeadwaterError, NotFound
from db.registries.relationship_type import RelationshipTypeRow, RelationshipTypes, lock_types_shared
from db.rows import Row
from db.sql import statement
from db.temporal.kind import AssociationKind
from db.temporal.kinds import LINK

Found = TypeVar("Found")

_LINKS_BETWEEN = statement("associations/links_between")

_LINK_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/link")
_RELATIONSHIP_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/relationship")

# Producers that an error lists.
_LISTED = 10


class LinkEnds(NamedTuple):
    """The ends of a lineage link, and its producer."""

    source: AssetRef
    target: AssetRef
    producer: str | None = None
    # true: the only link there is between the ends, whatever its producer
    any_producer: bool = False

    def __str__(self) -> str:
        if self.any_producer:
            return f"link from the {self.source} to the {self.target}"
        producer = "without a producer" if self.producer is None else f"of the producer {self.producer[:100]!r}"
        return f"link {producer} from the {self.source} to the {self.target}"


class RelationshipEnds(NamedTuple):
    """The type of a relationship by key or code, and its ends."""

    type: str
    origin: AssetRef
    related: AssetRef

    def __str__(self) -> str:
        return f"relationship {self.type[:100]} from the {self.origin} to the {self.related}"


# A link or a relationship, by uid or by its ends.
LinkRef: TypeAlias = UUID | LinkEnds
RelationshipRef: TypeAlias = UUID | RelationshipEnds


def link_uid(source: UUID, target: UUID, producer: str | None) -> UUID:
    """Derive the uid of the link that a producer reports between two assets."""
    return uuid5(_LINK_NAMESPACE, f"{source}\0{target}\0{producer or ''}")


def relationship_uid(type_: RelationshipTypeRow, origin: UUID, related: UUID) -> UUID:
    """Derive the uid of the relationship of a type between two assets."""
    return uuid5(_RELATIONSHIP_NAMESPACE, f"{type_.code}\0{origin}\0{related}")


def in_stored_order(type_: RelationshipTypeRow, ends: Ends) -> Ends:
    """Return the ends of a relationship as origin and related end.

    Two assets have one relationship of a symmetric type, in whichever order they are given.
    """
    return Ends(ends.far, ends.near) if type_.is_symmetric and ends.near.uid > ends.far.uid else ends


def named_by(
    kind: AssociationKind, found: Found | HeadwaterError, ref: LinkRef | RelationshipRef, *, field: str
) -> Found | HeadwaterError:
    """Return what was found by the uid of what a reference names. The error of an unknown uid becomes that of the reference."""
    if not isinstance(found, NotFound) or found.field != "uid":
        return found
    named = f"{kind.label} with the uid {ref}" if isinstance(ref, UUID) else str(ref)
    return NotFound(f"There is no {named}.", field=field)


async def resolve_link(connection: ReadConnection, ref: LinkRef, at: datetime, *, field: str) -> UUID | HeadwaterError:
    """Return the uid of the link that a reference names at an instant, or the reason that there is none.

    An error names a part of the reference, which is the input `field`.
    """
    if isinstance(ref, UUID):
        return ref
    ends = {0: Ends(*await resolve_for_reading(connection, [(ref.source, at), (ref.target, at)]))}
    return _within((await _uids_of_links(connection, {0: ref}, {0: at}, ends, are_effective=True))[0], field)


async def lock_ends_of_link(
    connection: WriteConnection, ref: LinkRef, at: datetime | None, *, field: str
) -> UUID | HeadwaterError:
    """Return what `resolve_link` does, and lock the ends that the reference names against changes."""
    if isinstance(ref, UUID):
        return ref
    return _within((await lock_ends_of_links(connection, {0: ref}, {0: at}))[0], field)


async def lock_ends_of_links(
    connection: WriteConnection, refs: Mapping[int, LinkEnds], instants: Mapping[int, datetime | None]
) -> dict[int, UUID | HeadwaterError]:
    """Return the uid of the link that each reference names at its instant, or the reason that there is none. Lock their ends."""
    end_refs = {index: EndRefs(ref.source, ref.target, instants[index]) for index, ref in refs.items()}
    ends = await resolve_and_lock(connection, end_refs, allow_pending_ends=True)
    return await _uids_of_links(connection, refs, {it: instants[it] or connection.now for it in refs}, ends)


async def resolve_relationship(
    connection: ReadConnection, types: RelationshipTypes, ref: RelationshipRef, at: datetime, *, field: str
) -> UUID | HeadwaterError:
    """Return the uid of the relationship that a reference names at an instant, or the reason that there is none.

    An error names a part of the reference, which is the input `field`.
    """
    if isinstance(ref, UUID):
        return ref
    candidates = candidate_types(types, ref.type, EndRefs(ref.origin, ref.related, at))
    if isinstance(candidates, BadInput):
        return _within(candidates, field)
    ends = Ends(*await resolve_for_reading(connection, [(candidates.refs.near, at), (candidates.refs.far, at)]))
    return _within(_uid_of_relationship(candidates, ends, at), field)


async def lock_ends_of_relationship(
    connection: WriteConnection, ref: RelationshipRef, at: datetime | None, *, field: str
) -> UUID | HeadwaterError:
    """Return what `resolve_relationship` does, and lock the types and the ends that the reference names against changes."""
    if isinstance(ref, UUID):
        return ref
    return _within((await lock_ends_of_relationships(connection, {0: ref}, {0: at}))[0], field)


async def lock_ends_of_relationships(
    connection: WriteConnection, refs: Mapping[int, RelationshipEnds], instants: Mapping[int, datetime | None]
) -> dict[int, UUID | HeadwaterError]:
    """Return the uid of the relationship that each reference names at its instant, or the reason that there is none. Lock the
    types and the ends."""
    if not refs:
        return {}
    types = await lock_types_shared(connection, {ref.type for ref in refs.values()})
    found = {
        index: candidate_types(types, ref.type, EndRefs(ref.origin, ref.related, instants[index])) for index, ref in refs.items()
    }
    candidates = {index: it for index, it in found.items() if isinstance(it, TypeCandidates)}
    uids: dict[int, UUID | HeadwaterError] = {index: it for index, it in found.items() if isinstance(it, BadInput)}
    ends = await resolve_and_lock(connection, {index: it.refs for index, it in candidates.items()}, allow_pending_ends=True)
    return uids | {
        index: _uid_of_relationship(it, ends[index], instants[index] or connection.now) for index, it in candidates.items()
    }


async def _uids_of_links(
    connection: ReadConnection,
    refs: Mapping[int, LinkEnds],
    instants: Mapping[int, datetime],
    ends: Mapping[int, Ends],
    *,
    are_effective: bool = False,
) -> dict[int, UUID | HeadwaterError]:
    """Return the uids of links between resolved ends. An error names a field of `ends`, or none if it is about the link.

    With `are_effective`, they are those of links that may be effective at the instant: both ends exist then, and any producer is
    one that states the link then. Without, it may also be the producer of the only link that there ever was.
    """
    uids: dict[int, UUID | HeadwaterError] = {}
    open_: list[int] = []
    for index, ref in refs.items():
        (near, far), instant = ends[index], instants[index]
        end_refs = EndRefs(ref.source, ref.target, instant)
        error = missing_end_error(LINK, end_refs, ends[index], instant, allow_pending_ends=not are_effective)
        if error is None and ref.any_producer:
            open_.append(index)
        else:
            uids[index] = error or link_uid(near.uid, far.uid, ref.producer)
    if not open_:
        return uids
    parameters = {
        "sources": [ends[index].near.asset_id for index in open_],
        "targets": [ends[index].far.asset_id for index in open_],
        "instants": [instants[index] for index in open_],
    }
    links: dict[int, list[Row]] = {index: [] for index in open_}
    for row in await connection.fetch(_LINKS_BETWEEN, {**parameters, "limit": _LISTED + 1}):
        if row.valid or not are_effective:
            links[open_[row.ordinal - 1]].append(row)
    return uids | {index: _only_link(refs[index], between) for index, between in links.items()}


def _only_link(ref: LinkEnds, links: Sequence[Row]) -> UUID | HeadwaterError:
    """Return the uid of the only link between the ends of a reference: of those that are valid, if any is."""
    found = [it for it in links if it.valid] or links
    if not found:
        return NotFound(f"There is no {ref}.")
    if len(found) == 1:
        uid: UUID = found[0].uid
        return uid
    problem = f"There are several links from the {ref.source} to the {ref.target}. Give the producer of one of them"
    producers = ["null" if it.producer is None else repr(it.producer[:100]) for it in found[:_LISTED]]
    listed = ", ".join([*producers, "…"] if len(found) > _LISTED else producers)
    return Ambiguous(f"{problem}: {listed}.", field="producer", blind=f"{problem}.")


def _uid_of_relationship(candidates: TypeCandidates, ends: Ends, instant: datetime) -> UUID | HeadwaterError:
    type_ = choose_type(candidates, ends, instant, allow_pending_ends=True)
    if isinstance(type_, HeadwaterError):
        return type_
    origin, related = in_stored_order(type_, ends)
    return relationship_uid(type_, origin.uid, related.uid)


def _within(found: UUID | HeadwaterError, field: str) -> UUID | HeadwaterError:
    """Return what was found. The error of a field of `ends` names the whole path of that field."""
    if isinstance(found, HeadwaterError):
        found.field = field if found.field is None else f"{field}.ends.{found.field}"
    return found
