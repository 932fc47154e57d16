"""Data products: their rows and look-ups, and the writes that register and update them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import BigInteger, Text, Uuid, bindparam

from db.assets import asset, product_fields
from db.assets.asset_list import select_assets
from db.assets.reference import AssetRef
from db.connection import ReadConnection, WriteConnection
from db.errors import NameTaken, TransactionConflict
from db.filters import AS_OF, any_of, distinct
from db.registries.domain import add_domains
from db.rows import BuiltRow
from db.sql import MAX_SHAPES, Statement, compose
from db.tables import asset as assets
from db.tables import product_version as versions
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.history import VersionPeriod
from db.temporal.kinds import PRODUCT

_BY_ASSET = compose(select_assets(PRODUCT, AS_OF).where(versions.c.asset_id == bindparam("asset", type_=BigInteger)))

_BY_NAME_NAMESPACE = uuid5(NAMESPACE_URL, "headwater/product")


class ProductRow(Protocol):
    """A product at an instant. Its columns are read by attribute or by name."""

    kind: str
    asset_id: int
    uid: UUID
    as_of: datetime
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    name: str
    domain: str
    owner: str
    description: str | None
    schema: dict[str, Any]
    status: str
    version: str
    tags: list[str]

    def __getitem__(self, column: str, /) -> Any: ...


def product_from_version(uid: UUID, version: VersionPeriod) -> ProductRow:
    """Build the product of a version."""
    row: Any = BuiltRow(
        kind=PRODUCT.name,
        asset_id=version.subject_id,
        uid=uid,
        as_of=version.as_of,
        valid_from=version.valid_from,
        valid_to=version.valid_to,
        created_at=version.created_at,
        **version.state,
    )
    return cast(ProductRow, row)


def product_uid_by_name(name: str) -> UUID:
    """Compute the uid of a product that a load or a reference names and gives no uid, the same everywhere."""
    return uuid5(_BY_NAME_NAMESPACE, name)


async def products_by_uid(connection: ReadConnection, uids: Sequence[UUID], as_of: datetime | None) -> list[ProductRow | None]:
    """Find products by uid."""
    return await _find(connection, _by_uid(connection.asset_fields), "uid", uids, as_of)


async def products_by_name(connection: ReadConnection, names: Sequence[str], as_of: datetime | None) -> list[ProductRow | None]:
    """Find products by name."""
    return await _find(connection, _by_name(connection.asset_fields), "name", names, as_of)


async def product_by_asset(connection: ReadConnection, asset_id: int, instant: datetime) -> ProductRow | None:
    """Find a product by its asset id."""
    row = await connection.fetch_one(_BY_ASSET, {"asset": asset_id, "as_of": instant})
    return cast(ProductRow | None, row)


async def register(
    connection: WriteConnection,
    fields: Mapping[str, Any],
    *,
    uid: UUID | None = None,
    at: datetime | None = None,
) -> Outcome:
    """Create a product, or give a stub with this name its state. Neither its uid nor its name may be in use at that instant."""
    payload = product_fields.validate_state(fields)
    stub, is_taken = (None, True) if uid is not None else await asset.lock_stub(connection, payload["name"], at)
    identity = stub or await asset.add_or_lock(connection, PRODUCT, asset.IdentitySpec(uid))
    await add_domains_of_products(connection, [payload])
    assertion = Assertion(identity.asset_id, Operation.SET, payload, at, creating=True)
    try:
        return await asset.record(connection, PRODUCT, identity, assertion)
    except NameTaken as error:
        if is_taken:
            raise
        # the next attempt finds the product, and gives it the state if it is a stub
        raise TransactionConflict("Another writer gave this name to a product meanwhile. Try again.") from error


async def update(
    connection: WriteConnection,
    ref: UUID | AssetRef,
    fields: Mapping[str, Any],
    *,
    at: datetime | None = None,
) -> Outcome:
    """Change some fields of the product that a uid or reference names at that instant."""
    payload = product_fields.validate_patch(fields)
    uid = ref.uid if isinstance(ref, AssetRef) else ref
    if uid is not None and "domain" not in payload:
        return await asset.patch(connection, PRODUCT, uid, payload, at, field="product")
    # a domain is added after the lock, as all writers do
    identity = await asset.lock(connection, PRODUCT, ref, at=at, field="product")
    await add_domains_of_products(connection, [payload])
    return await asset.record_patch(connection, PRODUCT, identity, payload, at, field="product")


async def update_at_once(
    connection: WriteConnection, ref: UUID | AssetRef, fields: Mapping[str, Any], *, at: datetime | None = None
) -> Outcome | None:
    """Change some fields of a product with one statement. Return None if that takes more, or is an error; then nothing was
    written."""
    payload = product_fields.validate_patch(fields)
    uid = ref.uid if isinstance(ref, AssetRef) else ref
    if uid is None or "domain" in payload or at is not None:
        # an update of an earlier instant is likely to be late, and the attempt would be in vain
        return None
    return await asset.patch_at_once(connection, PRODUCT, uid, payload)


async def add_domains_of_products(connection: WriteConnection, payloads: Iterable[Mapping[str, Any] | None]) -> None:
    """Add the domains that payloads of products name."""
    await add_domains(connection, {payload["domain"] for payload in payloads if payload is not None and "domain" in payload})


@lru_cache(MAX_SHAPES)
def _by_uid(fields: frozenset[str] | None) -> Statement:
    return compose(select_assets(PRODUCT, AS_OF, fields).where(assets.c.uid == any_of("keys", Uuid)))


@lru_cache(MAX_SHAPES)
def _by_name(fields: frozenset[str] | None) -> Statement:
    # the name is the key of the look-up
    with_name = None if fields is None else fields | {"name"}
    return compose(select_assets(PRODUCT, AS_OF, with_name, looks_up=True).where(versions.c.name == any_of("keys", Text)))


async def _find(
    connection: ReadConnection, statement: Statement, key: str, keys: Sequence[Any], as_of: datetime | None
) -> list[ProductRow | None]:
    """Find products, and return them in the order of their keys, which are values of one column."""
    rows = await connection.fetch(statement, {"keys": distinct(keys), "as_of": as_of or connection.now_if_read})
    products: dict[Any, Any] = {row[key]: row for row in rows}
    return [products.get(it) for it in keys]
