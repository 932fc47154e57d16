"""What a caller needs to be allowed: declared on each field, read by the executor before anything runs."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, TypeVar

import strawberry
from strawberry.types.field import StrawberryField

from db.tenancy import scope as scopes

_SCOPE = "headwater.scope"

Resolver = TypeVar("Resolver", bound=Callable[..., Any])


class Scope(StrEnum):
    """What a field may need."""

    SCHEMA = "schema"
    """To see what there is to ask; whoever is let in may."""
    SELF = "self"
    """To be known; whoever is let in is."""
    READ = scopes.READ
    DOMAIN = "domain"
    """To write in the domain of what is written: that is seen when it is written, here it is whether one may write at all."""
    WRITE = scopes.WRITE
    ADMIN = scopes.ADMIN


SELF, READ, DOMAIN, WRITE, ADMIN = Scope.SELF, Scope.READ, Scope.DOMAIN, Scope.WRITE, Scope.ADMIN

_LABELS = {
    Scope.DOMAIN: f"the scope {scopes.WRITE}, or {scopes.WRITE_IN} and a domain",
    **{it: f"the scope {it.value}" for it in (READ, WRITE, ADMIN)},
}


def scope_label(scope: Scope) -> str:
    """What to ask for where it is missing."""
    return _LABELS[scope]


def parse_scopes(given: Iterable[str]) -> tuple[frozenset[Scope], frozenset[str]]:
    """What these scopes of a credential allow, and the domains it may write in besides. What is no scope here allows nothing."""
    known = set(given)
    domains = frozenset(it.removeprefix(scopes.WRITE_IN) for it in known if it.startswith(scopes.WRITE_IN))
    allowed = {Scope(it) for it in known & set(scopes.SCOPES)} | {Scope.SCHEMA, Scope.SELF}
    if domains or WRITE in allowed:
        allowed.add(DOMAIN)
    return frozenset(allowed), domains


def field(scope: Scope, description: str, **options: Any) -> Any:
    """An attribute that is a field: what it needs, and what it is."""
    return strawberry.federation.field(description=description, metadata={_SCOPE: scope}, **options)


def resolver(scope: Scope, description: str, **options: Any) -> Callable[[Resolver], Resolver]:
    """A method that is a field: what it needs, and what it is."""
    return field(scope, description, **options)  # type: ignore[no-any-return]


def scope_of(declared: StrawberryField) -> Scope | None:
    """What a field declares, if it does."""
    return declared.metadata.get(_SCOPE)
