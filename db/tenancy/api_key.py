"""API keys: creation, verification and revocation. The database holds a digest of a key, made with a secret of the service."""

import base64
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, DateTime, Text, bindparam, select, true, update
from sqlalchemy.dialects.postgresql import insert

from db import fields
from db.author import Author
from db.connection import ReadConnection, WriteConnection
from db.database import owner_transaction
from db.entry_list import EntryList
from db.errors import BadInput, NotFound
from db.filters import TENANT
from db.instants import write_instant
from db.sql import compose, statement, text
from db.tables import api_key as keys
from db.tenancy.audit import record_owner_write
from db.tenancy.scope import validate_scopes

# Prefix of every key, by which secret scanners recognise one.
KEY_PREFIX = "hw_"

# Name of the key that the operator chooses for the first start.
BOOTSTRAP = "bootstrap"

# Minimal length of the secret of a bootstrap key: 256 bits in hexadecimal digits.
MIN_BOOTSTRAP_SECRET = 64

_SECRET_BYTES = 32
_TAG_BYTES = 9
_NAME_LENGTH = 10
_KEY = re.compile(r"hw_([1-9]\d{0,17})_([a-z0-9]{1,20})_([A-Za-z0-9_-]{32,200})", re.ASCII)
# The prefix of a key, or a whole key.
_PREFIX = re.compile(r"hw_([1-9]\d{0,17})_([a-z0-9]{1,20})(?:_.*)?", re.ASCII)
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"

NO_SUCH_KEY = "This tenant has no such key. Give the prefix of a key, such as hw_1_k7f3m2qpxa."

_FIND = statement("tenancy/find_key")
_CLOCK = text("SELECT clock_timestamp() AS now")

_NOW = bindparam("now", type_=DateTime(timezone=True))
_IS_KEY = (keys.c.tenant_id == TENANT) & (keys.c.name == bindparam("key", type_=Text))
_SELECT = select(*(column for column in keys.columns if column.name != "digest")).where(keys.c.tenant_id == TENANT)
_BY_NAME = compose(_SELECT.where(_IS_KEY))
_ANY = compose(select(keys.c.name).where(keys.c.tenant_id == TENANT).limit(bindparam("limit", 1, type_=BigInteger)))
_VALUES = ("tenant_id", "name", "label", "digest", "scopes", "created_at", "created_by", "expires_at")
_INSERT = insert(keys).values({name: bindparam(name) for name in _VALUES})
_ADD, _ADD_UNLESS_EXISTS = compose(_INSERT), compose(_INSERT.on_conflict_do_nothing())
_ADD_OPERATOR = compose(_INSERT.values(operator=true()))
_REVOKE = compose(update(keys).where(_IS_KEY, keys.c.revoked_at.is_(None)).values(revoked_at=_NOW))
_IS_DUE = keys.c.last_used_at.is_(None) | (keys.c.last_used_at <= bindparam("before", type_=DateTime(timezone=True)))
_UNLOCKED = select(keys.c.name).where(_IS_KEY, _IS_DUE).with_for_update(key_share=True, skip_locked=True)
_TOUCH = compose(update(keys).where(keys.c.tenant_id == TENANT, keys.c.name.in_(_UNLOCKED)).values(last_used_at=_NOW))


