"""`python -m tests.bench`: measure requests beside a floor and PostGraphile, loads beside COPY, and overload; check plans."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import asyncpg
import click
import uvloop
from rich.console import Console

from db.database import Database
from db.errors import HeadwaterError
from db.tenancy.scope import READ, WRITE
from db.tenant_ids import DEFAULT_TENANT_ID
from tests.bench import report
from tests.bench.databases import (
    NotVerified,
    OtherData,
    database,
    make_directory,
    make_key,
    plain_address,
    remove_directory,
    verify,
)
from tests.bench.loads import rows as loads
from tests.bench.loads.measure import LoadFailed, databases_beside, measure_loads
from tests.bench.overload import measure as overload
from tests.bench.plans import check
from tests.bench.plans.fill import fill_tenants
from tests.bench.plans.lookups import CHECKED
from tests.bench.processes import ServerDidNotStart, running
from tests.bench.requests import pipelines
from tests.bench.requests import report as requests_report
from tests.bench.requests import rows as requests
from tests.bench.requests.client import ClientFailed
from tests.bench.requests.fill import fill
from tests.bench.requests.measure import Measurement, NotComparable
from tests.bench.requests.memory import measure_memory
from tests.bench.requests.servers import LoadClient, create_postgraphile_schema, serving
from tests.siege.crowd import CrowdFailed

# Errors that end a run with their message.
FAILURES = (
    *(OtherData, NotComparable, NotVerified, ClientFailed, LoadFailed, ServerDidNotStart),
    overload.OverloadFailed,
    check.TooMuchWork,
    CrowdFailed,
)

# Assets of each tenant whose plans are checked: a multiple of three.
PLANS, QUICK_PLANS = 300_000, 6_000

# A narrower table would lose columns when its output goes into a file.
WIDTH = 150

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
    conditions: str

    async def measure_requests(
        self, chosen: list[requests.Row], size: pipelines.Size, rounds: int, seconds: float, memory: int
    ) -> None:
        """Measure requests on the database itself. All that they wrote is verified."""
        with err.status("Loading the data of the requests …"):
            await fill(self.address, size, self.directory)
            await create_postgraphile_schema(self.address)
        key = await make_key(self.address, DEFAULT_TENANT_ID, READ, WRITE)
        owner = await asyncpg.connect(plain_address(self.address))
        try:
            with serving(self.address, self.directory) as sides, LoadClient() as client:
                with err.status("Measuring requests …") as status:
                    measurement = Measurement(sides, client, owner, key, size)
                    results = await measurement.measure(
                        chosen, rounds, seconds, lambda row: status.update(f"Measured {row.name} …")
                    )
                    contents = f"{size.products:,} products with two versions, {size.links:,} links, {size.people:,} entities"
                parts = [*requests_report.report(results, self.conditions, contents, rounds, seconds)] if results else []
                if memory:
                    with err.status(f"Sending {memory:,} requests …"):
                        parts.append(requests_report.memory_table(measure_memory(sides, client, key, size, memory)))
        finally:
            await owner.close()
        # not wrapped or styled, because it is Markdown
        print("\n\n".join(parts), end="\n\n", flush=True)
        await verify(self.address)

    async def measure_loads(self, chosen: list[loads.Load], size: loads.Size) -> None:
        async with databases_beside(self.address) as databases:
            with err.status("Measuring loads …"):
                figures = await measure_loads(databases, chosen, self.directory, size)
            out.print(report.loads_table(figures, self.conditions, size))
            measured = {it.load: it for it in figures}
            if measured.keys() >= set(loads.GRAPH):
                assets, links = (measured[it] for it in loads.GRAPH)
                contents = await report.contents_of(databases.address(links.database))
                out.print(report.graph_rates(assets, links, contents))

    async def measure_overload(self, size: overload.OverloadSize) -> None:
        async with databases_beside(self.address) as databases:
            with err.status("Measuring overload …"):
                measured = await overload.measure_overload(databases, self.directory, size)
        out.print(
            report.overload_table(measured, self.conditions), report.readers_table(measured), report.attacks_table(measured)
        )
        if failures := list(measured.failures()):
            raise overload.OverloadFailed("\n".join(failures))

    async def check_plans(self, names: list[str], assets: int) -> None:
        async with databases_beside(self.address) as databases:
            address = databases.address(await databases.create("template0"))
            with err.status("Filling two tenants …"):
                await fill_tenants(address, products=assets * 2 // 3, entities=assets // 3)
            database = Database(address, pool_size=2)
            try:
                with err.status("Checking plans …"):
                    checked = [await check.check(database, name, CHECKED[name]) for name in names]
            finally:
                await database.close()
        print(f"Work of look-ups in tenants of {assets:,} assets\n\n{check.table(checked)}", flush=True)
        # with few assets, reading all of them is the best plan
        if assets == PLANS and (failures := list(check.failures(checked))):
            raise check.TooMuchWork("\n".join(failures))


@click.command()
@click.option("--quick", is_flag=True, help="A few seconds on little data: shows that it works, not how fast it is.")
@click.option(
    "--large", is_flag=True, help="Requests on a million assets, and loads of ten times the graph. Needs much time and 20 GB."
)
@click.option(
    "--plans",
    is_flag=True,
    help="Only check what look-ups read among 300 000 assets, with the statistics of a tenant and without.",
)
@click.option("--rows", "only", multiple=True, help="Only rows whose name contains this. May be repeated.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=1,
    show_default=True,
    help="Seconds in which a server gets requests of a row over some connections, in each round.",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds in which the servers take turns."
)
@click.option(
    "--memory", type=click.IntRange(min=0), default=0, help="Measure the memory over so many requests, 100000 for example."
)
@click.option(
    "--crowd-seconds",
    "overload_seconds",
    type=float,
    default=20,
    show_default=True,
    help="Duration of each round of the overload.",
)
def bench(
    quick: bool,
    large: bool,
    plans: bool,
    only: tuple[str, ...],
    seconds: float,
    rounds: int,
    memory: int,
    overload_seconds: float,
) -> None:
    """Measure requests beside a floor and PostGraphile, loads beside COPY, and the service under overload.

    HEADWATER_BENCH_DATABASE_URL names a database for the requests: an empty one, or one that an earlier run has filled. Loads and
    overload create others on its server and drop them.
    """
    chosen_requests = _chosen(requests.ROWS, only)
    chosen_loads = _chosen(loads.GRAPH if large else loads.LOADS, only)
    overloads = [] if large else _chosen([overload.QUICK if quick else replace(overload.WHOLE, seconds=overload_seconds)], only)
    if not chosen_requests and not chosen_loads and not overloads and not memory:
        available: list[_Named] = [*requests.ROWS, *loads.LOADS, overload.WHOLE]
        err.print(f"No row has such a name. Rows: {', '.join(it.name for it in available)}.")
        sys.exit(2)
    checked = [it for it in CHECKED if not only or any(fragment.lower() in it for fragment in only)] if plans else []
    load = os.getloadavg()[0]
    size, load_size = pipelines.WHOLE, loads.WHOLE
    if large:
        size, load_size = pipelines.MILLION, loads.LARGE
    if quick:
        size, load_size, seconds, rounds = pipelines.QUICK, loads.QUICK, 0.05, 1
    # stop every started process on SIGTERM, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        directory = make_directory()
        stack.enter_context(running(directory / "cleaner.log", {}, "cleaner", str(directory)))
        stack.callback(remove_directory, directory)
        try:
            address = stack.enter_context(database(directory))
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            run = _Bench(directory, address, runner.run(report.conditions(address, load)))
            if plans:
                runner.run(run.check_plans(checked, QUICK_PLANS if quick else PLANS))
                return
            if chosen_requests or memory:
                runner.run(run.measure_requests(chosen_requests, size, rounds, seconds, memory))
            if chosen_loads:
                runner.run(run.measure_loads(chosen_loads, load_size))
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
