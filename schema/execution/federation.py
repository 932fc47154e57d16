"""The subgraph's side of Apollo Federation: representations in, entities out, each on its own."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import strawberry
from graphql import GraphQLError, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, Undefined
from strawberry.federation import Schema
from strawberry.federation.schema import FederationAny
from strawberry.federation.schema_directives import Tag
from strawberry.types.base import get_object_definition

from db.errors import BadInput, LimitExceeded
from schema.execution.plain import attribute
from schema.language.cost import without_cost
from schema.language.scopes import ADMIN, DOMAIN, READ, WRITE, Scope, scope_of

# What the fields at the roots are tagged with, by what they need. Tags are one space for all subgraphs of a gateway.
_TAGS: dict[Scope | None, Tag] = {
    scope: Tag(name=f"headwater/{tag}") for scope, tag in {READ: "read", DOMAIN: "write", WRITE: "write", ADMIN: "admin"}.items()
}

Root = TypeVar("Root", bound=type)


def tagged(root: Root) -> Root:
    """Tags the fields at a root, so that a gateway can make a variant of its graph without those that write, or administer."""
    for declared in get_object_definition(root, strict=True).fields:
        if (tag := _TAGS.get(scope_of(declared))) is not None:
            declared.directives = [*declared.directives, tag]
    return root


class SubgraphSchema(Schema):
    """A federated schema that leaves the request as it is, and in which one bad representation does not null its neighbours.

    `references` find, for each type that has keys, the entity that some keys mean.
    """

    def __init__(self, *, references: Mapping[str, Callable[..., Awaitable[Any]]], **options: Any) -> None:
        super().__init__(**options)
        self.references = references
        for described in self._schema.type_map.values():
            if isinstance(described, GraphQLObjectType | GraphQLInterfaceType):
                for declared in described.fields.values():
                    if isinstance(described, GraphQLInterfaceType):
                        declared.extensions["strawberry-definition"] = without_cost(declared.extensions["strawberry-definition"])
                    if getattr(declared.resolve, "_is_default", False):
                        # what Strawberry's own does, and known for what it is
                        declared.resolve = attribute(declared.extensions["strawberry-definition"].python_name)
                    for argument in declared.args.values():
                        # a Python default of None: whoever leaves the argument out says nothing, not null
                        if argument.default_value is None:
                            argument.default_value = Undefined
            elif isinstance(described, GraphQLInputObjectType):
                # graphql-core's own check names the place of the fault; Strawberry's does not
                described.is_one_of = described.extensions["strawberry-definition"].is_one_of

    def entities_resolver(self, info: strawberry.Info, representations: list[FederationAny]) -> list[FederationAny]:
        largest = info.context.limits.representations
        if len(representations) > largest:
            raise LimitExceeded(
                f"representations has {len(representations)} entries. At most {largest} come at once.", field="representations"
            )
        return [cast(FederationAny, self._entity(info, cast(Any, it))) for it in representations]

    def _entity(self, info: strawberry.Info, representation: Any) -> Any:
        """An awaitable of the entity, so that the loaders see all representations before the first statement runs."""
        keys = dict(representation) if isinstance(representation, dict) else {}
        type_name = keys.pop("__typename", None)
        if not isinstance(type_name, str):
            return _failed(BadInput("A representation has a __typename, which is text.", field="representations"))
        resolve = self.references.get(type_name)
        if resolve is None:
            return _failed(BadInput(f"{type_name[:100]!r} is no entity of this subgraph.", field="representations"))
        accepted = {name: value for name, value in keys.items() if value is None or isinstance(value, str)}
        # whatever else a representation is called, it cannot take the place of info
        return resolve(info, **accepted)


def _failed(error: Exception) -> GraphQLError:
    return GraphQLError(str(error), original_error=error)
