"""Apollo Federation: the schema as a subgraph, and the entities that representations name."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import strawberry
from graphql import GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, Undefined
from strawberry.federation import Schema
from strawberry.federation.schema import FederationAny
from strawberry.federation.schema_directives import Tag
from strawberry.types.base import get_object_definition

from db.errors import BadInput
from schema.language.cost import without_cost
from schema.language.fields import scope_of
from schema.language.limits import check_entries
from schema.language.scopes import ADMIN, DOMAIN, READ, WRITE, Scope
from schema.planning.plan import ObjectPlan

# Tags of the root fields, by the scope that they require. All subgraphs of a gateway share the names of tags.
_TAGS: dict[Scope | None, Tag] = {
    scope: Tag(name=f"headwater/{tag}") for scope, tag in {READ: "read", DOMAIN: "write", WRITE: "write", ADMIN: "admin"}.items()
}

Root = TypeVar("Root", bound=type)
# A value of a representation that is neither text nor null is ignored.
Representation = Mapping[str, Any]
# Takes the info object, representations of one type, and true if there are no others. Returns an entity, None or an error for
# each.
FindReferences = Callable[[Any, Sequence[Representation], bool], Awaitable[Sequence[Any]]]


def tagged(root: Root) -> Root:
    """Tag the fields of a root type, so that a gateway can compose a graph without writes or without administration."""
    for declared in get_object_definition(root, strict=True).fields:
        if (tag := _TAGS.get(scope_of(declared))) is not None:
            declared.directives = [*declared.directives, tag]
    return root


class SubgraphSchema(Schema):
    """Federated schema that resolves each representation independently: a bad one does not null the others.

    `references` holds, for each type with keys, the function that finds the entities of representations, each or the error of
    its representation. `prefetches` are those of the planner.
    """

    def __init__(
        self,
        *,
        references: Mapping[str, FindReferences],
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
        check_entries("representations", representations, info.context.limits.representations)
        found: list[Any] = [None] * len(representations)
        indexes: defaultdict[str, list[int]] = defaultdict(list)
        for index, representation in enumerate(representations):
            type_name = representation.get("__typename") if isinstance(representation, dict) else None
            if isinstance(type_name, str) and type_name in self.references:
                indexes[type_name].append(index)
            else:
                found[index] = _type_error(type_name)
        # started together, so that the loaders see all representations before the first statement runs
        by_type = await asyncio.gather(
            *(
                self.references[name](info, [cast(Representation, representations[it]) for it in group], len(indexes) == 1)
                for name, group in indexes.items()
            ),
            return_exceptions=True,
        )
        for group, entities in zip(indexes.values(), by_type, strict=True):
            for number, index in enumerate(group):
                found[index] = entities if isinstance(entities, BaseException) else entities[number]
        return cast(list[FederationAny], found)


def _type_error(type_name: Any) -> BadInput:
    """Return the error of a representation whose type name is missing or unknown."""
    if isinstance(type_name, str):
        return BadInput(f"{type_name[:100]!r} is not an entity type of this subgraph.", field=_FIELD)
    return BadInput("representations has an entry without __typename, or with one that is not text.", field=_FIELD)


_FIELD = "representations"
