"""The printed tables of loads and of overload, with the conditions that a reader has to know."""

import os
from dataclasses import dataclass

import asyncpg
from rich.table import Table
from rich.text import Text

from tests.bench.databases import plain_address
from tests.bench.loads.measure import LoadFigures
from tests.bench.loads.rows import Size
from tests.bench.overload.measure import Overload, quantile

_CONTENTS = """
SELECT (SELECT count(*) FROM asset) AS assets, count(*) AS versions, count(producer) AS pipeline_versions,
  count(producer) FILTER (WHERE valid_to <> 'infinity') AS closed
FROM lineage_link_effective
"""


async def conditions(address: str, load: float) -> str:
    """Describe the machine and the database. The load is that before the measurement: on a busy machine figures mean little."""
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
    """Sizes of a loaded graph. `closed` counts the versions of links in pipelines that have ended."""

    assets: int
    versions: int
    pipeline_versions: int
    closed: int

    def __str__(self) -> str:
        return (
            f"{self.assets:,} assets and {self.versions:,} link versions, of which {self.pipeline_versions:,} belong to "
            f"pipelines ({self.closed / self.pipeline_versions:.1%} of them closed), the others to components that are"
            f" hard to walk"
        )


async def contents_of(address: str) -> Contents:
    """Count the graph in a database."""
    connection = await asyncpg.connect(plain_address(address))
    try:
        return Contents(**dict(await connection.fetchrow(_CONTENTS) or {}))
    finally:
        await connection.close()


def loads_table(measured: list[LoadFigures], conditions: str, size: Size) -> Table:
    drawn = _table(
        "Loads beside COPY",
        f"{conditions}; files of {size.rows} entities with two details each (CSV), and of a graph (JSON lines). Rows a second "
        "are those of the file; the ratio compares them with COPY's, beside it the ratios to the slowest and the fastest COPY. "
        "Load: the command `headwater ingest`, once; the time that it takes for a file without rows "
        f"({measured[0].start:.2f} s, a median) is subtracted before the comparison. Version rows: those of entities and their "
        "details, of assets, or of links that were inserted, closed or removed. COPY: of the same file by asyncpg into a table "
        "without indexes (uuid, text, text, jsonb, timestamptz; of JSON lines, jsonb), the median of "
        f"{len(measured[0].copies)} in turn with the load. Each load has its own database: new rows are loaded into tables "
        "without statistics, the others into a copy of the database that the load before them left, after VACUUM"
        " ANALYZE. Checked: "
        "every row was created, updated or unchanged as it should be, and after each load the versions agree with the log.",
        *("seconds", "rows/s", "version\nrows", "version\nrows/s", "COPY\nrows/s", "ratio", "ratios by\nCOPY", "aim"),
    )
    for it in measured:
        drawn.add_row(
            it.load.name,
            f"{it.total:.2f}",
            f"{it.rate:,.0f}",
            f"{it.written:,}",
            f"{it.written_rate:,.0f}",
            f"{it.copy_rate:,.0f}",
            f"{it.ratio:.1f}×",
            f"{it.ratio_range[0]:.1f}–{it.ratio_range[1]:.1f}",
            "" if it.load.aim is None else f"≤ {it.load.aim:g}×",
        )
    return drawn


def graph_rates(assets: LoadFigures, links: LoadFigures, contents: Contents) -> Text:
    """Describe how fast a graph was loaded."""
    return Text(
        f"{contents.assets:,} assets in {assets.loading:.1f} s, {contents.assets / assets.loading:,.0f}/s; "
        f"{contents.versions:,} link versions in {links.loading:.1f} s, {contents.versions / links.loading:,.0f}/s"
    )


