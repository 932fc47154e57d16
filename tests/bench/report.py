"""The tables, and what has to be known to read them."""

import os
from dataclasses import dataclass

import asyncpg
from rich.table import Table
from rich.text import Text

from tests.bench import relationships
from tests.bench.data import Size, plain_address, settings_for
from tests.bench.harness import CONNECTIONS, Result
from tests.bench.loading import Figures
from tests.bench.overload import Overload, quantile
from tests.bench.versions import VERSIONS
from tests.bench.walk_row_counts import Visits

_CONTENTS = """
SELECT (SELECT count(*) FROM asset), count(*), count(producer), count(producer) FILTER (WHERE valid_to <> 'infinity')
FROM lineage_link_effective
"""

# How many times as long a read at an instant may take as the same read of now.
AS_OF_AIM = 1.3


async def conditions(address: str, load: float) -> str:
    """What the figures hold for. The load is that before measuring began: on a busy machine they say little."""
    connection = await asyncpg.connect(plain_address(address))
    try:
        version, fsync, autovacuum = await connection.fetchrow(
            "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('autovacuum')"
        ) or ("", "", "")
    finally:
        await connection.close()
    return (
        f"PostgreSQL {version}, fsync {fsync}, autovacuum {autovacuum}, {os.cpu_count()} processors, load {load:.1f} beforehand"
    )


@dataclass(frozen=True, slots=True)
class Contents:
    """How much of a graph is there."""

    assets: int
    versions: int
    # of links in pipelines
    piped: int
    closed: int

    def __str__(self) -> str:
        return (
            f"{self.assets:,} assets and {self.versions:,} link versions, of which {self.piped:,} make pipelines "
            f"({self.closed / self.piped:.1%} of them closed) and the others graphs that hurt"
        )


async def contents_of(address: str) -> Contents:
    """How much of a graph is in this database."""
    connection = await asyncpg.connect(plain_address(address))
    try:
        return Contents(*await connection.fetchrow(_CONTENTS) or ())
    finally:
        await connection.close()


def of_everything(size: Size) -> str:
    """What rows that are not about lineage are asked of."""
    joins = sum(1 for _ in relationships.joins(size.entities, size.products))
    return f"{size.products} products and {size.entities} entities with {VERSIONS} versions each, {joins} joins with fewer"


def of_graph(contents: Contents, address: str) -> str:
    """What rows of lineage are asked of, and what their names mean."""
    walk = settings_for(address).limits.walk
    return (
        f"{contents}. A walk of 20, of 450 and of 8000 reaches that many from its roots, whatever the size of the graph: their "
        "rows may be compared with those of a run on ten times the graph (--large), where the aim is at most 1.3 times as long. "
        f"A walk goes on to {walk.assets:,} assets and {walk.links:,} links"
    )


def table(title: str, results: list[Result], conditions: str, contents: str, rounds: int) -> Table:
    drawn = _table(
        title,
        f"{conditions}; {contents}. Times in milliseconds over one kept-alive connection: medians of {rounds} rounds in which "
        "floor and service take turns, beside the ratio the least and the greatest of a round. Requests a second over "
        f"{CONNECTIONS} connections. Service: `headwater serve`, whole, with one worker. Floor: a bare ASGI app, also in "
        "uvicorn with uvloop, httptools and one worker, which issues the statements that the service was heard to issue "
        "(with those that open and end a transaction) through a pool of asyncpg, leaves the rows as they come, and encodes "
        "the recorded answer with orjson. SQL alone: those statements on one held asyncpg connection. Checked: the answers "
        "of both are equal byte for byte but for requestId, and in both every request of a write changed something.",
        *(
            "floor\nmedian",
            "service\nmedian",
            "ratio",
            "ratios of\nthe rounds",
            "SQL alone\nmedian",
            "floor\np95",
            "service\np95",
        ),
        *("floor\nreq/s", "service\nreq/s", "ratio"),
    )
    for it in results:
        drawn.add_row(
            it.row.name,
            _milliseconds(it.floor.median),
            _milliseconds(it.service.median),
            _times(it.ratio),
            _range(*it.ratio_range),
            _milliseconds(it.sql.median),
            _milliseconds(it.floor.p95),
            _milliseconds(it.service.p95),
            f"{it.floor.rate:,.0f}",
            f"{it.service.rate:,.0f}",
            _times(it.rate_ratio),
        )
    return drawn


