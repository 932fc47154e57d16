"""Changes and differences through the API."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from db.assets import product
from db.assets.reference import AssetRef
from db.author import Author
from tests.builders import DELETE, DELETE_ENTITY, REGISTER, RESTORE, UPDATE, Api, day, iso, product_fields

pytestmark = [pytest.mark.api, pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)
NOBODY = "00000000-0000-4000-8000-000000000000"
# fields of the filter, and subjects, that may be an empty list
EMPTY = ("kinds", "assets", "subjects", "entityTypes", "relationshipTypes", "linkTypes", "domains", "actors", "requests")

CHANGES = """
  query (
    $from: DateTime!, $to: DateTime!, $subjects: [SubjectKind!]! = [PRODUCT, ENTITY], $filter: ChangeFilter,
    $first: Int, $after: String, $last: Int, $before: String
  ) {
    changes(
      from: $from, to: $to, subjects: $subjects, filter: $filter, first: $first, after: $after, last: $last, before: $before
    ) {
      edges { cursor node { id cursor } }
      nodes {
        id cursor kind uid at recordedAt actor requestId
        asset { id label asOf validFrom validTo createdAt }
        fields { field before after }
      }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      totalCount
    }
  }
"""
DIFF = """
  query (
    $from: DateTime!, $to: DateTime!, $subjects: [SubjectKind!]! = [PRODUCT, ENTITY], $filter: ChangeFilter,
    $first: Int, $after: String, $last: Int, $before: String
  ) {
    diff(
      from: $from, to: $to, subjects: $subjects, filter: $filter, first: $first, after: $after, last: $last, before: $before
    ) {
      edges { cursor }
      nodes {
        kind uid
        before { __typename id label asOf validFrom validTo }
        after { __typename id label asOf validFrom validTo }
        fields { field before after }
      }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      totalCount
    }
  }
