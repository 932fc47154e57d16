"""The tables as statements see them. Migrations create them; a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Double,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

tenant = Table(
    "tenant",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("suspended_because", Text),
    Column("retention_days", Integer),
)

quota = Table(
    "quota",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("allowed", BigInteger),
)

api_key = Table(
    "api_key",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
)

audit = Table(
    "audit",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("operator", Boolean, nullable=False),
    Column("operation", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request_id", Text),
)

asset = Table(
    "asset",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("uid", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("type", Text),
)

domain = Table(
    "domain",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
)

entity_type = Table(
    "entity_type",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("domain", Text),
    Column("source", JSONB),
    Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("actor", Text),
)

detail_type = Table(
    "detail_type",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("format", Text),
    Column("role", Text),
    Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("actor", Text),
)

change = Table(
    "change",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("change_ts", DateTime(timezone=True), nullable=False),
    Column("payload", JSONB),
    Column("changed", Boolean, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("request_id", Text),
    Column("credential", Text),
    Column("producer", Text),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Uuid, nullable=False),
    Column("subject_id", BigInteger),
    Column("change_ts", DateTime(timezone=True)),
    Column("changed", Boolean),
    Column("uid", Uuid),
)

product_version = Table(
    "product_version",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("asset_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("description", Text),
    Column("schema", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Column("digest", Uuid, nullable=False),
    Column("search_text", Text, Computed(""), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

entity_version = Table(
    "entity_version",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("asset_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("digest", Uuid, nullable=False),
    Column("keys", ARRAY(Text), nullable=False),
    Column("search_text", Text, Computed(""), nullable=False),
)

entity_key = Table(
    "entity_key",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("asset_id", BigInteger, primary_key=True),
    Column("type", Text, nullable=False),
    Column("compared", Text, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
)

entity_detail = Table(
    "entity_detail",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("asset_id", BigInteger, primary_key=True),
    Column("detail_type", Text, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("value", Text, nullable=False),
    Column("number", Double),
)

asset_lifetime = Table(
    "asset_lifetime",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("asset_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
)

lineage_link = Table(
    "lineage_link",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("uid", Uuid, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("target_id", BigInteger, nullable=False),
    Column("producer", Text),
)

lineage_link_version = Table(
    "lineage_link_version",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("link_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("type", Text, nullable=False),
    Column("transformation", Text),
    Column("confidence", Double, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("digest", Uuid, nullable=False),
)

lineage_link_effective = Table(
    "lineage_link_effective",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("link_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("target_id", BigInteger, nullable=False),
    Column("producer", Text),
    Column("type", Text, nullable=False),
    Column("transformation", Text),
    Column("confidence", Double, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("digest", Uuid, nullable=False),
)

relationship_type = Table(
    "relationship_type",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("origin", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("related", Text, nullable=False),
    Column("reverse_key", Text, nullable=False),
    Column("cardinality", Text, nullable=False),
    Column("on_delete", Text, nullable=False),
    Column("foreign_key_field", Text),
    Column("origin_type", Text, Computed("")),
    Column("related_type", Text, Computed("")),
    Column("one_origin", Boolean, Computed("")),
    Column("one_related", Boolean, Computed("")),
    Column("created_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True)),
    Column("actor", Text),
)

relationship_key = Table(
    "relationship_key",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("near", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("far", Text, primary_key=True),
    Column("type_id", BigInteger, nullable=False),
)

relationship = Table(
    "relationship",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("uid", Uuid, nullable=False),
    Column("type_id", BigInteger, nullable=False),
    Column("origin_id", BigInteger, nullable=False),
    Column("related_id", BigInteger, nullable=False),
    Column("one_origin", Boolean, nullable=False),
    Column("one_related", Boolean, nullable=False),
)

relationship_version = Table(
    "relationship_version",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("relationship_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("attributes", JSONB, nullable=False),
    Column("digest", Uuid, nullable=False),
)

relationship_effective = Table(
    "relationship_effective",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("relationship_id", BigInteger, primary_key=True),
    Column("valid_from", DateTime(timezone=True), primary_key=True),
    Column("valid_to", DateTime(timezone=True), nullable=False),
    Column("type_id", BigInteger, nullable=False),
    Column("origin_id", BigInteger, nullable=False),
    Column("related_id", BigInteger, nullable=False),
    Column("one_origin", Boolean, nullable=False),
    Column("one_related", Boolean, nullable=False),
    Column("attributes", JSONB, nullable=False),
    Column("digest", Uuid, nullable=False),
)