class KeyName(NamedTuple):
    """Public part of a key. As text it is the prefix of the key."""

    tenant_id: int
    name: str

    def __str__(self) -> str:
        return f"{KEY_PREFIX}{self.tenant_id}_{self.name}"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key without its digest."""

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
    """A key with the attributes of its tenant that authentication needs."""

    name: KeyName
    label: str
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
    """Generates and verifies keys with a secret that the database does not hold."""

    secret: bytes = field(repr=False)

    def digest(self, key: str) -> bytes:
        """Compute the digest that the database holds of a key."""
        return hmac.digest(self.secret, key.encode(), "sha256")

    def generate(self, tenant_id: int) -> tuple[KeyName, str]:
        """Generate a new key."""
        name = KeyName(tenant_id, "".join(secrets.choice(_ALPHABET) for _ in range(_NAME_LENGTH)))
        body = f"{name}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        return name, body + self._tag(body)

    def verify(self, key: str) -> KeyName | None:
        """Return the name of a key that this signer generated, else None. A forged key is found out without a database lookup.
        A bootstrap key is chosen by the operator, so that it has no tag; its length is checked instead."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        name = KeyName(int(match[1]), match[2])
        if name.name == BOOTSTRAP:
            return name if len(match[3]) >= MIN_BOOTSTRAP_SECRET else None
        body, tag = key[: -len(self._tag(""))], key[-len(self._tag("")) :]
        return name if hmac.compare_digest(tag, self._tag(body)) else None

    def _tag(self, body: str) -> str:
        """Compute the tag at the end of a key, which shows that this signer generated it."""
        digest = hmac.digest(self.secret, f"tag of {body}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:_TAG_BYTES]).decode()


async def create(
    connection: WriteConnection, signer: KeySigner, label: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[KeyRow, str]:
    """Create a key. The key itself is returned here only."""
    name, key = signer.generate(connection.tenant_id)
    values = _values(name, signer.digest(key), label, scopes, expires_at, connection.author, connection.now)
    await connection.execute(_ADD, values)
    return await _key(connection, name.name), key


async def create_operator(
    address: str,
    signer: KeySigner,
    tenant_id: int,
    label: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    author: Author,
) -> tuple[KeyName, str]:
    """Create a key that may act in every tenant. The service lacks the privilege, so this runs as the schema owner."""
    name, key = signer.generate(tenant_id)
    async with owner_transaction(address) as connection:
        (clock,) = await connection.fetch(_CLOCK)
        values = _values(name, signer.digest(key), label, scopes, expires_at, author, clock.now)
        await connection.execute(_ADD_OPERATOR, values)
        await record_owner_write(connection, tenant_id, author)
    return name, key


async def bootstrap(connection: WriteConnection, signer: KeySigner, key: str, scopes: Sequence[str]) -> bool:
    """Store the bootstrap key if the tenant has no key yet. Return True if it was stored."""
    name = signer.verify(key)
    if name is None or name != (connection.tenant_id, BOOTSTRAP):
        prefix = KeyName(connection.tenant_id, BOOTSTRAP)
        raise BadInput(
            f"The bootstrap key is not valid. It is {prefix}_ followed by {MIN_BOOTSTRAP_SECRET} or more random letters"
            f" and digits."
        )
    if await connection.fetch_one(_ANY) is not None:
        return False
    values = _values(name, signer.digest(key), "made at the first start", scopes, None, connection.author, connection.now)
    # Of several processes that start at once, one stores it.
    return await connection.execute(_ADD_UNLESS_EXISTS, values) > 0


async def revoke(connection: WriteConnection, prefix: str) -> tuple[KeyRow, bool]:
    """Revoke a key for ever. Return it, and True if it was valid until now. Accepts a whole key as well as its prefix."""
    match = _PREFIX.fullmatch(prefix)
    if match is None or int(match[1]) != connection.tenant_id:
        raise NotFound(NO_SUCH_KEY, field="prefix")
    name = match[2]
    revoked = await connection.execute(_REVOKE, {"key": name, "now": connection.now})
    return await _key(connection, name), revoked > 0


def _row(row: Any) -> KeyRow:
    return KeyRow(**{**row, "scopes": tuple(row.scopes)})


# The keys of a tenant by age, revoked ones included.
KEYS = EntryList(keys, _row, keys.c.created_at, keys.c.name, without="digest")


async def find(connection: ReadConnection, name: str) -> FoundKey | None:
    """Find a key of this tenant by its name."""
    row = await connection.fetch_one(_FIND, {"name": name})
    if row is None:
        return None
    values = {**row, "name": KeyName(connection.tenant_id, row.name), "scopes": tuple(row.scopes)}
    return FoundKey(**values)


async def touch_last_used(connection: WriteConnection, name: str, *, every: timedelta) -> None:
    """Record that a key was used now, unless a use within `every` is recorded, or the row is locked."""
    await connection.execute(_TOUCH, {"key": name, "now": connection.now, "before": connection.now - every})


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
        raise BadInput(f"expiresAt is {write_instant(expires_at)}, which has passed. Give a later instant.", field="expiresAt")
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
    row = await connection.fetch_one(_BY_NAME, {"key": name})
    if row is None:
        raise NotFound(NO_SUCH_KEY, field="prefix")
    return _row(row)
