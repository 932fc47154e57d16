"""Orders of the lists of lineage links and relationships, read page by page."""

from typing import Any

import pytest

from tests.builders import Api, day, iso

pytestmark = pytest.mark.api

# the days on which the links and relationships, in the order in which they are recorded, were last changed
DAYS = [3, 1, 2, 1, 5]
LISTS = {"lineageLinks": "source", "relationships": "origin"}


async def recorded(api: Api) -> None:
    """Record links and relationships of products, in order of their names."""
    await api.put_types()
    await api.put_relationship_type()
    await api.lineage("target", *(f"p{number}" for number in range(len(DAYS))))
    person = await api.create("Ann")
    for number, since in enumerate(DAYS):
        await api.link(f"p{number}", "target", at=day(since))
        assert (await api.relate("steward", {"product": f"p{number}"}, {"uid": person["uid"]}, at=day(since))).data


async def listed(api: Api, root: str, **arguments: Any) -> dict[str, Any]:
    end = LISTS[root]
    operation = f"""
      query ($orderBy: AssociationOrder, $first: Int, $after: String, $last: Int, $before: String, $asOf: DateTime) {{
        {root}(orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before, asOf: $asOf) {{
          totalCount nodes {{ {end} {{ label }} updatedAt }} pageInfo {{ startCursor endCursor hasNextPage hasPreviousPage }}
        }}
      }}
    """
    found: dict[str, Any] = (await api(operation, **arguments)).data[root]
    return {**found, "labels": [it[end]["label"] for it in found["nodes"]]}


@pytest.mark.parametrize("root", LISTS)
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        ({"field": "RECORDED", "direction": "DESC"}, [4, 3, 2, 1, 0]),
        ({"field": "UPDATED_AT"}, [1, 3, 2, 0, 4]),
        ({"field": "UPDATED_AT", "direction": "DESC"}, [4, 0, 2, 3, 1]),
    ],
)
async def test_a_list_is_read_in_its_order_in_pages_of_any_size(api: Api, root: str, order: Any, expected: list[int]) -> None:
    await recorded(api)
    labels = [f"p{number}" for number in expected]
    ordered = {"orderBy": order} if order else {}
    for size in (1, 2, 5):
        forward: list[str] = []
        backward: list[str] = []
        page: dict[str, Any] = {"first": size}
        while page:
            found = await listed(api, root, **ordered, **page)
            forward += found["labels"]
            assert found["totalCount"] == len(DAYS)
            page = {"first": size, "after": found["pageInfo"]["endCursor"]} if found["pageInfo"]["hasNextPage"] else {}
        page = {"last": size}
        while page:
            found = await listed(api, root, **ordered, **page)
            backward = found["labels"] + backward
            page = {"last": size, "before": found["pageInfo"]["startCursor"]} if found["pageInfo"]["hasPreviousPage"] else {}
        assert forward == backward == labels
    # only those that were effective then
    then = [f"p{number}" for number in expected if DAYS[number] <= 2]
    assert (await listed(api, root, **ordered, asOf=iso(day(2))))["labels"] == then


@pytest.mark.parametrize("root", LISTS)
async def test_a_cursor_belongs_to_the_order_of_its_list(api: Api, root: str) -> None:
    await recorded(api)
    cursor = (await listed(api, root, orderBy={"field": "UPDATED_AT"}, first=1))["pageInfo"]["endCursor"]
    for other in ({"field": "RECORDED"}, {"field": "UPDATED_AT", "direction": "DESC"}):
        operation = (
            f"query ($orderBy: AssociationOrder, $after: String) {{ {root}(orderBy: $orderBy, after: $after) {{ totalCount }} }}"
        )
        assert (await api(operation, orderBy=other, after=cursor)).code_and_field == ("BAD_INPUT", "after")