"""


def between(since: datetime, until: datetime) -> dict[str, Any]:
    return {"from": iso(since), "to": iso(until)}


WINDOW = between(day(-1), day(100))


async def changes(api: Api, **arguments: Any) -> list[dict[str, Any]]:
    found = (await api(CHANGES, **{**WINDOW, **arguments})).data["changes"]
    assert [it["node"] for it in found["edges"]] == [{"id": it["id"], "cursor": it["cursor"]} for it in found["nodes"]]
    assert [it["cursor"] for it in found["edges"]] == [it["cursor"] for it in found["nodes"]]
    return list(found["nodes"])


async def differences(api: Api, **arguments: Any) -> list[dict[str, Any]]:
    found = (await api(DIFF, **{**WINDOW, **arguments})).data["diff"]
    assert len(found["edges"]) == len(found["nodes"])
    return list(found["nodes"])


async def summary(api: Api, **filters: Any) -> list[str]:
    """Return each change as a short text."""
    subjects = {"subjects": filters.pop("subjects")} if "subjects" in filters else {}
    found = await changes(api, filter=filters, **subjects)
    return [f"{it['kind']} {it['asset']['label']}" if it["asset"] else it["kind"] for it in found]


async def full_history(api: Api) -> dict[str, Any]:
    """Register a product, and change, delete and restore it."""
    made = await api.register(description="all of them")
    await api.update("orders", at=day(10), owner="bob", tags=["core"])
    await api(DELETE, input={"product": {"uid": made["uid"]}, "at": iso(day(20))})
    await api(RESTORE, input={"product": {"uid": made["uid"]}, "at": iso(day(30))})
    return made


async def test_a_history_is_a_list_of_changes(api: Api) -> None:
    uid = (await full_history(api))["uid"]
    created, updated, deleted, restored = await changes(api)
    whole = {
        "name": "orders",
        "domain": "sales",
        "owner": "ann",
        "description": "all of them",
        "schema": {"fields": []},
        "status": "ACTIVE",
        "version": "1.0.0",
        "tags": [],
    }
    assert created["fields"] == [{"field": name, "before": None, "after": value} for name, value in whole.items()]
    assert updated["fields"] == [
        {"field": "owner", "before": "ann", "after": "bob"},
        {"field": "tags", "before": [], "after": ["core"]},
    ]
    then = {**whole, "owner": "bob", "tags": ["core"]}
    assert deleted["fields"] == [{"field": name, "before": value, "after": None} for name, value in then.items()]
    assert restored["fields"] == [{"field": name, "before": None, "after": value} for name, value in then.items()]
    assert [it["kind"] for it in (created, updated, deleted, restored)] == ["CREATED", "UPDATED", "DELETED", "RESTORED"]
    for change, number in ((created, 0), (updated, 10), (deleted, 20), (restored, 30)):
        at = iso(day(number))
        assert (change["id"], change["uid"], change["at"], change["actor"]) == (
            f"RecordedChange:{uid}@{at}",
            uid,
            at,
            "anonymous",
        )
        assert change["recordedAt"] > iso(day(100))
        if change is not deleted:
            assert (change["asset"]["id"], change["asset"]["asOf"]) == (f"Product:{uid}@{at}", at)
            assert (change["asset"]["validFrom"], change["asset"]["createdAt"]) == (at, iso(day(0)))
    assert (updated["asset"]["validTo"], restored["asset"]["validTo"], deleted["asset"]) == (iso(day(20)), None, None)


async def test_the_id_of_the_asset_of_a_change_returns_that_asset(api: Api) -> None:
    await full_history(api)
    read = "query ($id: ID!) { node(id: $id) { ... on Asset { id label asOf validFrom validTo createdAt } } }"
    for change in await changes(api):
        if change["asset"]:
            assert (await api(read, id=change["asset"]["id"])).data["node"] == change["asset"]


async def test_a_change_has_the_id_of_its_request(api: Api) -> None:
    await api(REGISTER, headers={"X-Request-ID": "one"}, input=product_fields(at=iso(day(0))))
    for request, owner in (("two", "bob"), ("three", "carl"), ("four", "carl")):
        given = {"product": {"name": "orders"}, "owner": owner, "domain": "sales", "at": iso(day(1))}
        await api(UPDATE, headers={"X-Request-ID": request}, input=given)
    # several writes for one instant are one change, by the last that changed anything
    assert [(it["requestId"], it["kind"]) for it in await changes(api)] == [("one", "CREATED"), ("three", "UPDATED")]


async def test_writes_without_effect_are_no_changes_and_out_of_order_ones_are_listed_at_their_instant(api: Api) -> None:
    await api.register(owner="ann")
    await api.update("orders", owner="ann", at=day(5))
    await api.update("orders", owner="carl", at=day(20))
    await api.update("orders", owner="bob", at=day(10))
    found = await changes(api)
    assert [it["at"] for it in found] == [iso(day(0)), iso(day(10)), iso(day(20))]
    assert [it["fields"] for it in found[1:]] == [
        [{"field": "owner", "before": "ann", "after": "bob"}],
        [{"field": "owner", "before": "bob", "after": "carl"}],
    ]
    assert found[1]["recordedAt"] > found[2]["recordedAt"]
    # a later write may remove a change
    await api.update("orders", owner="carl", at=day(10))
    assert [it["at"] for it in await changes(api)] == [iso(day(0)), iso(day(10))]


async def test_several_deletions_at_one_instant_are_one_change(api: Api) -> None:
    uid = (await api.register())["uid"]
    end = {"product": {"uid": uid}, "at": iso(day(5))}
    for mutation in (DELETE, RESTORE, DELETE):
        assert "errors" not in (await api(mutation, input=end)).body
    assert [it["kind"] for it in await changes(api)] == ["CREATED", "DELETED"]
    assert (await api(CHANGES, **WINDOW)).data["changes"]["totalCount"] == 2
    assert (await api(RESTORE, input=end)).data["restoreProduct"]["changed"]
    assert [it["kind"] for it in await changes(api)] == ["CREATED"]


async def test_the_window_includes_its_start_and_excludes_its_end(api: Api) -> None:
    await full_history(api)
    for since, until, kinds in (
        (day(0), day(30), ["CREATED", "UPDATED", "DELETED"]),
        (day(0) + MICROSECOND, day(30) + MICROSECOND, ["UPDATED", "DELETED", "RESTORED"]),
        (day(20), day(20) + MICROSECOND, ["DELETED"]),
        (day(21), day(30), []),
    ):
        assert [it["kind"] for it in await changes(api, **between(since, until))] == kinds


@pytest.fixture
async def several(api: Api) -> Api:
    """Write two products and an entity, as several actors."""
    await api.put_types()
    async with api.database.transaction(1, Author("ann")) as connection:
        await product.register(connection, product_fields("orders"), at=day(0))
    async with api.database.transaction(1, Author("bob")) as connection:
        await product.update(connection, AssetRef(product="orders"), {"owner": "bob"}, at=day(5))
        await product.register(connection, product_fields("stock"), at=day(2))
    entity = await api.create("Ann", details={"email": "ann@shop.example", "note": "new"}, at=iso(day(1)))
    await api.change(entity["uid"], details={"email": "ann@home.example"}, removeDetails=["note"], displayName="Anna", at=day(3))
    await api(DELETE_ENTITY, input={"entity": {"uid": entity["uid"]}, "at": iso(day(4))})
    return api


async def uid_of(api: Api, name: str) -> str:
    found: str = (await api("query ($name: String!) { product(name: $name) { uid } }", name=name)).data["product"]["uid"]
    return found


async def test_filters_combine_and_an_empty_one_matches_nothing(several: Api) -> None:
    orders, stock = await uid_of(several, "orders"), await uid_of(several, "stock")
    everything = ["CREATED orders", "CREATED Ann", "CREATED stock", "UPDATED Anna", "DELETED", "UPDATED orders"]
    narrowings: list[tuple[dict[str, Any], list[str]]] = [
        ({}, everything),
        ({"kinds": ["DELETED", "UPDATED"]}, ["UPDATED Anna", "DELETED", "UPDATED orders"]),
        ({"kinds": ["RESTORED"]}, []),
        ({"assets": [{"uid": orders}]}, ["CREATED orders", "UPDATED orders"]),
        ({"assets": [{"product": "orders"}, {"uid": stock}], "kinds": ["CREATED"]}, ["CREATED orders", "CREATED stock"]),
        ({"subjects": ["ENTITY"]}, ["CREATED Ann", "UPDATED Anna", "DELETED"]),
        ({"subjects": ["ENTITY", "PRODUCT", "ENTITY"]}, everything),
        ({"subjects": ["ENTITY"], "assets": [{"uid": orders}]}, []),
        ({"actors": ["bob"]}, ["CREATED stock", "UPDATED orders"]),
        ({"actors": ["ann", "bob"], "assets": [{"uid": orders}]}, ["CREATED orders", "UPDATED orders"]),
        ({"actors": ["nobody"]}, []),
        ({"actors": None, "kinds": None, "assets": None, "entityTypes": None}, everything),
        *(({part: []}, []) for part in EMPTY),
    ]
    for narrowed, expected in narrowings:
        assert await summary(several, **narrowed) == expected


async def test_changes_of_an_entity_are_listed_by_detail(several: Api) -> None:
    _, updated, deleted = await changes(several, subjects=["ENTITY"])
    assert updated["fields"] == [
        {"field": "displayName", "before": "Ann", "after": "Anna"},
        {"field": "details.email", "before": "ann@shop.example", "after": "ann@home.example"},
        {"field": "details.note", "before": "new", "after": None},
    ]
    assert updated["asset"]["id"] == f"Entity:{updated['uid']}@{iso(day(3))}"
    assert [it["field"] for it in deleted["fields"]] == ["displayName", "details.email", "keys"]


async def test_versions_and_changes_use_the_same_field_names(several: Api) -> None:
    (created, *_) = await changes(several, subjects=["ENTITY"])
    history = """
      query ($uid: UUID!, $asOf: DateTime) {
        entity(ref: { uid: $uid }, asOf: $asOf) { history(last: 1) { nodes { changed { field before after } } } }
      }
    """
    found = (await several(history, uid=created["uid"], asOf=iso(day(2)))).data["entity"]["history"]["nodes"]
    assert [it["field"] for it in found[0]["changed"]] == ["displayName", "details.email", "details.note"]


async def filled(api: Api) -> None:
    """Write changes of which several share an instant."""
    for number in range(5):
        await api.register(f"p{number}", at=iso(day(number // 2)))
    for number in (3, 1, 4):
        await api.update(f"p{number}", owner="bob", at=day(2))
    await api(DELETE, input={"product": {"uid": await uid_of(api, "p0")}, "at": iso(day(2))})


@pytest.mark.parametrize(("query", "name", "size"), [(CHANGES, "changes", 8), (DIFF, "diff", 4)])
async def test_pages_in_both_directions_return_everything_once_in_order(api: Api, query: str, name: str, size: int) -> None:
    await filled(api)
    whole = (await api(query, **WINDOW)).data[name]
    assert (len(whole["nodes"]), whole["totalCount"]) == (size, size)
    for count in (1, 2, 3, size):
        for forward in (True, False):
            assert await all_pages(api, query, name, count, forward=forward) == whole["nodes"]
    edges = [it["cursor"] for it in whole["edges"]]
    inside = {"after": edges[0], "before": edges[3]}
    assert (await api(query, **WINDOW, first=1, **inside)).data[name]["nodes"] == whole["nodes"][1:2]
    assert (await api(query, **WINDOW, last=1, **inside)).data[name]["nodes"] == whole["nodes"][2:3]


async def all_pages(api: Api, query: str, name: str, size: int, *, forward: bool) -> list[dict[str, Any]]:
    """Fetch all pages, one after the other."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        turn: dict[str, Any] = {"first": size, "after": cursor} if forward else {"last": size, "before": cursor}
        page = (await api(query, **WINDOW, **turn)).data[name]
        found = found + page["nodes"] if forward else page["nodes"] + found
        info = page["pageInfo"]
        assert info["hasPreviousPage" if forward else "hasNextPage"] == (cursor is not None)
        if not info["hasNextPage" if forward else "hasPreviousPage"]:
            return found
        cursor = info["endCursor" if forward else "startCursor"]


