"""References: how an input names assets."""

from enum import Enum
from typing import Any
from uuid import UUID

import strawberry

from db.associations import association
from schema.language.inputs import input_field, optional_input_field


@strawberry.enum(description="The kinds of assets.")
class AssetKind(Enum):
    PRODUCT = strawberry.enum_value("PRODUCT", description="Data products.")
    ENTITY = strawberry.enum_value("ENTITY", description="Entities, whatever their type.")


@strawberry.input(description="Names an entity by its identifier in the system it comes from.")
class EntityKey:
    type: str = input_field("The type of entity.")
    key: str = input_field("Its key within the type.")


@strawberry.input(one_of=True, description="Names an asset, in one of these ways.")
class AssetRef:
    uid: UUID | None = optional_input_field("By its uid, whatever its kind.")
    product: str | None = optional_input_field("A product, by the name it has at that instant.")
    entity: EntityKey | None = optional_input_field("An entity, by its key.")


def asset_ref(ref: dict[str, Any]) -> association.AssetRef:
    """What a reference means; it names exactly one thing."""
    key = ref.get("entity")
    return (
        association.AssetRef(uid=ref.get("uid"), product=ref.get("product"))
        if key is None
        else association.AssetRef(type=key["type"], key=key["key"])
    )
