"""Scopes: the permissions that fields require and principals have."""

from collections.abc import Iterable
from enum import StrEnum

from db.tenancy import scope as scopes


class Scope(StrEnum):
    """A permission that a field may require."""

    SCHEMA = "schema"
    """Read the schema. Every authenticated principal has it."""
    SELF = "self"
    """Read one's own identity and limits. Every authenticated principal has it."""
    READ = scopes.READ
    DOMAIN = "domain"
    """Write in at least one domain. The write itself checks that the domain of the asset is one of them."""
    WRITE = scopes.WRITE
    ADMIN = scopes.ADMIN


SELF, READ, DOMAIN, WRITE, ADMIN = Scope.SELF, Scope.READ, Scope.DOMAIN, Scope.WRITE, Scope.ADMIN

_LABELS = {
    Scope.DOMAIN: f"the scope {scopes.WRITE}, or {scopes.WRITE_IN} with a domain",
    **{it: f"the scope {it.value}" for it in (READ, WRITE, ADMIN)},
}


def scope_label(scope: Scope) -> str:
    """Return the name of a scope for error messages, as credentials are given it."""
    return _LABELS[scope]


def parse_scopes(names: Iterable[str]) -> tuple[frozenset[Scope], frozenset[str]]:
    """Return the scopes that the scope names of a credential grant, and the domains they grant write access to.

    Unknown names grant nothing.
    """
    known = set(names)
    domains = frozenset(it.removeprefix(scopes.WRITE_IN) for it in known if it.startswith(scopes.WRITE_IN))
    granted = {Scope(it) for it in known & set(scopes.SCOPES)} | {Scope.SCHEMA, Scope.SELF}
    if domains or WRITE in granted:
        granted.add(DOMAIN)
    return frozenset(granted), domains
