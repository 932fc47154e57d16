"""Batches of a load: pauses of the thread that parses, and the order of deferred rows."""

import io
import time
from datetime import UTC, datetime, timedelta

import pytest

from db.assets.asset import IdentitySpec
from db.bulk.ingest import BATCH, AssetState
from db.registries.entity_type import EntityTypeRow
from db.registries.type_registry import TypeRegistry
from db.temporal.kinds import PRODUCT
from graph_api.ingestion.deferred_rows import DeferredRows
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.row import Row
from graph_api.ingestion.source import Source
from tests.builders import day

pytestmark = pytest.mark.unit

GOOD = b'{"kind": "delete", "uid": "2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101"}\n'


@pytest.mark.parametrize(("line", "pauses"), [(b"x\n", BATCH // 100 * 2), (GOOD, 0)], ids=["bad", "good"])
async def test_the_thread_pauses_after_bad_rows_only(monkeypatch: pytest.MonkeyPatch, line: bytes, pauses: int) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    rows = Source(JsonLines(io.BytesIO(line * BATCH * 2)), TypeRegistry(frozenset(), {}), datetime.now(UTC))
    started = time.process_time()
    read = [len(batch.read) async for batch in rows.batches(rows.parser)]
    assert read == [BATCH, BATCH]
    assert len(slept) == pauses
    assert 0 <= sum(slept) <= time.process_time() - started


def test_deferred_rows_come_back_in_the_order_of_their_instants_as_they_were() -> None:
    instants = [None, day(2), day(1) + timedelta(microseconds=1), day(1), None, day(1)]
    types = EntityTypeRow("TABLE", "Table", None, None)
    rows = [Row(line, AssetState(PRODUCT, IdentitySpec(), {"name": str(line)}, at)) for line, at in enumerate(instants)]
    deferred = DeferredRows()
    for row in [*rows, Row(9, types)]:
        deferred.add(row)
    for _ in range(2):
        found = list(deferred)
        assert found == [Row(9, types), *(rows[line] for line in (3, 5, 2, 1, 0, 4))]
        assert all(it.statement.kind is PRODUCT for it in found if isinstance(it.statement, AssetState))
