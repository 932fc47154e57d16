"""Data products: reading them at any instant, and writing what changes about them."""

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
from db.assets.product import ProductRow
from db.assets.product_query import ProductQuery
from db.errors import NotFound
from db.fields import refuse_unstorable
from db.temporal.change_log import Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kind import Kind
from db.temporal.kinds import PRODUCT
from db.tenancy.idempotency import run_once
from schema.assets.asset import Asset
from schema.assets.search import searchable
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import LIFETIME_WEIGHT, WRITE_WEIGHT, cost, list_size
from schema.language.inputs import (
    AT,
    INPUT,
    KEY,
    DeleteInput,
    DeletePayload,
    RestoreInput,
    idempotency_key_of,
    input_field,
    optional_input_field,
    provided_fields,
)
from schema.language.node_ids import AsOf, write_id
from schema.language.pagination import After, Before, Connection, First, Keyset, Last, OrderDirection, paged
from schema.language.scopes import DOMAIN, READ, field, resolver
from schema.lazy import LazyDomain, asset_type, domain_at

PRODUCT_BY_UID = Batch(products.products_by_uid)
PRODUCT_BY_NAME = Batch(products.products_by_name)


@strawberry.enum(description="Where a product stands in its life.")
class ProductStatus(Enum):
    ACTIVE = strawberry.enum_value("ACTIVE", description="In use, and looked after.")
    DEPRECATED = strawberry.enum_value("DEPRECATED", description="Still there, but not to be built upon.")
    INACTIVE = strawberry.enum_value("INACTIVE", description="No longer fed.")


@strawberry.enum(description="What a list of products may be ordered by.")
class ProductOrderField(Enum):
    NAME = strawberry.enum_value("NAME", description="By name.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="By when each last changed.")
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="By when each first came to be.")


@strawberry.federation.type(description="One field of a product's schema.", shareable=True)
class SchemaField:
    name: str = field(READ, "Its name.")
    type: str = field(READ, "Its type, in the words of whoever registered it.")
    description: str | None = field(READ, "What it means.")


@asset_type(ProductRow)
@strawberry.federation.type(keys=["id", "uid", "name"], description="A data product, as it was at one instant.")
class Product(Asset):
    name: str = field(READ, "Unique at every instant; it may change, the uid does not.")
    domain: LazyDomain = field(READ, "The domain that owns it.")
    owner: str = field(READ, "Who answers for it.")
    description: str | None = field(READ, "What it holds and what it is for.")
    schema: JSON = field(READ, "Its schema as it was registered, a JSON object.")
    status: ProductStatus = field(READ, "Where it stands in its life.")
    version: str = field(READ, "Its semantic version.")
    tags: list[str] = field(READ, "What it is filed under.")

    kind: ClassVar[Kind] = PRODUCT

    @list_size(20)
    @resolver(
        READ, "The fields of its schema, read from any of the usual forms: a list of fields, JSON Schema, or names with types."
    )
    def fields(self) -> list[SchemaField]:
        return schema_fields(cast(dict[str, Any], self.schema))

    @classmethod
    def of(cls, row: ProductRow, pinned: datetime | None) -> "Product":
        """A product out of its row; `pinned` is the instant that was asked for, if one was."""
        return cls(
            id=write_id("Product", row.uid, pinned),
            uid=row.uid,
            label=row.name,
            as_of=row.as_of,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            created_at=row.created_at,
            updated_at=row.valid_from,
            name=row.name,
            domain=domain_at(row.domain, row.as_of, pinned),
            owner=row.owner,
            description=row.description,
            schema=JSON(row.schema),
            status=ProductStatus[row.status],
            version=row.version,
            tags=row.tags,
            asset_id=row.asset_id,
            pinned=pinned,
        )

    @classmethod
    async def find(cls, info: Info, uid: UUID, pinned: datetime | None) -> "Product | None":
        row = await info.context.load(PRODUCT_BY_UID, uid, pinned)
        return None if row is None else cls.of(row, pinned)

    @classmethod
    def from_version(cls, uid: UUID, version: VersionPeriod) -> "Product":
        return cls.of(products.product_from_version(uid, version), version.as_of)


