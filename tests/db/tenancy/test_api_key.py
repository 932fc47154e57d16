"""Keys: what makes one, what is kept of it, who may come with it, and when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import structlog
from starlette.datastructures import Headers

from db.author import Author
from db.database import Database
from db.errors import BadInput, Forbidden, NotFound, Unauthenticated
from db.tenancy import api_key
from db.tenancy.api_key import BOOTSTRAP, KeyName, KeyRow, KeySigner, bootstrap, create_operator, revoke
from graph_api.auth.authenticator import Authenticator
from graph_api.auth.config import AuthConfig
from graph_api.settings import Settings
from schema.execution.principal import Principal
from tests.builders import Statements
from tests.db.conftest import OTHER

SECRET = "of the service alone, and of nobody else"
SIGNER = KeySigner(SECRET.encode())
AUTHOR = Author("root")
BOOTSTRAP_KEY = "hw_1_bootstrap_" + "0123456789abcdef" * 4


@pytest.fixture
async def owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    yield connection
    await connection.close()


@pytest.fixture
def new_authenticator(database: Database, address: str) -> Callable[..., Authenticator]:
    """Return a factory of authenticators, one per simulated process."""

    def make(**changes: Any) -> Authenticator:
        settings = Settings(database_url=address, key_secret=SECRET, **{"credential_seconds": 0, **changes})
        return Authenticator(database, settings.auth_config(), require_auth=True)

    return make


async def made(database: Database, *scopes: str, tenant_id: int = 1, **changes: Any) -> tuple[KeyRow, str]:
    async with database.transaction(tenant_id, AUTHOR) as connection:
        return await api_key.create(connection, SIGNER, "nightly", list(scopes) or ["read"], **changes)


async def authenticate(authenticator: Authenticator, key: str, **headers: str) -> Principal:
    return await authenticator.authenticate(
        Headers({"x-api-key": key, **{name.replace("_", "-"): it for name, it in headers.items()}})
    )


async def everything(owner: asyncpg.Connection) -> str:
    """Every row of every table, as text."""
    tables = await owner.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    rows = [row[0] for it in tables for row in await owner.fetch(f"SELECT CAST(t AS text) FROM {it['relname']} t")]
    return "\n".join(rows)


def test_a_key_has_256_bits_that_nobody_can_guess_beside_its_name() -> None:
    keys = [SIGNER.generate(7) for _ in range(300)]
    assert len({name for name, _ in keys}) == len({key for _, key in keys}) == 300
    for name, key in keys:
        assert key.startswith(f"{name}_")
        assert SIGNER.verify(key) == name
        # each of 43 characters is one of 64, but for the last, one of 16
        assert len(key.removeprefix(f"{name}_")) == 43 + 12
    secrets = [key.removeprefix(f"{name}_") for name, key in keys]
    assert all(len({it[place] for it in secrets}) > 40 for place in range(42))


async def test_nothing_that_is_kept_told_or_shown_holds_what_proves_a_key(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    with structlog.testing.capture_logs() as logs:
        row, key = await made(database, "read", "write:sales")
        principal = await authenticate(new_authenticator(), key)
        with pytest.raises(Unauthenticated) as refused:
            await authenticate(new_authenticator(), key[:-1])
        async with database.transaction(1, AUTHOR) as connection:
            found = await api_key.find(connection, row.name)
            kept = await api_key.all_keys(connection)
            await revoke(connection, key)
        with pytest.raises(Unauthenticated) as revoked:
            await authenticate(new_authenticator(), key)
    secret = key.removeprefix(f"{row.prefix}_")
    shown = [SIGNER, row, principal, found, kept, refused.value.message, revoked.value.message, logs, await everything(owner)]
    assert not any(part in repr(it) for it in shown for part in (secret, secret[:12], SECRET))
    assert await owner.fetchval("SELECT digest FROM api_key") == SIGNER.digest(key)
    assert row.prefix in str(shown)


async def test_a_key_that_was_made_up_is_found_out_without_a_look(
    database: Database, statements: Statements, new_authenticator: Callable[..., Authenticator]
) -> None:
    row, key = await made(database)
    _, of_another = KeySigner(b"another secret").generate(1)
    statements.clear()
    forged = [
        "", "hw_", "hw_1_", row.prefix, f"{row.prefix}_", key[:-1], key + "A", key.upper(), key.replace("hw_1_", "hw_2_"),
        key.replace("hw_", "HW_"), f"{key[:-1]}\n", f"{key}\0", key.replace("_1_", "_01_"), key.replace("_1_", f"_{10**18}_"),
        of_another, BOOTSTRAP_KEY[:-1], f"{row.prefix}_{'A' * 55}", f"{row.prefix}_{'é' * 55}", "x" * 100_000, "null",
        key[:20] + key[-35:], BOOTSTRAP_KEY.replace("_1_", "_2_"), BOOTSTRAP_KEY.replace("_1_", "_123456_"),
    ]  # fmt: skip
    places = range(len(row.prefix) + 1, len(key))
    forged += [key[:place] + ("B" if key[place] != "B" else "C") + key[place + 1 :] for place in places]
    authenticator = new_authenticator()
    for it in forged:
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(Headers(raw=[(b"x-api-key", it.encode())]))
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(Headers(raw=[(b"authorization", f"Bearer {it}".encode())]))
    assert len(statements) == 0


async def test_a_key_comes_either_way_and_a_wrong_one_is_never_passed_over(
    database: Database, new_authenticator: Callable[..., Authenticator]
) -> None:
    row, key = await made(database, "read", "write:sales")
    authenticator = new_authenticator()
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}, {"authorization": f"bearer   {key} "}):
        principal = await authenticator.authenticate(Headers(headers))
        assert (principal.tenant_id, principal.actor, principal.scope_names) == (1, row.prefix, ["read", "write:sales"])
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
            await authenticator.authenticate(Headers(it))
    nobody = await authenticator.authenticate(Headers({}))
    assert (nobody.scope_names, nobody.tenant_id) == ([], 0)


async def test_the_first_key_is_made_up_once_and_only_where_there_is_none(
    database: Database, new_authenticator: Callable[..., Authenticator]
) -> None:
    async def start() -> bool:
        async with database.transaction(1, AUTHOR) as connection:
            return await bootstrap(connection, SIGNER, BOOTSTRAP_KEY, ["read", "write", "admin"])

    with pytest.raises(Unauthenticated):
        await authenticate(new_authenticator(), BOOTSTRAP_KEY)
    assert sorted(await asyncio.gather(*(start() for _ in range(6)))) == [False] * 5 + [True]
    assert (await authenticate(new_authenticator(), BOOTSTRAP_KEY)).scope_names == ["read", "write", "admin"]
    # another one of that name proves nothing
    with pytest.raises(Unauthenticated):
        await authenticate(new_authenticator(), BOOTSTRAP_KEY[:-1] + "e")
    async with database.transaction(1, AUTHOR) as connection:
        assert (await revoke(connection, BOOTSTRAP_KEY))[1]
    assert await start() is False
    with pytest.raises(Unauthenticated, match="was revoked"):
        await authenticate(new_authenticator(), BOOTSTRAP_KEY)


async def test_where_there_is_a_key_none_is_made_up(database: Database) -> None:
    await made(database)
    async with database.transaction(1, AUTHOR) as connection:
        assert not await bootstrap(connection, SIGNER, BOOTSTRAP_KEY, ["read"])
        assert [it.name for it in await api_key.all_keys(connection)] != [BOOTSTRAP]


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
async def test_a_first_key_that_is_not_made_up_as_it_should_be_is_refused(database: Database, key: str) -> None:
    async with database.transaction(1, AUTHOR) as connection:
        with pytest.raises(BadInput, match="hw_1_bootstrap_ followed by 64 or more") as refused:
            await bootstrap(connection, SIGNER, key, ["read"])
        assert len(key) < 20 or key not in refused.value.message
        assert await api_key.all_keys(connection) == []


async def test_a_key_is_revoked_for_good_by_its_prefix_or_whole(
    database: Database, new_authenticator: Callable[..., Authenticator]
) -> None:
    for whole in (False, True):
        row, key = await made(database)
        other, stays = await made(database)
        async with database.transaction(1, AUTHOR) as connection:
            ended, now = await revoke(connection, key if whole else row.prefix)
            assert (ended.name, now, ended.revoked_at) == (row.name, True, connection.now)
        async with database.transaction(1, AUTHOR) as connection:
            # the first time counts
            assert await revoke(connection, row.prefix) == (ended, False)
        with pytest.raises(Unauthenticated, match=f"The key {row.prefix} was revoked at"):
            await authenticate(new_authenticator(), key)
        assert (await authenticate(new_authenticator(), stays)).actor == other.prefix


async def test_only_a_key_of_the_tenant_that_is_named_is_revoked(two_tenants: Database) -> None:
    row, key = await made(two_tenants, tenant_id=OTHER)
    mine, _ = await made(two_tenants)
    wrong = [
        row.prefix, key, "", "hw_1_", f"hw_1_{row.name}", mine.name, f"{mine.prefix}x", f"{mine.prefix}A", f"{mine.prefix}-x",
        f" {mine.prefix}", mine.prefix[:-1], f"{mine.prefix}\0", "hw_1_" + "a" * 10_000, "hw_99999999999999999999_a",
    ]  # fmt: skip
    for it in wrong:
        async with two_tenants.transaction(1, AUTHOR) as connection:
            with pytest.raises(NotFound) as refused:
                await revoke(connection, it)
            assert refused.value.field == "prefix"
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            assert {it.revoked_at for it in await api_key.all_keys(connection)} == {None}


async def test_a_key_works_until_it_expires(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    row, key = await made(database, expires_at=at)
    assert row.expires_at == at
    await authenticate(new_authenticator(), key)
    await owner.execute("UPDATE api_key SET expires_at = now()")
    with pytest.raises(Unauthenticated, match=f"The key {row.prefix} expired at"):
        await authenticate(new_authenticator(), key)
    for over in (datetime.now(UTC), datetime(1970, 1, 1, tzinfo=UTC)):
        with pytest.raises(BadInput, match="which has passed") as refused:
            await made(database, expires_at=over)
        assert refused.value.field == "expiresAt"


async def test_a_key_that_is_believed_for_a_while_expires_on_time_all_the_same(
    database: Database, new_authenticator: Callable[..., Authenticator], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(hours=2)

    _, key = await made(database, expires_at=datetime.now(UTC) + timedelta(hours=1))
    authenticator = new_authenticator(credential_seconds=60)
    await authenticate(authenticator, key)
    monkeypatch.setattr("graph_api.auth.authenticator.datetime", Later)
    with pytest.raises(Unauthenticated, match="expired"):
        await authenticate(authenticator, key)


async def used(owner: asyncpg.Connection) -> datetime | None:
    found: datetime | None = await owner.fetchval("SELECT last_used_at FROM api_key")
    return found


async def test_the_last_use_is_noted_once_a_minute_by_however_many_processes(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator], statements: Statements
) -> None:
    _, key = await made(database)
    assert await used(owner) is None
    authenticator = new_authenticator()
    await authenticate(authenticator, key)
    first = await used(owner)
    assert first is not None
    statements.clear()
    for _ in range(3):
        await authenticate(authenticator, key)
    assert not any("UPDATE" in it for it in statements.executed)
    await authenticate(new_authenticator(), key)
    assert await used(owner) == first
    await owner.execute("UPDATE api_key SET last_used_at = last_used_at - interval '61 s'")
    await authenticate(new_authenticator(), key)
    last = await used(owner)
    assert last is not None
    assert last > first
    assert await owner.fetchval("SELECT count(*) FROM audit WHERE actor <> 'root'") == 0


async def test_nobody_waits_for_whoever_is_at_the_key(
    database: Database, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    _, key = await made(database)
    async with owner.transaction():
        await owner.execute("UPDATE api_key SET label = 'another'")
        async with asyncio.timeout(5):
            await authenticate(new_authenticator(), key)
    assert await used(owner) is None


async def test_who_comes_is_let_in_though_the_use_cannot_be_noted(address: str, owner: asyncpg.Connection) -> None:
    database = Database(address, lock_timeout=0.05)
    try:
        row, key = await made(database)
        authenticator = Authenticator(database, AuthConfig(key_secret=SECRET), require_auth=True)
        async with owner.transaction():
            await owner.execute("LOCK TABLE api_key IN EXCLUSIVE MODE")
            with structlog.testing.capture_logs() as logs:
                assert (await authenticate(authenticator, key)).actor == row.prefix
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
async def test_a_key_that_cannot_be_is_not_made(
    database: Database, owner: asyncpg.Connection, label: str, scopes: list[str], field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        async with database.transaction(1, AUTHOR) as connection:
            await api_key.create(connection, SIGNER, label, scopes)
    assert refused.value.field == field
    assert await owner.fetchval("SELECT count(*) FROM api_key") == 0


async def test_only_an_operators_key_acts_in_another_tenant_and_only_one_that_there_is(
    two_tenants: Database, address: str, owner: asyncpg.Connection, new_authenticator: Callable[..., Authenticator]
) -> None:
    _, plain = await made(two_tenants, "read", "write", "admin")
    name, key = await create_operator(address, SIGNER, 1, "operator", ["read", "write:sales"], None, AUTHOR)
    authenticator = new_authenticator()
    assert (await authenticate(authenticator, plain, x_headwater_tenant="default")).tenant_id == 1
    with pytest.raises(Forbidden, match="Only an operator key can act in another tenant"):
        await authenticate(authenticator, plain, x_headwater_tenant="other")
    at_home = await authenticate(authenticator, key, x_headwater_tenant="default")
    assert (at_home.tenant_id, at_home.operator) == (1, False)
    there = await authenticate(authenticator, key, x_headwater_tenant="other")
    assert (there.tenant_id, there.tenant, there.operator, there.scope_names) == (OTHER, "other", True, ["read", "write:sales"])
    author = there.author("request", "write")
    assert (author.actor, author.operator, author.domains) == (str(name), True, frozenset({"sales"}))
    for missing in ("another", "", "1"):
        with pytest.raises(Forbidden, match="There is no tenant called"):
            await authenticate(authenticator, key, x_headwater_tenant=missing)
    await owner.execute("UPDATE tenant SET suspended_because = 'unpaid' WHERE name = 'other'")
    with pytest.raises(Forbidden, match="The tenant 'other' is suspended: unpaid"):
        await authenticate(authenticator, key, x_headwater_tenant="other")
    assert (await authenticate(authenticator, key)).tenant_id == 1


async def test_keys_are_listed_by_their_age_and_only_those_of_the_tenant(two_tenants: Database) -> None:
    rows = [(await made(two_tenants, "read"))[0] for _ in range(3)]
    async with two_tenants.snapshot(1) as connection:
        assert (await api_key.all_keys(connection))[1:] == rows
        assert await api_key.find(connection, "nothing") is None
    async with two_tenants.snapshot(OTHER) as connection:
        assert await api_key.find(connection, rows[0].name) is None
        assert [it.label for it in await api_key.all_keys(connection)] == ["key 2"]
    assert json.dumps(KeyName(2, "abc")) == '[2, "abc"]'
