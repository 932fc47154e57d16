"""The joins of the database that is measured: people mentor others, maintain products and report to managers.

At any instant after the first version a person mentors three people and maintains three products, and a manager has some hundred
reports; who and what, the history changes, as it changes what is said of joins that stay.
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

# As many people are joined with anything, at most: the first ones.
_JOINED = 4_000
# So many for each manager. Managers are the first people, and report to nobody.
_TEAM = 100
_BATCH = 5_000

# What was said of a join, from which versions on; None: it ended.
Tale = tuple[tuple[int, str | None], ...]
# Those of each mentor and each maintainer.
_TALES: tuple[Tale, ...] = (
    ((0, "stays"),),
    ((0, "begins"), (1, "grows"), (4, "shrinks")),
    ((0, "is replaced later"), (3, None)),
    ((3, "replaces"),),
    ((0, "is forgotten"), (1, None)),
)


class Join(NamedTuple):
    """A join, and its history."""

    type: RelationshipTypeRow
    origin: UUID
    related: UUID
    tale: Tale

    @property
    def uid(self) -> UUID:
        return relationship_uid(self.type, self.origin, self.related)


def joins(entities: int, products: int) -> Iterator[Join]:
    """All there are among so many entities and products."""
    joined = min(entities, _JOINED)
    managers = max(joined // _TEAM, 2)
    for number in range(joined):
        person = entity_uid(number)
        for place, tale in enumerate(_TALES):
            yield Join(MENTORS, person, entity_uid((number + 1 + place * 997) % joined), tale)
            yield Join(MAINTAINS, person, product_uid((number * 13 + place * 101) % products), tale)
        if number >= managers:
            yield Join(REPORTS_TO, person, entity_uid(number % managers), ((0, "at first"), (3, None)))
            yield Join(REPORTS_TO, person, entity_uid((number + 1) % managers), ((3, "since"),))


async def fill(address: str, owner: "asyncpg.Connection[asyncpg.Record]", every: Sequence[Join]) -> None:
    """Write these, as the service would."""
    database = Database(address)
    try:
        async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
            raise_first_error(await relationship_type.put_each(connection, _TYPES))
        for version in range(VERSIONS):
            for start in range(0, len(every), _BATCH):
                stated, ended = _said(every[start : start + _BATCH], version)
                async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
                    raise_first_error(await upsert_each(connection, stated, deletions=ended))
            # a batch into tables without statistics takes four times as long
            await owner.execute("ANALYZE")
    finally:
        await database.close()


def _said(of: Sequence[Join], version: int) -> tuple[list[RelationshipState], list[Deletion]]:
    """What a version says of joins, and which of them it ends."""
    instant = since(version)
    stated, ended = [], []
    for join in of:
        for said_in, note in join.tale:
            if said_in == version and note is None:
                ended.append(Deletion(join.uid, instant))
            elif said_in == version:
                payload = relationship_fields.validate_state({"attributes": {"note": note}})
                stated.append(RelationshipState(join.type.code, AssetRef(join.origin), AssetRef(join.related), payload, instant))
    return stated, ended
