"""`python -m tests.bench`: measure the service beside its floor and loads beside COPY, and print the tables."""

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from db.errors import HeadwaterError
from tests.bench import loads, report, rows
from tests.bench.data import (
    NotSound,
    OtherDataThere,
    Size,
    database,
    make_directory,
    plain_address,
    prepare,
    remove_directory,
)
from tests.bench.floor import ADDRESS
from tests.bench.harness import NotComparable, Result, measure
from tests.bench.loading import LoadFailed, measure_loads
from tests.bench.recording import NotRecordable, record
from tests.bench.rows import Row
from tests.bench.servers import ServerDidNotStart, running

# Narrower, a table would lose columns where its output goes into a file.
WIDTH = 130

WHOLE = Size(products=2000, entities=40_000, rows=100_000, samples=1000)
QUICK = Size(products=200, entities=400, rows=400, samples=10)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
err = Console(stderr=True)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="A few seconds on little data: whether it works, not how fast it is.")] = False,
    only: Annotated[list[str] | None, typer.Option("--rows", help="Only rows whose name contains this. May be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="How long measuring the service may take in all.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="How often service and floor take turns.")] = 6,
) -> None:
    """Measure the service beside its floor, and loads beside COPY. HEADWATER_BENCH_DATABASE_URL names an empty database to do it
    in; loads make others on its server, and remove them."""
    asked, loaded = rows.chosen(only or []), loads.chosen(only or [])
    if not asked and not loaded:
        err.print(f"There is no such row. There are: {', '.join(it.name for it in (*rows.ROWS, *loads.LOADS))}.")
        raise typer.Exit(2)
    load = os.getloadavg()[0]
    size = QUICK if quick else WHOLE
    if quick:
        seconds, rounds = 1.0, 2
    out = Console(width=max(err.width, WIDTH))
    # so that everything that was started is stopped on SIGTERM too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        directory = make_directory()
        stack.enter_context(running(directory / "keeper.log", {}, "keeper", str(directory)))
        stack.callback(remove_directory, directory)
        try:
            address = stack.enter_context(database(directory))
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            conditions = runner.run(report.conditions(address, load))
            if asked:
                with err.status("Asking …"):
                    results = _ask(runner, directory, address, asked, size, rounds=rounds, seconds=seconds)
                out.print(report.table(results, conditions, size, rounds), *report.pairs(results), sep="\n")
            if loaded:
                with err.status("Loading …"):
                    figures = runner.run(measure_loads(address, loaded, directory, rows=size.rows))
                out.print(report.loads_table(figures, conditions, size))
        except (HeadwaterError, OtherDataThere, NotRecordable, NotComparable, NotSound, LoadFailed, ServerDidNotStart) as error:
            err.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(1) from error


def _ask(
    runner: asyncio.Runner, directory: Path, address: str, asked: list[Row], size: Size, *, rounds: int, seconds: float
) -> list[Result]:
    """Measure rows, on a database that is filled for them."""
    runner.run(prepare(address, size))
    with ExitStack() as stack:
        service = stack.enter_context(
            running(directory / "service.log", {"HEADWATER_DATABASE_URL": address}, "service", "serve", "--port", "0")
        )
        recording = runner.run(record(address, asked, most_samples=size.samples))
        recorded = directory / "recording.json"
        recorded.write_bytes(recording.json())
        floor = stack.enter_context(running(directory / "floor.log", {ADDRESS: plain_address(address)}, "floor", str(recorded)))
        return runner.run(
            measure(address, recording, asked, floor=floor.port(), service=service.port(), rounds=rounds, seconds=seconds)
        )


if __name__ == "__main__":
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
