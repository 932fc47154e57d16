"""`python -m tests.bench`: measure the service beside the baseline server, loads beside COPY, and overload, and print tables."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import click
import uvloop
from rich.console import Console

from db.errors import HeadwaterError
from db.tenancy.scope import READ, WRITE
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from tests.bench import baseline_server, graph, lineage, overload, report, rows
from tests.bench.data import (
    NotVerified,
    OtherData,
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
from tests.bench.walk_row_counts import WalkRowCounts, count_walk_rows

# Errors that end a run with their message.
FAILURES = (OtherData, NotRecordable, NotComparable, NotVerified, LoadFailed, ServerDidNotStart, overload.OverloadFailed)

# A narrower table would lose columns when its output goes into a file.
WIDTH = 150

WHOLE = Size(products=2000, entities=40_000, rows=100_000, samples=1000, starts=3, graph=graph.WHOLE)
QUICK = Size(products=120, entities=120, rows=50, samples=5, starts=1, graph=graph.QUICK)

err = Console(stderr=True)
out = Console(width=max(err.width, WIDTH))


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


@dataclass(frozen=True, slots=True)
class _Bench:
    """The parameters of a run."""

    directory: Path
    address: str
    size: Size
    rounds: int
    seconds: float
    conditions: str

    async def measure_rows(self, chosen: list[Row]) -> None:
        """Measure rows that are not about lineage, on the database itself."""
        with err.status("Measuring operations …"):
            await prepare(self.address, self.size)
            results, _ = await self._measure_beside_baseline(self.address, chosen)
        title = "The service beside the baseline server"
        drawn = report.table(title, results, self.conditions, report.of_everything(self.size), self.rounds)
        out.print(drawn, *report.comparisons(results), sep="\n")

    async def measure_loads(self, loads: list[Load], walks: list[Row]) -> None:
        """Measure loads, and rows of lineage on the databases that they leave."""
        async with databases_beside(self.address) as databases:
            with err.status("Measuring loads …"):
                figures = await measure_loads(databases, loads, self.directory, self.size)
            out.print(report.loads_table(figures, self.conditions, self.size))
            measured = {it.load: it for it in figures}
            if measured.keys() >= set(GRAPH):
                assets, links = (measured[it] for it in GRAPH)
                address = databases.address(links.database)
                contents = await report.contents_of(address)
                out.print(report.graph_rates(assets, links, contents))
                if walks:
                    await self._measure_walks(address, walks, contents)

    async def measure_overload(self, size: overload.OverloadSize) -> None:
        async with databases_beside(self.address) as databases:
            with err.status("Measuring overload …"):
                measured = await overload.measure_overload(databases, self.directory, size)
        out.print(
            report.overload_table(measured, self.conditions), report.readers_table(measured), report.attacks_table(measured)
        )
        if failures := list(measured.failures()):
            raise overload.OverloadFailed("\n".join(failures))

    async def _measure_walks(self, address: str, walks: list[Row], contents: report.Contents) -> None:
        with err.status("Measuring walks …"):
            results, counts = await self._measure_beside_baseline(address, walks)
        title = "Lineage beside the baseline server"
        drawn = report.table(title, results, self.conditions, report.of_graph(contents, address), self.rounds)
        out.print(drawn, *report.comparisons(results), report.walk_rows_table(counts), sep="\n")

    async def _measure_beside_baseline(self, address: str, chosen: list[Row]) -> tuple[list[Result], list[WalkRowCounts]]:
        """Measure rows on a database that holds their data, and count the rows that their walks read."""
        directory = self.directory
        with ExitStack() as stack:
            environment = environment_of(settings_for(address))
            service = stack.enter_context(running(directory / "service.log", environment, "service", "serve", "--port", "0"))
            recording = await record(address, chosen, most_samples=self.size.samples)
            recorded = directory / "recording.json"
            recorded.write_bytes(recording.json())
            environment = {baseline_server.DATABASE_VARIABLE: plain_address(address)}
            baseline = stack.enter_context(running(directory / "baseline.log", environment, "baseline", str(recorded)))
            results = await measure(
                address,
                recording,
                chosen,
                baseline=baseline.port(),
                service=service.port(),
                key=await make_key(address, DEFAULT_TENANT_ID, READ, WRITE),
                rounds=self.rounds,
                seconds=self.seconds,
            )
            return results, await count_walk_rows(address, recording, chosen)


@click.command()
@click.option("--quick", is_flag=True, help="A few seconds on little data: shows that it works, not how fast it is.")
@click.option("--large", is_flag=True, help="Lineage only, on ten times the graph. Needs much time and some 20 GB.")
@click.option("--rows", "only", multiple=True, help="Only rows whose name contains this. May be repeated.")
@click.option("--seconds", type=float, default=30, show_default=True, help="Duration of all measurements of operations.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Rounds in which the service and the baseline server take turns.",
)
@click.option(
    "--crowd-seconds",
    "overload_seconds",
    type=float,
    default=20,
    show_default=True,
    help="Duration of each round of the overload.",
)
def bench(quick: bool, large: bool, only: tuple[str, ...], seconds: float, rounds: int, overload_seconds: float) -> None:
    """Measure the service beside the baseline server, loads beside COPY, and the service under overload.

    HEADWATER_BENCH_DATABASE_URL names an empty database to use. Loads and overload create others on its server and drop them.
    """
    operations = [] if large else _chosen(rows.ROWS, only)
    walks = _chosen(lineage.ROWS, only)
    # walks need the graph to be loaded
    loads = [it for it in (GRAPH if large else LOADS) if it in _chosen(LOADS, only) or (walks and it in GRAPH)]
    overloads = [] if large else _chosen([overload.QUICK if quick else replace(overload.WHOLE, seconds=overload_seconds)], only)
    if not operations and not loads and not overloads:
        available: list[_Named] = [*rows.ROWS, *lineage.ROWS, *LOADS, overload.WHOLE]
        err.print(f"No row has such a name. Rows: {', '.join(it.name for it in available)}.")
        sys.exit(2)
    load = os.getloadavg()[0]
    size = QUICK if quick else WHOLE
    if large:
        size = replace(size, graph=graph.LARGE)
    if quick:
        seconds, rounds = 0.5, 2
    # stop every started process on SIGTERM, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        directory = make_directory()
        stack.enter_context(running(directory / "cleaner.log", {}, "cleaner", str(directory)))
        stack.callback(remove_directory, directory)
        try:
            address = stack.enter_context(database(directory))
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            conditions = runner.run(report.conditions(address, load))
            run = _Bench(directory, address, size, rounds, seconds, conditions)
            if operations:
                runner.run(run.measure_rows(operations))
            if loads:
                runner.run(run.measure_loads(loads, walks))
            for it in overloads:
                runner.run(run.measure_overload(it))
        except (HeadwaterError, *FAILURES) as error:
            err.print(str(error), markup=False, soft_wrap=True)
            sys.exit(1)


def _chosen(rows: Sequence[N], fragments: Sequence[str]) -> list[N]:
    """Return the rows whose names contain one of these texts, or all rows if there are no texts."""
    return [it for it in rows if not fragments or any(fragment.lower() in it.name for fragment in fragments)]


if __name__ == "__main__":
    try:
        bench(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
