"""References in reads: a name or key means the asset that has it at the instant that is read, and in a window the one that has it
last, or else first."""

from typing import Any

import pytest

from tests.builders import DELETE, DELETE_ENTITY, REMOVE_LINEAGE, UPDATE_ENTITY, Api, day, iso

pytestmark = pytest.mark.api


def person(key: str) -> dict[str, Any]:
    return {"entity": {"type": "PERSON", "key": key}}


# From day 5 on, Ann has the key 8 instead of 7.
FORMER, LATER = person("7"), person("8")
ORDERS, SALES = {"product": "orders"}, {"product": "sales"}


@pytest.fixture
async def shop(api: Api) -> Api:
    """A product, what it feeds, and Ann, who feeds it and is its steward. Her key changes."""
    await api.put_types()
    await api.register("orders")
    await api.register("sales")
    await api.create("Ann", key="7")
    await api.put_relationship_type(cardinality="MANY_TO_MANY")
    await api.relate("steward", ORDERS, FORMER, at=day(1))
    await api.link("orders", "sales", at=day(1))
    link = "mutation ($input: RegisterLineageInput!) { registerLineage(input: $input) { changed } }"
    assert (await api(link, input={"source": FORMER, "target": ORDERS, "at": iso(day(1))})).data
    await rekey(api, FORMER["entity"], "8")
    return api


async def rekey(api: Api, entity: dict[str, Any], key: str) -> None:
    change = {"entity": {"key": entity}, "key": key, "at": iso(day(5))}
    assert (await api(UPDATE_ENTITY, input=change)).data["updateEntity"]["changed"]


# Each read names Ann by a reference and finds something, if it is hers: its answer is null or NOT_FOUND otherwise.
READS = {
    "asset": "asset(ref: $ref, asOf: $at) { uid }",
    "lineagePaths from": 'lineagePaths(from: $ref, to: { product: "sales" }, asOf: $at) { paths { confidence } }',
    "lineageLinks source": "lineageLinks(filter: { source: $ref }, asOf: $at) { nodes { uid } }",
    "relationships related": "relationships(filter: { related: $ref }, asOf: $at) { nodes { uid } }",
    "lineageLink": 'lineageLink(ref: { ends: { source: $ref, target: { product: "orders" } } }, asOf: $at) { uid }',
    "relationship": """
      relationship(ref: { ends: { type: "steward", origin: { product: "orders" }, related: $ref } }, asOf: $at) { uid }
    """,
    "lineageDiff": "lineageDiff(of: $ref, direction: DOWNSTREAM, from: $since, to: $at) { to }",
    "lineageBetween": "lineageBetween(of: $ref, direction: DOWNSTREAM, from: $since, to: $at) { totalCount }",
    "changes assets": "changes(from: $since, to: $at, filter: { assets: [$ref] }) { nodes { uid } }",
    "diff assets": "diff(from: $since, to: $at, filter: { assets: [$ref] }) { nodes { uid } }",
    "changes lineageOf": """
      changes(from: $since, to: $at, filter: { lineageOf: { asset: $ref, direction: DOWNSTREAM } }) { nodes { uid } }
    """,
}
NOT_FOUND = {
    "lineageLinks source": "source",
    "relationships related": "related",
    "changes assets": "assets",
    "diff assets": "assets",
    "changes lineageOf": "lineageOf.asset",
}


@pytest.mark.parametrize("read", READS)
async def test_a_key_means_nothing_before_and_after_the_entity_has_it(shop: Api, read: str) -> None:
    declared = "".join(f", ${name}: DateTime!" for name in ("at", "since") if f"${name}" in READS[read])
    query = f"query ($ref: AssetRef!{declared}) {{ {READS[read]} }}"
    for ref, at in ((FORMER, 4), (LATER, 6)):
        ((_, found),) = (await shop(query, ref=ref, at=iso(day(at)), since=iso(day(at - 0.5)))).data.items()
        assert found is not None
    for ref, at in ((FORMER, 6), (LATER, 4)):
        answer = await shop(query, ref=ref, at=iso(day(at)), since=iso(day(at - 0.5)))
        if read in NOT_FOUND:
            assert answer.code_and_field == ("NOT_FOUND", NOT_FOUND[read])
        else:
            assert [*answer.data.values()] == [None]


async def test_a_key_of_a_deleted_entity_means_nothing_and_its_uid_an_asset_without_links(shop: Api) -> None:
    deleted = (await shop(DELETE_ENTITY, input={"entity": {"key": LATER["entity"]}, "at": iso(day(7))})).data["deleteEntity"]
    links = "query ($source: AssetRef!, $at: DateTime!) { lineageLinks(filter: { source: $source }, asOf: $at) { totalCount } }"
    answer = await shop(links, source=LATER, at=iso(day(7)))
    assert answer.code_and_field == ("NOT_FOUND", "source")
    assert answer.error["message"] == f"There is no PERSON with the key '8' at {iso(day(7))}."
    found = (await shop(links, source={"uid": deleted["uid"]}, at=iso(day(7)))).data["lineageLinks"]
    assert found["totalCount"] == 0


WINDOW = """
  query ($of: AssetRef!, $since: DateTime!, $to: DateTime!) {
    lineageBetween(of: $of, direction: DOWNSTREAM, from: $since, to: $to) { nodes { label } }
    changes(from: $since, to: $to, filter: { assets: [$of] }) { nodes { uid } }
    ofLineage: changes(from: $since, to: $to, filter: { lineageOf: { asset: $of, direction: DOWNSTREAM } }) { nodes { uid } }
    lineageDiff(of: $of, direction: DOWNSTREAM, from: $since, to: $to) { addedAssets { label } }
    diff(from: $since, to: $to, filter: { assets: [$of] }) { nodes { uid } }
  }
"""


