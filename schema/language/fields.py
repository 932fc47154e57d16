"""Field declarations: every field of the schema states its description and the scope it requires."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast, get_args

import strawberry
from strawberry.types.field import StrawberryField

from schema.language.scopes import Scope

_SCOPE = "headwater.scope"
_SINGLE_READ = "headwater.single_read"
_BATCH = "headwater.batch"
_CARRIED = "headwater.carried"

# Finds the values of a field for all its parents, in order. It takes the parents, the info object and the arguments. An exception
# among the values is the error of its parent.
FindAll = Callable[..., Awaitable[Sequence[Any]]]

Field = TypeVar("Field")
Resolver = TypeVar("Resolver", bound=Callable[..., Any])


def field(scope: Scope, description: str, *, metadata: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """Declare an attribute as a field that requires a scope."""
    return strawberry.federation.field(description=description, metadata={_SCOPE: scope, **(metadata or {})}, **options)


def resolver(scope: Scope, description: str, **options: Any) -> Callable[[Resolver], Resolver]:
    """Declare the decorated method as a field that requires a scope."""
    return field(scope, description, **options)  # type: ignore[no-any-return]


def batched(scope: Scope, description: str, **options: Any) -> Callable[[FindAll], Any]:
    """Declare the decorated static method as a field whose values are found for all parents of a level at once.

    The method takes the parents, the info object and the arguments, and returns a list with the value of each parent. A plan
    calls it once a level; the general executor once a parent, where the loaders that it uses gather the calls.
    """

    def declare(method: FindAll) -> Any:
        find_all: FindAll = cast(Any, method).__func__
        declared = field(scope, description, metadata={_BATCH: find_all}, **options)
        return declared(_resolver_of_one(find_all))

    return declare


def find_all_of(declared: StrawberryField) -> FindAll | None:
    """Return the function that finds the values of a field for all its parents; None: it is not declared as batched."""
    return cast(FindAll | None, declared.metadata.get(_BATCH))


def each(function: Callable[..., Any], *values: Sequence[Any]) -> list[Any]:
    """Call a function for each parent with its values. Return what it returns, or the exception that it raises: the error of that
    parent. An exception among the values of a parent is its error, too."""
    results: list[Any] = []
    for of_parent in zip(*values, strict=True):
        for value in of_parent:
            if isinstance(value, Exception):
                results.append(value)
                break
        else:
            try:
                results.append(function(*of_parent))
            except Exception as raised:
                results.append(raised)
    return results


def _resolver_of_one(find_all: FindAll) -> Callable[..., Awaitable[Any]]:
    """Return the resolver of a batched field, which finds the value of one parent."""

    async def resolve(self: Any, info: Any, **arguments: Any) -> Any:
        (value,) = await find_all([self], info, **arguments)
        if isinstance(value, Exception):
            raise value
        return value

    signature = inspect.signature(find_all)
    _, *others = signature.parameters.values()
    parents = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    (of_one,) = get_args(signature.return_annotation)
    resolve.__signature__ = signature.replace(parameters=[parents, *others], return_annotation=of_one)  # type: ignore[attr-defined]
    # the names in annotations are those of the module of the method
    resolve.__name__, resolve.__module__ = find_all.__name__, find_all.__module__
    resolve.__annotations__ = {it.name: it.annotation for it in others} | {"return": of_one}
    return resolve


def single_read(unless: str | None = None) -> Callable[[Resolver], Resolver]:
    """Declare that a resolver runs one statement, which takes None as the instant, unless an argument is given."""

    def declare(declared: Resolver) -> Resolver:
        strawberry_field = cast(StrawberryField, declared)
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, _SINGLE_READ: unless})
        return declared

    return declare


class _Carried(NamedTuple):
    columns: frozenset[str]
    unless: str | None


def carried(*columns: str, unless: str | None = None) -> Callable[[Field], Field]:
    """Declare that the rows of a plan carry the values of a field, so that it runs no statement, unless an argument is given.

    Columns that cost much are named here instead of in `reads`: rows carry them if all objects of the plan that have the field
    read it, so that no row is read with a value that nobody wants.
    """

    def declare(declared: Field) -> Field:
        strawberry_field = cast(StrawberryField, declared)
        of_field = _Carried(frozenset(columns), unless)
        strawberry_field.metadata = MappingProxyType({**strawberry_field.metadata, _CARRIED: of_field})
        return declared

    return declare


def carried_columns(declared: StrawberryField, arguments: Collection[str] = ()) -> frozenset[str] | None:
    """Return the costly columns that rows need to carry the values of a field that is given these arguments. None: they do not
    carry them."""
    of_field: _Carried | None = declared.metadata.get(_CARRIED)
    return None if of_field is None or of_field.unless in arguments else of_field.columns


def is_single_read(declared: StrawberryField, arguments: Collection[str]) -> bool:
    """True if the resolver of a field runs one statement when it is given these arguments."""
    return _SINGLE_READ in declared.metadata and declared.metadata[_SINGLE_READ] not in arguments


def scope_of(declared: StrawberryField) -> Scope | None:
    """Return the scope that a field requires; None: it declares none."""
    return declared.metadata.get(_SCOPE)
