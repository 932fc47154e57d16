"""Who asks: a key or a token in, a principal out. What is presented and does not hold is refused, never passed over."""

import hmac
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes, token_hex

import structlog
from starlette.datastructures import Headers

from db.author import Author
from db.database import Database
from db.errors import BadInput, Forbidden, HeadwaterError, Unauthenticated
from db.instants import write_instant
from db.tenancy import api_key, tenant
from db.tenancy.api_key import BOOTSTRAP, KEY_PREFIX, FoundKey, KeyName, KeySigner
from db.tenancy.tenant import TenantStatus
from graph_api.auth.tokens import Tokens
from graph_api.auth.ttl_cache import SingleFlightCache
from graph_api.settings import Settings
from schema.execution.principal import Principal
from schema.language.scopes import Scope, parse_scopes

# The tenant that the first migration makes.
DEFAULT_TENANT_ID = 1

# Who comes without credentials to a service that asks for them.
NOBODY = 0

# Characters of a secret that is made here.
_SECRET_LENGTH = 64

# The last use of a key is written down once in so many seconds.
_USES = 60

OPEN = Principal(DEFAULT_TENANT_ID, "anonymous", frozenset(Scope))
"""Whoever comes to the demo: the default tenant, with every scope."""

UNKNOWN = "This key is not known here. A key is shown once, when it is made; it is of one service only."
MALFORMED = "The Authorization header has to read: Bearer, and a key or a token."

log = structlog.get_logger("headwater.auth")


class Authenticator:
    """One a process: who may come in. A key counts before a token; who presents neither is let in as nobody, or as everybody
    where the service is open."""

    def __init__(self, settings: Settings, database: Database, *, guarded: bool) -> None:
        self._database = database
        self.guarded = guarded
        # where nobody has to have a key, there may be no secret to make one with
        self.signer = KeySigner(token_bytes()) if settings.key_secret is None and not guarded else key_signer(settings)
        self._tokens = None if (trust := settings.trust()) is None else Tokens(trust)
        may_see = frozenset({Scope.SCHEMA} if settings.anonymous_introspection else ())
        nobody = Principal(NOBODY, "anonymous", may_see, tenant="")
        self._without = nobody if guarded else OPEN
        self._keys = SingleFlightCache(self._find_key, settings.credential_seconds)
        self._tenants = SingleFlightCache(self._find_tenant, settings.credential_seconds)
        self._uses = SingleFlightCache(self._note_use, _USES)

    async def enter(self, headers: Headers) -> Principal:
        """Who this is. Unauthenticated or Forbidden, if it is nobody whom we let in."""
        wanted = headers.get("x-headwater-tenant")
        key, bearer = headers.get("x-api-key"), headers.get("authorization")
        if key is None and bearer is not None:
            scheme, _, given = bearer.partition(" ")
            given = given.strip()
            if scheme.lower() != "bearer" or not given:
                raise Unauthenticated(MALFORMED)
            if not given.startswith(KEY_PREFIX):
                return _within(await self._by_token(given), wanted)
            key = given
        if key is None:
            return self._without if wanted is None else _within(self._without, wanted)
        found = await self._proven(key.strip())
        if wanted is None or not found.operator or wanted == found.tenant:
            return _within(_bearer_of(found), wanted)
        return _operator(found, await self._standing(wanted))

    async def close(self) -> None:
        if self._tokens is not None:
            await self._tokens.close()

    async def _proven(self, key: str) -> FoundKey:
        """What is known of a key that holds."""
        name = self.signer.verify(key)
        # the one that is made up is of one tenant: nobody has us look for it in others
        if name is None or (name.name == BOOTSTRAP and name.tenant_id != DEFAULT_TENANT_ID):
            raise Unauthenticated(UNKNOWN)
        found = await self._keys.get(name)
        if found is None or not hmac.compare_digest(found.digest, self.signer.digest(key)):
            raise Unauthenticated(UNKNOWN)
        if found.revoked_at is not None:
            raise Unauthenticated(f"The key {name} was revoked at {write_instant(found.revoked_at)}.")
        if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
            raise Unauthenticated(f"The key {name} expired at {write_instant(found.expires_at)}.")
        _require_running(TenantStatus(name.tenant_id, found.tenant, found.suspended_because))
        await self._uses.get(name)
        return found

    async def _by_token(self, token: str) -> Principal:
        if self._tokens is None:
            raise Unauthenticated(f"Tokens are not taken here; a key begins with {KEY_PREFIX}.")
        claims = await self._tokens.read(token)
        standing = await self._standing(claims.tenant)
        scopes, domains = parse_scopes(claims.scopes)
        return Principal(standing.tenant_id, claims.actor, scopes, domains, standing.name, "token")

    async def _standing(self, name: str) -> TenantStatus:
        """A tenant that is let in, by its name."""
        found = await self._tenants.get(name)
        if found is None:
            raise Forbidden(f"There is no tenant called {name[:200]!r}.")
        _require_running(found)
        return found

    async def _find_key(self, name: KeyName) -> FoundKey | None:
        async with self._database.snapshot(name.tenant_id) as connection:
            return await api_key.find(connection, name.name)

    async def _find_tenant(self, name: str) -> TenantStatus | None:
        async with self._database.snapshot(NOBODY) as connection:
            tenant_id = await tenant.tenant_id_of(connection, name)
        if tenant_id is None:
            return None
        async with self._database.snapshot(tenant_id) as connection:
            return await tenant.tenant_status(connection)

    async def _note_use(self, name: KeyName) -> None:
        try:
            async with self._database.transaction(name.tenant_id, Author(str(name)), audited=False) as connection:
                await api_key.touch_last_used(connection, name.name, every=timedelta(seconds=_USES))
        except HeadwaterError as error:
            log.warning("use of a key not noted", key=str(name), reason=error.message)


