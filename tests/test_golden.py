"""Golden queries: each .graphql file is asked of the demo, and answers what stands in the .json file beside it.

HEADWATER_WRITE_GOLDEN=1 writes the answers anew; read the difference before you commit it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from graph_api import demo
from tests.builders import Api

GOLDEN = Path(__file__).parent / "golden"


def steady(value: Any) -> Any:
    """Without what differs from run to run: when something was written down, and the id of the request."""
    if isinstance(value, dict):
        return {name: "…" if name in ("recordedAt", "requestId") and part else steady(part) for name, part in value.items()}
    if isinstance(value, list):
        return [steady(it) for it in value]
    return value


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.graphql")), ids=lambda it: it.stem)
async def test_a_golden_query_answers_as_it_did(api: Api, path: Path) -> None:
    await demo.load(api.database)
    answer = steady((await api(path.read_text())).body)
    kept = path.with_suffix(".json")
    if os.environ.get("HEADWATER_WRITE_GOLDEN"):
        kept.write_text(json.dumps(answer, indent=2) + "\n")
    assert answer == json.loads(kept.read_text())
