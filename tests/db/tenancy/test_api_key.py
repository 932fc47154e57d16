"""Tests of API keys: generation, storage, authentication, expiry and revocation."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import structlog

from db.author import Author
from db.database import Database
from db.errors import BadInput, Forbidden, NotFound, Unauthenticated
from db.tenancy import api_key
from db.tenancy.api_key import BOOTSTRAP, KeyName, KeyRow, KeySigner, bootstrap, create_operator, revoke
from graph_api.auth.authenticator import Authenticator, Credentials
from graph_api.auth.config import AuthConfig
from graph_api.http.request import RequestHeaders
from graph_api.settings import Settings
from schema.execution.principal import Principal
from tests.builders import Statements
from tests.db.conftest import OTHER

SECRET = "the secret of the service, 32 bytes or more"
SIGNER = KeySigner(SECRET.encode())
AUTHOR = Author("root")
BOOTSTRAP_KEY = "hw_1_bootstrap_" + "0123456789abcdef" * 4


@pytest.fixture
def new_authenticator(database: Database, address: str) -> Callable[..., Authenticator]:
    """Return a factory of authenticators, one per simulated process."""

    def make(**changes: Any) -> Authenticator:
        settings = Settings(database_url=address, key_secret=SECRET, **{"credential_seconds": 0, **changes})
        return Authenticator(database, settings.auth_config(), require_auth=True)

    return make


async def create_key(database: Database, *scopes: str, tenant_id: int = 1, **changes: Any) -> tuple[KeyRow, str]:
    async with database.transaction(tenant_id, AUTHOR) as connection:
        return await api_key.create(connection, SIGNER, "nightly", list(scopes) or ["read"], **changes)


async def authenticate(authenticator: Authenticator, key: str, **headers: str) -> Principal:
    return await authenticator.authenticate(
        credentials({"x-api-key": key, **{name.replace("_", "-"): it for name, it in headers.items()}})
    )


def credentials(headers: Mapping[str, str]) -> Credentials:
    """Return the credentials of a request with these headers."""
    return RequestHeaders([(name.encode(), value.encode()) for name, value in headers.items()]).credentials()


async def all_rows(owner: asyncpg.Connection) -> str:
    """Return every row of every table, as text."""
    tables = await owner.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    rows = [row[0] for it in tables for row in await owner.fetch(f"SELECT CAST(t AS text) FROM {it['relname']} t")]
    return "\n".join(rows)


def test_key_has_256_random_bits_besides_its_name() -> None:
    keys = [SIGNER.generate(7) for _ in range(300)]
    assert len({name for name, _ in keys}) == len({key for _, key in keys}) == 300
    for name, key in keys:
        assert key.startswith(f"{name}_")
        assert SIGNER.verify(key) == name
        # each of 43 characters is one of 64, except the last, which is one of 16
        assert len(key.removeprefix(f"{name}_")) == 43 + 12
    secrets = [key.removeprefix(f"{name}_") for name, key in keys]
    assert all(len({it[index] for it in secrets}) > 40 for index in range(42))


async def test_secret_of_a_key_is_neither_stored_nor_logged_nor_shown(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    with structlog.testing.capture_logs() as logs:
        row, key = await create_key(database, "read", "write:sales")
        principal = await authenticate(new_authenticator(), key)
        with pytest.raises(Unauthenticated) as refused:
            await authenticate(new_authenticator(), key[:-1])
        async with database.transaction(1, AUTHOR) as connection:
            found = await api_key.find(connection, row.name)
            listed = await api_key.KEYS.all(connection)
            await revoke(connection, key)
        with pytest.raises(Unauthenticated) as revoked:
            await authenticate(new_authenticator(), key)
    secret = key.removeprefix(f"{row.prefix}_")
    shown = [SIGNER, row, principal, found, listed, refused.value.message, revoked.value.message, logs, await all_rows(owner)]
    assert not any(part in repr(it) for it in shown for part in (secret, secret[:12], SECRET))
    assert await owner.fetchval("SELECT digest FROM api_key") == SIGNER.digest(key)
    assert row.prefix in str(shown)


async def test_forged_key_is_refused_without_a_database_lookup(
    database: Database, statements: Statements, new_authenticator: Callable[..., Authenticator]
) -> None:
    row, key = await create_key(database)
    _, of_another = KeySigner(b"another secret").generate(1)
    statements.clear()
    forged = [
        "", "hw_", "hw_1_", row.prefix, f"{row.prefix}_", key[:-1], key + "A", key.upper(), key.replace("hw_1_", "hw_2_"),
        key.replace("hw_", "HW_"), f"{key[:-1]}\n", f"{key}\0", key.replace("_1_", "_01_"), key.replace("_1_", f"_{10**18}_"),
        of_another, BOOTSTRAP_KEY[:-1], f"{row.prefix}_{'A' * 55}", f"{row.prefix}_{'é' * 55}", "x" * 100_000, "null",
        key[:20] + key[-35:], BOOTSTRAP_KEY.replace("_1_", "_2_"), BOOTSTRAP_KEY.replace("_1_", "_123456_"),
    ]  # fmt: skip
    indexes = range(len(row.prefix) + 1, len(key))
    forged += [key[:index] + ("B" if key[index] != "B" else "C") + key[index + 1 :] for index in indexes]
    authenticator = new_authenticator()
    for it in forged:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(credentials({"x-api-key": it}))
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(credentials({"authorization": f"Bearer {it}"}))
    assert len(statements) == 0


async def test_key_is_accepted_in_either_header_and_a_wrong_one_is_never_ignored(
    database: Database, new_authenticator: Callable[..., Authenticator]
) -> None:
    row, key = await create_key(database, "read", "write:sales")
    authenticator = new_authenticator()
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}, {"authorization": f"bearer   {key} "}):
        principal = await authenticator.authenticate(credentials(headers))
        assert (principal.tenant_id, principal.actor, principal.credential) == (1, "nightly", row.prefix)
        assert principal.scope_names == ["read", "write:sales"]
    wrong: list[dict[str, str]] = [
        {"x-api-key": "wrong", "authorization": f"Bearer {key}"},
        {"x-api-key": ""},
        {"authorization": key},
        {"authorization": f"Basic {key}"},
        {"authorization": "Bearer"},
        {"authorization": ""},
    ]
    for it in wrong:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(credentials(it))
    anonymous = await authenticator.authenticate(credentials({}))
    assert (anonymous.scope_names, anonymous.tenant_id) == ([], 0)


async def test_bootstrap_key_is_stored_once_by_concurrent_processes(
    database: Database, new_authenticator: Callable[..., Authenticator]
) -> None:
    async def start() -> bool:
        async with database.transaction(1, AUTHOR) as connection:
            return await bootstrap(connection, SIGNER, BOOTSTRAP_KEY, ["read", "write", "admin"])

    with pytest.raises(Unauthenticated):
        await authenticate(new_authenticator(), BOOTSTRAP_KEY)
    assert sorted(await asyncio.gather(*(start() for _ in range(6)))) == [False] * 5 + [True]
    assert (await authenticate(new_authenticator(), BOOTSTRAP_KEY)).scope_names == ["read", "write", "admin"]
    # another secret with that name is refused
    with pytest.raises(Unauthenticated):
        await authenticate(new_authenticator(), BOOTSTRAP_KEY[:-1] + "e")
    async with database.transaction(1, AUTHOR) as connection:
        assert (await revoke(connection, BOOTSTRAP_KEY))[1]
    assert await start() is False
    with pytest.raises(Unauthenticated, match="was revoked"):
        await authenticate(new_authenticator(), BOOTSTRAP_KEY)


async def test_bootstrap_key_is_not_stored_if_there_is_a_key(database: Database) -> None:
    await create_key(database)
    async with database.transaction(1, AUTHOR) as connection:
        assert not await bootstrap(connection, SIGNER, BOOTSTRAP_KEY, ["read"])
        assert [it.name for it in await api_key.KEYS.all(connection)] != [BOOTSTRAP]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "secret",
        BOOTSTRAP_KEY[:-1],
        BOOTSTRAP_KEY.replace("_1_", "_2_"),
        BOOTSTRAP_KEY.replace("bootstrap", "mine"),
        f"{BOOTSTRAP_KEY} ",
        BOOTSTRAP_KEY + "é",
    ],
)
async def test_invalid_bootstrap_key_is_refused(database: Database, key: str) -> None:
    async with database.transaction(1, AUTHOR) as connection:
        with pytest.raises(BadInput, match="hw_1_bootstrap_ followed by 64 or more") as refused:
            await bootstrap(connection, SIGNER, key, ["read"])
        assert len(key) < 20 or key not in refused.value.message
        assert await api_key.KEYS.all(connection) == []


async def test_key_is_revoked_by_its_prefix_or_as_a_whole(
    database: Database, new_authenticator: Callable[..., Authenticator]
) -> None:
    for whole in (False, True):
        row, key = await create_key(database)
        other, valid = await create_key(database)
        async with database.transaction(1, AUTHOR) as connection:
            revoked, changed = await revoke(connection, key if whole else row.prefix)
            assert (revoked.name, changed, revoked.revoked_at) == (row.name, True, connection.now)
        async with database.transaction(1, AUTHOR) as connection:
            # the instant of the first revocation is kept
            assert await revoke(connection, row.prefix) == (revoked, False)
        with pytest.raises(Unauthenticated, match=f"The key {row.prefix} was revoked at"):
            await authenticate(new_authenticator(), key)
        assert (await authenticate(new_authenticator(), valid)).credential == other.prefix


async def test_key_of_another_tenant_cannot_be_revoked(two_tenants: Database) -> None:
    row, key = await create_key(two_tenants, tenant_id=OTHER)
    own, _ = await create_key(two_tenants)
    wrong = [
        row.prefix, key, "", "hw_1_", f"hw_1_{row.name}", own.name, f"{own.prefix}x", f"{own.prefix}A", f"{own.prefix}-x",
        f" {own.prefix}", own.prefix[:-1], f"{own.prefix}\0", "hw_1_" + "a" * 10_000, "hw_99999999999999999999_a",
    ]  # fmt: skip
    for it in wrong:
        async with two_tenants.transaction(1, AUTHOR) as connection:
            with pytest.raises(NotFound) as refused:
                await revoke(connection, it)
            assert refused.value.field == "prefix"
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            assert {it.revoked_at for it in await api_key.KEYS.all(connection)} == {None}


async def test_key_is_valid_until_it_expires(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    row, key = await create_key(database, expires_at=at)
    assert row.expires_at == at
    await authenticate(new_authenticator(), key)
    await owner.execute("UPDATE api_key SET expires_at = now()")
    with pytest.raises(Unauthenticated, match=f"The key {row.prefix} expired at"):
        await authenticate(new_authenticator(), key)
    for past in (datetime.now(UTC), datetime(1970, 1, 1, tzinfo=UTC)):
        with pytest.raises(BadInput, match="which has passed") as refused:
            await create_key(database, expires_at=past)
        assert refused.value.field == "expiresAt"


async def test_cached_key_expires_on_time(
    database: Database, new_authenticator: Callable[..., Authenticator], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = await create_key(database, expires_at=datetime.now(UTC) + timedelta(seconds=30))
    authenticator = new_authenticator(credential_seconds=60)
    await authenticate(authenticator, key)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda time=loop.time: time() + 40)
    with pytest.raises(Unauthenticated, match="expired"):
        await authenticate(authenticator, key)


@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
async def test_a_key_expires_by_the_clock_of_the_database(
    database: Database,
    owner: asyncpg.Connection,
    new_authenticator: Callable[..., Authenticator],
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(hours=hours)

    _, key = await create_key(database, expires_at=datetime.now(UTC) + timedelta(minutes=30))
    clock = time.time
    monkeypatch.setattr("time.time", lambda: clock() + 3600 * hours)
    monkeypatch.setattr("graph_api.auth.authenticator.datetime", Shifted, raising=False)
    authenticator = new_authenticator()
    for _ in range(2):
        await authenticate(authenticator, key)
    await owner.execute("UPDATE api_key SET expires_at = now() - interval '30 minutes'")
    with pytest.raises(Unauthenticated, match="expired"):
        await authenticate(new_authenticator(), key)


async def last_used_at(owner: asyncpg.Connection) -> datetime | None:
    instant: datetime | None = await owner.fetchval("SELECT last_used_at FROM api_key")
    return instant


async def test_last_use_is_recorded_once_a_minute_by_all_processes(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator], statements: Statements
) -> None:
    _, key = await create_key(database)
    assert await last_used_at(owner) is None
    authenticator = new_authenticator()
    await authenticate(authenticator, key)
    first = await last_used_at(owner)
    assert first is not None
    statements.clear()
    for _ in range(3):
        await authenticate(authenticator, key)
    assert not any("UPDATE" in it for it in statements.executed)
    await authenticate(new_authenticator(), key)
    assert await last_used_at(owner) == first
    await owner.execute("UPDATE api_key SET last_used_at = last_used_at - interval '61 s'")
    await authenticate(new_authenticator(), key)
    last = await last_used_at(owner)
    assert last is not None
    assert last > first
    assert await owner.fetchval("SELECT count(*) FROM audit WHERE actor <> 'root'") == 0


async def test_authentication_does_not_wait_for_a_locked_key(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    _, key = await create_key(database)
    async with owner.transaction():
        await owner.execute("UPDATE api_key SET label = 'another'")
        async with asyncio.timeout(5):
            await authenticate(new_authenticator(), key)
    assert await last_used_at(owner) is None


async def test_authentication_succeeds_if_the_use_cannot_be_recorded(address: str, owner: asyncpg.Connection) -> None:
    database = Database(address, lock_timeout=0.05)
    try:
        row, key = await create_key(database)
        authenticator = Authenticator(database, AuthConfig(key_secret=SECRET), require_auth=True)
        async with owner.transaction():
            await owner.execute("LOCK TABLE api_key IN EXCLUSIVE MODE")
            with structlog.testing.capture_logs() as logs:
                assert (await authenticate(authenticator, key)).credential == row.prefix
        assert [(it["event"], it["key"]) for it in logs] == [("last use of a key not recorded", row.prefix)]
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("label", "scopes", "field"),
    [
        ("", ["read"], "label"),
        (" ", ["read"], "label"),
        ("a\0b", ["read"], "label"),
        ("two\nlines", ["read"], "label"),
        ("\ud800", ["read"], "label"),
        ("x" * 201, ["read"], "label"),
        ("fine", [], "scopes"),
        ("fine", ["operator"], "scopes"),
        ("fine", ["write:"], "scopes"),
        ("fine", ["write:a\0"], "scopes"),
        ("fine", [f"write:{'x' * 201}"], "scopes"),
    ],
)
async def test_invalid_key_is_not_created(
    database: Database, owner: asyncpg.Connection, label: str, scopes: list[str], field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        async with database.transaction(1, AUTHOR) as connection:
            await api_key.create(connection, SIGNER, label, scopes)
    assert refused.value.field == field
    assert await owner.fetchval("SELECT count(*) FROM api_key") == 0


async def test_only_an_operator_key_acts_in_another_existing_tenant(
    two_tenants: Database, address: str, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    _, plain = await create_key(two_tenants, "read", "write", "admin")
    name, key = await create_operator(address, SIGNER, 1, "operator", ["read", "write:sales"], None, AUTHOR)
    authenticator = new_authenticator()
    assert (await authenticate(authenticator, plain, x_headwater_tenant="default")).tenant_id == 1
    with pytest.raises(Forbidden, match="Only an operator key can act in another tenant"):
        await authenticate(authenticator, plain, x_headwater_tenant="other")
    in_own = await authenticate(authenticator, key, x_headwater_tenant="default")
    assert (in_own.tenant_id, in_own.operator) == (1, False)
    in_other = await authenticate(authenticator, key, x_headwater_tenant="other")
    assert (in_other.tenant_id, in_other.tenant, in_other.operator, in_other.scope_names) == (
        OTHER,
        "other",
        True,
        ["read", "write:sales"],
    )
    author = in_other.author("request", "write")
    assert (author.actor, author.credential, author.operator) == ("operator", str(name), True)
    assert author.domains == frozenset({"sales"})
    for missing in ("another", "", "1"):
        with pytest.raises(Forbidden, match="There is no tenant called"):
            await authenticate(authenticator, key, x_headwater_tenant=missing)
    await owner.execute("UPDATE tenant SET suspended_because = 'unpaid' WHERE name = 'other'")
    with pytest.raises(Forbidden, match="The tenant 'other' is suspended: unpaid"):
        await authenticate(authenticator, key, x_headwater_tenant="other")
    assert (await authenticate(authenticator, key)).tenant_id == 1


async def test_keys_of_the_tenant_are_listed_by_age(two_tenants: Database) -> None:
    rows = [(await create_key(two_tenants, "read"))[0] for _ in range(3)]
    async with two_tenants.snapshot(1) as connection:
        assert (await api_key.KEYS.all(connection))[1:] == rows
        assert await api_key.find(connection, "nothing") is None
    async with two_tenants.snapshot(OTHER) as connection:
        assert await api_key.find(connection, rows[0].name) is None
        assert [it.label for it in await api_key.KEYS.all(connection)] == ["key 2"]
    assert json.dumps(KeyName(2, "abc")) == '[2, "abc"]'
