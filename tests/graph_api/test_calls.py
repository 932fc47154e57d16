"""The number of Python calls that standard requests take is recorded, and does not grow unnoticed.

A clock says little on a shared machine; the number of calls is nearly the same in each run. `WRITE_CALLS=1` writes the record
anew: a change that adds more than a tenth has to say why.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.builders import Api

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name("calls.json")
# Packages whose calls count, besides the project: those that a request of the service passes.
PACKAGES = ("graphql", "strawberry", "starlette", "asyncpg", "sqlalchemy", "aiodataloader", "limits", "structlog", "pydantic")

OPERATIONS = {
    "__typename": "{ __typename }",
    "product by name": '{ product(name: "board_pack") { uid name owner status version description } }',
    "upstream": '{ product(name: "board_pack") { upstream { nodes { uid label ... on Product { owner status } } } } }',
    "edges with links": (
        '{ product(name: "board_pack") { upstream { edges { depth confidence node { label } links { type confidence } } } } }'
    ),
    "page of products": "{ products(first: 20) { nodes { uid name owner status version } pageInfo { hasNextPage } } }",
    "page of entities": "{ entities(first: 10) { nodes { uid displayName details { type { code } value } } } }",
    "update": (
        'mutation ($owner: String = "a") { updateProduct(input: { product: { name: "board_pack" }, owner: $owner }) {'
        " changed product { owner } } }"
    ),
}


@contextmanager
def counting() -> Iterator[list[int]]:
    """Count the calls of Python functions in the project and in `PACKAGES`."""
    folders = tuple(f"/site-packages/{it}/" for it in PACKAGES)
    counts = [0]

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            if (file.startswith(f"{ROOT}/") and "/tests/" not in file and "/.venv/" not in file) or any(
                it in file for it in folders
            ):
                counts[0] += 1

    sys.setprofile(note)
    try:
        yield counts
    finally:
        sys.setprofile(None)


async def calls_of(api: Api, name: str) -> int:
    """Return the number of calls of one request, when its document, plan and statements are known."""
    variables: list[dict[str, Any]] = [{"owner": owner} if "$owner" in OPERATIONS[name] else {} for owner in ("a", "b", "c")]
    for given in variables:
        assert (await api(OPERATIONS[name], **given)).data
    found = []
    for given in variables:
        with counting() as counts:
            response = await api(OPERATIONS[name], **given)
        assert response.data
        found.append(counts[0])
    return min(found)


async def test_standard_requests_take_no_more_calls_than_recorded(demo_api: Api) -> None:
    counted = {name: await calls_of(demo_api, name) for name in OPERATIONS}
    if os.environ.get("WRITE_CALLS"):
        RECORD.write_text(json.dumps(counted, indent=2) + "\n")
    recorded = json.loads(RECORD.read_text())
    assert recorded.keys() == counted.keys()
    grown = {name: (recorded[name], count) for name, count in counted.items() if count > recorded[name] * 1.1}
    assert not grown, "these requests take over a tenth more calls than recorded: (recorded, counted)"