@pytest.mark.parametrize(("name", "side"), [("changes", "asset"), ("diff", "before"), ("diff", "after")])
async def test_a_page_costs_one_statement_and_its_total_count_another(several: Api, name: str, side: str) -> None:
    for number in range(50):
        await several.register(f"p{number:02}", at=iso(day(6)))
    window = "query ($from: DateTime!, $to: DateTime!, $first: Int)"
    nodes = f"nodes {{ uid kind fields {{ field }} {side} {{ id label ... on Product {{ owner domain {{ name }} }} }} }}"
    for selected, statements in ((nodes, 1), (f"{nodes} totalCount", 2)):
        query = f"{window} {{ {name}(from: $from, to: $to, first: $first) {{ {selected} }} }}"
        for first in (1, 50):
            several.statements.clear()
            assert len((await several(query, **WINDOW, first=first)).data[name]["nodes"]) == first
            assert len(several.statements) == statements


@pytest.mark.parametrize("query", [CHANGES, DIFF])
@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"to": iso(day(-1))}, ("BAD_INPUT", "to")),
        ({"to": iso(day(-2))}, ("BAD_INPUT", "to")),
        ({"from": "2026-01-01T00:00:00"}, ("BAD_INPUT", "from")),
        ({"to": "yesterday"}, ("BAD_INPUT", "to")),
        ({"to": None}, ("BAD_INPUT", "to")),
        ({"first": 0}, ("BAD_INPUT", "first")),
        ({"first": 1, "last": 1}, ("BAD_INPUT", "last")),
        ({"first": 101}, ("LIMIT_EXCEEDED", "first")),
        ({"after": "rubbish"}, ("BAD_INPUT", "after")),
        ({"filter": {"kinds": ["GONE"]}}, ("BAD_INPUT", "kinds")),
        ({"filter": {"assets": [{"uid": "1"}]}}, ("BAD_INPUT", "uid")),
        ({"filter": {"assets": [{}]}}, ("BAD_INPUT", "assets")),
        ({"filter": {"assets": [{"uid": NOBODY, "product": "orders"}]}}, ("BAD_INPUT", "assets")),
        ({"filter": {"assets": [{"uid": NOBODY}]}}, ("NOT_FOUND", "assets")),
        ({"filter": {"assets": [{"product": "nothing"}]}}, ("NOT_FOUND", "assets")),
        ({"filter": {"entityTypes": ["NONE"]}}, ("BAD_INPUT", "entityTypes")),
        ({"filter": {"relationshipTypes": ["none"]}}, ("BAD_INPUT", "relationshipTypes")),
        ({"filter": {"linkTypes": ["GUESSED"]}}, ("BAD_INPUT", "linkTypes")),
        ({"filter": {"requests": ["a\0b"]}}, ("BAD_INPUT", "requests")),
        ({"filter": {"domains": ["a\0b"]}}, ("BAD_INPUT", "domains")),
        ({"subjects": ["THING"]}, ("BAD_INPUT", "subjects")),
        ({"subjects": None}, ("BAD_INPUT", "subjects")),
        ({"filter": {"actors": ["a\0b"]}}, ("BAD_INPUT", "actors")),
    ],
)
async def test_bad_input_is_refused(api: Api, query: str, given: dict[str, Any], fault: tuple[str, str | None]) -> None:
    assert (await api(query, **{**WINDOW, **given})).code_and_field == fault


