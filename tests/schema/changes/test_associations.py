"""Changes and differences of lineage links and relationships through the API."""

from typing import Any
from uuid import UUID

import pytest

from db.assets import asset, product
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.associations.relationship import RelationshipState
from db.author import Author
from db.connection import WriteConnection
from db.temporal.kinds import PRODUCT
from tests.builders import Api, day, iso, product_fields
from tests.schema.changes.test_changes import between

pytestmark = [pytest.mark.api, pytest.mark.temporal]

SUBJECT = """
  __typename
  ... on LineageLink { id type confidence source { id label } target { label } validFrom validTo }
  ... on Relationship { id relationshipType: type { key } attributes origin { label } related { label } validFrom validTo }
  ... on Asset { id label }
"""
CHANGES = """
  query ($from: DateTime!, $to: DateTime!, $subjects: [SubjectKind!]!, $filter: ChangeFilter, $first: Int) {
    changes(from: $from, to: $to, subjects: $subjects, filter: $filter, first: $first) {
      nodes {
        id kind subjectKind uid at actor requestId asset { id } before { id } fields { field before after }
        subject { SUBJECT } subjectBefore { SUBJECT }
      }
      totalCount
    }
  }
""".replace("SUBJECT", SUBJECT)
DIFF = """
  query ($from: DateTime!, $to: DateTime!, $subjects: [SubjectKind!]!, $filter: ChangeFilter, $first: Int) {
    diff(from: $from, to: $to, subjects: $subjects, filter: $filter, first: $first) {
      nodes {
        kind subjectKind uid before { id } after { id } fields { field before after }
        subject { SUBJECT } subjectBefore { SUBJECT }
      }
      totalCount
    }
  }
""".replace("SUBJECT", SUBJECT)

WINDOW = between(day(-1), day(100))
LINKS = ["LINEAGE_LINK"]
EVERYTHING = ["PRODUCT", "ENTITY", "LINEAGE_LINK", "RELATIONSHIP"]

RAW, CLEAN, ANN = AssetRef(product="raw"), AssetRef(product="clean"), AssetRef(type="PERSON", key="ann")


async def changes(api: Api, subjects: list[str] = LINKS, **arguments: Any) -> list[dict[str, Any]]:
    found = (await api(CHANGES, **{**WINDOW, "subjects": subjects, **arguments})).data["changes"]
    assert found["totalCount"] == len(found["nodes"])
    return list(found["nodes"])


async def differences(api: Api, subjects: list[str] = LINKS, **arguments: Any) -> list[dict[str, Any]]:
    found = (await api(DIFF, **{**WINDOW, "subjects": subjects, **arguments})).data["diff"]
    assert found["totalCount"] == len(found["nodes"])
    return list(found["nodes"])


def short(found: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(it["kind"], it["at"][5:10], it["actor"], it["requestId"]) for it in found]


async def link(connection: WriteConnection, at: float, **fields: Any) -> None:
    await lineage_link.register(connection, RAW, CLEAN, None, fields, at=day(at))


async def relate(connection: WriteConnection, at: float, **attributes: Any) -> None:
    await relationship.relate(connection, RelationshipState("steward", RAW, ANN, {"attributes": attributes}, day(at)))


@pytest.fixture
async def shop(api: Api) -> Api:
    """Write two products, a link and a relationship, as several actors: one end is deleted and restored, the link is removed."""
    await api.put_types()
    await api.put_relationship_type()
    await api.create("Ann", key="ann")

    def author(name: str) -> Any:
        return api.database.transaction(1, Author(name, f"by {name}"))

    async with author("ann") as connection:
        await product.register(connection, product_fields("raw"), at=day(0))
        await product.register(connection, product_fields("clean", domain="web"), at=day(0))
    async with author("bob") as connection:
        await link(connection, 1, confidence=0.5)
        await relate(connection, 1, since="May")
    async with author("carl") as connection:
        await link(connection, 2, type="DERIVED", confidence=0.5)
    async with author("dora") as connection:
        (row,) = await product.products_by_name(connection, ["clean"], day(3))
        assert row
        await asset.delete(connection, PRODUCT, row.uid, at=day(4))
    async with author("emil") as connection:
        await asset.restore(connection, PRODUCT, row.uid, at=day(6))
    async with author("fred") as connection:
        await lineage_link.remove(connection, await link_uid(api), at=day(8))
    return api


async def link_uid(api: Api) -> UUID:
    found = await api("query ($at: DateTime!) { lineageLinks(asOf: $at) { nodes { uid } } }", at=iso(day(2)))
    return UUID(found.data["lineageLinks"]["nodes"][0]["uid"])


