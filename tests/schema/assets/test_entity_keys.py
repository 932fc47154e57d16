"""Tests of the keys of entities: several at a time, versioned, and compared as UUIDs where they are some."""

from typing import Any

import pytest

from tests.builders import Api, day, iso

ID, OTHER = "6F9619FF-8B86-D011-B42D-00CF4FC964FF", "6f9619ff8b86d011b42d00cf4fc964fe"
SPELLINGS = [ID, ID.lower(), ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID.lower()}"]

CREATE = "mutation ($input: CreateEntityInput!) { createEntity(input: $input) { entity { uid key keys } } }"
UPDATE = "mutation ($input: UpdateEntityInput!) { updateEntity(input: $input) { changed entity { uid key keys } } }"
DELETE = "mutation ($input: DeleteEntityInput!) { deleteEntity(input: $input) { changed } }"
RESTORE = "mutation ($input: RestoreEntityInput!) { restoreEntity(input: $input) { entity { keys } } }"


@pytest.fixture
async def people(shared_api: Api) -> Api:
    put = "mutation ($input: PutEntityTypeInput!) { putEntityType(input: $input) { entityType { code } } }"
    assert (await shared_api(put, input={"code": "PERSON", "label": "Person"})).data
    return shared_api


async def create(api: Api, key: str | None, *alternates: str, **given: Any) -> dict[str, Any]:
    fields = {"type": "PERSON", "displayName": "Ann", "key": key, "alternateKeys": list(alternates), "at": iso(day(0)), **given}
    entity: dict[str, Any] = (await api(CREATE, input=fields)).data["createEntity"]["entity"]
    return entity


async def update(api: Api, uid: str, at: Any, **changes: Any) -> Any:
    return await api(UPDATE, input={"entity": {"uid": uid}, "at": iso(at), **changes})


async def found(api: Api, key: str, at: Any = None) -> str | None:
    query = "query ($key: EntityKey!, $asOf: DateTime) { entity(ref: { key: $key }, asOf: $asOf) { uid } }"
    entity: Any = (await api(query, key={"type": "PERSON", "key": key}, asOf=None if at is None else iso(at))).data["entity"]
    return None if entity is None else str(entity["uid"])


async def test_an_entity_is_found_by_each_of_its_keys_in_any_spelling_of_a_uuid(people: Api) -> None:
    entity = await create(people, "4101", ID)
    assert (entity["key"], entity["keys"]) == ("4101", ["4101", ID])
    assert {await found(people, it) for it in ["4101", *SPELLINGS]} == {entity["uid"]}
    assert await found(people, OTHER) is None


async def test_keys_change_from_an_instant_on_in_any_order_of_arrival(people: Api) -> None:
    uid = (await create(people, "a"))["uid"]
    (changed,) = [(await update(people, uid, day(5), key="b", addKeys=["a", ID])).data["updateEntity"]]
    assert (changed["changed"], changed["entity"]["keys"]) == (True, ["b", "a", ID])
    # late: it is added at each later instant as well
    assert (await update(people, uid, day(2), addKeys=["c"])).data["updateEntity"]["entity"]["keys"] == ["a", "c"]
    last = (await update(people, uid, day(8), key=None, removeKeys=[ID.lower()])).data["updateEntity"]["entity"]
    assert (last["key"], last["keys"]) == ("c", ["c", "a"])
    assert [await found(people, "b", day(it)) for it in (4, 5, 8)] == [None, uid, None]
    assert [await found(people, "c", day(it)) for it in (1, 2, 8)] == [None, uid, uid]
    history = "query ($uid: UUID!) { entity(ref: { uid: $uid }) { history { nodes { changed { field before after } } } } }"
    versions = (await people(history, uid=uid)).data["entity"]["history"]["nodes"]
    assert versions[-1]["changed"] == [{"field": "keys", "before": ["b", "c", "a", ID], "after": ["c", "a"]}]


