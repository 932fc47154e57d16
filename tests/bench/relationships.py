"""The relationships of the measured database: people mentor others, maintain products and report to managers.

At any instant after the first version a person mentors three people and maintains three products, and a manager has about a
hundred reports. Their partners change over time, and so do the attributes of relationships that stay.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from db.assets.asset import Deletion
from db.associations import relationship_fields
from db.associations.association import AssetRef
from db.associations.relationship import RelationshipState, relationship_uid, upsert_each
from db.author import Author
from db.database import Database
from db.registries import relationship_type
from db.registries.relationship_type import RelationshipTypeRow
from db.temporal.change_log import raise_first_error
from db.temporal.kinds import PRODUCT
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from tests.bench.entities import entity_uid
from tests.bench.products import product_uid
from tests.bench.versions import VERSIONS, since

MENTORS = relationship_type.validate_state("mentors", "mentored-by", "PERSON", "PERSON", "MANY_TO_MANY")
MAINTAINS = relationship_type.validate_state("maintains", "maintained-by", "PERSON", PRODUCT.name, "MANY_TO_MANY")
REPORTS_TO = relationship_type.validate_state("reports-to", "manages", "PERSON", "PERSON", "MANY_TO_ONE")
_TYPES = (MENTORS, MAINTAINS, REPORTS_TO)

# At most so many people have relationships: the first ones.
_MOST_RELATED = 4_000
# Reports of each manager. Managers are the first people and have no manager.
_TEAM = 100
_BATCH = 5_000

# The versions at which a relationship changes, with the note in its attributes, or None if it is deleted.
Timeline = tuple[tuple[int, str | None], ...]
# The relationships of each mentor and each maintainer.
_TIMELINES: tuple[Timeline, ...] = (
    ((0, "stays"),),
    ((0, "begins"), (1, "grows"), (4, "shrinks")),
    ((0, "is replaced later"), (3, None)),
    ((3, "replaces"),),
    ((0, "ends early"), (1, None)),
)


class TimedRelationship(NamedTuple):
    """A relationship and its timeline."""

    type: RelationshipTypeRow
    origin: UUID
    related: UUID
    timeline: Timeline

    @property
    def uid(self) -> UUID:
        return relationship_uid(self.type, self.origin, self.related)


def relationships(entities: int, products: int) -> Iterator[TimedRelationship]:
    """Yield all relationships among so many entities and products."""
    people = min(entities, _MOST_RELATED)
    managers = max(people // _TEAM, 2)
    for number in range(people):
        person = entity_uid(number)
        for index, timeline in enumerate(_TIMELINES):
            yield TimedRelationship(MENTORS, person, entity_uid((number + 1 + index * 997) % people), timeline)
            yield TimedRelationship(MAINTAINS, person, product_uid((number * 13 + index * 101) % products), timeline)
        if number >= managers:
            yield TimedRelationship(REPORTS_TO, person, entity_uid(number % managers), ((0, "at first"), (3, None)))
            yield TimedRelationship(REPORTS_TO, person, entity_uid((number + 1) % managers), ((3, "since"),))


async def fill(address: str, owner: "asyncpg.Connection[asyncpg.Record]", relationships: Sequence[TimedRelationship]) -> None:
    """Write these relationships as the service would."""
    database = Database(address)
    try:
        async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
            raise_first_error(await relationship_type.put_each(connection, _TYPES))
        for version in range(VERSIONS):
            for start in range(0, len(relationships), _BATCH):
                states, deletions = _changes_at(version, relationships[start : start + _BATCH])
                async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
                    raise_first_error(await upsert_each(connection, states, deletions=deletions))
            # a batch into tables without statistics takes four times as long
            await owner.execute("ANALYZE")
    finally:
        await database.close()


def _changes_at(version: int, relationships: Sequence[TimedRelationship]) -> tuple[list[RelationshipState], list[Deletion]]:
    """Return the states and the deletions of these relationships at a version."""
    instant = since(version)
    states, deletions = [], []
    for relationship in relationships:
        for changed_at, note in relationship.timeline:
            if changed_at == version and note is None:
                deletions.append(Deletion(relationship.uid, instant))
            elif changed_at == version:
                payload = relationship_fields.validate_state({"attributes": {"note": note}})
                ends = AssetRef(relationship.origin), AssetRef(relationship.related)
                states.append(RelationshipState(relationship.type.code, *ends, payload, instant))
    return states, deletions