async def test_changes_of_a_link_name_who_began_changed_and_ended_it(shop: Api) -> None:
    found = await changes(shop)
    assert short(found) == [
        ("CREATED", "01-02", "bob", "by bob"),
        ("UPDATED", "01-03", "carl", "by carl"),
        # with its target
        ("DELETED", "01-05", "dora", "by dora"),
        ("RESTORED", "01-07", "emil", "by emil"),
        ("DELETED", "01-09", "fred", "by fred"),
    ]
    assert {it["subjectKind"] for it in found} == {"LINEAGE_LINK"}
    assert all(it["asset"] is None and it["before"] is None for it in found)
    created, updated, deleted, restored, removed = found
    assert created["id"] == f"RecordedChange:{created['uid']}@{iso(day(1))}"
    assert (created["subjectBefore"], deleted["subject"], removed["subject"]) == (None, None, None)
    assert created["subject"] == {
        "__typename": "LineageLink",
        "id": f"LineageLink:{created['uid']}@{iso(day(1))}",
        "type": "DIRECT",
        "confidence": 0.5,
        "source": {"id": created["subject"]["source"]["id"], "label": "raw"},
        "target": {"label": "clean"},
        "validFrom": iso(day(1)),
        "validTo": iso(day(2)),
    }
    assert created["subject"]["source"]["id"].endswith(f"@{iso(day(1))}")
    assert updated["fields"] == [{"field": "type", "before": "DIRECT", "after": "DERIVED"}]
    assert (updated["subjectBefore"], updated["subject"]["type"]) == (created["subject"], "DERIVED")
    assert (deleted["subjectBefore"], restored["subjectBefore"]) == (updated["subject"], None)
    assert [it["field"] for it in deleted["fields"]] == ["type", "confidence", "metadata"]
    assert removed["subjectBefore"]["validFrom"] == iso(day(6))


async def test_all_subjects_are_in_one_order_and_assets_are_the_default(shop: Api) -> None:
    found = await changes(shop, EVERYTHING)
    assert [(it["at"][5:10], it["subjectKind"], it["kind"]) for it in found][3:] == [
        ("01-02", "LINEAGE_LINK", "CREATED"),
        ("01-02", "RELATIONSHIP", "CREATED"),
        ("01-03", "LINEAGE_LINK", "UPDATED"),
        ("01-05", "PRODUCT", "DELETED"),
        ("01-05", "LINEAGE_LINK", "DELETED"),
        ("01-07", "PRODUCT", "RESTORED"),
        ("01-07", "LINEAGE_LINK", "RESTORED"),
        ("01-09", "LINEAGE_LINK", "DELETED"),
    ]
    assert all(it["subject"] is None or it["asset"] is None or it["asset"]["id"] == it["subject"]["id"] for it in found)
    (steward,) = [it for it in found if it["subjectKind"] == "RELATIONSHIP"]
    assert steward["fields"] == [{"field": "attributes", "before": None, "after": {"since": "May"}}]
    assert steward["subject"] | {"id": ""} == {
        "__typename": "Relationship",
        "id": "",
        "relationshipType": {"key": "steward"},
        "attributes": {"since": "May"},
        "origin": {"label": "raw"},
        "related": {"label": "Ann"},
        "validFrom": iso(day(1)),
        "validTo": None,
    }
    defaults = "query ($from: DateTime!, $to: DateTime!) { changes(from: $from, to: $to) { nodes { id subjectKind } } }"
    listed = (await shop(defaults, **WINDOW)).data["changes"]["nodes"]
    assert listed == [{"id": it["id"], "subjectKind": it["subjectKind"]} for it in found if it["asset"] or it["before"]]