def overload_table(measured: Overload, conditions: str) -> Table:
    size = measured.size
    drawn = _table(
        "The service under overload",
        f"{conditions}. {size.readers} clients, each with its own connection, of three tenants with two keys each, send the "
        f"operations below for {size.seconds:g} s, as fast as they get responses: alone, then beside {size.attackers} attackers. "
        "Service: `headwater serve` with default settings and one worker, on the processors that PostgreSQL and the clients (two "
        "processes) use as well, so that only the ratio of both rounds is meaningful. Answered: with 200 and without an error; "
        "after a 503 a client waits as long as the response asks and sends the same request again. p50 and p99 are of responses "
        "in milliseconds, and of requests with all their retries. CPU: processor seconds in each second of the round of the "
        "service, the clients, and everything on the machine. Conn.: connections to PostgreSQL after the round. At rest: seconds "
        "until none of them was active.",
        *("responses\n/s", "200", "503", "p50", "p99", "p50 with\nretries", "p99 with\nretries"),
        *("memory\nMB", "CPU\nservice", "CPU\nclients", "CPU\nall", "conn.", "at\nrest"),
    )
    for name, it in (("readers only", measured.readers_only), ("with attackers", measured.with_attackers)):
        readers = it.readers
        unavailable = len(readers.outcomes.get("503 UNAVAILABLE", ()))
        drawn.add_row(
            name,
            f"{len(readers.answered) / size.seconds:,.0f}",
            f"{len(readers.answered) / readers.requests:.1%}",
            f"{unavailable / readers.requests:.1%}",
            *(
                f"{quantile(durations, percent) * 1000:,.0f}"
                for durations in (readers.answered, readers.until_answered)
                for percent in (50, 99)
            ),
            " → ".join(f"{memory / 1e6:,.0f}" for memory in it.memory),
            f"{it.service / it.elapsed:.2f}",
            f"{it.clients / it.elapsed:.2f}",
            f"{it.machine / it.elapsed:.2f}",
            str(sum(it.backends.values())),
            "never" if it.settled is None else f"{it.settled:.1f} s",
        )
    return drawn


def readers_table(measured: Overload) -> Table:
    drawn = _table(
        "Operations of the readers",
        "Responses with 200 and without an error, in milliseconds; first of readers only, then with attackers.",
        *(
            "responses\nalone",
            "responses\nattacked",
            "p50\nalone",
            "p50\nattacked",
            "ratio",
            "p99\nalone",
            "p99\nattacked",
            "ratio",
        ),
    )
    for name, outcomes in measured.readers_only.readers.durations.items():
        alone, attacked = outcomes.get("200", []), measured.with_attackers.readers.durations.get(name, {}).get("200", [])
        drawn.add_row(
            name,
            f"{len(alone):,}",
            f"{len(attacked):,}",
            *(it for percent in (50, 99) for it in _before_and_after(quantile(alone, percent), quantile(attacked, percent))),
        )
    return drawn


def attacks_table(measured: Overload) -> Table:
    drawn = _table(
        "Outcomes of attacks",
        "Each attacker sends its next request at once. Milliseconds until a request ended.",
        *("clients", "requests", "/s", "p50", "p99", "outcomes"),
    )
    for name, observations in measured.with_attackers.attackers.items():
        durations = [it for every in observations.outcomes.values() for it in every]
        drawn.add_row(
            name,
            str(observations.clients),
            f"{len(durations):,}",
            f"{len(durations) / measured.size.seconds:,.0f}",
            *(f"{quantile(durations, percent) * 1000:,.1f}" for percent in (50, 99)),
            ", ".join(f"{outcome} × {len(every):,}" for outcome, every in sorted(observations.outcomes.items())),
        )
    return drawn


def _before_and_after(before: float, after: float) -> tuple[str, str, str]:
    return f"{before * 1000:,.0f}", f"{after * 1000:,.0f}", _times(after / before) if before else ""


def _table(title: str, caption: str, *headings: str) -> Table:
    drawn = Table(title=title, caption=Text(caption), caption_justify="left")
    drawn.add_column("", no_wrap=True)
    for heading in headings:
        drawn.add_column(heading, justify="right", no_wrap=True)
    return drawn


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×"