async def test_an_empty_window_is_refused(api: Api) -> None:
    answer = await api(CHANGES, **between(day(1), day(1)))
    assert answer.code_and_field == ("BAD_INPUT", "to")
    assert answer.error["message"] == "to is 2026-01-02T00:00:00Z. It must be after from (2026-01-02T00:00:00Z)."


async def test_a_cursor_belongs_to_its_window_and_filter(api: Api) -> None:
    await filled(api)
    for query, name in ((CHANGES, "changes"), (DIFF, "diff")):
        cursor = (await api(query, **WINDOW)).data[name]["pageInfo"]["startCursor"]
        assert "errors" not in (await api(query, **WINDOW, after=cursor)).body
        for other in ({"to": iso(day(99))}, {"filter": {"kinds": ["CREATED"]}}, {"subjects": ["PRODUCT"]}):
            assert (await api(query, **{**WINDOW, **other}, after=cursor)).code_and_field == ("BAD_INPUT", "after")


async def test_a_difference_compares_two_states(several: Api) -> None:
    async def found(since: float, until: float, **filters: Any) -> list[str]:
        subjects = {"subjects": filters.pop("subjects")} if "subjects" in filters else {}
        listed = await differences(several, **between(day(since), day(until)), filter=filters, **subjects)
        sides = [
            (it["kind"], (it["before"] or it["after"])["label"], [field["field"] for field in it["fields"]]) for it in listed
        ]
        return [f"{kind} {label} {' '.join(fields) if kind == 'CHANGED' else len(fields)}" for kind, label, fields in sides]

    everything = ["ADDED orders 7", "ADDED stock 7"]
    assert await found(-1, 100) == everything
    assert await found(-1, 2) == ["ADDED orders 7", "ADDED stock 7", "ADDED Ann 4"]
    # a state is valid at its first instant
    assert await found(-1, 0) == ["ADDED orders 7"]
    assert await found(0, 0.5) == []
    assert await found(2, 3) == ["CHANGED Ann displayName details.email details.note"]
    assert await found(3, 4) == ["REMOVED Anna 3"]
    assert await found(2, 5) == ["CHANGED orders owner", "REMOVED Ann 4"]
    narrowings: list[tuple[dict[str, Any], list[str]]] = [
        ({"kinds": ["UPDATED"]}, ["CHANGED orders owner"]),
        ({"kinds": ["DELETED"]}, ["REMOVED Ann 4"]),
        ({"kinds": ["CREATED", "RESTORED"]}, []),
        ({"subjects": ["ENTITY"]}, ["REMOVED Ann 4"]),
        ({"assets": [{"uid": await uid_of(several, "orders")}]}, ["CHANGED orders owner"]),
        ({"actors": ["bob"]}, ["CHANGED orders owner"]),
        ({"actors": ["ann"]}, []),
        ({"kinds": ["UPDATED", "DELETED"], "subjects": ["PRODUCT"]}, ["CHANGED orders owner"]),
        *(({part: []}, []) for part in EMPTY),
    ]
    for narrowed, expected in narrowings:
        assert await found(2, 5, **narrowed) == expected


