"""Entries of a batch that exclude each other or a stored fact: those on which the conflict depends lose it, and no others."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from db.assets import product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.reference import AssetRef
from db.associations.reference import relationship_uid
from db.associations.relationship import RelationshipState
from db.author import Author
from db.bulk.ingest import AssetState, BatchEntry, ingest
from db.database import Database
from db.registries import entity_type, relationship_type
from db.temporal.change_log import Outcome
from db.temporal.kinds import ENTITY, PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day
from tests.builders import product_fields as given_fields

pytestmark = pytest.mark.temporal

ANN, BO, CAR, VAN, ORDERS, RETURNS = (UUID(int=number) for number in range(1, 7))
# The key of a car that only its source knows.
STUB = "42"

_ENDS = {"origin": "PERSON", "related": "CAR"}
# A person drives one car at a time, and a car has one driver.
DRIVES = relationship_type.validate_state(**_ENDS, key="drives", reverse_key="driven_by", cardinality="ONE_TO_ONE")
LIKES = relationship_type.validate_state(**_ENDS, key="likes", reverse_key="liked_by", cardinality="MANY_TO_MANY")
CARS = {"service": "fleet", "endpoint": "/cars", "lookup_field": "number"}


def entity(uid: UUID, at: float) -> AssetState:
    spec = IdentitySpec(uid, "PERSON" if uid in (ANN, BO) else "CAR")
    return AssetState(ENTITY, spec, {"display_name": "e", "details": {}}, day(at))


def product(uid: UUID, name: str, at: float) -> AssetState:
    return AssetState(PRODUCT, IdentitySpec(uid), product_fields.validate_state(given_fields(name)), day(at))


def drives(person: UUID, car: UUID | str, at: float, key: str = "drives") -> RelationshipState:
    ref = AssetRef(type="CAR", key=car) if isinstance(car, str) else AssetRef(uid=car)
    return RelationshipState(key, AssetRef(uid=person), ref, {"attributes": {}}, day(at))


def likes(person: UUID, car: UUID | str, at: float) -> RelationshipState:
    return drives(person, car, at, "likes")


def ends(uid: UUID, at: float) -> Deletion:
    return Deletion(uid, day(at))


def parks(person: UUID, car: UUID, at: float) -> Deletion:
    return Deletion(relationship_uid(DRIVES, person, car), day(at))


async def accepted(database: Database, stored: Sequence[BatchEntry], batch: Sequence[BatchEntry]) -> tuple[list[bool], int]:
    """Write entries one by one, and then a batch. Return which of its entries were accepted, and the number of statements."""
    async with database.transaction(1, Author("writer")) as connection:
        await entity_type.put(connection, "PERSON", "Person")
        await entity_type.put(connection, "CAR", "Car", source=CARS)
        await relationship_type.put_each(connection, [DRIVES, LIKES])
        for it in [*(entity(uid, -1) for uid in (ANN, BO, CAR, VAN)), *stored]:
            (outcome,) = await ingest(connection, [it])
            assert isinstance(outcome, Outcome)
        before = connection.stats.statements
        outcomes = await ingest(connection, batch)
        statements = connection.stats.statements - before
        assert (await verify_tenant(connection)).differences == []
    return [isinstance(it, Outcome) for it in outcomes], statements


CASES: dict[str, tuple[list[BatchEntry], list[BatchEntry], list[bool]]] = {
    "a relationship is stated again after its rival ended": (
        [drives(ANN, VAN, 2), parks(ANN, VAN, 5)],
        [drives(ANN, CAR, 1), drives(ANN, CAR, 5)],
        [False, True],
    ),
    "a relationship is stated twice beside its rival": (
        [drives(ANN, VAN, 2), parks(ANN, VAN, 5)],
        [drives(ANN, CAR, 1), drives(ANN, CAR, 4), drives(ANN, CAR, 6)],
        [False, False, True],
    ),
    "an end is stated again, as it was, after the conflict of the other end": (
        [drives(ANN, CAR, 0), ends(ANN, 1), drives(BO, CAR, 2), parks(BO, CAR, 3), entity(CAR, 3)],
        [entity(ANN, 2), entity(CAR, 3)],
        [False, True],
    ),
    "an end is stated, as it was, before it is restored": (
        [drives(ANN, CAR, 0), ends(ANN, 3), drives(BO, CAR, 4)],
        [entity(ANN, 2), entity(ANN, 3)],
        [True, False],
    ),
    "the ends of two relationships are restored": (
        [drives(ANN, CAR, 0), ends(ANN, 1), ends(CAR, 1), drives(BO, CAR, 2)],
        [entity(CAR, 4), entity(ANN, 3)],
        [False, True],
    ),
    "two relationships begin at one instant": ([], [drives(BO, CAR, 1), drives(ANN, CAR, 1)], [True, False]),
    "the later relationship is the first in the batch": ([], [drives(BO, CAR, 2), drives(ANN, CAR, 1)], [False, True]),
    "two relationships share a stub": ([], [drives(ANN, STUB, 3), drives(BO, STUB, 5)], [True, False]),
    "two relationships share a stub and an instant": ([], [drives(ANN, STUB, 3), drives(BO, STUB, 3)], [True, False]),
    "another relationship needs the stub of one that is rejected": (
        [drives(ANN, VAN, 4)],
        [drives(ANN, STUB, 3), likes(BO, STUB, 5)],
        [False, True],
    ),
    "a rival needs the stub of a relationship that is rejected": (
        [drives(ANN, VAN, 4)],
        [drives(ANN, STUB, 3), drives(BO, STUB, 5)],
        [False, True],
    ),
    "a product is stated again after its rival gave up the name": (
        [product(RETURNS, "sales", 2), product(RETURNS, "returns", 5)],
        [product(ORDERS, "sales", 1), product(ORDERS, "sales", 6)],
        [False, True],
    ),
    "a product is stated, as it was, before it is restored": (
        [product(ORDERS, "sales", 0), ends(ORDERS, 3), product(RETURNS, "sales", 4)],
        [product(ORDERS, "sales", 2), product(ORDERS, "sales", 3)],
        [True, False],
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_only_the_entries_on_which_a_conflict_depends_lose_it(database: Database, case: str) -> None:
    stored, batch, expected = CASES[case]
    assert (await accepted(database, stored, batch))[0] == expected


@pytest.mark.parametrize("rival_from", [0, 90])
async def test_a_fact_that_is_stated_many_times_loses_a_conflict_at_once(database: Database, rival_from: int) -> None:
    """A file may state a relationship for each day. The statements that write it do not depend on their number."""
    counts = []
    for car, days in ((CAR, 2), (UUID(int=9), 40)):
        batch = [drives(ANN, car, 1 + it) for it in range(days)]
        outcomes, statements = await accepted(database, [entity(UUID(int=9), -1), drives(ANN, VAN, rival_from)], batch)
        assert outcomes == [False] * days
        counts.append(statements)
    assert counts[0] == counts[1]
