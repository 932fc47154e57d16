"""Ids of tenants that have a special meaning."""

# The first migration creates this tenant.
DEFAULT_TENANT_ID = 1

# No tenant has this id: anonymous requests carry it, and a lookup of a tenant by name runs under it.
NO_TENANT_ID = 0
