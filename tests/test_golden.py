"""Golden queries: the demo answers each .graphql file with the .json file beside it.

HEADWATER_WRITE_GOLDEN=1 writes the answers. Read the difference before you commit it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Api

GOLDEN = Path(__file__).parent / "golden"

# Fields that differ from run to run.
VOLATILE = ("recordedAt", "requestId")


def without_volatile(value: Any) -> Any:
    """Replace the values of volatile fields."""
    if isinstance(value, dict):
        return {name: "…" if name in VOLATILE and part else without_volatile(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_volatile(it) for it in value]
    return value


@pytest.mark.parametrize("query", sorted(GOLDEN.glob("*.graphql")), ids=lambda it: it.stem)
async def test_a_golden_query_gives_its_golden_answer(demo_api: Api, query: Path) -> None:
    answer = without_volatile((await demo_api(query.read_text())).body)
    # they come in the order in which fields fail
    answer.get("errors", []).sort(key=lambda it: it.get("path", []))
    golden = query.with_suffix(".json")
    if os.environ.get("HEADWATER_WRITE_GOLDEN"):
        golden.write_text(json.dumps(answer, indent=2) + "\n")
    assert answer == json.loads(golden.read_text())
