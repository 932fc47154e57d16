"""Authentication of requests: an API key or a JWT in, a principal out."""

import asyncio
import hmac
from datetime import timedelta
from math import inf
from secrets import token_bytes
from typing import NamedTuple

import structlog

from db.author import Author
from db.database import Database
from db.errors import Forbidden, HeadwaterError, Unauthenticated
from db.instants import write_instant
from db.occasion import Occasion
from db.tenancy import api_key, tenant
from db.tenancy.api_key import BOOTSTRAP, KEY_PREFIX, FoundKey, KeyName, KeySigner
from db.tenancy.tenant import TenantStatus
from db.tenant_ids import DEFAULT_TENANT_ID, NO_TENANT_ID
from graph_api.auth.config import AuthConfig
from graph_api.auth.key_secret import key_signer
from graph_api.auth.principals import (
    OPEN_PRINCIPAL,
    anonymous_principal,
    key_principal,
    operator_principal,
    token_principal,
)
from graph_api.auth.tokens import TokenVerifier
from graph_api.auth.ttl_cache import SingleFlightCache
from schema.execution.principal import Principal

# Seconds between two updates of the last use of a key.
_LAST_USED_INTERVAL = 60

# Seconds between two warnings that the last use of a key is not recorded.
_WARNING_INTERVAL = 60

# Keys whose principals are remembered.
_MAX_REMEMBERED = 10_000

UNKNOWN_KEY = "Unknown API key. Send the whole key, as it was shown when it was created for this service."
MALFORMED_AUTHORIZATION = "The Authorization header must read: Bearer, then an API key or a token."
TOKENS_NOT_ACCEPTED = (
    f"Tokens are not accepted here: HEADWATER_JWT_ALGORITHM is not set. Send an API key, which begins with {KEY_PREFIX}."
)

log = structlog.get_logger("headwater.auth")


class Credentials(NamedTuple):
    """The headers X-API-Key, Authorization and X-Headwater-Tenant; None for one that is missing."""

    api_key: str | None = None
    authorization: str | None = None
    tenant: str | None = None

    @property
    def forwarded(self) -> str | None:
        """The Authorization header for other services, unless it contains an API key of Headwater, or a malformed one."""
        return None if self.authorization is None or KEY_PREFIX in self.authorization else self.authorization


class _LoadedKey(NamedTuple):
    """A key, and the time of the loop at which it expires by the clock of the database, which all instants of a key go by."""

    found: FoundKey
    expires_at: float


class _Remembered(NamedTuple):
    """Principal of a key, and the time of the loop until which it is known: nothing has to be looked up again until then, and the
    key has not expired."""

    principal: Principal
    known_until: float


