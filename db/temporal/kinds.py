"""The versioned kinds. A new kind is added here."""

from db.tables import (
    entity_version,
    lineage_link,
    lineage_link_effective,
    lineage_link_version,
    product_version,
    relationship,
    relationship_effective,
    relationship_version,
)
from db.temporal.kind import AssociationKind, Kind

PRODUCT = Kind("PRODUCT", product_version, plural="products")
ENTITY = Kind("ENTITY", entity_version, plural="entities", projections=["assets/details", "assets/keys"])
LINK = AssociationKind(
    "LINK",
    lineage_link_version,
    plural="links",
    subject="link_id",
    identities=lineage_link,
    effective=lineage_link_effective,
    ends=("source_id", "target_id"),
    owner="target_id",
    parts={"producer": "text"},
)
RELATIONSHIP = AssociationKind(
    "RELATIONSHIP",
    relationship_version,
    plural="relationships",
    subject="relationship_id",
    identities=relationship,
    effective=relationship_effective,
    ends=("origin_id", "related_id"),
    owner="origin_id",
    parts={"type_id": "bigint", "one_origin": "boolean", "one_related": "boolean"},
    verifications=["associations/relationships", "consistency/cardinality", "registries/relationship_keys"],
)

ASSET_KINDS: tuple[Kind, ...] = (PRODUCT, ENTITY)
ASSOCIATION_KINDS: tuple[AssociationKind, ...] = (LINK, RELATIONSHIP)
KINDS: tuple[Kind, ...] = (*ASSET_KINDS, *ASSOCIATION_KINDS)
KIND_OF: dict[str, Kind] = {kind.name: kind for kind in KINDS}
