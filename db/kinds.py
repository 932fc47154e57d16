"""Every versioned kind. Who adds one adds it here."""

from db.kind import Bond, Kind
from db.tables import (
    entity_version,
    lineage_link,
    link,
    link_version,
    product_version,
    relation,
    relation_version,
    relationship,
)

PRODUCT = Kind("PRODUCT", product_version)
ENTITY = Kind("ENTITY", entity_version, projections=["details"])
LINK = Bond(
    "LINK",
    link_version,
    subject="link_id",
    identities=link,
    held=lineage_link,
    ends=("source_id", "target_id"),
    answering="target_id",
    parts={"producer": "text"},
)
RELATIONSHIP = Bond(
    "RELATIONSHIP",
    relation_version,
    subject="relation_id",
    identities=relation,
    held=relationship,
    ends=("origin_id", "related_id"),
    answering="origin_id",
    parts={"type_id": "bigint", "one_origin": "boolean", "one_related": "boolean"},
    verifications=["relations", "cardinality", "relationship_keys"],
)

# What is a node of the graph, and what is between two of them.
ASSET_KINDS: tuple[Kind, ...] = (PRODUCT, ENTITY)
BONDS: tuple[Bond, ...] = (LINK, RELATIONSHIP)
KINDS: tuple[Kind, ...] = (*ASSET_KINDS, *BONDS)
KIND_OF: dict[str, Kind] = {kind.name: kind for kind in KINDS}
