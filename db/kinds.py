"""Every versioned kind. Who adds one adds it here."""

from db.entity import ENTITY
from db.link import LINK
from db.product import PRODUCT
from db.temporal import Kind

# What is a node of the graph.
ASSET_KINDS: tuple[Kind, ...] = (PRODUCT, ENTITY)
KINDS: tuple[Kind, ...] = (*ASSET_KINDS, LINK)
