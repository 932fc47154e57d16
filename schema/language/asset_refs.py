"""References to assets in inputs: the kinds of assets, and the ways to name one."""

from enum import Enum
from typing import Any
from uuid import UUID

import strawberry

from db.associations import association
from schema.language.inputs import input_field, optional_input_field


@strawberry.enum(description="Kind of an asset.")
class AssetKind(Enum):
    PRODUCT = strawberry.enum_value("PRODUCT", description="A data product.")
    ENTITY = strawberry.enum_value("ENTITY", description="An entity of any type.")


@strawberry.input(description="Names an entity by its key in the system that it comes from.")
class EntityKey:
    type: str = input_field("Code of the entity type.")
    key: str = input_field("Key of the entity, unique within the type.")


@strawberry.input(one_of=True, description="Names an asset, in one of these ways.")
class AssetRef:
    uid: UUID | None = optional_input_field("An asset of any kind, by its uid.")
    product: str | None = optional_input_field("A product, by its name at the instant of the write.")
    entity: EntityKey | None = optional_input_field("An entity, by its type and key.")


def asset_ref(ref: dict[str, Any]) -> association.AssetRef:
    """Return the reference of an AssetRef input, given as plain values."""
    key = ref.get("entity")
    return (
        association.AssetRef(uid=ref.get("uid"), product=ref.get("product"))
        if key is None
        else association.AssetRef(type=key["type"], key=key["key"])
    )
