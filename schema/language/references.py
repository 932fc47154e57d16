"""References in inputs: the kinds of assets, and the ways to name an asset, a lineage link and a relationship."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, cast
from uuid import UUID

import strawberry

from db.assets import reference
from db.associations import reference as associations
from schema.language.inputs import input_field, optional_input_field

CREATE_MISSING = (
    "True creates an end that is named and was never recorded, as a stub from the instant of this write on. A product has the"
    " domain `unassigned` until it is created with its state."
)


@strawberry.enum(description="Kind of an asset.")
class AssetKind(Enum):
    PRODUCT = strawberry.enum_value("PRODUCT", description="A data product.")
    ENTITY = strawberry.enum_value("ENTITY", description="An entity of any type.")


@strawberry.input(description="Names an entity by its key in the system that it comes from.")
class EntityKey:
    type: str = input_field("Code of the entity type.")
    key: str = input_field("Any of the keys of the entity.")


@strawberry.input(one_of=True, description="Names an asset, in one of these ways.")
class AssetRef:
    uid: UUID | None = optional_input_field("An asset of any kind, by its uid.")
    product: str | None = optional_input_field("A product, by its name at that instant.")
    entity: EntityKey | None = optional_input_field("An entity, by its type and key.")


@strawberry.input(one_of=True, description="Names a product, in one of these ways.")
class ProductRef:
    uid: UUID | None = optional_input_field("Uid of the product.")
    name: str | None = optional_input_field("Name of the product at that instant.")


@strawberry.input(one_of=True, description="Names an entity, in one of these ways.")
class EntityRef:
    uid: UUID | None = optional_input_field("Uid of the entity.")
    key: EntityKey | None = optional_input_field("Type and key of the entity.")


@strawberry.input(description="Names a lineage link by its ends and producer.")
class LinkEnds:
    source: AssetRef = input_field("The asset that feeds the target.")
    target: AssetRef = input_field("The asset that the source feeds.")
    producer: str | None = optional_input_field(
        "The producer of the link; null names the link without one. If it is left out, the ends must have only one link."
    )


@strawberry.input(one_of=True, description="Names a lineage link, in one of these ways.")
class LinkRef:
    uid: UUID | None = optional_input_field("Uid of the link.")
    ends: LinkEnds | None = optional_input_field("Ends and producer of the link.")


@strawberry.input(description="Names a relationship by its type and ends.")
class RelationshipEnds:
    type: str = input_field("Key of a relationship type, or its code if several types have that key.")
    origin: AssetRef = input_field("The asset at the origin of the relationship.")
    related: AssetRef = input_field("The asset at its related end.")


@strawberry.input(one_of=True, description="Names a relationship, in one of these ways.")
class RelationshipRef:
    uid: UUID | None = optional_input_field("Uid of the relationship.")
    ends: RelationshipEnds | None = optional_input_field("Type and ends of the relationship.")


def asset_ref(ref: Mapping[str, Any]) -> reference.AssetRef:
    """Return the reference of an AssetRef input, given as plain values."""
    return _keyed(ref["entity"]) if "entity" in ref else reference.AssetRef(uid=ref.get("uid"), product=ref.get("product"))


def product_ref(ref: Mapping[str, Any]) -> reference.AssetRef:
    """Return the reference of a ProductRef input, given as plain values."""
    return reference.AssetRef(uid=ref.get("uid"), product=ref.get("name"))


def entity_ref(ref: Mapping[str, Any]) -> reference.AssetRef:
    """Return the reference of an EntityRef input, given as plain values."""
    return _keyed(ref["key"]) if "key" in ref else reference.AssetRef(uid=ref["uid"])


def link_ref(ref: Mapping[str, Any]) -> associations.LinkRef:
    """Return the reference of a LinkRef input, given as plain values."""
    if "uid" in ref:
        return cast(UUID, ref["uid"])
    ends = ref["ends"]
    source, target = asset_ref(ends["source"]), asset_ref(ends["target"])
    return associations.LinkEnds(source, target, ends.get("producer"), any_producer="producer" not in ends)


def relationship_ref(ref: Mapping[str, Any]) -> associations.RelationshipRef:
    """Return the reference of a RelationshipRef input, given as plain values."""
    if "uid" in ref:
        return cast(UUID, ref["uid"])
    ends = ref["ends"]
    return associations.RelationshipEnds(ends["type"], asset_ref(ends["origin"]), asset_ref(ends["related"]))


def _keyed(key: Mapping[str, str]) -> reference.AssetRef:
    return reference.AssetRef(type=key["type"], key=key["key"])
