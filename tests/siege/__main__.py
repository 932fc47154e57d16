"""`python -m tests.siege`: attack the service beside polite tenants, and print a row for each attack."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import uvloop

from db.embedded.server import EmbeddedServer
from tests.bench.databases import make_directory, remove_directory
from tests.bench.processes import running
from tests.siege import report
from tests.siege.attacks import ATTACKS, Attack
from tests.siege.measure import Siege, besiege, prepare

WORKERS = (1, 2)
# Seconds of a row beside its attacks, at most: the service starts, and memory settles twice.
ROW_SECONDS = 150.0


@click.command()
@click.option("--rows", "only", multiple=True, help="Only attacks whose name contains this. May be repeated.")
@click.option(
    "--workers", type=click.IntRange(min=1), multiple=True, default=WORKERS, show_default=True, help="Worker processes."
)
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=3, show_default=True, help="Duration of an attack, and of the time before."
)
def siege(only: tuple[str, ...], workers: tuple[int, ...], seconds: float) -> None:
    """Attack a service with default settings, each kind alone, beside polite tenants. Exits with 1 if an aim is missed."""
    chosen = [it for it in ATTACKS if not only or any(fragment.lower() in it.name.lower() for fragment in only)]
    if not chosen:
        raise click.BadParameter(f"No attack has such a name. Attacks: {', '.join(it.name for it in ATTACKS)}.")
    # stop every started process on SIGTERM, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        directory = make_directory()
        stack.enter_context(running(directory / "cleaner.log", {}, "cleaner", str(directory)))
        stack.callback(remove_directory, directory)
        server = stack.enter_context(EmbeddedServer.start(directory, {"fsync": "off"}))
        server.ensure_database("siege")
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        missed = runner.run(_run(server.address("siege"), directory, chosen, workers, seconds, load))
    if missed:
        print(f"\n{missed} aims missed.")
        sys.exit(1)


async def _run(
    address: str, directory: Path, chosen: Sequence[Attack], workers: Sequence[int], seconds: float, load: float
) -> int:
    """Print the table. Return the number of missed aims."""
    ground = await prepare(address, directory)
    print(report.heading(seconds, load), flush=True)

    async def measure(attack: Attack, number: int) -> Siege:
        return await besiege(ground, attack, number, seconds, directory)

    return await print_rows(measure, chosen, workers, ROW_SECONDS + 4 * seconds)


async def print_rows(
    measure: Callable[[Attack, int], Awaitable[Siege]], chosen: Sequence[Attack], workers: Sequence[int], most_seconds: float
) -> int:
    """Measure attacks one after the other, and print a row for each. One that cannot be measured in time is a missed aim."""
    missed = 0
    for number in workers:
        for attack in chosen:
            try:
                async with asyncio.timeout(most_seconds):
                    measured = await measure(attack, number)
            except Exception as error:
                missed += 1
                print(report.failed_row(attack, number, error), flush=True)
                continue
            missed += len(list(measured.misses()))
            print(report.row(measured), flush=True)
    return missed


if __name__ == "__main__":
    try:
        siege(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
