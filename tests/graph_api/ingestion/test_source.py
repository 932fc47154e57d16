"""Batches of a load: pauses of the thread that parses."""

import io
import time
from datetime import UTC, datetime

import pytest

from db.bulk.ingest import BATCH
from db.registries.type_registry import TypeRegistry
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.source import Source

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
