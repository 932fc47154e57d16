"""`python -m tests.bench`: measure the service beside its floor, loads beside COPY and a crowd, and print the tables."""

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
from db.tenancy.scope import READ, WRITE
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from tests.bench import graph, lineage, overload, report, rows
from tests.bench.baseline_server import ADDRESS
from tests.bench.data import (
    NotSound,
    OtherDataThere,
    Size,
    database,
    environment_of,
    make_directory,
    make_key,
    plain_address,
    prepare,
    remove_directory,
    settings_for,
)
from tests.bench.harness import NotComparable, Result, measure
from tests.bench.loading import LoadFailed, databases_beside, measure_loads
from tests.bench.loads import GRAPH, LOADS, Load
from tests.bench.recording import NotRecordable, record
from tests.bench.rows import Row
from tests.bench.servers import ServerDidNotStart, running
from tests.bench.walk_row_counts import Visits, count_visits

# What ends a run, and says why.
FAILURES = (OtherDataThere, NotRecordable, NotComparable, NotSound, LoadFailed, ServerDidNotStart, overload.DidNotStand)

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

    directory: Path
    address: str
    size: Size
    rounds: int
    seconds: float
    conditions: str

    async def ask(self, asked: list[Row]) -> None:
        """Rows that are not about lineage, on the database itself."""
        with err.status("Asking …"):
            await prepare(self.address, self.size)
            results, _ = await self._beside_floor(self.address, asked)
        title = "The service beside its floor"
        drawn = report.table(title, results, self.conditions, report.of_everything(self.size), self.rounds)
        out.print(drawn, *report.pairs(results), sep="\n")

    async def load(self, loads: list[Load], walks: list[Row]) -> None:
        """Loads, and rows of lineage on what they leave."""
        async with databases_beside(self.address) as databases:
            with err.status("Loading …"):
                figures = await measure_loads(databases, loads, self.directory, self.size)
            out.print(report.loads_table(figures, self.conditions, self.size))
            measured = {it.load: it for it in figures}
            if measured.keys() >= set(GRAPH):
                assets, links = (measured[it] for it in GRAPH)
                address = databases.address(links.database)
                contents = await report.contents_of(address)
                out.print(report.graph_rates(assets, links, contents))
                if walks:
                    await self._walk(address, walks, contents)

    async def crowd(self, extent: overload.Extent) -> None:
        """Many clients at once, some of whom mean harm."""
        async with databases_beside(self.address) as databases:
            with err.status("Crowding …"):
                measured = await overload.measure_overload(databases, self.directory, extent)
        out.print(
            report.overload_table(measured, self.conditions), report.readers_table(measured), report.hostile_table(measured)
        )
        if faults := list(measured.faults()):
            raise overload.DidNotStand("\n".join(faults))

    async def _walk(self, address: str, walks: list[Row], contents: report.Contents) -> None:
        with err.status("Walking …"):
            results, visits = await self._beside_floor(address, walks)
        title = "Lineage beside its floor"
        drawn = report.table(title, results, self.conditions, report.of_graph(contents, address), self.rounds)
        out.print(drawn, *report.pairs(results), report.visits_table(visits), sep="\n")

    async def _beside_floor(self, address: str, asked: list[Row]) -> tuple[list[Result], list[Visits]]:
        """Measure rows on a database that holds what they ask for, and count what their walks visit."""
        directory = self.directory
        with ExitStack() as stack:
            environment = environment_of(settings_for(address))
            service = stack.enter_context(running(directory / "service.log", environment, "service", "serve", "--port", "0"))
            recording = await record(address, asked, most_samples=self.size.samples)
            recorded = directory / "recording.json"
            recorded.write_bytes(recording.json())
            floor = stack.enter_context(
                running(directory / "floor.log", {ADDRESS: plain_address(address)}, "floor", str(recorded))
            )
            results = await measure(
                address,
                recording,
                asked,
                floor=floor.port(),
                service=service.port(),
                key=await make_key(address, DEFAULT_TENANT_ID, READ, WRITE),
                rounds=self.rounds,
                seconds=self.seconds,
            )
            return results, await count_visits(address, recording, asked)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="A few seconds on little data: whether it works, not how fast it is.")] = False,
    large: Annotated[bool, typer.Option(help="Lineage only, on ten times the graph. Takes its time, and some 20 GB.")] = False,
    only: Annotated[list[str] | None, typer.Option("--rows", help="Only rows whose name contains this. May be repeated.")] = None,
    seconds: Annotated[float, typer.Option(help="How long measuring the service may take in all.")] = 30,
    rounds: Annotated[int, typer.Option(min=1, help="How often service and floor take turns.")] = 6,
    crowd_seconds: Annotated[float, typer.Option(help="How long each of the two rounds of the overload takes.")] = 20,
) -> None:
    """Measure the service beside its floor, loads beside COPY, and the service in a crowd. HEADWATER_BENCH_DATABASE_URL names an
    empty database to do it in; loads and the crowd make others on its server, and remove them."""
    asked = [] if large else _chosen(rows.ROWS, only)
    walks = _chosen(lineage.ROWS, only)
    # what is walked has to be loaded
    loads = [it for it in (GRAPH if large else LOADS) if it in _chosen(LOADS, only) or (walks and it in GRAPH)]
    extents = [] if large else _chosen([overload.QUICK if quick else replace(overload.WHOLE, seconds=crowd_seconds)], only)
    if not asked and not loads and not extents:
        there: list[_Named] = [*rows.ROWS, *lineage.ROWS, *LOADS, overload.WHOLE]
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
            conditions = runner.run(report.conditions(address, load))
            course = _Bench(directory, address, size, rounds, seconds, conditions)
            if asked:
                runner.run(course.ask(asked))
            if loads:
                runner.run(course.load(loads, walks))
            for extent in extents:
                runner.run(course.crowd(extent))
        except (HeadwaterError, *FAILURES) as error:
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