class Authenticator:
    """Authenticator of one process. Credentials that are present but invalid are rejected, never ignored.

    X-API-Key takes precedence over Authorization. A request without credentials acts as the anonymous principal, or as the open
    principal if authentication is not required.
    """

    def __init__(self, database: Database, config: AuthConfig, *, require_auth: bool) -> None:
        self._database = database
        self.require_auth = require_auth
        # without authentication no key is needed, so a secret may be missing
        needs_secret = require_auth or config.key_secret is not None
        self.key_signer = key_signer(config.key_secret) if needs_secret else KeySigner(token_bytes())
        self._tokens = None if config.issuer is None else TokenVerifier(config.issuer)
        anonymous = anonymous_principal(may_introspect=config.anonymous_introspection)
        self._without_credentials = anonymous if require_auth else OPEN_PRINCIPAL
        self._keys = SingleFlightCache(self._load_key, config.cache_ttl)
        self._tenants = SingleFlightCache(self._load_tenant, config.cache_ttl)
        self._last_used = SingleFlightCache(self._touch_last_used, _LAST_USED_INTERVAL)
        self._unrecorded = Occasion(_WARNING_INTERVAL)
        # by the key and the requested tenant
        self._remembered: dict[tuple[str, str | None], _Remembered] = {}

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return the principal of a request, or raise Unauthenticated or Forbidden."""
        key, authorization, requested_tenant = credentials
        if key is None and authorization is not None:
            scheme, _, bearer = authorization.partition(" ")
            bearer = bearer.strip()
            if scheme.lower() != "bearer" or not bearer:
                raise Unauthenticated(MALFORMED_AUTHORIZATION)
            if not bearer.startswith(KEY_PREFIX):
                return require_tenant(await self._authenticate_token(bearer), requested_tenant)
            key = bearer
        if key is None:
            return require_tenant(self._without_credentials, requested_tenant)
        return await self._authenticate_key(key.strip(), requested_tenant)

    async def close(self) -> None:
        if self._tokens is not None:
            await self._tokens.close()

    async def _authenticate_key(self, key: str, requested_tenant: str | None) -> Principal:
        """Return the principal of a key. It is remembered until something that it depends on must be looked up again."""
        remembered = self._remembered.get((key, requested_tenant))
        if remembered is not None and remembered.known_until > asyncio.get_running_loop().time():
            return remembered.principal
        found, expires_at = await self._verify_key(key)
        known_until = min(expires_at, self._keys.expires_at(found.name), self._last_used.expires_at(found.name))
        if requested_tenant is None or not found.operator or requested_tenant == found.tenant:
            principal = require_tenant(key_principal(found), requested_tenant)
        else:
            principal = operator_principal(found, await self._active_tenant(requested_tenant))
            known_until = min(known_until, self._tenants.expires_at(requested_tenant))
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key, requested_tenant] = _Remembered(principal, known_until)
        return principal

    async def _verify_key(self, key: str) -> _LoadedKey:
        """Return a valid key, or raise Unauthenticated or Forbidden."""
        name = self.key_signer.verify(key)
        # the bootstrap key carries no signature, so a forged one is looked up only in the one tenant that can have it
        if name is None or (name.name == BOOTSTRAP and name.tenant_id != DEFAULT_TENANT_ID):
            raise Unauthenticated(UNKNOWN_KEY)
        loaded = await self._keys.get(name)
        if loaded is None or not hmac.compare_digest(loaded.found.digest, self.key_signer.digest(key)):
            raise Unauthenticated(UNKNOWN_KEY)
        found = loaded.found
        if found.revoked_at is not None:
            raise Unauthenticated(f"The key {name} was revoked at {write_instant(found.revoked_at)}. Use another key.")
        if found.expires_at is not None and loaded.expires_at <= asyncio.get_running_loop().time():
            raise Unauthenticated(f"The key {name} expired at {write_instant(found.expires_at)}. Use another key.")
        require_active(TenantStatus(name.tenant_id, found.tenant, found.suspended_because))
        await self._last_used.get(name)
        return loaded

    async def _authenticate_token(self, token: str) -> Principal:
        if self._tokens is None:
            raise Unauthenticated(TOKENS_NOT_ACCEPTED)
        claims = await self._tokens.verify(token)
        return token_principal(claims, await self._active_tenant(claims.tenant))

    async def _active_tenant(self, name: str) -> TenantStatus:
        """Return a tenant by its name, or raise Forbidden if it does not exist or is suspended."""
        status = await self._tenants.get(name)
        if status is None:
            raise Forbidden(f"There is no tenant called {name[:200]!r}.")
        require_active(status)
        return status

    async def _load_key(self, name: KeyName) -> _LoadedKey | None:
        asked_at = asyncio.get_running_loop().time()
        async with self._database.snapshot(name.tenant_id) as connection:
            found = await api_key.find(connection, name.name)
        if found is None:
            return None
        seconds_left = inf if found.expires_at is None else (found.expires_at - connection.now).total_seconds()
        return _LoadedKey(found, asked_at + seconds_left)

    async def _load_tenant(self, name: str) -> TenantStatus | None:
        async with self._database.snapshot(NO_TENANT_ID) as connection:
            tenant_id = await tenant.tenant_id_of(connection, name)
        if tenant_id is None:
            return None
        async with self._database.snapshot(tenant_id) as connection:
            return await tenant.tenant_status(connection)

    async def _touch_last_used(self, name: KeyName) -> None:
        """Record the use of a key. A failure does not fail the request; it is logged once in a while."""
        try:
            async with self._database.transaction(name.tenant_id, Author(str(name)), audited=False) as connection:
                await api_key.touch_last_used(connection, name.name, every=timedelta(seconds=_LAST_USED_INTERVAL))
        except HeadwaterError as error:
            if self._unrecorded.is_due():
                log.warning("last use of a key not recorded", key=str(name), reason=error.message)


def require_tenant(principal: Principal, requested: str | None) -> Principal:
    """Return the principal, or raise Forbidden if the request names another tenant than that of its credentials."""
    if requested is not None and principal.tenant_id != NO_TENANT_ID and requested != principal.tenant:
        raise Forbidden(
            f"These credentials belong to the tenant {principal.tenant!r}, but X-Headwater-Tenant names {requested[:200]!r}."
            " Only an operator key can act in another tenant."
        )
    return principal


def require_active(tenant: TenantStatus) -> None:
    """Raise Forbidden if the tenant is suspended."""
    if tenant.suspended_because is not None:
        raise Forbidden(f"The tenant {tenant.name!r} is suspended: {tenant.suspended_because}")
