"""`python -m tests.bench`: measure the service beside its floor and loads beside COPY, and print the tables."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import typer
import uvloop
from rich.console import Console

from db.errors import HeadwaterError
from tests.bench import graph, lineage, report, rows
from tests.bench.data import (
    NotSound,
    OtherDataThere,
    Size,
    database,
    environment_of,
    make_directory,
    plain_address,
    prepare,
    remove_directory,
    settings_for,
)
from tests.bench.floor import ADDRESS
from tests.bench.harness import NotComparable, Result, measure
from tests.bench.loading import LoadFailed, databases_beside, measure_loads
from tests.bench.loads import GRAPH, LOADS, Load
from tests.bench.recording import NotRecordable, record
from tests.bench.rows import Row
from tests.bench.servers import ServerDidNotStart, running
from tests.bench.visits import Visits, count_visits

# Narrower, a table would lose columns where its output goes into a file.
WIDTH = 130

WHOLE = Size(products=2000, entities=40_000, rows=100_000, samples=1000, graph=graph.WHOLE)
QUICK = Size(products=200, entities=400, rows=400, samples=10, graph=graph.QUICK)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
err = Console(stderr=True)
out = Console(width=max(err.width, WIDTH))


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


@dataclass(frozen=True, slots=True)
class _Bench:
    """What is measured, and how."""

    entries: list[Row]
    lineage: list[Row]
    loads: list[Load]
    size: Size
    rounds: int
    seconds: float

    async def run(self, directory: Path, address: str, load: float) -> None:
        """Measure, and print what comes of it."""
        conditions = await report.conditions(address, load)
        if self.entries:
            with err.status("Asking …"):
                await prepare(address, self.size)
                results, _ = await self._ask(directory, address, self.entries)
            title = "The service beside its floor"
            drawn = report.table(title, results, conditions, report.of_everything(self.size), self.rounds)
            out.print(drawn, *report.pairs(results), sep="\n")
        if not self.loads:
            return
        async with databases_beside(address) as databases:
            with err.status("Loading …"):
                figures = await measure_loads(databases, self.loads, directory, self.size)
            out.print(report.loads_table(figures, conditions, self.size))
            loaded = {it.load: it for it in figures}
            if not loaded.keys() >= set(GRAPH):
                return
            assets, links = (loaded[it] for it in GRAPH)
            there = databases.address(links.database)
            contents = await report.contents_of(there)
            out.print(report.graph_rates(assets, links, contents))
            if self.lineage:
                with err.status("Walking …"):
                    results, visits = await self._ask(directory, there, self.lineage)
                title = "Lineage beside its floor"
                drawn = report.table(title, results, conditions, report.of_graph(contents, there), self.rounds)
                out.print(drawn, *report.pairs(results), report.visits_table(visits), sep="\n")

    async def _ask(self, directory: Path, address: str, rows: list[Row]) -> tuple[list[Result], list[Visits]]:
        """Measure rows on a database that holds what they ask for, and count what their walks visit."""
        with ExitStack() as stack:
            environment = environment_of(settings_for(address))
            service = stack.enter_context(running(directory / "service.log", environment, "service", "serve", "--port", "0"))
            recording = await record(address, rows, most_samples=self.size.samples)
            recorded = directory / "recording.json"
            recorded.write_bytes(recording.json())
            floor = stack.enter_context(
                running(directory / "floor.log", {ADDRESS: plain_address(address)}, "floor", str(recorded))
            )
            results = await measure(
                address,
                recording,
                rows,
                floor=floor.port(),
                service=service.port(),
                rounds=self.rounds,
                seconds=self.seconds,
            )
            return results, await count_visits(address, recording, rows)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="A few seconds on little data: whether it works, not how fast it is.")] = False,
    large: Annotated[bool, typer.Option(help="Lineage only, on ten times the graph. Takes its time, and some 20 GB.")] = False,
    only: Annotated[list[str] | None, typer.Option("--rows", help="Only rows whose name contains this. May be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="How long measuring the service may take in all.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="How often service and floor take turns.")] = 6,
) -> None:
    """Measure the service beside its floor, and loads beside COPY. HEADWATER_BENCH_DATABASE_URL names an empty database to do it
    in; loads make others on its server, and remove them."""
    entries = [] if large else _chosen(rows.ROWS, only)
    walks = _chosen(lineage.ROWS, only)
    loads = [it for it in (GRAPH if large else LOADS) if it in _chosen(LOADS, only) or (walks and it in GRAPH)]
    if not entries and not loads:
        there: list[_Named] = [*rows.ROWS, *lineage.ROWS, *LOADS]
        err.print(f"There is no such row. There are: {', '.join(it.name for it in there)}.")
        raise typer.Exit(2)
    load = os.getloadavg()[0]
    size = QUICK if quick else WHOLE
    if large:
        size = replace(size, graph=graph.LARGE)
    if quick:
        seconds, rounds = 1.0, 2
    # so that everything that was started is stopped on SIGTERM too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        directory = make_directory()
        stack.enter_context(running(directory / "keeper.log", {}, "keeper", str(directory)))
        stack.callback(remove_directory, directory)
        try:
            address = stack.enter_context(database(directory))
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            runner.run(_Bench(entries, walks, loads, size, rounds, seconds).run(directory, address, load))
        except (HeadwaterError, OtherDataThere, NotRecordable, NotComparable, NotSound, LoadFailed, ServerDidNotStart) as error:
            err.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(1) from error


def _chosen(among: Sequence[N], fragments: list[str] | None) -> list[N]:
    """Those whose names contain one of these texts; all of them when there is none."""
    return [it for it in among if not fragments or any(fragment.lower() in it.name for fragment in fragments)]


if __name__ == "__main__":
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