async def test_a_key_passes_to_another_entity_and_means_the_one_that_has_it(people: Api) -> None:
    first = (await create(people, "7"))["uid"]
    await update(people, first, day(5), key="8")
    assert await found(people, "7", day(5)) is None
    # nobody has it then: the last that had it exists with another key
    late = await people(UPDATE, input={"entity": {"key": {"type": "PERSON", "key": "7"}}, "displayName": "x", "at": iso(day(6))})
    assert late.code_and_field == ("NOT_FOUND", "entity")
    second = (await create(people, "7", at=iso(day(7))))["uid"]
    assert second != first
    assert [await found(people, "7", day(it)) for it in (4, 5, 7)] == [first, None, second]
    assert (await update(people, first, day(9), key="7")).code_and_field == ("CONFLICT", "key")
    # late, so that both would have it from then on
    assert (await update(people, second, day(8), addKeys=["8"])).code_and_field == ("CONFLICT", "addKeys")
    for at, changes, field in (
        # another one has it at the instant, or gets it only later
        (day(9), {"key": "9", "addKeys": ["7"]}, "addKeys"),
        (day(9), {"key": "7", "addKeys": ["9"]}, "key"),
        (day(6), {"key": "9", "addKeys": ["7"]}, "addKeys"),
        (day(6), {"key": "8", "addKeys": ["7"]}, "addKeys"),
    ):
        assert (await update(people, first, at, **changes)).code_and_field == ("CONFLICT", field)


async def test_a_restored_entity_has_its_keys_again_unless_they_are_taken(people: Api) -> None:
    first = (await create(people, "7", "8"))["uid"]
    reference = {"entity": {"uid": first}}
    assert (await people(DELETE, input={**reference, "at": iso(day(2))})).data
    assert await found(people, "8") is None
    assert (await people(RESTORE, input={**reference, "at": iso(day(3))})).data["restoreEntity"]["entity"]["keys"] == ["7", "8"]
    assert (await people(DELETE, input={**reference, "at": iso(day(4))})).data
    second = (await create(people, "9", "8", at=iso(day(5))))["uid"]
    assert await found(people, "8") == second
    assert (await people(RESTORE, input={**reference, "at": iso(day(6))})).code_and_field == ("CONFLICT", "key")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"alternateKeys": ["b"]}, ("BAD_INPUT", "alternateKeys")),
        ({"key": "a", "alternateKeys": ["a"]}, ("BAD_INPUT", "alternateKeys")),
        ({"key": ID, "alternateKeys": [ID.lower()]}, ("BAD_INPUT", "alternateKeys")),
        ({"key": "a", "alternateKeys": [""]}, ("BAD_INPUT", "alternateKeys")),
        ({"key": "a", "alternateKeys": ["x" * 501]}, ("BAD_INPUT", "alternateKeys")),
        ({"key": "a", "alternateKeys": [str(it) for it in range(20)]}, ("BAD_INPUT", "alternateKeys")),
        ({"key": "taken", "alternateKeys": ["a"]}, ("CONFLICT", "key")),
        ({"key": "a", "alternateKeys": ["taken"]}, ("CONFLICT", "alternateKeys")),
        ({"key": "a", "alternateKeys": [ID.lower()]}, ("CONFLICT", "alternateKeys")),
    ],
)
async def test_bad_keys_of_a_new_entity_are_refused(people: Api, given: dict[str, Any], expected: Any) -> None:
    await create(people, "taken", ID)
    answer = await people(CREATE, input={"type": "PERSON", "displayName": "Bo", "at": iso(day(1)), **given})
    assert answer.code_and_field == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"key": ""}, ("BAD_INPUT", "key")),
        ({"addKeys": ["a\nb"]}, ("BAD_INPUT", "addKeys")),
        ({"key": ID, "removeKeys": [ID.lower()]}, ("BAD_INPUT", "removeKeys")),
        ({"addKeys": ["b"], "removeKeys": ["b"]}, ("BAD_INPUT", "removeKeys")),
        ({"addKeys": [str(it) for it in range(21)]}, ("BAD_INPUT", "addKeys")),
        # together with those that it has
        ({"addKeys": [str(it) for it in range(20)]}, ("BAD_INPUT", "addKeys")),
    ],
)
async def test_bad_changes_of_keys_are_refused(people: Api, changes: dict[str, Any], expected: Any) -> None:
    uid = (await create(people, "a"))["uid"]
    assert (await update(people, uid, day(1), **changes)).code_and_field == expected
    assert await found(people, "a") == uid
