"""Principals: the tenant, actor and scopes that a request acts with, by its credentials."""

from db.errors import Forbidden
from db.tenancy.api_key import FoundKey
from db.tenancy.tenant import TenantStatus
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID, NO_TENANT_ID
from graph_api.auth.tokens import Claims
from schema.execution.principal import Principal
from schema.language.scopes import Scope, parse_scopes

OPEN_PRINCIPAL = Principal(DEFAULT_TENANT_ID, "anonymous", frozenset(Scope))
"""Principal of all requests to a service that does not require authentication: the default tenant, with every scope."""


def anonymous_principal(*, may_introspect: bool) -> Principal:
    """Build the principal of a request without credentials, on a service that requires authentication."""
    return Principal(NO_TENANT_ID, "anonymous", frozenset({Scope.SCHEMA} if may_introspect else ()), tenant="")


def key_principal(key: FoundKey) -> Principal:
    """Build the principal of a key in its own tenant."""
    scopes, domains = parse_scopes(key.scopes)
    return Principal(key.name.tenant_id, str(key.name), scopes, domains, key.tenant, str(key.name))


def operator_principal(key: FoundKey, tenant: TenantStatus) -> Principal:
    """Build the principal of an operator key in another tenant."""
    scopes, domains = parse_scopes(key.scopes)
    credential = str(key.name)
    return Principal(tenant.tenant_id, credential, scopes, domains, tenant.name, credential, operator=True)


def token_principal(claims: Claims, tenant: TenantStatus) -> Principal:
    """Build the principal of a verified token."""
    scopes, domains = parse_scopes(claims.scopes)
    return Principal(tenant.tenant_id, claims.actor, scopes, domains, tenant.name, "token")


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