def pairs(results: list[Result]) -> list[Text]:
    """A line for each row that stands beside another one: how many times as long it takes."""
    measured = {it.row.name: it for it in results}
    lines = []
    for then in results:
        now = measured.get(then.row.beside or "")
        if now is not None:
            ratios = [one / other for one, other in zip(then.service.medians, now.service.medians, strict=True)]
            lines.append(
                Text(
                    f"{then.row.name} : now = {_times(then.service.median / now.service.median)}, in the rounds "
                    f"{_range(min(ratios), max(ratios))}, SQL alone {_times(then.sql.median / now.sql.median)}; "
                    f"aim at most {_times(AS_OF_AIM)}"
                )
            )
    return lines


def loads_table(measured: list[Figures], conditions: str, size: Size) -> Table:
    drawn = _table(
        "Loads beside COPY",
        f"{conditions}; files of {size.rows} entities with two details each (CSV), and of a graph (JSON lines). Rows a second "
        "are those of the file; the ratio is between them and COPY's, beside it those by the slowest and by the fastest COPY. "
        "Load: `headwater ingest`, the command, once; what it takes for a file without rows "
        f"({measured[0].start:.2f} s, a median) is taken off its seconds before they are set beside COPY's. Version rows: those "
        "of entities and their details, of assets, or of links that were inserted, closed or removed. COPY: of the same file by "
        "asyncpg into a table without indexes (uuid, text, text, jsonb, timestamptz; of JSON lines, jsonb), the median of "
        f"{len(measured[0].copies)} in turn with the load. Each load has a database of its own: new rows meet tables that nobody "
        "ever analysed, the others a copy of what the load before them left, after VACUUM ANALYZE. Checked: every row was "
        "created, updated or unchanged as it should be, and log, versions and what follows from them agree after each load.",
        *("seconds", "rows/s", "version\nrows", "version\nrows/s", "COPY\nrows/s", "ratio", "ratios by\nCOPY", "aim"),
    )
    for it in measured:
        drawn.add_row(
            it.load.name,
            f"{it.whole:.2f}",
            f"{it.rate:,.0f}",
            f"{it.written:,}",
            f"{it.written_rate:,.0f}",
            f"{it.copy_rate:,.0f}",
            f"{it.ratio:.1f}×",
            f"{it.ratio_range[0]:.1f}–{it.ratio_range[1]:.1f}",
            "" if it.load.aim is None else f"≤ {it.load.aim:g}×",
        )
    return drawn


def graph_rates(assets: Figures, links: Figures, contents: Contents) -> Text:
    """How fast a graph was loaded, counted in what it is made of."""
    return Text(
        f"{contents.assets:,} assets in {assets.loading:.1f} s, {contents.assets / assets.loading:,.0f}/s; "
        f"{contents.versions:,} link versions in {links.loading:.1f} s, {contents.versions / links.loading:,.0f}/s"
    )


