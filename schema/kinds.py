"""The GraphQL type of every kind of asset. Who adds one adds it here."""

from schema.asset import Asset
from schema.entity import Entity
from schema.product import Product

ASSET_TYPES: dict[str, type[Asset]] = {it.kind.name: it for it in (Product, Entity)}
