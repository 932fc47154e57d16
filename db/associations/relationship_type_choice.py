"""Choice of the type of a relationship: a key may belong to several types, and the kinds of the ends decide between these."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from db.assets.reference import AssetRef, ResolvedAsset
from db.associations.association import EndRefs, Ends, missing_end_error
from db.errors import BadInput, HeadwaterError
from db.registries.relationship_type import RelationshipTypeRow, RelationshipTypes
from db.temporal.kinds import ENTITY, PRODUCT, RELATIONSHIP


class TypeCandidates(NamedTuple):
    """The types that a name may mean, and the ends as these types refer to them."""

    name: str
    types: Sequence[RelationshipTypeRow]
    refs: EndRefs


def candidate_types(types: RelationshipTypes, name: str, refs: EndRefs) -> TypeCandidates | BadInput:
    """Find the types that a name may mean. Complete references that are a key alone: an entity's, or the name of a product."""
    try:
        named = types.matching(name, field="type")
    except BadInput as error:
        return error
    near = _complete_ref("origin", refs.near, name, named, [it.origin for it in named])
    far = _complete_ref("related", refs.far, name, named, [it.related for it in named])
    if isinstance(near, BadInput):
        return near
    if isinstance(far, BadInput):
        return far
    return TypeCandidates(name, named, EndRefs(near, far, refs.at))


def _complete_ref(
    field: str, ref: AssetRef, name: str, types: Sequence[RelationshipTypeRow], end_types: Sequence[str]
) -> AssetRef | BadInput:
    if ref.key is None or ref.type is not None:
        return ref
    if len(set(end_types)) > 1:
        return _ambiguous(f"{name} is the key of several types", types)
    end_type = end_types[0]
    if end_type == ENTITY.name:
        return BadInput(f"{field} may be an entity of any type, so a key is not enough. Give its type or its uid.", field=field)
    return AssetRef(product=ref.key) if end_type == PRODUCT.name else AssetRef(type=end_type, key=ref.key)


def choose_type(
    candidates: TypeCandidates, ends: Ends, now: datetime, *, allow_pending_ends: bool
) -> RelationshipTypeRow | HeadwaterError:
    """Choose the type that allows a relationship between these ends at the instant, or return the reason that none does."""
    name, types, refs = candidates
    matching = list(types)
    for field, end_types in (("origin", _types_of(refs.near, ends.near)), ("related", _types_of(refs.far, ends.far))):
        matching = [it for it in matching if not end_types or getattr(it, field) in end_types]
        if not matching:
            allowed = ", or ".join(f"{it.origin} to {it.related}" for it in types)
            return BadInput(
                f"{field} is a {end_types[0]}, but {name} relates {allowed}.",
                field=field,
                blind=f"{name} does not relate an asset of the type of this {field}. Name another asset, or another type.",
            )
    error = missing_end_error(RELATIONSHIP, refs, ends, now, allow_pending_ends=allow_pending_ends)
    if error is not None:
        return error
    if len(matching) > 1:
        return _ambiguous(f"{name} may mean several types", matching)
    if ends.near.uid == ends.far.uid:
        return BadInput("origin and related are the same asset. Give two different assets.", field="related")
    return matching[0]


def _types_of(ref: AssetRef, asset: ResolvedAsset) -> tuple[str, ...]:
    """Return the entity type and the kind of an asset, or as much as the reference says if there is none."""
    if asset.is_found:
        return (asset.kind,) if asset.type is None else (asset.type, asset.kind)
    if ref.type is not None:
        return ref.type, ENTITY.name
    return () if ref.product is None else (PRODUCT.name,)


def _ambiguous(problem: str, types: Sequence[RelationshipTypeRow]) -> BadInput:
    """Build the error for a name that types share."""
    problem = f"{problem}. Give the code of one of them"
    return BadInput(f"{problem}: {', '.join(it.code for it in types)}.", field="type", blind=f"{problem}.")