def overload_table(measured: Overload, conditions: str) -> Table:
    extent = measured.extent
    drawn = _table(
        "The service in a crowd",
        f"{conditions}. {extent.readers} clients, each with a connection of its own, of three tenants with two keys each, read "
        f"what is listed below for {extent.seconds:g} s, as fast as they are answered: alone, then beside {extent.hostile} who "
        "mean harm. Service: `headwater serve` with default settings and one worker, on the processors that PostgreSQL and the "
        "clients (two processes) have as well, so that only the ratio of both rounds says something. Answered: with 200 and "
        "no error; 503: whereupon a client waits as it is told and asks the same again. p50 and p99 are of answers, in "
        "milliseconds, and with all waiting for one. CPU: seconds of a processor, in each "
        "second of the round, that the service, the clients, and all that runs on the machine took, others beside us too. "
        "Conn.: connections to PostgreSQL after the round. At rest: after how many seconds none of them was at work any more.",
        *("answers\n/s", "200", "503", "p50", "p99", "p50\nwaited", "p99\nwaited"),
        *("memory\nMB", "CPU\nservice", "CPU\nclients", "CPU\nall", "conn.", "at\nrest"),
    )
    for name, it in (("alone", measured.alone), ("beside", measured.beside)):
        readers = it.readers
        busy = len(readers.outcomes.get("503 UNAVAILABLE", ()))
        waited = readers.until_answered
        drawn.add_row(
            name,
            f"{len(readers.answered) / extent.seconds:,.0f}",
            f"{len(readers.answered) / readers.requests:.1%}",
            f"{busy / readers.requests:.1%}",
            *(f"{quantile(taken, of) * 1000:,.0f}" for taken in (readers.answered, waited) for of in (50, 99)),
            " → ".join(f"{size / 1e6:,.0f}" for size in it.memory),
            f"{it.service / it.lasted:.2f}",
            f"{it.clients / it.lasted:.2f}",
            f"{it.machine / it.lasted:.2f}",
            str(sum(it.backends.values())),
            "never" if it.settled is None else f"{it.settled:.1f} s",
        )
    return drawn


def readers_table(measured: Overload) -> Table:
    drawn = _table(
        "What readers were answered",
        "Answers with 200 and no error, in milliseconds.",
        *("answers\nalone", "answers\nbeside", "p50\nalone", "p50\nbeside", "ratio", "p99\nalone", "p99\nbeside", "ratio"),
    )
    for name, outcomes in measured.alone.readers.taken.items():
        alone, beside = outcomes.get("200", []), measured.beside.readers.taken.get(name, {}).get("200", [])
        drawn.add_row(
            name,
            f"{len(alone):,}",
            f"{len(beside):,}",
            *(part for of in (50, 99) for part in _before_and_after(quantile(alone, of), quantile(beside, of))),
        )
    return drawn


def hostile_table(measured: Overload) -> Table:
    drawn = _table(
        "What hostile ones met with",
        "Each asks again at once. Milliseconds until it was over.",
        *("clients", "requests", "/s", "p50", "p99", "how it ended"),
    )
    for name, met in measured.beside.hostile.items():
        taken = [it for every in met.outcomes.values() for it in every]
        drawn.add_row(
            name,
            str(met.clients),
            f"{len(taken):,}",
            f"{len(taken) / measured.extent.seconds:,.0f}",
            *(f"{quantile(taken, of) * 1000:,.1f}" for of in (50, 99)),
            ", ".join(f"{outcome} × {len(every):,}" for outcome, every in sorted(met.outcomes.items())),
        )
    return drawn


def _before_and_after(before: float, after: float) -> tuple[str, str, str]:
    return f"{before * 1000:,.0f}", f"{after * 1000:,.0f}", _times(after / before) if before else ""


def visits_table(counted: list[Visits]) -> Table:
    drawn = _table(
        "What walks visit",
        "Of the first sample of each row: how many walks it makes, the assets these reach (roots included), the links they see, "
        "and their pages, one a level and one before the first. Visited, by EXPLAIN ANALYZE: rows of lineage_link_effective, also those "
        "that a filter threw away, and rows of the recursion.",
        *("walks", "assets\nreached", "links\nseen", "pages", "rows\nvisited", "ratio", "aim"),
    )
    for it in counted:
        numbers = (it.walks, it.assets, it.links, it.pages, it.visited)
        drawn.add_row(it.row.name, *(f"{number:,}" for number in numbers), _times(it.ratio), "≤ 1×")
    return drawn


def _table(title: str, caption: str, *headings: str) -> Table:
    drawn = Table(title=title, caption=Text(caption), caption_justify="left")
    drawn.add_column("", no_wrap=True)
    for heading in headings:
        drawn.add_column(heading, justify="right", no_wrap=True)
    return drawn


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×"


def _range(least: float, greatest: float) -> str:
    return f"{least:.2f}–{greatest:.2f}"
