"""API keys: made, found, revoked. What proves a key is kept nowhere; its digest takes a secret of the service to make."""

import base64
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from db import fields
from db.author import Author
from db.connection import ReadConnection, WriteConnection
from db.database import owner_transaction
from db.errors import BadInput, NotFound
from db.instants import write_instant
from db.sql import statement
from db.tables import api_key as keys
from db.tenancy.audit import record_owner_write
from db.tenancy.scope import validate_scopes

# What every key begins with, so that one that is found lying about is known for what it is.
KEY_PREFIX = "hw_"

# The name of the key that whoever runs the service makes up.
BOOTSTRAP = "bootstrap"

# Characters of a secret that was made up, at least: as many as 256 bits take in hexadecimal digits.
MADE_UP = 64

_SECRET_BYTES = 32
_TAG_BYTES = 9
_NAME_LENGTH = 10
_KEY = re.compile(r"hw_([1-9]\d{0,17})_([a-z0-9]{1,20})_([A-Za-z0-9_-]{32,200})", re.ASCII)
# The prefix, or the whole key.
_PREFIX = re.compile(r"hw_([1-9]\d{0,17})_([a-z0-9]{1,20})(?:_.*)?", re.ASCII)
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"

NO_SUCH_KEY = "There is no such key in this tenant. A key is named by its prefix, such as hw_1_k7f3m2qpxa."

_FIND = statement("tenancy/find_key")


class KeyName(NamedTuple):
    """What tells a key apart. It is public."""

    tenant_id: int
    name: str

    def __str__(self) -> str:
        return f"{KEY_PREFIX}{self.tenant_id}_{self.name}"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key, without what proves it."""

    tenant_id: int
    name: str
    label: str
    scopes: tuple[str, ...]
    operator: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def prefix(self) -> str:
        return str(KeyName(self.tenant_id, self.name))


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key that somebody came with, and what is to be known of it and its tenant."""

    name: KeyName
    digest: bytes
    scopes: tuple[str, ...]
    operator: bool
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    tenant: str
    suspended_because: str | None


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Makes and proves keys, by a secret that the database does not know."""

    secret: bytes = field(repr=False)

    def digest(self, key: str) -> bytes:
        """What is kept of a key."""
        return hmac.digest(self.secret, key.encode(), "sha256")

    def new(self, tenant_id: int) -> tuple[KeyName, str]:
        """A key that nobody has yet."""
        name = KeyName(tenant_id, "".join(secrets.choice(_ALPHABET) for _ in range(_NAME_LENGTH)))
        body = f"{name}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        return name, body + self._tag(body)

    def read(self, key: str) -> KeyName | None:
        """Which key this is, if it is one that was made by this seal: whoever makes one up is found out without a look. One key
        may be made up by whoever runs the service."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        name = KeyName(int(found[1]), found[2])
        if name.name == BOOTSTRAP:
            return name if len(found[3]) >= MADE_UP else None
        body, tag = key[: -len(self._tag(""))], key[-len(self._tag("")) :]
        return name if hmac.compare_digest(tag, self._tag(body)) else None

    def _tag(self, body: str) -> str:
        """What shows that a key was made by this seal."""
        made = hmac.digest(self.secret, f"tag of {body}".encode(), "sha256")
        return base64.urlsafe_b64encode(made[:_TAG_BYTES]).decode()


