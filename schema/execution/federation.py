"""Apollo Federation: the schema as a subgraph, and the entities that representations name."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import strawberry
from graphql import GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, Undefined
from strawberry.federation import Schema
from strawberry.federation.schema import FederationAny
from strawberry.federation.schema_directives import Tag
from strawberry.types.base import get_object_definition

from db.errors import BadInput, LimitExceeded
from schema.language.cost import without_cost
from schema.language.fields import scope_of
from schema.language.scopes import ADMIN, DOMAIN, READ, WRITE, Scope
from schema.planning.plan import ObjectPlan

# Tags of the root fields, by the scope that they require. All subgraphs of a gateway share the names of tags.
_TAGS: dict[Scope | None, Tag] = {
    scope: Tag(name=f"headwater/{tag}") for scope, tag in {READ: "read", DOMAIN: "write", WRITE: "write", ADMIN: "admin"}.items()
}

Root = TypeVar("Root", bound=type)


def tagged(root: Root) -> Root:
    """Tag the fields of a root type, so that a gateway can compose a graph without writes or without administration."""
    for declared in get_object_definition(root, strict=True).fields:
        if (tag := _TAGS.get(scope_of(declared))) is not None:
            declared.directives = [*declared.directives, tag]
    return root


class SubgraphSchema(Schema):
    """Federated schema that resolves each representation independently: a bad one does not null the others.

    `references` holds, for each type with keys, the function that finds the entity of a representation. `prefetches` are those
    of the planner.
    """

    def __init__(
        self,
        *,
        references: Mapping[str, Callable[..., Awaitable[Any]]],
        prefetches: Sequence[Callable[[ObjectPlan], Any]] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.references = references
        self.prefetches = prefetches
        for graphql_type in self._schema.type_map.values():
            if isinstance(graphql_type, GraphQLObjectType | GraphQLInterfaceType):
                for field in graphql_type.fields.values():
                    if isinstance(graphql_type, GraphQLInterfaceType):
                        field.extensions["strawberry-definition"] = without_cost(field.extensions["strawberry-definition"])
                    for argument in field.args.values():
                        # an argument that is left out is not an argument of null
                        if argument.default_value is None:
                            argument.default_value = Undefined
            elif isinstance(graphql_type, GraphQLInputObjectType):
                # the check of graphql-core names the argument at fault; that of Strawberry does not
                graphql_type.is_one_of = graphql_type.extensions["strawberry-definition"].is_one_of

    async def entities_resolver(  # type: ignore[override]
        self, info: strawberry.Info, representations: list[FederationAny]
    ) -> list[FederationAny]:
        """Return an entity or an error for each representation."""
        limit = info.context.limits.representations
        if len(representations) > limit:
            raise LimitExceeded(
                f"representations has {len(representations)} entries. At most {limit} are allowed.", field="representations"
            )
        # started together, so that the loaders see all representations before the first statement runs
        found = await asyncio.gather(*(self._entity(info, it) for it in representations), return_exceptions=True)
        return cast(list[FederationAny], found)

    async def _entity(self, info: strawberry.Info, representation: Any) -> Any:
        """Return the entity that a representation names, or None."""
        keys = dict(representation) if isinstance(representation, dict) else {}
        type_name = keys.pop("__typename", None)
        if not isinstance(type_name, str):
            raise BadInput("representations has an entry without __typename, or with one that is not text.", field=_FIELD)
        resolve = self.references.get(type_name)
        if resolve is None:
            raise BadInput(f"{type_name[:100]!r} is not an entity type of this subgraph.", field=_FIELD)
        # other values are ignored; a key cannot replace the positional parameters of the resolver
        accepted = {name: value for name, value in keys.items() if value is None or isinstance(value, str)}
        return await resolve(info, **accepted)


_FIELD = "representations"
