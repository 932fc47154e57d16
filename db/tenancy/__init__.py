"""Tenants, API keys, scopes, the audit log and idempotency keys."""