@strawberry.input(description="An order of products.")
class ProductOrder:
    field: ProductOrderField = input_field("What to order by.")
    direction: OrderDirection = input_field("Which way.", default=OrderDirection.ASC)


BY_NAME = ProductOrder(field=ProductOrderField("NAME"), direction=OrderDirection("ASC"))


@strawberry.input(description="Which products: those that match every part given. An empty list matches nothing.")
class ProductFilter:
    domains: list[str] | None = optional_input_field("In any of these domains.")
    statuses: list[ProductStatus] | None = optional_input_field("With any of these statuses.")
    owners: list[str] | None = optional_input_field("Of any of these owners.")
    tags: list[str] | None = optional_input_field("With any of these tags.")


@strawberry.input(one_of=True, description="Names a product, in one of these ways.")
class ProductRef:
    uid: UUID | None = optional_input_field("By its uid.")
    name: str | None = optional_input_field("By the name it has at that instant.")


@strawberry.input(description="A product to register.")
class RegisterProductInput:
    uid: UUID | None = optional_input_field("Its stable identity; left out: one is made.")
    name: str = input_field("Its name, which no other product may have at that instant.")
    domain: str = input_field("The domain that owns it.")
    owner: str = input_field("Who answers for it.")
    description: str | None = optional_input_field("What it holds and what it is for.")
    schema: JSON = input_field("Its schema, a JSON object.")
    tags: list[str] | None = optional_input_field("What it is filed under.")
    status: ProductStatus | None = optional_input_field("Where it stands; left out: ACTIVE.")
    version: str | None = optional_input_field("Its semantic version; left out: 1.0.0.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.input(description="What changes about a product. What is left out stays; null clears what can be empty.")
class UpdateProductInput:
    product: ProductRef = input_field("Which product.")
    name: str | None = optional_input_field("Its new name.")
    domain: str | None = optional_input_field("The domain that owns it from then on.")
    owner: str | None = optional_input_field("Who answers for it from then on.")
    description: str | None = optional_input_field("What it holds and what it is for; null: no description.")
    schema: JSON | None = optional_input_field("Its new schema, a JSON object.")
    tags: list[str] | None = optional_input_field("What it is filed under from then on, in place of what was; null: nothing.")
    status: ProductStatus | None = optional_input_field("Where it stands from then on.")
    version: str | None = optional_input_field("Its new semantic version.")
    at: datetime | None = optional_input_field(AT)
    idempotency_key: str | None = optional_input_field(KEY)


@strawberry.type(description="What became of a product.")
class ProductPayload:
    product: Product = field(READ, "The product from that instant on.")
    changed: bool = field(READ, "Whether anything is different now; false: it was so already.")


@strawberry.type
class ProductQueries:
    @resolver(READ, "The product that has this name at that instant; null: none has.")
    async def product(
        self, info: Info, name: Annotated[str, strawberry.argument(description="Its name.")], as_of: AsOf = None
    ) -> Product | None:
        return await product_by_name(info, name, as_of)

    @paged
    @resolver(READ, "Products, searched, filtered and ordered as they were at that instant.")
    async def products(
        self,
        info: Info,
        search: Annotated[
            str | None,
            strawberry.argument(
                description="Text that the name, the description or a tag contains, in upper or lower case alike."
            ),
        ] = None,
        filter: Annotated[ProductFilter | None, strawberry.argument(description="Which of them.")] = None,
        order_by: Annotated[ProductOrder, strawberry.argument(description="In which order.")] = BY_NAME,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        as_of: AsOf = None,
    ) -> Connection[Product]:
        query = ProductQuery(
            search=searchable(search),
            order=product_query.ProductOrder[order_by.field.name],
            descending=order_by.direction is OrderDirection.DESC,
            as_of=as_of,
            **{name: None if part is None else tuple(part) for name, part in (provided_fields(filter) or {}).items()},
        )
        key: type = str if query.order is product_query.ProductOrder.NAME else datetime
        keyset = Keyset("products", query, key=(key, int))
        page = keyset.page(first=first, after=after, last=last, before=before, largest=info.context.limits.page_size)
        connection = await info.context.transaction.reader()
        return keyset.connection(
            page,
            await product_query.list_products(connection, query, page),
            node=lambda row: Product.of(row, as_of),
            place=lambda row: product_query.cursor_key(row, query.order),
            count=lambda: product_query.count_products(connection, query),
        )


@strawberry.type
class ProductMutations:
    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Registers a product. CONFLICT when its name is taken at that instant, or its uid is alive then.")
    async def register_product(self, info: Info, input: Annotated[RegisterProductInput, INPUT]) -> ProductPayload:
        content = provided_fields(input)
        request = idempotency_key_of("registerProduct", content)
        uid, at = content.pop("uid", None), content.pop("at", None)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: products.register(connection, content, uid=uid, at=at))
        return await _payload(info, outcome, at)

    @cost(WRITE_WEIGHT)
    @resolver(DOMAIN, "Changes what is given about a product, from that instant on.")
    async def update_product(self, info: Info, input: Annotated[UpdateProductInput, INPUT]) -> ProductPayload:
        content = provided_fields(input)
        request = idempotency_key_of("updateProduct", content)
        (ref,) = content.pop("product").values()
        at = content.pop("at", None)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: products.update(connection, ref, content, at=at))
        return await _payload(info, outcome, at)

    @cost(LIFETIME_WEIGHT)
    @resolver(DOMAIN, "Ends a product at that instant. A read before it still sees it.")
    async def delete_product(self, info: Info, input: Annotated[DeleteInput, INPUT]) -> DeletePayload:
        content = provided_fields(input)
        request = idempotency_key_of("deleteProduct", content)
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: assets.delete(connection, PRODUCT, input.uid, at=content.get("at")))
        info.context.invalidate()
        return DeletePayload.of("Product", input, changed=outcome.changed)

    @cost(LIFETIME_WEIGHT)
    @resolver(DOMAIN, "Brings a product back as it was last, from that instant on.")
    async def restore_product(self, info: Info, input: Annotated[RestoreInput, INPUT]) -> ProductPayload:
        content = provided_fields(input)
        request = idempotency_key_of("restoreProduct", content)
        at = content.get("at")
        connection = await info.context.transaction.writer()
        outcome = await run_once(connection, request, lambda: assets.restore(connection, PRODUCT, input.uid, at=at))
        return await _payload(info, outcome, at)


