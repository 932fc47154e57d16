"""Data products: reads at any instant, and writes."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, cast
from uuid import UUID

import orjson
import strawberry
from strawberry.scalars import JSON

from db.assets import asset as assets
from db.assets import product as products
from db.assets import product_query
from db.assets.product_query import ProductQuery
from db.errors import BadInput
from db.fields import refuse_unstorable
from db.temporal.change_log import Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kind import Kind
from db.temporal.kinds import PRODUCT
from schema.assets.asset import LABEL, TYPE_LABEL, Asset
from schema.assets.asset_filter import CREATED_SINCE, UIDS, UPDATED_BEFORE, UPDATED_SINCE, check_asset_filter, query_values
from schema.assets.search import Search, searchable
from schema.execution.connections import fetch_connection, read
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.execution.mutations import delete_once, lost_result_error, write_once
from schema.language.columns import column, reads
from schema.language.cost import LIFETIME_COST, READS_ALL, SEARCH, WRITE_COST, cost, list_size, order_cost, scan_cost_with
from schema.language.fields import field, resolver, single_read
from schema.language.inputs import (
    AT,
    END,
    INPUT,
    KEY,
    DeletePayload,
    idempotency_key_of,
    input_field,
    optional_input_field,
    provided_fields,
)
from schema.language.node_ids import ID, AsOf, write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, OrderDirection, PageArguments, paged
from schema.language.references import ProductRef, product_ref
from schema.language.scopes import DOMAIN, READ
from schema.lazy import LazyDomain, asset_type, domain_at

PRODUCT_BY_UID = Batch(products.products_by_uid)
PRODUCT_BY_NAME = Batch(products.products_by_name)


@strawberry.enum(description="Status of a product.")
class ProductStatus(Enum):
    ACTIVE = strawberry.enum_value("ACTIVE", description="In use and maintained.")
    DEPRECATED = strawberry.enum_value("DEPRECATED", description="Available, but not for new uses.")
    INACTIVE = strawberry.enum_value("INACTIVE", description="No longer updated.")


@strawberry.enum(description="Field by which a list of products is ordered.")
class ProductOrderField(Enum):
    NAME = strawberry.enum_value("NAME", description="By name.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="By the instant of the last change.")
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="By the instant of creation.")
    DOMAIN = strawberry.enum_value("DOMAIN", description="By domain.")
    OWNER = strawberry.enum_value("OWNER", description="By owner.")
    STATUS = strawberry.enum_value("STATUS", description=f"By status: ACTIVE, DEPRECATED, INACTIVE. {READS_ALL}")
    VERSION = strawberry.enum_value("VERSION", description=f"By precedence of the semantic version. {READS_ALL}")


@strawberry.federation.type(description="One field of a product's schema.", shareable=True)
class SchemaField:
    name: str = field(READ, "Name of the field.")
    type: str = field(READ, "Type of the field, as it was registered.")
    description: str | None = field(READ, "Description of the field.")


@asset_type
@strawberry.federation.type(keys=["id", "uid", "name"], description="A data product, as it was at one instant.")
class Product(Asset):
    id: strawberry.ID = column(READ, ID, compute=lambda row, pinned: write_id("Product", row.uid, pinned))
    label: str = column(READ, LABEL, "name")
    type_label: str = column(READ, TYPE_LABEL, compute=lambda *_: "Product")
    key: str | None = column(READ, "Name of the product, by which users refer to it.", "name")
    name: str = column(READ, "Name, unique at every instant. It may change; the uid does not.")
    domain: LazyDomain = column(
        READ,
        "Domain that owns the product.",
        compute=lambda row, pinned: domain_at(row["domain"], row["as_of"], pinned),
        reads=("domain", "as_of"),
    )
    owner: str = column(READ, "Owner of the product.")
    description: str | None = column(READ, "Content and purpose of the product.")
    schema: JSON = column(READ, "Schema as it was registered, a JSON object.")
    status: ProductStatus = column(READ, "Status of the product.")
    version: str = column(READ, "Semantic version.")
    tags: list[str] = column(READ, "Tags of the product.")
    url: str | None = column(READ, "Null: a product has no address.", compute=lambda *_: None)

    kind: ClassVar[Kind] = PRODUCT
    by_uid = PRODUCT_BY_UID

    @reads("schema")
    @list_size(20)
    @resolver(READ, "Fields of the schema, read from a list of fields, JSON Schema, or an object of names and types.")
    def fields(self) -> list[SchemaField]:
        return schema_fields(cast(dict[str, Any], self.schema))

    @classmethod
    def from_version(cls, uid: UUID, version: VersionPeriod) -> "Product":
        return cls.of(products.product_from_version(uid, version), version.as_of)


@strawberry.input(description="Order of a list of products.")
class ProductOrder:
    field: ProductOrderField = input_field("Field to order by.")
    direction: OrderDirection = input_field("Direction of the order.", default=OrderDirection.ASC)


BY_NAME = ProductOrder(field=ProductOrderField("NAME"), direction=OrderDirection("ASC"))


@strawberry.input(
    description="Filter of products. A product matches if it matches every given field. An empty list matches nothing."
)
class ProductFilter:
    domains: list[str] | None = optional_input_field("Any of these domains.")
    statuses: list[ProductStatus] | None = optional_input_field("Any of these statuses.")
    owners: list[str] | None = optional_input_field("Any of these owners.")
    tags: list[str] | None = optional_input_field("Any of these tags.")
    uids: list[UUID] | None = optional_input_field(UIDS)
    names: list[str] | None = optional_input_field("Any of these names at that instant, no more than a page may have.")
    updated_since: datetime | None = optional_input_field(UPDATED_SINCE)
    updated_before: datetime | None = optional_input_field(UPDATED_BEFORE)
    created_since: datetime | None = optional_input_field(CREATED_SINCE)


@strawberry.input(description="A product to register.")
class RegisterProductInput:
    uid: UUID | None = optional_input_field("Uid of the product. Defaults to a new one.")
    name: str = input_field("Name. No other product may have it at that instant.")
    domain: str = input_field("Domain that owns the product.")
    owner: str = input_field("Owner of the product.")
    description: str | None = optional_input_field("Content and purpose of the product.")
    schema: JSON = input_field("Schema, a JSON object.")
    tags: list[str] | None = optional_input_field("Tags of the product.")
    status: ProductStatus | None = optional_input_field("Status. Defaults to ACTIVE.")
    version: str | None = optional_input_field("Semantic version. Defaults to 1.0.0.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(
    description="Changes of a product. Fields that are left out stay as they are. Null clears a field that may be empty."
)
class UpdateProductInput:
    product: ProductRef = input_field("The product to change.")
    name: str | None = optional_input_field("New name.")
    domain: str | None = optional_input_field("New domain.")
    owner: str | None = optional_input_field("New owner.")
    description: str | None = optional_input_field("New description. Null removes it.")
    schema: JSON | None = optional_input_field("New schema, a JSON object.")
    tags: list[str] | None = optional_input_field("New tags. They replace all earlier tags. Null removes all tags.")
    status: ProductStatus | None = optional_input_field("New status.")
    version: str | None = optional_input_field("New semantic version.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="A product to delete.")
class DeleteProductInput:
    product: ProductRef = input_field("The product to delete. A name may be that of a product which was deleted with it.")
    at: datetime | None = optional_input_field(END)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="A deleted product to restore to its last state.")
class RestoreProductInput:
    product: ProductRef = input_field("The product to restore. A name is that which it had when it was deleted.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="Result of a mutation of a product.")
class ProductPayload:
    product: Product = field(READ, "The product from that instant on.")
    changed: bool = field(READ, "True if the mutation changed the product.")


@strawberry.type
class ProductQueries:
    @single_read()
    @resolver(READ, "The product with this name or this uid. Null if there is none at that instant.")
    async def product(
        self,
        info: Info,
        name: Annotated[
            str | None, strawberry.argument(description="Name of the product at that instant. Give either name or uid.")
        ] = None,
        uid: Annotated[UUID | None, strawberry.argument(description="Uid of the product. Give either name or uid.")] = None,
        as_of: AsOf = None,
    ) -> Product | None:
        if name is not None and uid is None:
            return await product_by_name(info, name, as_of)
        if uid is not None and name is None:
            return await Product.find(info, uid, as_of)
        if name is None:
            raise BadInput("Neither name nor uid is given. Give one of them.", field="name")
        raise BadInput("Both name and uid are given. Give one of them.", field="uid")

    @scan_cost_with(SEARCH, "products")
    @order_cost("products", ProductOrderField.DOMAIN.name, ProductOrderField.STATUS.name, ProductOrderField.VERSION.name)
    @single_read()
    @paged
    @resolver(READ, "Products at that instant. Search, filter and order apply to their state at that instant.")
    async def products(
        self,
        info: Info,
        search: Search = None,
        filter: Annotated[ProductFilter | None, strawberry.argument(description="Filter.")] = None,
        order_by: Annotated[ProductOrder, strawberry.argument(description="Order of the list.")] = BY_NAME,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Product]:
        fields = {name: value for name, value in (provided_fields(filter) or {}).items() if value is not None}
        check_asset_filter(fields, info.context.limits.page_size)
        query = ProductQuery(
            search=searchable(search),
            order=product_query.ProductOrder[order_by.field.name],
            descending=order_by.direction is OrderDirection.DESC,
            as_of=as_of,
            **query_values(fields),
        )
        return await fetch_connection(
            info,
            Keyset(
                info.context.cursor_cipher, "products", query, *query.digest_parts, key=product_query.cursor_types(query.order)
            ),
            PageArguments(first, after, last, before),
            fetch=lambda page: read(info, product_query.list_products, query, page),
            nodes=lambda rows: [Product.of(row, as_of) for row in rows],
            cursor_key=lambda row: product_query.cursor_key(row, query.order),
            count=lambda: read(info, product_query.count_products, query),
        )


@strawberry.type
class ProductMutations:
    @cost(WRITE_COST)
    @resolver(
        DOMAIN,
        "Register a product. CONFLICT if another product has its name at that instant, or a product with its uid exists then.",
    )
    async def register_product(self, info: Info, input: Annotated[RegisterProductInput, INPUT]) -> ProductPayload:
        content = provided_fields(input)
        key = idempotency_key_of("registerProduct", content)
        uid, at = content.pop("uid", None), content.pop("at", None)
        outcome = await write_once(info, key, lambda connection: products.register(connection, content, uid=uid, at=at))
        return await _payload(info, outcome, at)

    @cost(WRITE_COST)
    @resolver(DOMAIN, "Change a product from that instant on. CONFLICT if another product has its new name at that instant.")
    async def update_product(self, info: Info, input: Annotated[UpdateProductInput, INPUT]) -> ProductPayload:
        content = provided_fields(input)
        key = idempotency_key_of("updateProduct", content)
        ref = product_ref(content.pop("product"))
        at = content.pop("at", None)
        outcome = await write_once(
            info,
            key,
            lambda connection: products.update(connection, ref, content, at=at),
            at_once=lambda connection: products.update_at_once(connection, ref, content, at=at),
        )
        return await _payload(info, outcome, at)

    @cost(LIFETIME_COST)
    @resolver(DOMAIN, "Delete a product from that instant on. Reads at earlier instants still return it.")
    async def delete_product(self, info: Info, input: Annotated[DeleteProductInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        ref = product_ref(content["product"])
        return await delete_once(
            info,
            "deleteProduct",
            "Product",
            content,
            lambda connection, at: assets.delete(connection, PRODUCT, ref, at=at, field="product"),
        )

    @cost(LIFETIME_COST)
    @resolver(
        DOMAIN,
        "Restore a deleted product to its last state, from that instant on. CONFLICT if another product has its name at that"
        " instant, or a relationship that would return exceeds its cardinality.",
    )
    async def restore_product(self, info: Info, input: Annotated[RestoreProductInput, INPUT]) -> ProductPayload:
        content = provided_fields(input)
        key = idempotency_key_of("restoreProduct", content)
        at = content.get("at")
        ref = product_ref(content["product"])
        outcome = await write_once(info, key, lambda connection: assets.restore(connection, PRODUCT, ref, at=at, field="product"))
        return await _payload(info, outcome, at)


async def product_by_name(info: Info, name: str, pinned: datetime | None) -> Product | None:
    """Return the product with a name, at the requested instant or else now."""
    # text that PostgreSQL cannot store would fail all look-ups of the batch
    refuse_unstorable("name", name)
    row = await info.context.load(PRODUCT_BY_NAME, name, pinned)
    return None if row is None else Product.of(row, pinned)


async def _payload(info: Info, outcome: Outcome, at: datetime | None) -> ProductPayload:
    """Build the payload of a write. The id of the product is pinned if the mutation gave an instant."""
    row = outcome.row or await read(info, products.product_by_asset, outcome.subject_id, outcome.at)
    if row is None:
        raise lost_result_error("The product")
    return ProductPayload(product=Product.of(row, at), changed=outcome.changed)


def schema_fields(schema: dict[str, Any]) -> list[SchemaField]:
    """Read the fields of a schema from `fields`, from the `properties` of JSON Schema, or from names with their types."""
    columns = schema.get("fields", schema.get("columns"))
    if isinstance(columns, list):
        return [_schema_field(it.get("name"), it) for it in columns if isinstance(it, dict) and "name" in it]
    properties = schema.get("properties")
    types = properties if isinstance(properties, dict) else schema
    return [_schema_field(name, it) for name, it in types.items()]


def _schema_field(name: Any, definition: Any) -> SchemaField:
    parts = definition if isinstance(definition, dict) else {"type": definition}
    kind, description = parts.get("type", "unknown"), parts.get("description", parts.get("doc"))
    return SchemaField(
        name=str(name),
        type=kind if isinstance(kind, str) else orjson.dumps(kind).decode(),
        description=None if description is None else str(description),
    )