async def create(
    connection: WriteConnection, seal: KeySigner, label: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[KeyRow, str]:
    """Make a key. It is told here, and never again."""
    name, key = seal.new(connection.tenant_id)
    values = _values(name, seal.digest(key), label, scopes, expires_at, connection.author, connection.now)
    await connection.execute(insert(keys).values(values))
    return await _key(connection, name.name), key


async def create_operator(
    address: str, seal: KeySigner, tenant_id: int, label: str, scopes: Sequence[str], expires_at: datetime | None, author: Author
) -> tuple[KeyName, str]:
    """Make a key that may act in any tenant it names. The service may not, so whoever owns the schema does."""
    name, key = seal.new(tenant_id)
    async with owner_transaction(address) as connection:
        now = await connection.scalar(select(func.clock_timestamp()))
        values = _values(name, seal.digest(key), label, scopes, expires_at, author, now)
        await connection.execute(insert(keys).values({**values, "operator": True}))
        await record_owner_write(connection, tenant_id, author)
    return name, key


async def bootstrap(connection: WriteConnection, seal: KeySigner, key: str, scopes: Sequence[str]) -> bool:
    """Take in a key that was made up, if the tenant has none at all. Says whether it did."""
    name = seal.read(key)
    if name is None or name != (connection.tenant_id, BOOTSTRAP):
        made_up = KeyName(connection.tenant_id, BOOTSTRAP)
        raise BadInput(f"The bootstrap key reads {made_up}_ and {MADE_UP} or more letters and digits behind it, made at random.")
    if await connection.fetch_one(select(keys.c.name).where(keys.c.tenant_id == connection.tenant_id).limit(1)) is not None:
        return False
    values = _values(name, seal.digest(key), "made at the first start", scopes, None, connection.author, connection.now)
    # of several processes that start at once, one does
    return await connection.execute(insert(keys).values(values).on_conflict_do_nothing()) > 0


async def revoke(connection: WriteConnection, prefix: str) -> tuple[KeyRow, bool]:
    """End a key, for good. Says whether it was one until now."""
    # whoever gives the whole key means it too
    begun = _PREFIX.fullmatch(prefix)
    if begun is None or int(begun[1]) != connection.tenant_id:
        raise NotFound(NO_SUCH_KEY, field="prefix")
    name = begun[2]
    ending = update(keys).where(keys.c.tenant_id == connection.tenant_id, keys.c.name == name)
    ended = await connection.execute(ending.where(keys.c.revoked_at.is_(None)).values(revoked_at=connection.now))
    return await _key(connection, name), ended > 0


async def all_keys(connection: ReadConnection) -> list[KeyRow]:
    """The keys of a tenant, by their age; those that were revoked, too."""
    rows = await connection.fetch(_select(connection).order_by(keys.c.created_at, keys.c.name))
    return [_row(row) for row in rows]


async def find(connection: ReadConnection, name: str) -> FoundKey | None:
    """What is known of a key of this tenant."""
    row = await connection.fetch_one(_FIND, {"name": name})
    if row is None:
        return None
    named = KeyName(connection.tenant_id, row.name)
    ends = (row.expires_at, row.revoked_at, row.last_used_at)
    return FoundKey(named, row.digest, tuple(row.scopes), row.operator, *ends, row.tenant, row.suspended_because)


async def touch_last_used(connection: WriteConnection, name: str, *, every: timedelta) -> None:
    """Note that a key was used just now, unless that was noted already within this time, or somebody is at the key."""
    mine = (keys.c.tenant_id == connection.tenant_id) & (keys.c.name == name)
    long_ago = keys.c.last_used_at.is_(None) | (keys.c.last_used_at <= connection.now - every)
    free = select(keys.c.name).where(mine, long_ago).with_for_update(key_share=True, skip_locked=True)
    used = update(keys).where(keys.c.tenant_id == connection.tenant_id, keys.c.name.in_(free))
    await connection.execute(used.values(last_used_at=connection.now))


def _values(
    name: KeyName,
    digest: bytes,
    label: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    author: Author,
    now: Any,
) -> dict[str, Any]:
    if expires_at is not None and expires_at <= now:
        raise BadInput(f"expiresAt is {write_instant(expires_at)}, which is over. Give an instant to come.", field="expiresAt")
    return {
        "tenant_id": name.tenant_id,
        "name": name.name,
        "label": fields.line("label", label),
        "digest": digest,
        "scopes": validate_scopes(scopes),
        "created_at": now,
        "created_by": author.actor,
        "expires_at": expires_at,
    }


async def _key(connection: ReadConnection, name: str) -> KeyRow:
    row = await connection.fetch_one(_select(connection).where(keys.c.name == name))
    if row is None:
        raise NotFound(NO_SUCH_KEY, field="prefix")
    return _row(row)


def _select(connection: ReadConnection) -> Any:
    columns = [column for column in keys.columns if column.name != "digest"]
    return select(*columns).where(keys.c.tenant_id == connection.tenant_id)


def _row(row: Any) -> KeyRow:
    return KeyRow(**{**row._mapping, "scopes": tuple(row.scopes)})
