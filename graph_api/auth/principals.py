"""Principals: the tenant, actor and scopes that a request acts with, by its credentials."""

from db.tenancy.api_key import FoundKey
from db.tenancy.tenant import TenantStatus
from db.tenant_ids import DEFAULT_TENANT_ID, NO_TENANT_ID
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
    return Principal(key.name.tenant_id, key.label, scopes, domains, key.tenant, str(key.name))


def operator_principal(key: FoundKey, tenant: TenantStatus) -> Principal:
    """Build the principal of an operator key in another tenant."""
    scopes, domains = parse_scopes(key.scopes)
    return Principal(tenant.tenant_id, key.label, scopes, domains, tenant.name, str(key.name), operator=True)


def token_principal(claims: Claims, tenant: TenantStatus) -> Principal:
    """Build the principal of a verified token."""
    scopes, domains = parse_scopes(claims.scopes)
    return Principal(tenant.tenant_id, claims.actor, scopes, domains, tenant.name, "token")