async def test_pages_of_all_subjects_in_both_directions_return_everything_once(shop: Api) -> None:
    page = """
      query ($from: DateTime!, $to: DateTime!, $subjects: [SubjectKind!]!, $first: Int, $after: String, $last: Int,
        $before: String) { %s(
          from: $from, to: $to, subjects: $subjects, first: $first, after: $after, last: $last, before: $before
        ) { nodes { uid kind } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }
      }
    """
    for name, window in (("changes", WINDOW), ("diff", between(day(0.5), day(7)))):
        whole = (await shop(page % name, **window, subjects=EVERYTHING)).data[name]["nodes"]
        assert len(whole) == {"changes": 11, "diff": 2}[name]
        for size in (1, 2, 3):
            forward: list[Any] = []
            after = None
            while after is not None or not forward:
                found = (await shop(page % name, **window, subjects=EVERYTHING, first=size, after=after)).data[name]
                forward += found["nodes"]
                after = found["pageInfo"]["endCursor"] if found["pageInfo"]["hasNextPage"] else None
            backward: list[Any] = []
            before = None
            while before is not None or not backward:
                found = (await shop(page % name, **window, subjects=EVERYTHING, last=size, before=before)).data[name]
                backward = found["nodes"] + backward
                before = found["pageInfo"]["startCursor"] if found["pageInfo"]["hasPreviousPage"] else None
            assert forward == backward == whole


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kinds": ["DELETED"]}, ["dora", "fred"]),
        ({"kinds": ["CREATED", "RESTORED"]}, ["bob", "emil"]),
        ({"assets": [{"product": "raw"}]}, ["bob", "carl", "dora", "emil", "fred"]),
        ({"assets": [{"entity": {"type": "PERSON", "key": "ann"}}]}, []),
        ({"linkTypes": ["DIRECT"]}, ["bob", "carl"]),
        ({"linkTypes": ["DERIVED"]}, ["carl", "dora", "emil", "fred"]),
        ({"linkTypes": ["AGGREGATED"]}, []),
        ({"entityTypes": ["PERSON"]}, []),
        ({"relationshipTypes": ["steward"]}, []),
        ({"relationshipTypes": ["steward"], "linkTypes": ["DIRECT"]}, ["bob", "carl"]),
        ({"domains": ["web"]}, ["bob", "carl", "dora", "emil", "fred"]),
        ({"domains": ["people"]}, []),
        ({"actors": ["dora", "bob"]}, ["bob", "dora"]),
        ({"requests": ["by emil", "by nobody"]}, ["emil"]),
        ({"kinds": ["DELETED"], "actors": ["fred"], "domains": ["web"], "assets": [{"product": "clean"}]}, ["fred"]),
    ],
)
async def test_filters_select_changes_of_links(shop: Api, given: dict[str, Any], expected: list[str]) -> None:
    assert [it["actor"] for it in await changes(shop, filter=given)] == expected


async def test_filters_select_changes_of_relationships_and_of_entities(shop: Api) -> None:
    kinds = ["ENTITY", "RELATIONSHIP"]
    for given, expected in (
        ({"relationshipTypes": ["PRODUCT steward PERSON"]}, ["RELATIONSHIP"]),
        ({"entityTypes": ["PERSON"]}, ["ENTITY"]),
        ({"entityTypes": ["PERSON"], "relationshipTypes": ["steward"]}, kinds),
        ({"domains": ["people"]}, kinds),
        ({"assets": [{"entity": {"type": "PERSON", "key": "ann"}}]}, kinds),
        ({"assets": [{"product": "clean"}]}, []),
        ({"entityTypes": ["TABLE"]}, []),
    ):
        assert [it["subjectKind"] for it in await changes(shop, kinds, filter=given)] == expected, given


async def test_an_unknown_type_in_a_filter_is_an_error_that_lists_the_known_ones(shop: Api) -> None:
    for given, named in (({"entityTypes": ["PERSN"]}, "PERSON"), ({"relationshipTypes": ["stewrd"]}, "steward")):
        for query in (CHANGES, DIFF):
            answer = await shop(query, **WINDOW, subjects=LINKS, filter=given)
            assert answer.code_and_field == ("BAD_INPUT", next(iter(given)))
            assert named in answer.error["message"]


async def test_a_name_in_a_filter_means_the_product_at_the_end_of_the_window_or_else_at_its_start(shop: Api) -> None:
    # deleted at the end of the window
    window = between(day(1.5), day(5))
    given = {"assets": [{"product": "clean"}]}
    assert short(await changes(shop, filter=given, **window)) == [
        ("UPDATED", "01-03", "carl", "by carl"),
        ("DELETED", "01-05", "dora", "by dora"),
    ]
    answer = await shop(CHANGES, **between(day(4.5), day(5)), subjects=LINKS, filter=given)
    assert answer.code_and_field == ("NOT_FOUND", "assets")
    assert answer.error["message"] == (
        "There is no product named 'clean', neither at 2026-01-05T23:59:59.999999Z nor at 2026-01-05T12:00:00Z."
    )


async def test_a_difference_of_links_compares_what_was_effective(shop: Api) -> None:
    (removed,) = await differences(shop, **between(day(3), day(5)))
    assert (removed["kind"], removed["subject"], removed["after"], removed["before"]) == ("REMOVED", None, None, None)
    assert (removed["subjectBefore"]["validTo"], removed["subjectBefore"]["type"]) == (iso(day(4)), "DERIVED")
    assert removed["subjectBefore"]["id"].endswith(f"@{iso(day(3))}")
    (added,) = await differences(shop, **between(day(5), day(7)))
    assert (added["kind"], added["subject"]["validFrom"], added["subjectBefore"]) == ("ADDED", iso(day(6)), None)
    (changed,) = await differences(shop, **between(day(1), day(7)))
    assert (changed["kind"], changed["fields"]) == ("CHANGED", [{"field": "type", "before": "DIRECT", "after": "DERIVED"}])
    assert await differences(shop, **between(day(3), day(7))) == []
    for given, count in (
        ({"actors": ["dora"]}, 1),
        ({"actors": ["emil"]}, 0),
        ({"requests": ["by dora"]}, 1),
        ({"linkTypes": ["DERIVED"]}, 1),
        ({"linkTypes": ["DIRECT"]}, 0),
        ({"domains": ["web"]}, 1),
        ({"domains": ["people"]}, 0),
        ({"assets": [{"product": "raw"}]}, 1),
        ({"kinds": ["CREATED"]}, 0),
    ):
        assert len(await differences(shop, **between(day(3), day(5)), filter=given)) == count, given


