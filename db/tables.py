"""The tables as queries see them. Migrations make them; a test holds the two together."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
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
)

asset = Table(
    "asset",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True),
    Column("uid", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
)

domain = Table(
    "domain",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
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
)

request = Table(
    "request",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Uuid, nullable=False),
    Column("subject_id", BigInteger),
    Column("change_ts", DateTime(timezone=True)),
    Column("changed", Boolean),
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
    Column("search_text", Text, Computed("")),
)
