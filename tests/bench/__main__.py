"""`python -m tests.bench`: measure the service beside its floor, and print the table."""

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from db.errors import HeadwaterError
from tests.bench import report
from tests.bench.data import OtherDataThere, database, make_directory, plain_address, prepare, remove_directory
from tests.bench.floor import ADDRESS
from tests.bench.harness import NotComparable, measure
from tests.bench.recording import NotRecordable, record
from tests.bench.rows import ROWS, chosen
from tests.bench.servers import ServerDidNotStart, running

# Narrower, the table would lose columns where its output goes into a file.
WIDTH = 130

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
err = Console(stderr=True)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="A few seconds on little data: whether it works, not how fast it is.")] = False,
    rows: Annotated[list[str] | None, typer.Option(help="Only rows whose name contains this. May be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="How long measuring may take in all.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="How often service and floor take turns.")] = 6,
) -> None:
    """Measure the service beside its floor. HEADWATER_BENCH_DATABASE_URL names an empty database to do it in."""
    wanted = chosen(rows or [])
    if not wanted:
        err.print(f"There is no such row. There are: {', '.join(row.name for row in ROWS)}.")
        raise typer.Exit(2)
    load = os.getloadavg()[0]
    products, samples = (200, 10) if quick else (2000, 1000)
    if quick:
        seconds, rounds = 1.0, 2
    # so that everything that was started is stopped on SIGTERM too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        stack.enter_context(err.status("Measuring …"))
        directory = make_directory()
        stack.enter_context(running(directory / "keeper.log", {}, "keeper", str(directory)))
        stack.callback(remove_directory, directory)
        try:
            address = stack.enter_context(database(directory))
        except HeadwaterError as error:
            err.print(error.message, markup=False, soft_wrap=True)
            raise typer.Exit(1) from error
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        try:
            runner.run(prepare(address, products))
            service = stack.enter_context(
                running(directory / "service.log", {"HEADWATER_DATABASE_URL": address}, "service", "serve", "--port", "0")
            )
            recording = runner.run(record(address, wanted, most_samples=samples))
            recorded = directory / "recording.json"
            recorded.write_bytes(recording.json())
            floor = stack.enter_context(
                running(directory / "floor.log", {ADDRESS: plain_address(address)}, "floor", str(recorded))
            )
            results = runner.run(
                measure(address, recording, wanted, floor=floor.port(), service=service.port(), rounds=rounds, seconds=seconds)
            )
            caption = runner.run(report.conditions(address, products, load))
        except (HeadwaterError, OtherDataThere, NotRecordable, NotComparable, ServerDidNotStart) as error:
            err.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(1) from error
    Console(width=max(err.width, WIDTH)).print(report.table(results, caption, rounds))


if __name__ == "__main__":
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