async def pass_on(api: Api, kind: str) -> tuple[dict[str, Any], str, str]:
    """Pass a name or key from one asset to another at day 5, each of which feeds a product that is named for it and is changed at
    day 3. Return the reference, and the uids of both."""
    await api.put_types()
    for target in ("of first", "of second"):
        await api.register(target)
    link = "mutation ($input: RegisterLineageInput!) { registerLineage(input: $input) { changed } }"
    uids = []
    for name, target in (("first", "of first"), ("second", "of second")):
        if kind == "product":
            uid = (await api.register(name))["uid"]
            assert (await api.update(name, owner="x", at=day(3))).data
        else:
            uid = (await api.create(name, key=name))["uid"]
            assert (await api.change(uid, displayName="x", at=day(3))).data
        assert (await api(link, input={"source": {"uid": uid}, "target": {"product": target}, "at": iso(day(2))})).data
        uids.append(uid)
    if kind == "product":
        assert (await api.update("first", name="third", at=day(5))).data
        assert (await api.update("second", name="first", at=day(5))).data
        return {"product": "first"}, *uids
    for uid, key in zip(uids, ("third", "first"), strict=True):
        assert (await api.change(uid, key=key, at=day(5))).data
    return person("first"), *uids


@pytest.mark.parametrize("kind", ["product", "entity"])
async def test_a_window_that_ends_when_a_name_passes_on_means_the_asset_that_had_it(api: Api, kind: str) -> None:
    """The end is not in a window, so that it means the one that has the name until then. A comparison includes its end."""
    ref, first, second = await pass_on(api, kind)
    found = (await api(WINDOW, of=ref, since=iso(day(1)), to=iso(day(5)))).data
    assert found["lineageBetween"]["nodes"] == [{"label": "of first"}]
    assert {it["uid"] for it in found["changes"]["nodes"]} == {first}
    assert first in {it["uid"] for it in found["ofLineage"]["nodes"]}
    assert second not in {it["uid"] for it in found["ofLineage"]["nodes"]}
    assert found["lineageDiff"]["addedAssets"] == [{"label": "of second"}]
    assert {it["uid"] for it in found["diff"]["nodes"]} == {second}


@pytest.mark.parametrize("kind", ["product", "entity"])
async def test_a_name_that_nobody_has_at_the_end_means_the_one_that_has_it_at_the_start(api: Api, kind: str) -> None:
    """It does not mean the last one that had it."""
    ref, first, second = await pass_on(api, kind)
    deletion = {"product": {"product": {"uid": second}}, "entity": {"entity": {"uid": second}}}[kind]
    mutation = DELETE if kind == "product" else DELETE_ENTITY
    assert (await api(mutation, input={**deletion, "at": iso(day(7))})).data
    found = (await api(WINDOW, of=ref, since=iso(day(1)), to=iso(day(8)))).data
    assert found["lineageBetween"]["nodes"] == [{"label": "of first"}]
    assert {it["uid"] for it in found["changes"]["nodes"]} == {first} == {it["uid"] for it in found["diff"]["nodes"]}
    assert found["lineageDiff"]["addedAssets"] == [{"label": "of first"}]


LINK = "query ($ref: LinkRef!, $asOf: DateTime) { lineageLink(ref: $ref, asOf: $asOf) { producer } }"


async def test_ends_mean_nothing_where_no_link_is_valid_whatever_there_was_and_will_be(shop: Api) -> None:
    ends = {"source": ORDERS, "target": SALES}
    await shop.link("orders", "sales", producer="dbt", at=day(1))
    for producer in (None, "dbt"):
        link = {"link": {"ends": {**ends, "producer": producer}}}
        assert (await shop(REMOVE_LINEAGE, input={**link, "at": iso(day(4))})).data["removeLineage"]["changed"]
    for at in (day(0), day(5)):
        assert (await shop(LINK, ref={"ends": ends}, asOf=iso(at))).data == {"lineageLink": None}
    answer = await shop(LINK, ref={"ends": ends}, asOf=iso(day(2)))
    assert answer.code_and_field == ("BAD_INPUT", "ref.ends.producer")
    assert answer.error["message"].endswith("Give the producer of one of them: null, 'dbt'.")
    # an association has both of its ends
    uid = (await shop(DELETE, input={"product": {"name": "orders"}, "at": iso(day(3))})).data["deleteProduct"]["uid"]
    assert (await shop(LINK, ref={"ends": {**ends, "source": {"uid": uid}}}, asOf=iso(day(3.5)))).data == {"lineageLink": None}
    # a mutation has to know which, as it may restore or remove one that is not valid
    answer = await shop(REMOVE_LINEAGE, input={"link": {"ends": {**ends, "source": {"uid": uid}}}, "at": iso(day(5))})
    assert answer.code_and_field == ("BAD_INPUT", "link.ends.producer")


@pytest.mark.parametrize(
    ("ref", "field"),
    [
        ({"product": "a\0"}, "refs[1].product"),
        ({"entity": {"type": "a\0", "key": "1"}}, "refs[1].entity.type"),
        ({"entity": {"type": "PERSON", "key": "a\0"}}, "refs[1].entity.key"),
    ],
)
async def test_text_that_no_asset_can_have_is_refused_with_its_place(api: Api, ref: dict[str, Any], field: str) -> None:
    many = "query ($refs: [AssetRef!]!) { assets(refs: $refs) { uid } }"
    assert (await api(many, refs=[ORDERS, ref])).code_and_field == ("BAD_INPUT", field)
    one = "query ($ref: AssetRef!) { asset(ref: $ref) { uid } }"
    assert (await api(one, ref=ref)).code_and_field == ("BAD_INPUT", field.replace("refs[1]", "ref"))
