"""What a caller needs to be allowed: declared on each field, read by the executor before anything runs."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import strawberry
from strawberry.types.field import StrawberryField

_SCOPE = "headwater.scope"

Resolver = TypeVar("Resolver", bound=Callable[..., Any])


class Scope(StrEnum):
    """What a principal may do."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


READ, WRITE = Scope.READ, Scope.WRITE


def field(scope: Scope, description: str, **options: Any) -> Any:
    """An attribute that is a field: what it needs, and what it is."""
    return strawberry.federation.field(description=description, metadata={_SCOPE: scope}, **options)


def resolver(scope: Scope, description: str) -> Callable[[Resolver], Resolver]:
    """A method that is a field: what it needs, and what it is."""
    return field(scope, description)  # type: ignore[no-any-return]


def scope_of(declared: StrawberryField) -> Scope | None:
    """What a field declares, if it does."""
    return declared.metadata.get(_SCOPE)
