"""Assets of any kind by reference."""

from collections.abc import Mapping
from typing import Annotated, Any

import strawberry

from db.fields import refuse_unstorable
from schema.assets.asset import Asset
from schema.assets.entity import ENTITY_BY_KEY, Entity
from schema.assets.product import PRODUCT_BY_NAME, Product
from schema.execution.context import Info
from schema.language.cost import list_size
from schema.language.fields import resolver
from schema.language.inputs import provided_fields
from schema.language.limits import check_entries
from schema.language.node_ids import AsOf
from schema.language.references import AssetRef, asset_ref
from schema.language.scopes import READ
from schema.lazy import AssetKey, find_assets


@strawberry.type
class AssetQueries:
    @resolver(READ, "The asset that a reference names. Null if it does not exist at that instant.")
    async def asset(
        self, info: Info, ref: Annotated[AssetRef, strawberry.argument(description="The asset.")], as_of: AsOf = None
    ) -> Asset | None:
        found: Asset | None
        (found,) = await find_assets(info, [_key(provided_fields(ref), as_of, field="ref")], are_all=True)
        if isinstance(found, Exception):
            raise found
        return found

    @list_size(100, like="refs")
    @resolver(
        READ,
        "The assets that references name, in the same order. Null for each that does not exist at that instant. References of one"
        " form are looked up together.",
    )
    async def assets(
        self,
        info: Info,
        refs: Annotated[list[AssetRef], strawberry.argument(description="The assets, no more than a page may have.")],
        as_of: AsOf = None,
    ) -> list[Asset | None]:
        check_entries("refs", refs, info.context.limits.page_size)
        keys = [_key(provided_fields(it), as_of, field=f"refs[{index}]") for index, it in enumerate(refs)]
        return await find_assets(info, keys, are_all=True)


def _key(given: Mapping[str, Any], as_of: Any, *, field: str) -> AssetKey:
    """Return the key by which a loader finds the asset of an AssetRef, given as the plain values of a field."""
    ref = asset_ref(given)
    # text that PostgreSQL cannot store would fail all look-ups of the batch
    for name, text in (("product", ref.product), ("entity.type", ref.type), ("entity.key", ref.key)):
        if text is not None:
            refuse_unstorable(f"{field}.{name}", text)
    if ref.product is not None:
        return AssetKey(Product, PRODUCT_BY_NAME, ref.product, as_of)
    if ref.key is not None:
        return AssetKey(Entity, ENTITY_BY_KEY, (ref.type, ref.key), as_of)
    return AssetKey(None, None, ref.uid, as_of)
