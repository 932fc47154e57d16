"""Relationships through GraphQL: types, writes, reads from either end at any instant, removal, refusals."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from db.assets import asset, node
from db.author import Author
from db.connection import ReadConnection
from db.database import Database
from db.temporal.kinds import ENTITY
from db.temporal.verification import verify_tenant
from schema import lazy
from tests.builders import (
    CREATE_ENTITY,
    DELETE,
    DELETE_ENTITY,
    PUT_RELATIONSHIP_TYPE,
    RELATE,
    REMOVE_RELATIONSHIP_TYPE,
    RESTORE_ENTITY,
    UNRELATE,
    Api,
    day,
    iso,
)

pytestmark = pytest.mark.api

MICROSECOND = timedelta(microseconds=1)

ORDERS, SALES = {"product": "orders"}, {"product": "sales"}
ANN, BO = {"entity": {"type": "PERSON", "key": "1"}}, {"entity": {"type": "PERSON", "key": "2"}}

RELATED = """
  query ($name: String!, $key: String!, $asOf: DateTime, $first: Int, $after: String, $last: Int, $before: String) {
    product(name: $name, asOf: $asOf) {
      related(key: $key, first: $first, after: $after, last: $last, before: $before) {
        totalCount nodes { id label } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }
  }
"""
RELATIONSHIPS = """
  query ($filter: RelationshipFilter, $first: Int, $after: String, $last: Int, $asOf: DateTime) {
    relationships(filter: $filter, first: $first, after: $after, last: $last, asOf: $asOf) {
      totalCount pageInfo { hasNextPage endCursor }
      nodes { id uid type { key } origin { label } related { label } attributes validFrom validTo }
    }
  }
"""
OF_PERSON = """
  query ($key: String!, $types: [String!], $direction: RelationshipDirection! = BOTH, $asOf: DateTime) {
    entity(ref: { key: {type: "PERSON", key: $key} }, asOf: $asOf) {
      relationships(types: $types, direction: $direction) { totalCount nodes { type { key } origin { label } related { label } } }
    }
  }
"""

OF_ANN = """
  query ($asOf: DateTime) {
    entity(ref: { key: {type: "PERSON", key: "1"} }, asOf: $asOf) { related(key: "stewardOf") { nodes { label } } }
  }
"""


@pytest.fixture
async def shop(api: Api) -> Api:
    """Two products and two people."""
    await api.put_types()
    await api.lineage("orders", "sales")
    await api.create("Ann", key="1")
    await api.create("Bo", key="2")
    return api


async def related(api: Api, name: str, key: str, **arguments: Any) -> list[str]:
    found = (await api(RELATED, name=name, key=key, **arguments)).data["product"]["related"]
    if not {"first", "last"} & arguments.keys():
        assert found["totalCount"] == len(found["nodes"])
    return [it["label"] for it in found["nodes"]]


async def list_relationships(api: Api, **arguments: Any) -> list[str]:
    found = (await api(RELATIONSHIPS, **arguments)).data["relationships"]
    return [f"{it['origin']['label']} {it['type']['key']} {it['related']['label']}" for it in found["nodes"]]


async def clean(database: Database) -> None:
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_a_type_is_registered_and_listed(shop: Api) -> None:
    given = {"onDelete": "RESTRICT", "cardinality": "MANY_TO_ONE", "foreignKeyField": "steward_id"}
    put = await shop.put_relationship_type(**given)
    assert put == {
        "code": "PRODUCT steward PERSON",
        "key": "steward",
        "reverseKey": "stewardOf",
        "origin": "PRODUCT",
        "related": "PERSON",
        **given,
    }
    again = await shop.put_relationship_type(cardinality="MANY_TO_ONE")
    assert (again["onDelete"], again["foreignKeyField"]) == ("CLOSE", None), "omitted fields take their defaults"
    await shop.put_relationship_type(related="TABLE")
    listed = (await shop("{ relationshipTypes { nodes { code } } }")).data["relationshipTypes"]["nodes"]
    assert [it["code"] for it in listed] == ["PRODUCT steward PERSON", "PRODUCT steward TABLE"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"origin": "UNKNOWN"}, ("BAD_INPUT", "origin")),
        ({"related": "UNKNOWN"}, ("BAD_INPUT", "related")),
        ({"key": "two words"}, ("BAD_INPUT", "key")),
        ({"reverseKey": ""}, ("BAD_INPUT", "reverseKey")),
        ({"cardinality": "SOME"}, ("BAD_INPUT", "cardinality")),
        ({"onDelete": "SET_NULL"}, ("BAD_INPUT", "onDelete")),
        ({"foreignKeyField": "\0"}, ("BAD_INPUT", "foreignKeyField")),
        ({"origin": "PERSON", "reverseKey": "knows", "key": "knows", "cardinality": "ONE_TO_ONE"}, ("BAD_INPUT", "cardinality")),
        # the reverse key of the first type, and its key
        ({"origin": "PERSON", "related": "PRODUCT", "key": "stewardOf", "reverseKey": "x"}, ("CONFLICT", "key")),
        ({"origin": "PERSON", "related": "PRODUCT", "key": "x", "reverseKey": "steward"}, ("CONFLICT", "reverseKey")),
        ({"key": "owner", "reverseKey": "stewardOf"}, ("CONFLICT", "reverseKey")),
    ],
)
async def test_an_invalid_type_is_refused_and_nothing_is_written(
    shop: Api, given: dict[str, Any], fault: tuple[str, str]
) -> None:
    before = await shop.put_relationship_type()
    put = {"key": "k", "reverseKey": "r", "origin": "PRODUCT", "related": "PERSON", "cardinality": "MANY_TO_MANY", **given}
    assert (await shop(PUT_RELATIONSHIP_TYPE, input=put)).code_and_field == fault
    assert (await shop("{ relationshipTypes { nodes { code } } }")).data["relationshipTypes"]["nodes"] == [
        {"code": before["code"]}
    ]


async def test_an_asset_kind_cannot_be_the_code_of_a_type(api: Api) -> None:
    put = 'mutation { putEntityType(input: { code: "PRODUCT", label: "x" }) { entityType { code } } }'
    assert (await api(put)).code_and_field == ("BAD_INPUT", "code")


async def test_a_type_in_use_cannot_be_removed(shop: Api) -> None:
    await shop.put_relationship_type()
    relationship = (await shop.relate("steward", ORDERS, ANN)).data["relate"]["relationship"]
    assert (await shop(REMOVE_RELATIONSHIP_TYPE, input={"code": "steward"})).code_and_field == ("CONFLICT", "code")
    assert (await shop(UNRELATE, input={"relationship": {"uid": relationship["uid"]}})).data
    assert (await shop(REMOVE_RELATIONSHIP_TYPE, input={"code": "steward"})).code_and_field == ("CONFLICT", "code")
    remove = 'mutation { removeEntityType(input: { code: "TABLE" }) { code } }'
    await shop.put_relationship_type("home", related="TABLE")
    assert (await shop(remove)).code_and_field == ("CONFLICT", "code")
    assert (await shop(REMOVE_RELATIONSHIP_TYPE, input={"code": "home"})).data
    assert (await shop(remove)).data
    assert (await shop(REMOVE_RELATIONSHIP_TYPE, input={"code": "home"})).code_and_field == ("NOT_FOUND", "code")


async def test_a_key_of_several_types_is_ambiguous(shop: Api) -> None:
    await shop.put_relationship_type()
    await shop.put_relationship_type(related="TABLE")
    assert (await shop(REMOVE_RELATIONSHIP_TYPE, input={"code": "steward"})).code_and_field == ("CONFLICT", "code")
    assert (await shop(REMOVE_RELATIONSHIP_TYPE, input={"code": "PRODUCT steward TABLE"})).data
    # the ends may identify the type
    await shop.put_relationship_type(related="TABLE")
    assert (await shop.relate("steward", ORDERS, ANN)).data
    await shop.put_relationship_type(related="ENTITY")
    assert (await shop.relate("steward", ORDERS, BO)).code_and_field == ("BAD_INPUT", "type")
    assert (await shop.relate("PRODUCT steward ENTITY", ORDERS, BO)).data
    assert await related(shop, "orders", "steward") == ["Ann", "Bo"]


async def test_a_relationship_is_read_from_either_end_at_any_instant(shop: Api) -> None:
    await shop.put_relationship_type()
    relationship = (await shop.relate("steward", ORDERS, ANN, at=day(2), attributes={"since": "spring"})).data["relate"]
    assert relationship["changed"]
    assert relationship["relationship"]["attributes"] == {"since": "spring"}
    uid = relationship["relationship"]["uid"]
    assert (await shop(UNRELATE, input={"relationship": {"uid": uid}, "at": iso(day(5))})).data["unrelate"] == {
        "uid": uid,
        "changed": True,
    }
    for instant, names in (
        (day(2) - MICROSECOND, []),
        (day(2), ["Ann"]),
        (day(5) - MICROSECOND, ["Ann"]),
        (day(5), []),
        (day(9), []),
    ):
        assert await related(shop, "orders", "steward", asOf=iso(instant)) == names
        found = (await shop(OF_ANN, asOf=iso(instant))).data["entity"]["related"]["nodes"]
        assert [it["label"] for it in found] == ["orders" for _ in names]
    assert await related(shop, "orders", "stewardOf", asOf=iso(day(3))) == [], "the reverse key applies at the other end"
    then = (
        await shop(
            "query ($id: ID!) { node(id: $id) { ... on Relationship { id validTo related { id } } } }",
            id=relationship["relationship"]["id"],
        )
    ).data
    assert then["node"]["id"] == relationship["relationship"]["id"]
    assert then["node"]["validTo"] == iso(day(5))
    assert then["node"]["related"]["id"].endswith(f"@{iso(day(2))}"), "nested fields inherit the instant"
    assert (await shop("query ($id: ID!) { node(id: $id) { id } }", id=f"Relationship:{uid}")).data == {"node": None}
    # created again, it is the same relationship
    assert (await shop.relate("steward", ORDERS, ANN, at=day(7))).data["relate"]["relationship"]["uid"] == uid
    await clean(shop.database)


async def test_a_nested_field_may_be_read_at_another_instant(shop: Api) -> None:
    await shop.put_relationship_type()
    await shop.relate("steward", ORDERS, ANN, at=day(2))
    await shop.update("orders", name="old orders", at=day(4))
    query = """
      query ($then: DateTime) { product(name: "old orders") {
        related(key: "steward", asOf: $then) { nodes { id asOf related(key: "stewardOf") { nodes { label } } } }
        relationships(asOf: $then) { nodes { id origin { label } } }
      } }
    """
    found = (await shop(query, then=iso(day(3)))).data["product"]
    assert found["related"]["nodes"][0]["asOf"] == iso(day(3))
    assert found["related"]["nodes"][0]["related"]["nodes"] == [{"label": "orders"}]
    assert found["relationships"]["nodes"][0]["origin"] == {"label": "orders"}, "its name at that instant"
    none = (await shop(query, then=iso(day(1)))).data["product"]
    assert none == {"related": {"nodes": []}, "relationships": {"nodes": []}}


async def test_relating_the_same_pair_again_changes_nothing(shop: Api) -> None:
    await shop.put_relationship_type(cardinality="ONE_TO_ONE")
    first = (await shop.relate("steward", ORDERS, ANN)).data["relate"]["relationship"]
    again = (await shop.relate("steward", ORDERS, ANN, at=day(3))).data["relate"]
    assert not again["changed"]
    assert (again["relationship"]["uid"], again["relationship"]["validFrom"]) == (first["uid"], iso(day(0)))
    other = (await shop.relate("steward", ORDERS, ANN, at=day(4), attributes={"a": 1})).data["relate"]
    assert other["changed"]
    (one,) = (await shop(RELATIONSHIPS)).data["relationships"]["nodes"]
    assert (one["attributes"], one["validFrom"]) == ({"a": 1}, iso(day(4)))


@pytest.mark.parametrize(
    ("cardinality", "second_related", "second_origin"),
    [
        ("ONE_TO_ONE", False, False),
        ("ONE_TO_MANY", True, False),
        ("MANY_TO_ONE", False, True),
        ("MANY_TO_MANY", True, True),
    ],
)
async def test_cardinality_is_enforced_at_every_instant(
    shop: Api, cardinality: str, second_related: bool, second_origin: bool
) -> None:
    await shop.put_relationship_type(cardinality=cardinality)
    relationship = (await shop.relate("steward", ORDERS, ANN, at=day(5))).data["relate"]["relationship"]
    assert (await shop(UNRELATE, input={"relationship": {"uid": relationship["uid"]}, "at": iso(day(8))})).data
    for origin, other, allowed in ((ORDERS, BO, second_related), (SALES, ANN, second_origin)):
        # overlapping its start, within it, and after its end, where another is allowed
        for at, free in ((day(3), allowed), (day(6), allowed), (day(8), True)):
            answer = await shop.relate("steward", origin, other, at=at)
            if free:
                assert (
                    await shop(
                        UNRELATE, input={"relationship": {"uid": answer.data["relate"]["relationship"]["uid"]}, "at": iso(at)}
                    )
                ).data
            else:
                assert answer.code_and_field == ("CONFLICT", "related")
                assert "Ann" in answer.error["message"]
                assert relationship["uid"] in answer.error["message"]
    assert await list_relationships(shop, asOf=iso(day(6))) == ["orders steward Ann"]
    await clean(shop.database)


async def test_a_relationship_that_is_removed_in_the_same_request_allows_another(shop: Api) -> None:
    await shop.put_relationship_type(cardinality="MANY_TO_ONE")
    relationship = (await shop.relate("steward", ORDERS, ANN)).data["relate"]["relationship"]
    swap = """
      mutation ($end: UnrelateInput!, $other: RelateInput!) {
        unrelate(input: $end) { changed } relate(input: $other) { changed }
      }
    """
    at = iso(day(4))
    other = {"type": "steward", "origin": ORDERS, "related": BO, "at": at}
    assert (await shop(swap, end={"relationship": {"uid": relationship["uid"]}, "at": at}, other=other)).data["relate"] == {
        "changed": True
    }
    assert await related(shop, "orders", "steward") == ["Bo"]


async def test_a_stricter_cardinality_requires_relationships_that_fit(shop: Api) -> None:
    await shop.put_relationship_type()
    first = (await shop.relate("steward", ORDERS, ANN, at=day(1))).data["relate"]["relationship"]
    await shop.relate("steward", ORDERS, BO, at=day(3))
    put = {"key": "steward", "reverseKey": "stewardOf", "origin": "PRODUCT", "related": "PERSON", "cardinality": "MANY_TO_ONE"}
    assert (await shop(PUT_RELATIONSHIP_TYPE, input=put)).code_and_field == ("CONFLICT", "cardinality")
    assert (await shop("{ relationshipTypes { nodes { cardinality } } }")).data["relationshipTypes"]["nodes"] == [
        {"cardinality": "MANY_TO_MANY"}
    ]
    # history counts: a removal from now on is too late, one from before the other began is not
    assert (await shop(UNRELATE, input={"relationship": {"uid": first["uid"]}})).data
    assert (await shop(PUT_RELATIONSHIP_TYPE, input=put)).code_and_field == ("CONFLICT", "cardinality")
    assert (await shop(UNRELATE, input={"relationship": {"uid": first["uid"]}, "at": iso(day(3))})).data
    assert (await shop(PUT_RELATIONSHIP_TYPE, input=put)).data
    assert (await shop.relate("steward", ORDERS, ANN, at=day(9))).code_and_field == ("CONFLICT", "related")
    assert (await shop.put_relationship_type())["cardinality"] == "MANY_TO_MANY"
    assert (await shop.relate("steward", ORDERS, ANN, at=day(9))).data
    await clean(shop.database)


@pytest.mark.parametrize("end", ["origin", "related"])
async def test_a_relationship_ends_and_returns_with_either_end(shop: Api, end: str) -> None:
    await shop.put_relationship_type()
    uids = {"origin": await uid_of(shop, ORDERS), "related": await uid_of(shop, ANN)}
    await shop.relate("steward", ORDERS, ANN, at=day(1))
    delete, named = (DELETE, "product") if end == "origin" else (DELETE_ENTITY, "entity")
    assert (await shop(delete, input={named: {"uid": uids[end]}, "at": iso(day(4))})).data
    assert await list_relationships(shop) == []
    assert await list_relationships(shop, asOf=iso(day(3))) == ["orders steward Ann"]
    await clean(shop.database)


async def test_restoring_an_end_fails_if_another_relationship_took_its_place(shop: Api) -> None:
    await shop.put_relationship_type(cardinality="MANY_TO_ONE")
    ann = await uid_of(shop, ANN)
    await shop.relate("steward", ORDERS, ANN, at=day(1))
    assert (await shop(DELETE_ENTITY, input={"entity": {"uid": ann}, "at": iso(day(4))})).data
    bo = (await shop.relate("steward", ORDERS, BO, at=day(5))).data["relate"]["relationship"]
    answer = await shop(RESTORE_ENTITY, input={"entity": {"uid": ann}, "at": iso(day(6))})
    assert answer.code_and_field == ("CONFLICT", "entity")
    assert "Bo" in answer.error["message"]
    assert (await shop(UNRELATE, input={"relationship": {"uid": bo["uid"]}, "at": iso(day(6))})).data
    assert (await shop(RESTORE_ENTITY, input={"entity": {"uid": ann}, "at": iso(day(6))})).data
    assert await related(shop, "orders", "steward") == ["Ann"]
    assert await related(shop, "orders", "steward", asOf=iso(day(5))) == ["Bo"]
    await clean(shop.database)


@pytest.mark.parametrize("end", ["origin", "related"])
async def test_restrict_refuses_the_deletion_of_either_end(shop: Api, end: str) -> None:
    await shop.put_relationship_type(onDelete="RESTRICT")
    uid = await uid_of(shop, ORDERS if end == "origin" else ANN)
    relationship = (await shop.relate("steward", ORDERS, ANN, at=day(2))).data["relate"]["relationship"]
    delete, named = (DELETE, "product") if end == "origin" else (DELETE_ENTITY, "entity")
    # also if the relationship begins later
    for at in (day(5), day(2), day(1)):
        answer = await shop(delete, input={named: {"uid": uid}, "at": iso(at)})
        assert answer.code_and_field == ("CONFLICT", named)
        assert relationship["uid"] in answer.error["message"]
    assert await list_relationships(shop) == ["orders steward Ann"]
    assert (await shop(UNRELATE, input={"relationship": {"uid": relationship["uid"]}, "at": iso(day(4))})).data
    assert (await shop(delete, input={named: {"uid": uid}, "at": iso(day(3))})).code_and_field == ("CONFLICT", named)
    assert (await shop(delete, input={named: {"uid": uid}, "at": iso(day(4))})).data
    await clean(shop.database)


@pytest.mark.parametrize("end", ["origin", "related"])
async def test_cascade_deletes_the_other_end(shop: Api, end: str) -> None:
    """It cascades from either end, over several levels and cycles. Assets that are not related at the instant stay."""
    await shop.put_relationship_type(onDelete="CASCADE")
    await shop.put_relationship_type("friend", origin="PERSON", reverseKey="friendOf", onDelete="CASCADE")
    await shop.create("Cy", key="3")
    await shop.create("Di", key="4")
    cy, di = {"entity": {"type": "PERSON", "key": "3"}}, {"entity": {"type": "PERSON", "key": "4"}}
    await shop.relate("steward", ORDERS, ANN, at=day(1))
    await shop.relate("friend", ANN, BO, at=day(1))
    await shop.relate("friend", BO, cy, at=day(1))
    await shop.relate("friend", cy, ANN, at=day(1))
    await shop.relate("friend", cy, di, at=day(9))
    uid = await uid_of(shop, ORDERS if end == "origin" else ANN)
    delete, named = (DELETE, "product") if end == "origin" else (DELETE_ENTITY, "entity")
    assert (await shop(delete, input={named: {"uid": uid}, "at": iso(day(5))})).data
    alive = "query ($asOf: DateTime) { products(asOf: $asOf) { nodes { label } } entities(asOf: $asOf) { nodes { label } } }"
    for at, names in ((day(5) - MICROSECOND, {"orders", "sales", "Ann", "Bo", "Cy", "Di"}), (day(5), {"sales", "Di"})):
        found = (await shop(alive, asOf=iso(at))).data
        assert {it["label"] for part in found.values() for it in part["nodes"]} == names
    await clean(shop.database)


async def test_restrict_stops_a_cascade(shop: Api) -> None:
    await shop.put_relationship_type(onDelete="CASCADE")
    await shop.put_relationship_type("boss", origin="PERSON", reverseKey="staff", onDelete="RESTRICT")
    await shop.relate("steward", ORDERS, ANN)
    await shop.relate("boss", ANN, BO)
    answer = await shop(DELETE, input={"product": {"uid": await uid_of(shop, ORDERS)}, "at": iso(day(3))})
    assert answer.code_and_field == ("CONFLICT", "product")
    assert await list_relationships(shop) == ["orders steward Ann", "Ann boss Bo"], "nothing is written"


@pytest.mark.parametrize(
    ("type_", "origin", "other", "fault"),
    [
        ("steward", ANN, ORDERS, ("BAD_INPUT", "origin")),
        ("steward", ORDERS, SALES, ("BAD_INPUT", "related")),
        ("steward", {"entity": {"type": "PERSON", "key": "9"}}, ANN, ("BAD_INPUT", "origin")),
        ("steward", ORDERS, {"product": "unknown"}, ("BAD_INPUT", "related")),
        ("unknown", ORDERS, ANN, ("BAD_INPUT", "type")),
        ("stewardOf", ANN, ORDERS, ("BAD_INPUT", "type")),
        ("steward", {"product": "unknown"}, ANN, ("NOT_FOUND", "origin")),
        ("steward", ORDERS, {"uid": str(uuid4())}, ("NOT_FOUND", "related")),
        ("steward", ORDERS, {"entity": {"type": "PERSON", "key": "9"}}, ("NOT_FOUND", "related")),
        ("steward", ORDERS, {**ANN, "uid": str(uuid4())}, ("BAD_INPUT", "related")),
        ("knows", ANN, ANN, ("BAD_INPUT", "related")),
        ("steward", {"product": "gone"}, ANN, ("NOT_FOUND", "origin")),
        ("\0", ORDERS, ANN, ("BAD_INPUT", "type")),
    ],
)
async def test_an_invalid_relationship_is_refused_and_nothing_is_written(
    shop: Api, type_: str, origin: dict[str, Any], other: dict[str, Any], fault: tuple[str, str]
) -> None:
    await shop.put_relationship_type()
    await shop.put_relationship_type("knows", origin="PERSON", reverseKey="knows")
    await shop.register("gone")
    assert (await shop(DELETE, input={"product": {"uid": await uid_of(shop, {"product": "gone"})}, "at": iso(day(1))})).data
    assert (await shop.relate(type_, origin, other, at=day(2))).code_and_field == fault
    assert await list_relationships(shop) == []
    await clean(shop.database)


@pytest.mark.parametrize("attributes", [[1], "x", {"a": "\0"}, 7])
async def test_attributes_are_a_json_object(shop: Api, attributes: Any) -> None:
    await shop.put_relationship_type()
    assert (await shop.relate("steward", ORDERS, ANN, attributes=attributes)).code_and_field == ("BAD_INPUT", "attributes")


async def test_an_unknown_key_is_refused_with_the_known_ones(shop: Api) -> None:
    await shop.put_relationship_type()
    assert (await shop(RELATED, name="orders", key="stewrad")).code_and_field == ("BAD_INPUT", "key")
    assert (await shop(RELATIONSHIPS, filter={"types": ["stewrad"]})).code_and_field == ("BAD_INPUT", "types")
    assert (await shop(OF_PERSON, key="1", types=["stewrad"])).code_and_field == ("BAD_INPUT", "types")


async def test_a_symmetric_relationship_is_one_whichever_end_comes_first(shop: Api) -> None:
    await shop.put_relationship_type("knows", origin="PERSON", reverseKey="knows")
    first = (await shop.relate("knows", ANN, BO)).data["relate"]
    again = (await shop.relate("knows", BO, ANN, at=day(1))).data["relate"]
    assert (first["changed"], again["changed"]) == (True, False)
    assert first["relationship"]["uid"] == again["relationship"]["uid"]
    for key in ("1", "2"):
        for direction in ("FORWARD", "REVERSE", "BOTH"):
            found = (await shop(OF_PERSON, key=key, direction=direction)).data["entity"]["relationships"]
            assert found["totalCount"] == len(found["nodes"]) == 1
    for key, other in (("1", "Bo"), ("2", "Ann")):
        query = """
          query ($key: String!) {
            entity(ref: { key: {type: "PERSON", key: $key} }) { related(key: "knows") { nodes { label } } }
          }
        """
        assert (await shop(query, key=key)).data["entity"]["related"]["nodes"] == [{"label": other}]


async def test_relationships_of_an_asset_are_filtered_by_type_and_direction(shop: Api) -> None:
    await shop.put_relationship_type()
    await shop.put_relationship_type("boss", origin="PERSON", reverseKey="staff")
    await shop.relate("steward", ORDERS, ANN, at=day(1))
    await shop.relate("boss", BO, ANN, at=day(1))
    await shop.relate("boss", ANN, BO, at=day(4))

    async def relationships_of_ann(**arguments: Any) -> list[str]:
        found = (await shop(OF_PERSON, key="1", **arguments)).data["entity"]["relationships"]
        assert found["totalCount"] == len(found["nodes"])
        return sorted(f"{it['origin']['label']} {it['type']['key']} {it['related']['label']}" for it in found["nodes"])

    assert await relationships_of_ann() == ["Ann boss Bo", "Bo boss Ann", "orders steward Ann"]
    assert await relationships_of_ann(direction="FORWARD") == ["Ann boss Bo"]
    assert await relationships_of_ann(direction="REVERSE") == ["Bo boss Ann", "orders steward Ann"]
    assert await relationships_of_ann(types=["boss"], direction="REVERSE") == ["Bo boss Ann"]
    assert await relationships_of_ann(types=["PRODUCT steward PERSON"]) == ["orders steward Ann"]
    assert await relationships_of_ann(types=[]) == []
    assert await relationships_of_ann(asOf=iso(day(3))) == ["Bo boss Ann", "orders steward Ann"]


async def test_lists_are_filtered_and_paged(shop: Api) -> None:
    await shop.put_relationship_type()
    for number in range(5):
        await shop.create(f"P{number}", key=f"1{number}")
        await shop.relate("steward", ORDERS, {"entity": {"type": "PERSON", "key": f"1{number}"}})
    await shop.relate("steward", SALES, ANN)
    assert await list_relationships(shop, filter={"origin": {"uid": await uid_of(shop, SALES)}}) == ["sales steward Ann"]
    assert await list_relationships(shop, filter={"related": ANN, "types": ["steward"]}) == ["sales steward Ann"]
    assert await list_relationships(shop, filter={"types": []}) == []
    assert (await shop(RELATIONSHIPS, filter={"origin": {"product": "none"}})).code_and_field == ("NOT_FOUND", "origin")
    whole = await related(shop, "orders", "steward")
    assert whole == [f"P{number}" for number in range(5)]
    paged, after = [], None
    while True:
        page = (await shop(RELATED, name="orders", key="steward", first=2, after=after)).data["product"]["related"]
        assert page["totalCount"] == 5
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        paged += [it["label"] for it in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert paged == whole
    back = (await shop(RELATED, name="orders", key="steward", last=2, before=after)).data["product"]["related"]
    assert [it["label"] for it in back["nodes"]] == whole[2:4]
    assert (await shop(RELATED, name="sales", key="steward", after=after)).code_and_field == ("BAD_INPUT", "after")
    everything: list[dict[str, Any]] = []
    after = None
    while len(everything) < 6:
        found = (await shop(RELATIONSHIPS, first=4, after=after)).data["relationships"]
        assert found["totalCount"] == 6
        everything += found["nodes"]
        after = found["pageInfo"]["endCursor"]
    assert len({it["uid"] for it in everything}) == 6


async def test_the_number_of_statements_of_a_level_does_not_depend_on_its_size(shop: Api) -> None:
    """Products, their stewards, whom these know, and the upstream of the products: a constant number of statements a level."""
    await shop.put_relationship_type()
    await shop.put_relationship_type("knows", origin="PERSON", reverseKey="knows")
    query = """
      query ($asOf: DateTime) { products(asOf: $asOf) { nodes {
        label
        related(key: "steward") { nodes {
          label
          related(key: "knows") { nodes { label ... on Entity { details { value } } } }
          relationships { nodes { type { key } related { label } } }
          downstream { nodes { label } }
        } }
        upstream { nodes { label related(key: "steward") { nodes { label } } } }
      } } }
    """
    counts = []
    for size in (2, 7):
        for number in range(size):
            name = f"p{size}{number}"
            await shop.register(name)
            await shop.link("orders", name)
            await shop.create(f"S {name}", key=f"{size}0{number}", details={"note": name})
            steward = {"entity": {"type": "PERSON", "key": f"{size}0{number}"}}
            await shop.relate("steward", {"product": name}, steward)
            await shop.relate("knows", ANN, steward)
        await shop.relate("steward", ORDERS, ANN)
        for as_of in (None, iso(day(0))):
            shop.statements.clear()
            found = (await shop.execute_without_cost_limit(query, asOf=as_of))["products"]["nodes"]
            counts.append(len(shop.statements))
        by_name = {it["label"]: it for it in found}
        (steward,) = by_name[f"p{size}0"]["related"]["nodes"]
        assert steward["related"]["nodes"] == [{"label": "Ann", "details": []}]
        assert by_name[f"p{size}0"]["upstream"]["nodes"][0]["related"]["nodes"] == [{"label": "Ann"}]
    # products; types; stewards, with their assets; whom they know, with assets and details; relationships, with ends; two walks
    # with their assets; stewards of the upstream assets, with their assets
    assert len(set(counts)) == 1
    assert counts[0] <= 16


async def test_a_cursor_stays_valid_when_types_are_added(shop: Api) -> None:
    await shop.put_relationship_type()
    await shop.relate("steward", ORDERS, ANN)
    await shop.relate("steward", ORDERS, BO)
    query = """
      query ($after: String, $first: Int) { product(name: "orders") {
        related(key: "steward", first: $first, after: $after) { nodes { label } pageInfo { endCursor } }
        relationships(first: $first, after: $after) { nodes { related { label } } pageInfo { endCursor } }
      } }
    """
    first = (await shop(query, first=1)).data["product"]
    await shop.put_relationship_type("steward", related="TABLE")
    for part, names in (("related", [{"label": "Bo"}]), ("relationships", [{"related": {"label": "Bo"}}])):
        only = query.replace("relationships(" if part == "related" else 'related(key: "steward",', f"__{part}(")
        only = "\n".join(line for line in only.splitlines() if "__" not in line)
        found = (await shop(only, after=first[part]["pageInfo"]["endCursor"], first=5)).data["product"]
        assert found[part]["nodes"] == names


async def test_a_code_selects_one_of_several_types_with_the_same_key(shop: Api) -> None:
    await shop.put_relationship_type()
    await shop.put_relationship_type(related="ENTITY")
    await shop.relate("PRODUCT steward PERSON", ORDERS, ANN)
    await shop.relate("PRODUCT steward ENTITY", ORDERS, BO)
    assert await related(shop, "orders", "steward") == ["Ann", "Bo"]
    assert await related(shop, "orders", "PRODUCT steward ENTITY") == ["Bo"]
    query = 'query ($key: String!) { entity(ref: { key: {type: "PERSON", key: "2"} }) { related(key: $key) { totalCount } } }'
    for key, count in (("stewardOf", 1), ("ENTITY stewardOf PRODUCT", 1), ("PERSON stewardOf PRODUCT", 0)):
        assert (await shop(query, key=key)).data["entity"]["related"]["totalCount"] == count


async def test_a_long_chain_cascades_completely(shop: Api) -> None:
    await shop.put_relationship_type("next", origin="PERSON", related="PERSON", reverseKey="last", onDelete="CASCADE")
    lines: list[dict[str, Any]] = [
        {"kind": "entity", "type": "PERSON", "key": f"c{number}", "displayName": f"C{number}", "at": iso(day(0))}
        for number in range(400)
    ]
    lines += [
        {
            "kind": "relationship",
            "type": "next",
            "origin": {"entity": {"type": "PERSON", "key": f"c{number}"}},
            "related": {"entity": {"type": "PERSON", "key": f"c{number + 1}"}},
            "at": iso(day(0)),
        }
        for number in range(399)
    ]
    body = b"".join(orjson.dumps(it) + b"\n" for it in lines)
    loaded = await shop.client.post("/api/v1/ingest", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert loaded.json()["rejected"] == 0
    uid = await uid_of(shop, {"entity": {"type": "PERSON", "key": "c200"}})
    assert (await shop(DELETE_ENTITY, input={"entity": {"uid": uid}})).data["deleteEntity"]["changed"]
    assert (await shop('{ entities(search: "C") { totalCount } }')).data["entities"]["totalCount"] == 0


async def test_a_payload_that_others_change_meanwhile_is_read_again(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer deletes an end between the reads of the relationships and of their ends."""
    await shop.put_relationship_type()
    await shop.relate("steward", ORDERS, BO)
    bo = UUID(await uid_of(shop, BO))
    read = node.nodes_by_id
    calls: list[Any] = []
    ended: list[Any] = []

    async def late(connection: ReadConnection, readings: Sequence[tuple[int, datetime]]) -> Any:
        calls.append(readings)
        # the first call reads the ends of the relationship itself
        if len(calls) == 2:
            async with shop.database.transaction(1, Author("other")) as other:
                ended.append(await asset.delete(other, ENTITY, bo, at=day(1)))
        return await read(connection, readings)

    monkeypatch.setattr(lazy, "nodes_by_id", late)
    query = """
      mutation ($input: RelateInput!) { relate(input: $input) {
        changed relationship { origin { relationships { nodes { related { label } } } } }
      } }
    """
    given = {"type": "steward", "origin": ORDERS, "related": ANN, "at": iso(day(2))}
    answer = (await shop(query, input=given)).data["relate"]
    assert ended
    assert answer["changed"]
    assert answer["relationship"]["origin"]["relationships"]["nodes"] == [{"related": {"label": "Ann"}}]
    await clean(shop.database)


@pytest.mark.idempotency
async def test_a_repeated_request_returns_the_first_answer(shop: Api) -> None:
    await shop.put_relationship_type(cardinality="MANY_TO_ONE")
    given = {"type": "steward", "origin": ORDERS, "related": ANN, "attributes": {"a": 1}, "idempotencyKey": "once"}
    first = (await shop(RELATE, input=given)).data["relate"]
    assert (await shop(RELATE, input=given)).data["relate"] == first
    assert (await shop(RELATE, input={**given, "attributes": {}})).code_and_field == ("CONFLICT", "idempotencyKey")
    end = {"relationship": {"uid": first["relationship"]["uid"]}, "idempotencyKey": "end"}
    assert (await shop(UNRELATE, input=end)).data["unrelate"]["changed"]
    assert (await shop(UNRELATE, input=end)).data["unrelate"]["changed"]
    assert (await shop(UNRELATE, input={"relationship": {"uid": str(uuid4())}})).code_and_field == ("NOT_FOUND", "relationship")


async def uid_of(api: Api, ref: dict[str, Any]) -> str:
    if "product" in ref:
        return str((await api("query ($n: String!) { product(name: $n) { uid } }", n=ref["product"])).data["product"]["uid"])
    query = "query ($k: EntityKey!) { entity(ref: { key: $k }) { uid } }"
    return str((await api(query, k=ref["entity"])).data["entity"]["uid"])


CUSTOMERS = """
  mutation { putEntityType(input: {
    code: "CUSTOMER", label: "Customer", source: { service: "crm", endpoint: "/customers", lookupField: "id" }
  }) { entityType { code } } }
"""
CUSTOMER = """
  query ($asOf: DateTime) { entity(ref: { key: {type: "CUSTOMER", key: "42"} }, asOf: $asOf) {
    uid displayName related(key: "uses") { nodes { label } }
  } }
"""


async def test_a_reference_by_key_to_a_sourced_type_creates_a_stub(shop: Api) -> None:
    assert (await shop(CUSTOMERS)).data
    await shop.put_relationship_type("customer", related="CUSTOMER", reverseKey="uses")
    ref = {"entity": {"type": "CUSTOMER", "key": "42"}}
    assert (await shop.relate("customer", ORDERS, ref, at=day(3))).data["relate"]["relationship"]["related"] == {
        "label": "Customer 42"
    }
    assert (await shop(CUSTOMER, asOf=iso(day(2)))).data == {"entity": None}
    stub = (await shop(CUSTOMER)).data["entity"]
    assert (stub["displayName"], stub["related"]["nodes"]) == ("Customer 42", [{"label": "orders"}])
    # the stub can be created by its key like an unknown entity, and only once
    created = {"type": "CUSTOMER", "key": "42", "at": iso(day(5))}
    filled = await shop.create("Shah & Sons", **created)
    assert filled["uid"] == stub["uid"]
    again = {"type": "CUSTOMER", "key": "42", "displayName": "Other", "at": iso(day(6))}
    assert (await shop(CREATE_ENTITY, input=again)).code_and_field == ("CONFLICT", "key")
    for at, name in ((day(3), "Customer 42"), (day(5), "Shah & Sons")):
        assert (await shop(CUSTOMER, asOf=iso(at))).data["entity"]["displayName"] == name
    # a deleted entity does not become a stub again
    assert (await shop(DELETE_ENTITY, input={"entity": {"uid": stub["uid"]}, "at": iso(day(8))})).data
    assert (await shop.relate("customer", SALES, ref, at=day(9))).code_and_field == ("NOT_FOUND", "related")
    await clean(shop.database)
