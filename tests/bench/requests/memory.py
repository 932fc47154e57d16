"""Measure the memory of Headwater while it answers many requests."""

import orjson
import psutil

from tests.bench.requests.client import Order
from tests.bench.requests.measure import AIMED
from tests.bench.requests.pipelines import Size
from tests.bench.requests.rows import ROWS
from tests.bench.requests.servers import HEADWATER, LoadClient, Side

# The operations that are sent in turn: reads that are cheap enough to send a hundred thousand.
_SENT = ("product by name", "upstream of 20", "page of 50 products")
_STEPS = 10


def measure_memory(sides: list[Side], client: LoadClient, key: str, size: Size, requests: int) -> list[tuple[int, float]]:
    """Send so many requests. Return the resident memory in bytes before the first, and after each tenth of them."""
    (headwater,) = (it for it in sides if it.name == HEADWATER)
    chosen = [row for row in ROWS if row.name in _SENT]
    bodies = [
        orjson.dumps({"query": row.document, "variables": row.variables(sample % row.samples(size))}).decode()
        for sample in range(max(row.samples(size) for row in chosen))
        for row in chosen
    ]
    process = psutil.Process(headwater.process.pid)
    measured = [(0, float(process.memory_info().rss))]
    for step in range(1, _STEPS + 1):
        client.send(Order(headwater.port, key, bodies, AIMED, 0, requests=max(requests // _STEPS, 1)))
        measured.append((step * max(requests // _STEPS, 1), float(process.memory_info().rss)))
    return measured
