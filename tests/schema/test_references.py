"""References: the names by which products, entities, links and relationships are named, in mutations and queries."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.builders import (
    DELETE,
    DELETE_ENTITY,
    REGISTER_LINEAGE,
    REMOVE_LINEAGE,
    RESTORE,
    RESTORE_ENTITY,
    UNRELATE,
    UPDATE,
    UPDATE_ENTITY,
    Api,
    day,
    iso,
)

pytestmark = pytest.mark.api

ANN, BO = ({"type": "PERSON", "key": key} for key in ("1", "2"))
ORDERS, SALES = {"product": "orders"}, {"product": "sales"}
AT = {"at": iso(day(5))}


@pytest.fixture
async def shop(api: Api) -> Api:
    """Two products with links of two producers and of none, and two people who know each other and one of the products."""
    await api.put_types()
    await api.register("orders")
    await api.register("sales")
    await api.create("Ann", key="1")
    await api.create("Bo", key="2")
    await api.put_relationship_type(cardinality="MANY_TO_MANY")
    await api.put_relationship_type("knows", origin="PERSON", reverseKey="knows", cardinality="MANY_TO_MANY")
    await api.relate("steward", ORDERS, {"entity": ANN}, at=day(1))
    await api.relate("knows", {"entity": ANN}, {"entity": BO}, at=day(1))
    await api.link("orders", "sales", at=day(1))
    return api


async def names(api: Api, **arguments: Any) -> list[str]:
    query = "query ($asOf: DateTime) { products(asOf: $asOf) { nodes { name } } }"
    return [it["name"] for it in (await api(query, **arguments)).data["products"]["nodes"]]


async def test_a_name_means_the_product_that_has_it_at_the_instant(shop: Api) -> None:
    """A name that passed on means the later product later, and none after that has another name."""
    first = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(10))})).data["deleteProduct"]
    second = (await shop.register("orders", at=iso(day(12))))["uid"]
    again = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(11))})).data["deleteProduct"]
    assert again == {**first, "changed": False}
    later = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(14))})).data["deleteProduct"]
    assert later == {"uid": second, "changed": True}
    restored = (await shop(RESTORE, input={"product": {"name": "orders"}, "at": iso(day(15))})).data["restoreProduct"]
    assert restored["product"]["uid"] == second
    assert (await shop(UPDATE, input={"product": {"name": "orders"}, "name": "requests", "at": iso(day(16))})).data
    for mutation in (UPDATE, DELETE, RESTORE):
        more = {"owner": "x"} if mutation == UPDATE else {}
        answer = await shop(mutation, input={"product": {"name": "orders"}, "at": iso(day(17)), **more})
        assert answer.code_and_field == ("NOT_FOUND", "product"), "the product with the name has another one now"
        assert "'orders'" in answer.error["message"]
    deletions = [shop(DELETE, input={"product": {"name": "requests"}}) for _ in range(3)]
    answers = [it.data["deleteProduct"] for it in await asyncio.gather(*deletions)]
    assert sorted((it["uid"], it["changed"]) for it in answers) == [(second, False), (second, False), (second, True)]


async def test_a_name_or_key_that_an_asset_has_lost_names_nothing(shop: Api) -> None:
    """The error says which asset had it."""
    uids = await uids_of(shop)
    await shop.update("orders", name="requests", at=day(3))
    assert (await shop(UPDATE_ENTITY, input={"entity": {"key": ANN}, "key": "8", "at": iso(day(3))})).data
    product = f"The product {uids['orders']} had the name before, and is named 'requests' then."
    entity = f"The entity {uids['Ann']} had the key before, and has the key '8' then."
    knows = {"type": "knows", "origin": {"entity": ANN}, "related": {"entity": BO}}
    given: list[tuple[str, dict[str, Any], str, str]] = [
        (UPDATE, {"product": {"name": "orders"}, "owner": "x"}, "product", product),
        (DELETE, {"product": {"name": "orders"}}, "product", product),
        (RESTORE, {"product": {"name": "orders"}}, "product", product),
        (UPDATE_ENTITY, {"entity": {"key": ANN}, "displayName": "x"}, "entity", entity),
        (DELETE_ENTITY, {"entity": {"key": ANN}}, "entity", entity),
        (RESTORE_ENTITY, {"entity": {"key": ANN}}, "entity", entity),
        (REGISTER_LINEAGE, {"source": ORDERS, "target": SALES}, "source", product),
        (REGISTER_LINEAGE, {"source": SALES, "target": {"entity": ANN}}, "target", entity),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": ORDERS, "target": SALES}}}, "link.ends.source", product),
        (UNRELATE, {"relationship": {"ends": knows}}, "relationship.ends.origin", entity),
    ]
    for mutation, content, field, expected in given:
        answer = await shop(mutation, input={**content, "at": iso(day(4))})
        assert answer.code_and_field == ("NOT_FOUND", field)
        assert answer.error["message"].endswith(expected)
    # what it has later only names it no more than what it had
    early = await shop(UPDATE, input={"product": {"name": "requests"}, "owner": "x", "at": iso(day(2))})
    assert early.error["message"].endswith(f"The product {uids['orders']} has the name later, and is named 'orders' then.")
    assert set(await uids_of(shop)) == {"requests", "sales", "Ann", "Bo"}


@pytest.mark.parametrize(
    ("update", "delete", "restore", "first", "last", "change"),
    [
        (UPDATE, DELETE, RESTORE, {"name": "orders"}, {"name": "requests"}, {"name": "requests"}),
        (UPDATE_ENTITY, DELETE_ENTITY, RESTORE_ENTITY, {"key": ANN}, {"key": {**ANN, "key": "8"}}, {"key": "8"}),
    ],
    ids=["product", "entity"],
)
async def test_an_asset_that_was_deleted_or_begins_later_is_named_by_its_last_or_first_name(
    shop: Api, update: str, delete: str, restore: str, first: dict[str, Any], last: dict[str, Any], change: dict[str, Any]
) -> None:
    kind, noun = ("product", "name") if update == UPDATE else ("entity", "key")
    assert (await shop(update, input={kind: first, **change, "at": iso(day(3))})).data
    ((_, deleted),) = (await shop(delete, input={kind: last, "at": iso(day(5))})).data.items()
    ((_, repeated),) = (await shop(delete, input={kind: last, "at": iso(day(6))})).data.items()
    assert repeated == {**deleted, "changed": False}
    for mutation in (delete, restore):
        answer = await shop(mutation, input={kind: first, "at": iso(day(6))})
        assert answer.code_and_field == ("NOT_FOUND", kind)
        assert answer.error["message"].endswith(f"The {kind} {deleted['uid']} had the {noun} before.")
    # it is known, but there is nothing to change then
    for named, at in ((last, day(6)), (first, day(-1))):
        answer = await shop(update, input={kind: named, **change, "at": iso(at)})
        assert answer.code_and_field == ("NOT_FOUND", kind)
        assert answer.error["message"] == f"This {kind} does not exist at {iso(at)}."
    ((_, restored),) = (await shop(restore, input={kind: last, "at": iso(day(8))})).data.items()
    assert restored["changed"]


async def test_an_entity_is_changed_deleted_and_restored_by_its_key(shop: Api) -> None:
    uid = (await shop("query ($key: EntityKey!) { entity(ref: { key: $key }) { uid } }", key=ANN)).data["entity"]["uid"]
    shop.statements.clear()
    assert (await shop(UPDATE_ENTITY, input={"entity": {"key": ANN}, "displayName": "Anna", **AT})).data["updateEntity"][
        "changed"
    ]
    assert len([it for it in shop.statements.executed if "FOR NO KEY UPDATE" in it]) == 2, "before the lock is granted and after"
    deletion = {"entity": {"key": ANN}, "at": iso(day(6))}
    assert (await shop(DELETE_ENTITY, input=deletion)).data["deleteEntity"] == {"uid": uid, "changed": True}
    deletion["at"] = iso(day(7))
    assert (await shop(DELETE_ENTITY, input=deletion)).data["deleteEntity"] == {"uid": uid, "changed": False}
    restored = (await shop(RESTORE_ENTITY, input={"entity": {"key": ANN}, "at": iso(day(8))})).data["restoreEntity"]
    assert (restored["changed"], restored["entity"]["displayName"]) == (True, "Anna")


async def test_a_link_is_named_by_its_ends_and_producer(shop: Api) -> None:
    ends = {"source": ORDERS, "target": SALES}
    only = (await shop(REMOVE_LINEAGE, input={"link": {"ends": ends}, "at": iso(day(2))})).data["removeLineage"]
    assert only["changed"]
    await shop.link("orders", "sales", producer="dbt", at=day(3))
    for named, at, changed in (
        # the only one there is at the instant, although there was another one before
        (ends, day(4), True),
        # both are gone
        (ends, day(5), None),
        ({**ends, "producer": "dbt"}, day(5), False),
        ({**ends, "producer": None}, day(5), False),
    ):
        answer = await shop(REMOVE_LINEAGE, input={"link": {"ends": named}, "at": iso(at)})
        if changed is None:
            assert answer.code_and_field == ("BAD_INPUT", "link.ends.producer")
            assert "null, 'dbt'" in answer.error["message"]
        else:
            assert answer.data["removeLineage"]["changed"] is changed


async def test_an_error_lists_some_producers_of_the_links_that_a_reference_may_mean(shop: Api) -> None:
    for number in range(12):
        await shop.link("orders", "sales", producer=f"p{number:02}", at=day(1))
    answer = await shop(REMOVE_LINEAGE, input={"link": {"ends": {"source": ORDERS, "target": SALES}}})
    assert answer.code_and_field == ("BAD_INPUT", "link.ends.producer")
    assert answer.error["message"].endswith(
        "Give the producer of one of them: null, 'p00', 'p01', 'p02', 'p03', 'p04', 'p05', 'p06', 'p07', 'p08', …."
    )


async def test_a_relationship_is_named_by_its_type_and_ends(shop: Api) -> None:
    steward = {"type": "steward", "origin": ORDERS, "related": {"entity": ANN}}
    # a relationship of a symmetric type has no origin
    knows = {"type": "knows", "origin": {"entity": BO}, "related": {"entity": ANN}}
    by_code = {**steward, "type": "PRODUCT steward PERSON"}
    for ends, changed in ((steward, True), (by_code, False), (knows, True)):
        answer = await shop(UNRELATE, input={"relationship": {"ends": ends}})
        assert answer.data["unrelate"]["changed"] is changed


NOBODY: dict[str, Any] = {"entity": {"type": "PERSON", "key": "9"}}
UID = str(uuid4())


@pytest.mark.parametrize(
    ("mutation", "content", "fault"),
    [
        (UPDATE, {"product": {"name": "none"}, "owner": "x"}, ("NOT_FOUND", "product")),
        (UPDATE, {"product": {"name": "a\0"}, "owner": "x"}, ("NOT_FOUND", "product")),
        (UPDATE, {"product": {}, "owner": "x"}, ("BAD_INPUT", "product")),
        (UPDATE, {"product": {"name": "orders", "uid": UID}, "owner": "x"}, ("BAD_INPUT", "product")),
        (DELETE, {"product": {"name": "none"}}, ("NOT_FOUND", "product")),
        (DELETE, {"product": {"uid": UID}}, ("NOT_FOUND", "product")),
        (DELETE, {"product": {"name": "orders"}, "at": iso(day(-1))}, ("NOT_FOUND", "product")),
        (UPDATE, {"product": {"name": "orders"}, "owner": "x", "at": iso(day(-1))}, ("NOT_FOUND", "product")),
        (UPDATE_ENTITY, {"entity": {"key": ANN}, "displayName": "x", "at": iso(day(-1))}, ("NOT_FOUND", "entity")),
        (RESTORE, {"product": {"name": "none"}}, ("NOT_FOUND", "product")),
        (UPDATE_ENTITY, {"entity": {"key": NOBODY["entity"]}, "displayName": "x"}, ("NOT_FOUND", "entity")),
        (UPDATE_ENTITY, {"entity": {"key": {"type": "PERSON", "key": "1\0"}}, "displayName": "x"}, ("NOT_FOUND", "entity")),
        (DELETE_ENTITY, {"entity": {"key": NOBODY["entity"]}}, ("NOT_FOUND", "entity")),
        (RESTORE_ENTITY, {"entity": {"key": NOBODY["entity"]}}, ("NOT_FOUND", "entity")),
        (REMOVE_LINEAGE, {"link": {"uid": UID}}, ("NOT_FOUND", "link")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": {"uid": UID}, "target": SALES}}}, ("NOT_FOUND", "link.ends.source")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": ORDERS, "target": {"product": "x"}}}}, ("NOT_FOUND", "link.ends.target")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": SALES, "target": ORDERS}}}, ("NOT_FOUND", "link")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": ORDERS, "target": SALES, "producer": "x"}}}, ("NOT_FOUND", "link")),
        (REMOVE_LINEAGE, {"link": {"ends": {"source": {**ORDERS, "uid": UID}, "target": SALES}}}, ("BAD_INPUT", "source")),
        (UNRELATE, {"relationship": {"uid": UID}}, ("NOT_FOUND", "relationship")),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "none", "origin": ORDERS, "related": {"entity": ANN}}}},
            ("BAD_INPUT", "relationship.ends.type"),
        ),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "steward", "origin": ORDERS, "related": NOBODY}}},
            ("NOT_FOUND", "relationship.ends.related"),
        ),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "steward", "origin": {"entity": ANN}, "related": {"entity": BO}}}},
            ("BAD_INPUT", "relationship.ends.origin"),
        ),
        (
            UNRELATE,
            {"relationship": {"ends": {"type": "steward", "origin": SALES, "related": {"entity": ANN}}}},
            ("NOT_FOUND", "relationship"),
        ),
    ],
)
async def test_a_reference_that_names_nothing_or_two_things_is_refused(
    shop: Api, mutation: str, content: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert (await shop(mutation, input=content)).code_and_field == fault


async def test_a_uid_of_another_kind_is_an_error_that_says_so(shop: Api) -> None:
    uids = (await shop("{ products { nodes { uid } } entities { nodes { uid } } }")).data
    product, entity = (uids[it]["nodes"][0]["uid"] for it in ("products", "entities"))
    for mutation, content, fault in (
        (DELETE, {"product": {"uid": entity}}, "product"),
        (UPDATE, {"product": {"uid": entity}, "owner": "x"}, "product"),
        (RESTORE, {"product": {"uid": entity}}, "product"),
        (DELETE_ENTITY, {"entity": {"uid": product}}, "entity"),
        (UPDATE_ENTITY, {"entity": {"uid": product}, "displayName": "x"}, "entity"),
    ):
        answer = await shop(mutation, input=content)
        assert answer.code_and_field == ("NOT_FOUND", fault)
        kind = "entity" if fault == "product" else "product"
        assert answer.error["message"].endswith(f"It is the uid of an asset of another kind ({kind}).")
    assert await names(shop) == ["orders", "sales"]


async def uids_of(api: Api) -> dict[str, str]:
    """Return the uids of all assets by their labels."""
    found = (await api("{ products { nodes { uid label } } entities { nodes { uid label } } }")).data
    return {it["label"]: it["uid"] for nodes in found.values() for it in nodes["nodes"]}


async def test_an_asset_is_found_by_any_reference_at_any_instant(shop: Api) -> None:
    uids = await uids_of(shop)
    await shop.update("orders", name="requests", at=day(3))
    query = "query ($ref: AssetRef!, $asOf: DateTime) { asset(ref: $ref, asOf: $asOf) { label } }"
    # the first read without a transaction sets the tenant of the session
    assert (await shop(query, ref={"uid": UID})).data == {"asset": None}
    for ref, at, label in (
        ({"uid": uids["orders"]}, None, "requests"),
        ({"uid": uids["Ann"]}, day(1), "Ann"),
        ({"product": "orders"}, None, None),
        ({"product": "orders"}, day(2), "orders"),
        ({"entity": ANN}, None, "Ann"),
        ({"entity": ANN}, day(-1), None),
        ({"uid": UID}, None, None),
        ({"uid": uids["Ann"]}, day(-1), None),
    ):
        shop.statements.clear()
        before = shop.statements.all_statements
        found = (await shop(query, ref=ref, asOf=iso(at) if at else None)).data["asset"]
        assert found == (label and {"label": label})
        assert shop.statements.all_statements - before == 1, "one statement, without a transaction"


async def test_many_assets_are_found_in_the_order_asked_with_one_statement_a_form(shop: Api) -> None:
    uids = await uids_of(shop)
    refs = [
        {"entity": BO},
        {"uid": uids["orders"]},
        {"product": "none"},
        {"uid": UID},
        {"product": "sales"},
        {"entity": ANN},
        {"uid": uids["Ann"]},
        {"entity": BO},
        {"product": "orders"},
    ]
    query = "query ($refs: [AssetRef!]!, $asOf: DateTime) { assets(refs: $refs, asOf: $asOf) { label } }"
    shop.statements.clear()
    found = (await shop(query, refs=refs)).data["assets"]
    assert [it and it["label"] for it in found] == ["Bo", "orders", None, None, "sales", "Ann", "Ann", "Bo", "orders"]
    assert len(shop.statements) == 3
    shop.statements.clear()
    assert (await shop(query, refs=[{"uid": it} for it in uids.values()], asOf=iso(day(-1)))).data["assets"] == [None] * 4
    assert len(shop.statements) == 1
    assert (await shop(query, refs=[])).data["assets"] == []
    assert (await shop(query, refs=[{"uid": UID}] * 501)).code_and_field == ("LIMIT_EXCEEDED", "refs")
    assert (await shop(query, refs=[{"uid": UID}] * 10_000)).code_and_field[0] == "LIMIT_EXCEEDED", "of the cost"
    assert (await shop(query, refs=[{"product": "a\0"}])).code_and_field == ("BAD_INPUT", "refs[0].product")


async def test_a_product_is_found_by_its_name_or_uid(shop: Api) -> None:
    uids = await uids_of(shop)
    query = "query ($uid: UUID, $name: String) { product(uid: $uid, name: $name) { label upstream { nodes { label } } } }"
    for name in ("orders", "sales"):
        by_uid = (await shop(query, uid=uids[name])).data["product"]
        assert by_uid == (await shop(query, name=name)).data["product"]
        assert by_uid["label"] == name
    assert (await shop(query, uid=uids["Ann"])).data["product"] is None
    assert (await shop(query)).code_and_field == ("BAD_INPUT", "name")
    assert (await shop(query, uid=UID, name="orders")).code_and_field == ("BAD_INPUT", "uid")


LINK = "query ($ref: LinkRef!, $asOf: DateTime) { lineageLink(ref: $ref, asOf: $asOf) { uid producer source { label } } }"
RELATIONSHIP = (
    "query ($ref: RelationshipRef!, $asOf: DateTime) { relationship(ref: $ref, asOf: $asOf) { uid related { label } } }"
)


async def test_a_link_is_found_by_its_uid_or_ends(shop: Api) -> None:
    ends: dict[str, Any] = {"source": ORDERS, "target": SALES}
    found = (await shop(LINK, ref={"ends": ends})).data["lineageLink"]
    assert found["source"] == {"label": "orders"}
    for ref in ({"uid": found["uid"]}, {"ends": {**ends, "producer": None}}):
        assert (await shop(LINK, ref=ref)).data["lineageLink"] == found
        assert (await shop(LINK, ref=ref, asOf=iso(day(0)))).data["lineageLink"] is None
    await shop.link("orders", "sales", producer="dbt", at=day(3))
    assert (await shop(LINK, ref={"ends": {**ends, "producer": "dbt"}})).data["lineageLink"]["producer"] == "dbt"
    assert (await shop(LINK, ref={"ends": ends})).code_and_field == ("BAD_INPUT", "ref.ends.producer")
    assert (await shop(LINK, ref={"ends": ends}, asOf=iso(day(2)))).data["lineageLink"] == found
    for ref in ({"uid": UID}, {"ends": {**ends, "source": NOBODY}}, {"ends": {**ends, "producer": "x"}}):
        assert (await shop(LINK, ref=ref)).data["lineageLink"] is None


async def test_a_relationship_is_found_by_its_uid_or_type_and_ends(shop: Api) -> None:
    ends: dict[str, Any] = {"type": "knows", "origin": {"entity": BO}, "related": {"entity": ANN}}
    found = (await shop(RELATIONSHIP, ref={"ends": ends})).data["relationship"]
    assert (await shop(RELATIONSHIP, ref={"uid": found["uid"]})).data["relationship"] == found
    assert (await shop(RELATIONSHIP, ref={"ends": ends}, asOf=iso(day(0)))).data["relationship"] is None
    for ref in ({"uid": UID}, {"ends": {**ends, "origin": NOBODY}}):
        assert (await shop(RELATIONSHIP, ref=ref)).data["relationship"] is None
    unknown = {"ends": {**ends, "type": "none"}}
    assert (await shop(RELATIONSHIP, ref=unknown)).code_and_field == ("BAD_INPUT", "ref.ends.type")
    other = {"ends": {**ends, "origin": ORDERS}}
    assert (await shop(RELATIONSHIP, ref=other)).code_and_field == ("BAD_INPUT", "ref.ends.origin")


async def test_filters_name_ends_by_reference(shop: Api) -> None:
    links = "query ($filter: LineageLinkFilter, $asOf: DateTime) { lineageLinks(filter: $filter, asOf: $asOf) { totalCount } }"
    related = (
        "query ($filter: RelationshipFilter, $asOf: DateTime) { relationships(filter: $filter, asOf: $asOf) { totalCount } }"
    )
    for query, given, count in (
        (links, {"source": ORDERS}, 1),
        (links, {"source": SALES}, 0),
        (links, {"source": ORDERS, "target": {"entity": ANN}}, 0),
        (links, {"source": None, "target": SALES}, 1),
        (related, {"related": {"entity": ANN}, "types": ["steward"]}, 1),
        (related, {"origin": ORDERS, "types": ["steward"]}, 1),
    ):
        ((_, found),) = (await shop(query, filter=given)).data.items()
        assert found == {"totalCount": count}
    # an asset that is not alive then has an identity, but a name is only that of an asset which is
    assert (await shop(links, filter={"source": {"uid": (await uids_of(shop))["orders"]}}, asOf=iso(day(-1)))).data
    faults = [(links, it, "NOT_FOUND") for it in ("source", "target")] + [
        (related, it, "NOT_FOUND") for it in ("origin", "related")
    ]
    for query, name, code in faults:
        for ref in ({"product": "none"}, {"uid": UID}, NOBODY):
            assert (await shop(query, filter={name: ref})).code_and_field == (code, name)
        answer = await shop(query, filter={name: ORDERS}, asOf=iso(day(-1)))
        assert answer.code_and_field == (code, name)
        assert answer.error["message"] == f"There is no product named 'orders' at {iso(day(-1))}."


async def test_paths_and_differences_start_from_references_and_end_now(shop: Api) -> None:
    paths = """
      query ($since: AssetRef!, $to: AssetRef!, $asOf: DateTime) { lineagePaths(from: $since, to: $to, asOf: $asOf) {
        paths { assets { label } }
      } }
    """
    found = {"paths": [{"assets": [{"label": "orders"}, {"label": "sales"}]}]}
    assert (await shop(paths, since=ORDERS, to=SALES)).data["lineagePaths"] == found
    assert (await shop(paths, since=ORDERS, to=SALES, asOf=iso(day(-1)))).data["lineagePaths"] is None
    assert (await shop(paths, since=ORDERS, to=NOBODY)).data["lineagePaths"] is None
    assert (await shop(paths, since=ORDERS, to=ORDERS)).code_and_field == ("BAD_INPUT", "to")
    await shop.update("orders", name="requests", at=day(3))
    diff = """
      query ($of: AssetRef!, $since: DateTime!, $to: DateTime) {
        lineageDiff(of: $of, direction: DOWNSTREAM, from: $since, to: $to) { addedAssets { id label } }
        diff(from: $since, to: $to, first: 1) { totalCount nodes { uid } pageInfo { endCursor } }
      }
    """
    for ref in (ORDERS, {"product": "requests"}):
        answer = (await shop(diff, of=ref, since=iso(day(0)))).data
        # the name belongs to one of the instants at least
        (added,) = answer["lineageDiff"]["addedAssets"]
        assert (added["label"], "@" in added["id"]) == ("sales", False), "as it is now"
        assert answer["diff"]["totalCount"] == 1
    assert (await shop(diff, of=ORDERS, since=iso(day(4)))).data["lineageDiff"] is None
    errors = (await shop(diff, of=ORDERS, since="2999-01-01")).errors
    assert [it["extensions"].get("field") for it in errors] == ["to"] * len(errors) != []
    pages = (
        'query ($after: String) { diff(from: "2025-12-31", first: 3, after: $after) { nodes { uid } pageInfo { endCursor } } }'
    )
    first = (await shop(pages)).data["diff"]
    second = (await shop(pages, after=first["pageInfo"]["endCursor"])).data["diff"]
    assert len({it["uid"] for it in [*first["nodes"], *second["nodes"]]}) == 4