async def test_changes_of_a_lineage_are_those_of_what_its_walk_reaches_in_the_window(shop: Api) -> None:
    async with shop.database.transaction(1, Author("gina")) as connection:
        for number, name in enumerate(("report", "copy", "aside")):
            await product.register(connection, product_fields(name), at=day(0))
            await lineage_link.register(
                connection, AssetRef(product=("clean", "report", "raw")[number]), AssetRef(product=name), None, {}, at=day(10)
            )
        await lineage_link.remove(connection, await link_uid(shop), at=day(9))

    def of(name: str, direction: str = "DOWNSTREAM", **more: Any) -> dict[str, Any]:
        return {"lineageOf": {"asset": {"product": name}, "direction": direction, **more}}

    async def reached(since: float, until: float, filter_: dict[str, Any]) -> list[str]:
        found = await changes(shop, EVERYTHING, filter=filter_, **between(day(since), day(until)))
        return [f"{it['kind']} {label_of(it['subject'] or it['subjectBefore'])}" for it in found]

    def label_of(subject: dict[str, Any]) -> str:
        return subject.get("label") or f"{subject['source']['label']}-{subject['target']['label']}"

    # while the link of raw and clean is gone, clean is not in the lineage of raw
    assert await reached(4.5, 5.5, of("raw")) == []
    assert await reached(1.5, 4.5, of("raw")) == ["UPDATED raw-clean", "DELETED clean", "DELETED raw-clean"]
    # what a change at the start of the window ends
    assert await reached(4, 4.5, of("raw")) == ["DELETED clean", "DELETED raw-clean"]
    assert await reached(9.5, 11, of("raw")) == ["CREATED raw-aside"]
    assert await reached(9.5, 11, of("clean")) == ["CREATED clean-report", "CREATED report-copy"]
    assert await reached(9.5, 11, of("clean", maxDepth=1)) == ["CREATED clean-report"]
    assert await reached(9.5, 11, of("copy", "UPSTREAM")) == ["CREATED clean-report", "CREATED report-copy"]
    assert await reached(9.5, 11, of("copy", "UPSTREAM") | {"kinds": ["DELETED"]}) == []
    window = between(day(3), day(5))
    assert [it["subjectKind"] for it in await differences(shop, EVERYTHING, filter=of("raw"), **window)] == [
        "PRODUCT",
        "LINEAGE_LINK",
    ]
    for given, fault in (
        (of("nothing"), ("NOT_FOUND", "lineageOf.asset")),
        (of("raw", maxDepth=0), ("BAD_INPUT", "maxDepth")),
        (of("raw", maxDepth=10_000), ("LIMIT_EXCEEDED", "maxDepth")),
        (of("raw", "SIDEWAYS"), ("BAD_INPUT", "direction")),
    ):
        for query in (CHANGES, DIFF):
            assert (await shop(query, **WINDOW, subjects=LINKS, filter=given)).code_and_field == fault, given


@pytest.mark.parametrize("query", [CHANGES, DIFF])
async def test_ends_of_all_links_and_relationships_of_a_page_take_one_statement(shop: Api, query: str) -> None:
    name = "changes" if query is CHANGES else "diff"
    async with shop.database.transaction(1, Author("bulk")) as connection:
        for number in range(30):
            await product.register(connection, product_fields(f"p{number}"), at=day(10))
            target = AssetRef(product=f"p{number}")
            await lineage_link.register(connection, RAW, target, None, {}, at=day(11))
            await relationship.relate(connection, RelationshipState("steward", target, ANN, {"attributes": {}}, day(11)))
    window = between(day(10.5), day(12))
    # the changes and their count, the ends, and the types of relationships if the page has any
    for first, statements in ((2, 3), (60, 4)):
        shop.statements.clear()
        answer = await shop(query, **window, subjects=["LINEAGE_LINK", "RELATIONSHIP"], first=first)
        assert len(answer.data[name]["nodes"]) == first
        assert len(shop.statements) == statements
    shop.statements.clear()
    await shop(
        f"query ($from: DateTime!, $to: DateTime!) {{ {name}(from: $from, to: $to, subjects: LINEAGE_LINK) {{"
        " nodes { uid kind fields { field } } } }",
        **window,
    )
    assert len(shop.statements) == 1
