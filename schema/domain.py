"""Domains: the parts of an organisation that own data."""

import strawberry

from schema.scope import READ, field


@strawberry.type(description="A part of the organisation that owns data.")
class Domain:
    name: str = field(READ, "Its name, unique.")
