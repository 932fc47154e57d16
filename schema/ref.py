"""References: how an input names assets."""

from enum import Enum
from typing import Any
from uuid import UUID

import strawberry

from db.bond import End
from schema.writing import described, optional


@strawberry.enum(description="The kinds of assets.")
class AssetKind(Enum):
    PRODUCT = strawberry.enum_value("PRODUCT", description="Data products.")
    ENTITY = strawberry.enum_value("ENTITY", description="Entities, whatever their type.")


@strawberry.input(description="Names an entity by its identifier in the system it comes from.")
class EntityKey:
    type: str = described("The type of entity.")
    key: str = described("Its key within the type.")


@strawberry.input(one_of=True, description="Names an asset, in one of these ways.")
class AssetRef:
    uid: UUID | None = optional("By its uid, whatever its kind.")
    product: str | None = optional("A product, by the name it has at that instant.")
    entity: EntityKey | None = optional("An entity, by its key.")


def end_of(ref: dict[str, Any]) -> End:
    """What a reference means; it names exactly one thing."""
    key = ref.get("entity")
    return End(uid=ref.get("uid"), product=ref.get("product")) if key is None else End(type=key["type"], key=key["key"])