def bears_key(headers: Headers) -> bool:
    """Whether the Authorization header holds a key of ours, or what is meant as one."""
    return KEY_PREFIX in headers.get("authorization", "")


def key_signer(settings: Settings) -> KeySigner:
    """What keys are made and proven by."""
    if settings.key_secret is None:
        raise BadInput(
            "HEADWATER_KEY_SECRET is missing: keys are made and proven with it. Set it to 32 or more characters made at random,"
            " the same in every process, and keep it: with another one, no key is known any more."
        )
    return KeySigner(settings.key_secret.encode())


def kept_secret(path: Path) -> str:
    """A secret in a file that only its owner reads, made when it is first asked for."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.touch(mode=0o600)
        with unfinished.open("w") as file:
            file.write(token_hex(_SECRET_LENGTH // 2))
            file.flush()
            # keys that it makes outlive a crash of the machine, and so has it to
            os.fsync(file.fileno())
        try:
            # of several processes that do so at once, the first is heard
            os.link(unfinished, path)
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    kept = path.read_text().strip()
    if len(kept) < _SECRET_LENGTH:
        raise BadInput(
            f"{path} does not hold the {_SECRET_LENGTH} characters that keys are proven with. Bring back the file as it was."
        )
    return kept


def _bearer_of(found: FoundKey) -> Principal:
    scopes, domains = parse_scopes(found.scopes)
    return Principal(found.name.tenant_id, str(found.name), scopes, domains, found.tenant, str(found.name))


def _operator(found: FoundKey, standing: TenantStatus) -> Principal:
    """The bearer of an operator's key in a tenant that is not its own."""
    scopes, domains = parse_scopes(found.scopes)
    named = str(found.name)
    return Principal(standing.tenant_id, named, scopes, domains, standing.name, named, operator=True)


def _within(principal: Principal, wanted: str | None) -> Principal:
    """A principal that has said in which tenant it thinks it is."""
    if wanted is not None and principal.tenant_id != NOBODY and wanted != principal.tenant:
        raise Forbidden(f"These credentials are of the tenant {principal.tenant!r}. Only an operator's key acts in another one.")
    return principal


def _require_running(standing: TenantStatus) -> None:
    if standing.suspended_because is not None:
        raise Forbidden(f"The tenant {standing.name!r} is suspended: {standing.suspended_because}")
