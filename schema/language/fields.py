"""Field declarations: every field of the schema states its description and the scope it requires."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

import strawberry
from strawberry.types.field import StrawberryField

from schema.language.scopes import Scope

_SCOPE = "headwater.scope"
_SINGLE_READ = "headwater.single_read"

Resolver = TypeVar("Resolver", bound=Callable[..., Any])


def field(scope: Scope, description: str, *, metadata: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """Declare an attribute as a field that requires a scope."""
    return strawberry.federation.field(description=description, metadata={_SCOPE: scope, **(metadata or {})}, **options)


def resolver(scope: Scope, description: str, **options: Any) -> Callable[[Resolver], Resolver]:
    """Declare the decorated method as a field that requires a scope."""
    return field(scope, description, **options)  # type: ignore[no-any-return]


def single_read(unless: str | None = None) -> Callable[[Resolver], Resolver]:
    """Declare that a resolver runs one statement, which takes None as the instant, unless an argument is given."""

    def declare(declared: Resolver) -> Resolver:
        strawberry_field = cast(StrawberryField, declared)
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, _SINGLE_READ: unless})
        return declared

    return declare


def is_single_read(declared: StrawberryField, arguments: Collection[str]) -> bool:
    """True if the resolver of a field runs one statement when it is given these arguments."""
    return _SINGLE_READ in declared.metadata and declared.metadata[_SINGLE_READ] not in arguments


def scope_of(declared: StrawberryField) -> Scope | None:
    """Return the scope that a field requires; None: it declares none."""
    return declared.metadata.get(_SCOPE)