async def test_both_assets_of_a_difference_are_pinned_to_their_instants(api: Api) -> None:
    made = await api.register(owner="ann")
    await api.update("orders", name="purchases", at=day(10))
    (difference,) = await differences(api, **between(day(5), day(15)))
    for side, number, label, held in (
        ("before", 5, "orders", (iso(day(0)), iso(day(10)))),
        ("after", 15, "purchases", (iso(day(10)), None)),
    ):
        asset = difference[side]
        assert (asset["id"], asset["asOf"]) == (f"Product:{made['uid']}@{iso(day(number))}", iso(day(number)))
        assert (asset["__typename"], asset["label"], asset["validFrom"], asset["validTo"]) == ("Product", label, *held)
    assert difference["fields"] == [{"field": "name", "before": "orders", "after": "purchases"}]


async def test_a_change_that_was_reverted_is_no_difference(api: Api) -> None:
    made = await full_history(api)
    await api.update("orders", owner="ann", tags=[], at=day(40))
    assert [it["kind"] for it in await changes(api)] == ["CREATED", "UPDATED", "DELETED", "RESTORED", "UPDATED"]
    for since, until in ((0, 40), (5, 100), (10, 30), (20, 29)):
        assert await differences(api, **between(day(since), day(until))) == []
    (removed,) = await differences(api, **between(day(5), day(25)))
    assert (removed["kind"], removed["uid"], removed["after"]) == ("REMOVED", made["uid"], None)
    (added,) = await differences(api, **between(day(25), day(35)))
    assert (added["kind"], added["uid"], added["before"]) == ("ADDED", made["uid"], None)
