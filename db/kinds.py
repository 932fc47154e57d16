"""Every versioned kind. Who adds one adds it here."""

from db.entity import ENTITY
from db.product import PRODUCT
from db.temporal import Kind

KINDS: tuple[Kind, ...] = (PRODUCT, ENTITY)
