"""Tests that verification finds rows that were tampered with while constraints were disabled."""

from uuid import UUID

import asyncpg
import pytest

from db.assets import entity, product
from db.assets.asset import IdentitySpec
from db.assets.reference import AssetRef
from db.associations import relationship
from db.author import Author
from db.database import Database
from db.registries import entity_type, relationship_type
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields

ANN, BO, CY = (UUID(int=number) for number in (1, 2, 3))

# A product is owned by Ann. Ann and Bo like Cy, and know each other.
LIKED = "type_id = (SELECT id FROM relationship_type WHERE key = 'likes')"
OWNED = "type_id = (SELECT id FROM relationship_type WHERE key = 'owned_by')"
ANN_ID = f"(SELECT id FROM asset WHERE uid = '{ANN}')"
PRODUCT = "(SELECT id FROM asset WHERE kind = 'PRODUCT')"

TAMPERED: dict[str, tuple[str, list[str]]] = {
    "an origin of another kind": (
        f"UPDATE relationship SET origin_id = {PRODUCT} WHERE {LIKED} AND origin_id = {ANN_ID};"
        f"UPDATE relationship_effective SET origin_id = {PRODUCT} WHERE {LIKED} AND origin_id = {ANN_ID}",
        ["the origin of a relationship does not match its type"],
    ),
    "a related end of another type": (
        "INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'ROBOT', '');"
        f"UPDATE asset SET type = 'ROBOT' WHERE uid = '{BO}'; UPDATE entity_key SET type = 'ROBOT' WHERE compared = 'bo'",
        ["the origin of a relationship does not match its type", "the related end of a relationship does not match its type"],
    ),
    "an identity that allows more": (
        f"UPDATE relationship SET one_related = false WHERE {OWNED}",
        ["an effective row of an association differs from its assertion or its identity",
         "the cardinality of a relationship differs from its type"],
    ),
    "an effective row that allows more": (
        f"UPDATE relationship_effective SET one_related = false WHERE {OWNED}",
        ["an effective row of an association differs from its assertion or its identity"],
    ),
    "a type that allows less": (
        "UPDATE relationship_type SET cardinality = 'MANY_TO_ONE' WHERE key = 'likes'",
        ["the cardinality of a relationship differs from its type"] * 2,
    ),
    "a second where one is allowed": (
        f"ALTER TABLE relationship_effective DROP CONSTRAINT relationship_effective_one_origin;"
        f"UPDATE relationship_type SET cardinality = 'ONE_TO_MANY' WHERE key = 'likes';"
        f"UPDATE relationship SET one_origin = true WHERE {LIKED};"
        f"UPDATE relationship_effective SET one_origin = true WHERE {LIKED}",
        ["a relationship overlaps another where its type allows one"],
    ),
    "a symmetric relationship with its ends swapped": (
        "UPDATE relationship r SET origin_id = related_id, related_id = origin_id FROM relationship_type t"
        " WHERE t.id = type_id AND t.key = 'knows';"
        "UPDATE relationship_effective r SET origin_id = related_id, related_id = origin_id FROM relationship_type t"
        " WHERE t.id = type_id AND t.key = 'knows'",
        ["the ends of a symmetric relationship are stored in the wrong order"],
    ),
    "a key that is missing": (
        "DELETE FROM relationship_key WHERE key = 'likes'",
        ["a key of a relationship type is not stored"],
    ),
    "a key of no type": (
        "INSERT INTO relationship_key SELECT 1, 'PRODUCT', 'seen_by', 'PRODUCT', id FROM relationship_type WHERE key = 'likes'",
        ["a key is stored that no relationship type has"],
    ),
    "a key of another type": (
        "UPDATE relationship_key SET type_id = (SELECT id FROM relationship_type WHERE key = 'likes') WHERE key = 'knows'",
        ["a key is stored for a relationship type that does not have it"],
    ),
    "an effective row that outlives its end": (
        f"UPDATE relationship_effective SET valid_to = '2026-02-01' WHERE {OWNED}",
        ["an effective row of an association ends at another instant than its assertion and the lifetimes of its ends imply"],
    ),
    "a version without a change": (
        "UPDATE relationship_version SET attributes = '{\"a\": 1}', digest = gen_random_uuid() WHERE relationship_id ="
        f" (SELECT id FROM relationship WHERE {OWNED})",
        ["a version differs in content from the change log",
         "an effective row of an association differs from its assertion or its identity"],
    ),
    "an entity key that is missing": (
        "DELETE FROM entity_key WHERE compared = 'bo'",
        ["the key bo of a version is missing"],
    ),
    "an entity key of no version": (
        "UPDATE entity_key SET compared = 'b' WHERE compared = 'bo'",
        ["the key b is stored, but no version has it", "the key bo of a version is missing"],
    ),
    "an entity key that ends early": (
        "UPDATE entity_key SET valid_to = '2026-02-01' WHERE compared = 'bo'",
        ["the key bo ends at another instant than in the versions"],
    ),
    "an entity key of another type": (
        "UPDATE entity_key SET type = 'ROBOT' WHERE compared = 'bo'",
        ["the key bo is stored with another type than that of the entity"],
    ),
}  # fmt: skip


@pytest.fixture
async def related(database: Database) -> Database:
    async with database.transaction(1, Author("setup")) as connection:
        await entity_type.put(connection, "PERSON", "Person")
        for uid, key in ((ANN, "ann"), (BO, "bo"), (CY, "cy")):
            await entity.create(connection, IdentitySpec(uid, "PERSON", key), key, {}, at=day(0))
        await product.register(connection, product_fields(), at=day(0))
        for key, reverse_key, origin, related, cardinality in (
            ("owned_by", "owns", "PRODUCT", "PERSON", "MANY_TO_ONE"),
            ("likes", "liked_by", "PERSON", "ENTITY", "MANY_TO_MANY"),
            ("knows", "knows", "PERSON", "PERSON", "MANY_TO_MANY"),
        ):
            await relationship_type.put(
                connection, key=key, reverse_key=reverse_key, origin=origin, related=related, cardinality=cardinality
            )
        for type_, origin_end, related_end in (
            ("owned_by", AssetRef(product="orders"), AssetRef(uid=ANN)),
            ("likes", AssetRef(uid=ANN), AssetRef(uid=CY)),
            ("likes", AssetRef(uid=BO), AssetRef(uid=CY)),
            ("knows", AssetRef(uid=ANN), AssetRef(uid=BO)),
        ):
            stated = relationship.RelationshipState(type_, origin_end, related_end, {"attributes": {}}, day(1))
            await relationship.relate(connection, stated)
    return database


async def differences(database: Database) -> list[str]:
    async with database.snapshot(1) as connection:
        return sorted(it.partition(": ")[2] for it in (await verify_tenant(connection)).differences)


@pytest.mark.parametrize("case", TAMPERED)
async def test_tampered_rows_are_found(related: Database, address: str, case: str) -> None:
    assert await differences(related) == []
    tampering, expected = TAMPERED[case]
    owner = await asyncpg.connect(address)
    await owner.execute(f"SET session_replication_role = replica; {tampering}")
    await owner.close()
    assert await differences(related) == expected
