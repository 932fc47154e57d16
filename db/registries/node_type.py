"""Types of entities as nodes of a graph show them: the label, the domain, and the details that play a role."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from db.connection import ReadConnection
from db.filters import distinct
from db.sql import statement

_NODE_TYPES = statement("registries/node_types")


class NodeType(NamedTuple):
    """The label and the domain of an entity type, and the codes of the detail types with each role, in order."""

    label: str
    domain: str | None
    roles: Mapping[str, Sequence[str]]

    def value(self, role: str, details: Mapping[str, str]) -> str | None:
        """Return the detail of an entity that plays a role: that of the first type."""
        return next((details[code] for code in self.roles.get(role, ()) if code in details), None)

    def tags(self, details: Mapping[str, str]) -> list[str]:
        """Return the tags of an entity, each once: all details with this role."""
        return distinct(details[code] for code in self.roles.get("TAG", ()) if code in details)


async def node_types(connection: ReadConnection, codes: Sequence[str]) -> list[NodeType]:
    """Find entity types that are registered, by code."""
    rows = await connection.fetch(_NODE_TYPES, {"codes": list(codes)})
    roles: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.role is not None:
            roles[row.role].append(row.code)
    types = {row.code: NodeType(row.label, row.domain, roles) for row in rows if row.role is None}
    return [types[code] for code in codes]
