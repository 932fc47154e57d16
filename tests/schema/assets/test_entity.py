"""Entities through the API: writes, reads at any instant, searched and filtered as they were then."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.builders import CREATE_ENTITY, DELETE_ENTITY, RESTORE_ENTITY, Api, day, detail_list, iso

pytestmark = pytest.mark.api

MICROSECOND = timedelta(microseconds=1)
THEN = """
  query ($uid: UUID!, $asOf: DateTime) { entity(ref: { uid: $uid }, asOf: $asOf) {
    id displayName asOf validFrom validTo createdAt updatedAt details { type { code } value validFrom validTo }
  } }
"""
LIST = """
  query ($search: String, $filter: EntityFilter, $orderBy: EntityOrder, $first: Int, $after: String, $last: Int,
    $before: String, $asOf: DateTime) {
    entities(search: $search, filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before,
      asOf: $asOf) {
      nodes { displayName } edges { cursor } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
"""


@pytest.fixture
async def typed(api: Api) -> Api:
    await api.put_types()
    return api


async def state_at(api: Api, uid: str, at: datetime | None = None) -> tuple[str, dict[str, str]] | None:
    found = (await api(THEN, uid=uid, asOf=iso(at) if at else None)).data["entity"]
    return found and (found["displayName"], {it["type"]["code"]: it["value"] for it in found["details"]})


async def names(api: Api, **arguments: Any) -> list[str]:
    arguments.setdefault("orderBy", {"field": "DISPLAY_NAME"})
    found = (await api(LIST, **arguments)).data["entities"]
    assert found["totalCount"] >= len(found["nodes"])
    return [it["displayName"] for it in found["nodes"]]


async def names_with_detail(api: Api, **condition: Any) -> list[str]:
    return await names(api, filter={"details": [condition]})


@pytest.mark.scd2
async def test_a_change_of_one_detail_leaves_the_others_as_they_were(typed: Api) -> None:
    uid = (await typed.create(details={"email": "ann@shop.example", "phone": "+1 555 0100"}))["uid"]
    changed = (await typed.change(uid, details={"phone": "+1 555 0101"}, at=day(5))).data["updateEntity"]
    assert changed["changed"]
    assert changed["entity"]["details"] == [
        {"type": {"code": "email"}, "value": "ann@shop.example", "validFrom": iso(day(0)), "validTo": None},
        {"type": {"code": "phone"}, "value": "+1 555 0101", "validFrom": iso(day(5)), "validTo": None},
    ]
    before = (await typed(THEN, uid=uid, asOf=iso(day(4)))).data["entity"]
    assert before["details"] == [
        {"type": {"code": "email"}, "value": "ann@shop.example", "validFrom": iso(day(0)), "validTo": None},
        {"type": {"code": "phone"}, "value": "+1 555 0100", "validFrom": iso(day(0)), "validTo": iso(day(5))},
    ]


@pytest.mark.scd2
async def test_repeating_a_state_changes_nothing_and_leaves_one_version(typed: Api) -> None:
    uid = (await typed.create(details={"email": "ann@shop.example"}))["uid"]
    again = (await typed.change(uid, displayName="Ann", details={"email": "ann@shop.example"}, at=day(5))).data["updateEntity"]
    assert not again["changed"]
    assert again["entity"]["validFrom"] == iso(day(0))
    history = (await typed("query ($uid: UUID!) { asset(ref: { uid: $uid }) { history { totalCount } } }", uid=uid)).data
    assert history["asset"]["history"]["totalCount"] == 1


@pytest.mark.scd2
async def test_name_and_details_are_read_together_at_an_instant(typed: Api) -> None:
    uid = (await typed.create("Ann", details={"email": "ann@shop.example", "note": "new"}))["uid"]
    await typed.change(uid, displayName="Anna", removeDetails=["note"], at=day(10))
    await typed.change(uid, details={"email": "anna@shop.example"}, at=day(20))
    await typed.change(uid, details={"note": "late"}, at=day(15))
    assert await state_at(typed, uid, day(0) - MICROSECOND) is None
    assert await state_at(typed, uid, day(9)) == ("Ann", {"email": "ann@shop.example", "note": "new"})
    assert await state_at(typed, uid, day(10)) == ("Anna", {"email": "ann@shop.example"})
    assert await state_at(typed, uid, day(16)) == ("Anna", {"email": "ann@shop.example", "note": "late"})
    assert await state_at(typed, uid) == ("Anna", {"email": "anna@shop.example", "note": "late"})


@pytest.mark.scd2
async def test_deleting_ends_the_details_and_restoring_brings_them_back(typed: Api) -> None:
    uid = (await typed.create(details={"email": "ann@shop.example"}))["uid"]
    assert (await typed(DELETE_ENTITY, input={"entity": {"uid": uid}, "at": iso(day(5))})).data["deleteEntity"]["changed"]
    assert not (await typed(DELETE_ENTITY, input={"entity": {"uid": uid}, "at": iso(day(6))})).data["deleteEntity"]["changed"]
    assert await state_at(typed, uid, day(5)) is None
    assert await state_at(typed, uid, day(5) - MICROSECOND) == ("Ann", {"email": "ann@shop.example"})
    restored = (await typed(RESTORE_ENTITY, input={"entity": {"uid": uid}, "at": iso(day(8))})).data["restoreEntity"]
    assert restored["entity"]["details"] == [{"type": {"code": "email"}, "value": "ann@shop.example", "validFrom": iso(day(8))}]
    history = (
        await typed(
            "query ($uid: UUID!) { entity(ref: { uid: $uid }) { history { nodes { changed { field before after } } } } }", uid=uid
        )
    ).data
    first, again = history["entity"]["history"]["nodes"]
    assert again["changed"] == first["changed"], "the entity did not exist before it was restored"
    found = (await typed(THEN, uid=uid)).data["entity"]
    assert (found["createdAt"], found["validFrom"]) == (iso(day(0)), iso(day(8)))


async def test_history_lists_the_changes_of_each_version_details_included(typed: Api) -> None:
    uid = (await typed.create(details={"email": "ann@shop.example", "phone": "555"}))["uid"]
    await typed.change(uid, displayName="Anna", details={"phone": "556"}, removeDetails=["email"], at=day(5))
    answer = await typed(
        "query ($uid: UUID!) { entity(ref: { uid: $uid }) { history { nodes { validFrom validTo changed { field before after }"
        ' asset { label ... on Entity { detail(type: "phone") type { code } } } } } } }',
        uid=uid,
    )
    first, second = answer.data["entity"]["history"]["nodes"]
    assert first["changed"] == [
        {"field": "displayName", "before": None, "after": "Ann"},
        {"field": "details.email", "before": None, "after": "ann@shop.example"},
        {"field": "details.phone", "before": None, "after": "555"},
        {"field": "keys", "before": None, "after": []},
    ]
    assert second["changed"] == [
        {"field": "displayName", "before": "Ann", "after": "Anna"},
        {"field": "details.email", "before": "ann@shop.example", "after": None},
        {"field": "details.phone", "before": "555", "after": "556"},
    ]
    assert first["asset"] == {"label": "Ann", "detail": "555", "type": {"code": "PERSON"}}
    assert (first["validTo"], second["validTo"]) == (iso(day(5)), None)


async def test_an_entity_is_found_by_its_uid_its_key_and_its_id(typed: Api) -> None:
    uid = str(uuid4())
    created = await typed.create("orders", type="TABLE", key="warehouse/public.orders", uid=uid)
    assert (created["uid"], created["key"], created["type"]) == (uid, "warehouse/public.orders", {"code": "TABLE"})
    await typed.change(uid, displayName="purchases", at=day(10))
    then = iso(day(5))
    answer = await typed(
        """query ($uid: UUID!, $key: EntityKey!, $then: DateTime!, $ids: [ID!]!) {
          uid: entity(ref: { uid: $uid }) { id label }
          key: entity(ref: { key: $key }) { id label }
          keyThen: entity(ref: { key: $key }, asOf: $then) { id label }
          asset(ref: { uid: $uid }, asOf: $then) { id label }
          nodes(ids: $ids) { id ... on Entity { displayName } }
          none: entity(ref: { key: { type: "PERSON", key: "warehouse/public.orders" } }) { id }
        }""",
        uid=uid,
        key={"type": "TABLE", "key": "warehouse/public.orders"},
        then=then,
        ids=[f"Entity:{uid}", f"Entity:{uid}@{then}", f"Product:{uid}"],
    )
    now, before = {"id": f"Entity:{uid}", "label": "purchases"}, {"id": f"Entity:{uid}@{then}", "label": "orders"}
    assert answer.data == {
        "uid": now,
        "key": now,
        "keyThen": before,
        "asset": before,
        "nodes": [{"id": now["id"], "displayName": "purchases"}, {"id": before["id"], "displayName": "orders"}, None],
        "none": None,
    }


@pytest.mark.constraints
async def test_a_key_is_unique_within_its_type_at_every_instant(typed: Api) -> None:
    first = await typed.create("a", key="7")
    assert (await typed.create("a", type="TABLE", key="7"))["uid"] != first["uid"]
    given = {"type": "PERSON", "displayName": "b", "at": iso(day(5))}
    taken = await typed(CREATE_ENTITY, input={**given, "key": "7"})
    assert taken.code_and_field == ("CONFLICT", "key")
    assert first["uid"] in taken.error["message"]
    other = await typed(CREATE_ENTITY, input={**given, "key": "7", "uid": str(uuid4())})
    assert other.code_and_field == ("CONFLICT", "key")
    await typed(DELETE_ENTITY, input={"entity": {"uid": first["uid"]}, "at": iso(day(5))})
    back = (await typed(CREATE_ENTITY, input={**given, "key": "7", "at": iso(day(6))})).data["createEntity"]["entity"]
    assert back["uid"] == first["uid"]


@pytest.mark.constraints
async def test_a_uid_belongs_to_one_kind_and_one_type(typed: Api) -> None:
    product = (await typed.register())["uid"]
    person = (await typed.create())["uid"]
    given = {"displayName": "x", "at": iso(day(5))}
    assert (await typed(CREATE_ENTITY, input={**given, "type": "PERSON", "uid": product})).code_and_field == ("CONFLICT", "uid")
    assert (await typed(CREATE_ENTITY, input={**given, "type": "TABLE", "uid": person})).code_and_field == ("CONFLICT", "type")
    assert (await typed(CREATE_ENTITY, input={**given, "type": "PERSON", "uid": person})).code_and_field == ("CONFLICT", "uid")
    assert (await typed.change(product, displayName="x")).code_and_field == ("NOT_FOUND", "entity")
    assert (await typed(DELETE_ENTITY, input={"entity": {"uid": product}})).code_and_field == ("NOT_FOUND", "entity")
    assert (await typed("query ($uid: UUID!) { entity(ref: { uid: $uid }) { id } }", uid=product)).data["entity"] is None


async def test_the_list_is_read_at_its_instant(typed: Api) -> None:
    ann = (await typed.create("Ann"))["uid"]
    await typed.create("Bob", at=iso(day(5)))
    await typed.change(ann, displayName="Zoe", at=day(10))
    await typed(DELETE_ENTITY, input={"entity": {"uid": ann}, "at": iso(day(15))})
    assert await names(typed, asOf=iso(day(0) - MICROSECOND)) == []
    assert await names(typed, asOf=iso(day(4))) == ["Ann"]
    assert await names(typed, asOf=iso(day(5))) == ["Ann", "Bob"]
    assert await names(typed, asOf=iso(day(10))) == ["Bob", "Zoe"]
    assert await names(typed) == ["Bob"]
    assert await names(typed, search="nn", asOf=iso(day(9))) == ["Ann"]
    assert await names(typed, search="nn") == []


async def test_search_is_literal_and_ignores_case(typed: Api) -> None:
    for name in ("Müller & Söhne", "100%", "100 percent", "under_score", "back\\slash"):
        await typed.create(name)
    assert await names(typed, search="MÜLLER") == ["Müller & Söhne"]
    assert await names(typed, search="100%") == ["100%"]
    assert await names(typed, search="r_s") == ["under_score"]
    assert await names(typed, search="k\\s") == ["back\\slash"]


async def test_filters_combine(typed: Api) -> None:
    await typed.create("Ann", details={"email": "ann@shop.example"})
    await typed.create("Bob")
    await typed.create("orders", type="TABLE", details={"note": "big"})
    assert await names(typed, filter={"types": ["TABLE"]}) == ["orders"]
    assert await names(typed, filter={"types": ["PERSON", "TABLE"]}) == ["Ann", "Bob", "orders"]
    assert await names(typed, filter={"types": []}) == []
    assert await names(typed, filter={"domains": ["people"]}) == ["Ann", "Bob"]
    assert await names(typed, filter={"domains": ["people"], "types": ["TABLE"]}) == []
    assert await names(typed, filter={"details": []}) == ["Ann", "Bob", "orders"]
    assert await names(typed, filter={"types": ["PERSON"], "details": [{"type": "email"}]}) == ["Ann"]
    assert await names(typed, filter={"details": [{"type": "email"}, {"type": "note"}]}) == []


async def test_details_are_filtered_by_value_and_by_range_in_the_order_of_their_format(typed: Api) -> None:
    for name, height, born, note in (
        ("a", "9", "1999-12-31", "Alpha"),
        ("b", "10.5", "2000-01-01", "beta"),
        ("c", "-1e2", "2000-02-29", "50%"),
        ("d", "9007199254740993", "0999-01-01", "ALPHABET"),
    ):
        await typed.create(name, details={"height": height, "born": born, "note": note})
    assert await names_with_detail(typed, type="height", equals="9") == ["a"]
    assert await names_with_detail(typed, type="height", equals="9.0") == []
    assert await names_with_detail(typed, type="note", **{"in": ["beta", "50%"]}) == ["b", "c"]
    assert await names_with_detail(typed, type="note", **{"in": []}) == []
    assert await names_with_detail(typed, type="note", contains="alpha") == ["a", "d"]
    assert await names_with_detail(typed, type="note", contains="%") == ["c"]
    assert await names_with_detail(typed, type="height", **{"from": "9", "to": "10.5"}) == ["a", "b"]
    assert await names_with_detail(typed, type="height", to="0") == ["c"]
    # numbers that a double cannot distinguish
    assert await names_with_detail(typed, type="height", **{"from": "9007199254740994"}) == []
    assert await names_with_detail(typed, type="height", **{"from": "9007199254740993"}) == ["d"]
    assert await names_with_detail(typed, type="born", **{"from": "2000-01-01"}) == ["b", "c"]
    assert await names_with_detail(typed, type="born", to="1999-12-31") == ["a", "d"]
    assert await names_with_detail(typed, type="note", **{"from": "b", "to": "c"}) == ["b"]
    assert await names_with_detail(typed, type="height", **{"from": "0"}, equals="9") == ["a"]


def by_email(value: str) -> dict[str, Any]:
    return {"details": [{"type": "email", "equals": value}]}


async def test_a_filter_by_detail_applies_at_the_instant(typed: Api) -> None:
    uid = (await typed.create(details={"email": "old@shop.example"}))["uid"]
    await typed.change(uid, details={"email": "new@shop.example"}, at=day(5))
    assert await names(typed, filter=by_email("old@shop.example"), asOf=iso(day(4))) == ["Ann"]
    assert await names(typed, filter=by_email("old@shop.example")) == []
    assert await names(typed, filter=by_email("new@shop.example")) == ["Ann"]


@pytest.mark.parametrize("field", ["DISPLAY_NAME", "UPDATED_AT", "CREATED_AT", "KEY", "TYPE", "DOMAIN", "OWNER"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
async def test_pages_in_both_directions_cover_the_whole_list(typed: Api, field: str, direction: str) -> None:
    for number in range(7):
        uid = (await typed.create(f"same {number % 3}", at=iso(day(number // 2))))["uid"]
        if number % 3 == 0:
            await typed.change(uid, displayName=f"same {number % 2}", at=day(20 - number))
    order = {"field": field, "direction": direction}
    whole = (await typed(LIST, orderBy=order)).data["entities"]
    assert whole["totalCount"] == 7
    forward: list[str] = []
    after: str | None = None
    while True:
        page = (await typed(LIST, orderBy=order, first=2, after=after)).data["entities"]
        forward += [it["cursor"] for it in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    backward: list[str] = []
    before: str | None = None
    while True:
        page = (await typed(LIST, orderBy=order, last=3, before=before)).data["entities"]
        backward = [it["cursor"] for it in page["edges"]] + backward
        before = page["pageInfo"]["startCursor"]
        if not page["pageInfo"]["hasPreviousPage"]:
            break
    assert forward == backward == [it["cursor"] for it in whole["edges"]]


async def test_pages_are_stable_while_others_write(typed: Api) -> None:
    for name in "bdfh":
        await typed.create(name)
    page = (await typed(LIST, orderBy={"field": "DISPLAY_NAME"}, first=2)).data["entities"]
    assert [it["displayName"] for it in page["nodes"]] == ["b", "d"]
    await typed.create("a", at=iso(day(1)))
    await typed.create("e", at=iso(day(1)))
    following = (await typed(LIST, orderBy={"field": "DISPLAY_NAME"}, first=5, after=page["pageInfo"]["endCursor"])).data[
        "entities"
    ]
    assert [it["displayName"] for it in following["nodes"]] == ["e", "f", "h"]


@pytest.mark.idempotency
async def test_an_idempotency_key_runs_a_mutation_once(typed: Api) -> None:
    given = {"type": "PERSON", "displayName": "Ann", "details": detail_list({"note": "x"}), "idempotencyKey": "k"}
    first = (await typed(CREATE_ENTITY, input=given)).data["createEntity"]
    again = (await typed(CREATE_ENTITY, input=given)).data["createEntity"]
    assert again == first
    other = await typed(CREATE_ENTITY, input={**given, "displayName": "Bob"})
    assert other.code_and_field == ("CONFLICT", "idempotencyKey")
    assert await names(typed) == ["Ann"]


async def test_a_page_of_entities_with_all_fields_costs_a_constant_number_of_statements(typed: Api) -> None:
    for number in range(12):
        await typed.create(f"{number:02}", type=("PERSON", "TABLE")[number % 2], details={"note": "x", "height": "1"})
    query = """query ($first: Int) { entities(first: $first) { totalCount nodes {
      type { code label domain { name } } details { type { label } value } detail(type: "note")
      history(first: 1) { totalCount nodes { actor } } } } }"""
    counts = []
    for first in (1, 12):
        typed.statements.clear()
        found = (await typed(query, first=first)).data["entities"]
        assert len(found["nodes"]) == first
        counts.append(len(typed.statements))
    # the list with its details, its count, the types, the histories and their counts
    assert counts == [5, 5]


async def test_details_at_many_instants_cost_one_statement(typed: Api) -> None:
    uid = (await typed.create(details={"note": "0"}))["uid"]
    for number in range(1, 6):
        await typed.change(uid, details={"note": str(number)}, at=day(number))
    query = """query ($first: Int, $from: DateTime!, $to: DateTime!) { changes(from: $from, to: $to, first: $first) { nodes {
      asset { ... on Entity { details { value } } } } } }"""
    window: dict[str, Any] = {"from": iso(day(0)), "to": iso(day(9))}
    counts = []
    for first in (1, 6):
        typed.statements.clear()
        found = (await typed(query, **window, first=first)).data["changes"]["nodes"]
        assert [it["asset"]["details"] for it in found] == [[{"value": str(number)}] for number in range(first)]
        counts.append(len(typed.statements))
    assert counts == [2, 2]


async def test_the_federated_gateway_finds_entities_by_id_and_uid(typed: Api) -> None:
    uid = (await typed.create())["uid"]
    await typed.change(uid, displayName="Anna", at=day(10))
    then = f"Entity:{uid}@{iso(day(5))}"
    answer = await typed(
        "query ($them: [_Any!]!) { _entities(representations: $them) { ... on Entity { id displayName } } }",
        them=[{"__typename": "Entity", "id": then}, {"__typename": "Entity", "uid": uid}],
    )
    assert answer.data["_entities"] == [
        {"id": then, "displayName": "Ann"},
        {"id": f"Entity:{uid}", "displayName": "Anna"},
    ]


BAD: list[tuple[dict[str, Any], str, str, str]] = [
    ({"type": "ROBOT"}, "BAD_INPUT", "type", "There are PERSON, TABLE."),
    ({"displayName": " "}, "BAD_INPUT", "displayName", "empty"),
    ({"displayName": "a\nb"}, "BAD_INPUT", "displayName", "a line break"),
    ({"displayName": "x" * 501}, "BAD_INPUT", "displayName", "At most 500"),
    ({"key": ""}, "BAD_INPUT", "key", "empty"),
    ({"details": detail_list({"shoe": "44"})}, "BAD_INPUT", "details", "There is no detail type 'shoe'"),
    ({"details": detail_list({"email": "ann@"})}, "BAD_INPUT", "details", "is not an email address"),
    ({"details": detail_list({"born": "2023-02-29"})}, "BAD_INPUT", "details", "born"),
    ({"details": detail_list({"height": "tall"})}, "BAD_INPUT", "details", "height"),
    ({"details": detail_list({"homepage": "example"})}, "BAD_INPUT", "details", "homepage"),
    ({"details": detail_list({"note": ""})}, "BAD_INPUT", "details", "note"),
    ({"details": detail_list({"note": "a"}) * 2}, "BAD_INPUT", "details", "two values of the type note"),
    ({"at": "2026-01-01T00:00:00"}, "BAD_INPUT", "at", "offset"),
    ({"at": "2999-01-01"}, "BAD_INPUT", "at", "ahead of the clock"),
]


@pytest.mark.parametrize(("given", "code", "field", "says"), BAD, ids=lambda it: str(it)[:40])
async def test_a_bad_entity_is_refused_and_nothing_is_written(
    typed: Api, given: dict[str, Any], code: str, field: str, says: str
) -> None:
    answer = await typed(CREATE_ENTITY, input={"type": "PERSON", "displayName": "Ann", **given})
    assert answer.code_and_field == (code, field)
    assert says in answer.error["message"]
    assert await names(typed) == []


async def test_a_bad_update_names_the_field_at_fault(typed: Api) -> None:
    uid = (await typed.create(details={"note": "x"}))["uid"]
    assert (await typed.change(uid, displayName=None)).code_and_field == ("BAD_INPUT", "displayName")
    assert (
        await typed(
            "mutation ($uid: UUID!) { updateEntity(input: { entity: { uid: $uid }, details: null }) { changed } }", uid=uid
        )
    ).code_and_field == (
        "BAD_INPUT",
        "details",
    )
    assert (await typed.change(uid, details={"email": "no"})).code_and_field == ("BAD_INPUT", "details")
    assert (await typed.change(uid, removeDetails=["shoe"])).code_and_field == ("BAD_INPUT", "removeDetails")
    assert (await typed.change(uid, details={"note": "y"}, removeDetails=["note"])).code_and_field == (
        "BAD_INPUT",
        "removeDetails",
    )
    assert (await typed.change(str(uuid4()), displayName="x")).code_and_field == ("NOT_FOUND", "entity")
    assert (await typed.change(uid, displayName="x", at=day(-1))).code_and_field[0] == "NOT_FOUND"
    assert await state_at(typed, uid) == ("Ann", {"note": "x"})


async def test_a_bad_query_names_the_field_at_fault(typed: Api) -> None:
    for query, fault in (
        ("{ entity { id } }", ("BAD_INPUT", "ref")),
        (f'{{ entity(ref: {{ uid: "{uuid4()}", key: {{ type: "PERSON", key: "1" }} }}) {{ id }} }}', ("BAD_INPUT", "ref")),
        ("{ product { id } }", ("BAD_INPUT", "name")),
        (f'{{ product(uid: "{uuid4()}", name: "x") {{ id }} }}', ("BAD_INPUT", "uid")),
        ('{ entities(search: " ") { totalCount } }', ("BAD_INPUT", "search")),
        ('{ changes(from: "2026-01-01") { totalCount } }', ("BAD_INPUT", "to")),
        ('{ entities(filter: { details: [{ type: "shoe" }] }) { totalCount } }', ("BAD_INPUT", "details.type")),
        ('{ entities(filter: { details: [{ type: "height", from: "x" }] }) { totalCount } }', ("BAD_INPUT", "from")),
        ('{ entities(filter: { details: [{ type: "born", to: "2000" }] }) { totalCount } }', ("BAD_INPUT", "to")),
        ('{ entities(filter: { details: [{ type: "note", contains: "" }] }) { totalCount } }', ("BAD_INPUT", "contains")),
        ("{ entities(first: 101) { totalCount } }", ("LIMIT_EXCEEDED", "first")),
    ):
        assert (await typed(query)).code_and_field == fault, query


async def test_a_value_that_two_fields_load_survives_the_cancellation_of_one(api: Api) -> None:
    await api.put_types()
    await api.create("Ann", key="1")
    await api.create("Bo", key="2")
    query = """{
      gone: entity(ref: { key: { type: "PERSON", key: "1" } }) { type { label } history(first: 100000) { totalCount } }
      there: entity(ref: { key: { type: "PERSON", key: "2" } }) { type { label } }
    }"""
    answer = await api(query)
    assert answer.body["data"] == {"gone": None, "there": {"type": {"label": "Person"}}}
    assert answer.code_and_field == ("LIMIT_EXCEEDED", "first")


async def test_a_type_of_details_that_cannot_be_stored_is_bad_input(typed: Api) -> None:
    uid = (await typed.create(details={"note": "x"}))["uid"]
    query = "query ($uid: UUID!, $types: [String!]!) { entity(ref: { uid: $uid }) { details(types: $types) { value } } }"
    assert (await typed(query, uid=uid, types=["note", "\0"])).code_and_field == ("BAD_INPUT", "types")
    assert (await typed(query, uid=uid, types=["note", "none"])).data["entity"] == {"details": [{"value": "x"}]}