async def product_by_name(info: Info, name: str, pinned: datetime | None) -> Product | None:
    # it would fail those that are looked up with it
    refuse_unstorable("name", name)
    row = await info.context.load(PRODUCT_BY_NAME, name, pinned)
    return None if row is None else Product.of(row, pinned)


async def _payload(info: Info, outcome: Outcome, at: datetime | None) -> ProductPayload:
    """The product as it was written. Where no instant was asked for, its id is the plain one."""
    info.context.invalidate()
    connection = await info.context.transaction.writer()
    row = await products.product_by_asset(connection, outcome.subject_id, outcome.at)
    if row is None:
        raise NotFound("The product has been ended at that very instant since, or was purged.", field="at")
    return ProductPayload(product=Product.of(row, at), changed=outcome.changed)


def schema_fields(schema: dict[str, Any]) -> list[SchemaField]:
    """The fields that a schema lists: as `fields`, as the `properties` of JSON Schema, or as names with their types."""
    listed = schema.get("fields", schema.get("columns"))
    if isinstance(listed, list):
        return [_schema_field(it.get("name"), it) for it in listed if isinstance(it, dict) and "name" in it]
    properties = schema.get("properties")
    named = properties if isinstance(properties, dict) else schema
    return [_schema_field(name, it) for name, it in named.items()]


def _schema_field(name: Any, described_as: Any) -> SchemaField:
    parts = described_as if isinstance(described_as, dict) else {"type": described_as}
    kind, description = parts.get("type", "unknown"), parts.get("description", parts.get("doc"))
    return SchemaField(
        name=str(name),
        type=kind if isinstance(kind, str) else orjson.dumps(kind).decode(),
        description=None if description is None else str(description),
    )
