"""The printed tables, with the conditions that a reader has to know."""

import os
from dataclasses import dataclass

import asyncpg
from rich.table import Table
from rich.text import Text

from tests.bench import relationships
from tests.bench.data import Size, plain_address, settings_for
from tests.bench.harness import CONNECTIONS, Result
from tests.bench.loading import LoadFigures
from tests.bench.overload import Overload, quantile
from tests.bench.versions import VERSIONS
from tests.bench.walk_row_counts import WalkRowCounts

_CONTENTS = """
SELECT (SELECT count(*) FROM asset) AS assets, count(*) AS versions, count(producer) AS pipeline_versions,
  count(producer) FILTER (WHERE valid_to <> 'infinity') AS closed
FROM lineage_link_effective
"""

# A read as of an instant may take so many times as long as the same read of the present.
AS_OF_AIM = 1.3


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


def of_everything(size: Size) -> str:
    """Describe the data of rows that are not about lineage."""
    related = sum(1 for _ in relationships.relationships(size.entities, size.products))
    return (
        f"{size.products} products and {size.entities} entities with {VERSIONS} versions each, {related} relationships with fewer"
    )


def of_graph(contents: Contents, address: str) -> str:
    """Describe the data of rows of lineage, and the names of the rows."""
    walk = settings_for(address).limits.walk_bounds
    return (
        f"{contents}. A walk of 20, of 450 and of 8000 reaches that many assets from its roots, for any size of the graph: "
        "compare their rows with those of a run on ten times the graph (--large), where the aim is at most 1.3 times as long. "
        f"A walk ends at {walk.assets:,} assets or {walk.links:,} links"
    )


def table(title: str, results: list[Result], conditions: str, contents: str, rounds: int) -> Table:
    drawn = _table(
        title,
        f"{conditions}; {contents}. Times in milliseconds over one kept-alive connection: medians of {rounds} rounds in which "
        "both servers take turns; beside the ratio the lowest and the highest of a round. Requests a second over "
        f"{CONNECTIONS} connections. Service: the whole of `headwater serve`, with one worker. Baseline: a bare ASGI "
        "application, also in uvicorn with uvloop, httptools and one worker, which runs the statements that the service"
        " was recorded "
        "to run (including those that open and end a transaction) through a pool of asyncpg, ignores the rows, and encodes"
        " the recorded "
        "response with orjson. SQL alone: those statements on one held asyncpg connection. Checked: the responses of both are "
        "equal byte for byte except requestId, and in both every request of a write changed something.",
        *(
            "baseline\nmedian",
            "service\nmedian",
            "ratio",
            "ratios of\nthe rounds",
            "SQL alone\nmedian",
            "baseline\np95",
            "service\np95",
        ),
        *("baseline\nreq/s", "service\nreq/s", "ratio"),
    )
    for it in results:
        drawn.add_row(
            it.row.name,
            _milliseconds(it.baseline.median),
            _milliseconds(it.service.median),
            _times(it.ratio),
            _range(*it.ratio_range),
            _milliseconds(it.sql.median),
            _milliseconds(it.baseline.p95),
            _milliseconds(it.service.p95),
            f"{it.baseline.rate:,.0f}",
            f"{it.service.rate:,.0f}",
            _times(it.rate_ratio),
        )
    return drawn


def comparisons(results: list[Result]) -> list[Text]:
    """Return a line for each row that is compared with another one: how many times as long it takes."""
    measured = {it.row.name: it for it in results}
    lines = []
    for as_of in results:
        now = measured.get(as_of.row.compared_with or "")
        if now is not None:
            ratios = [one / other for one, other in zip(as_of.service.medians, now.service.medians, strict=True)]
            lines.append(
                Text(
                    f"{as_of.row.name} : now = {_times(as_of.service.median / now.service.median)}, in the rounds "
                    f"{_range(min(ratios), max(ratios))}, SQL alone {_times(as_of.sql.median / now.sql.median)}; "
                    f"aim at most {_times(AS_OF_AIM)}"
                )
            )
    return lines


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


def walk_rows_table(counts: list[WalkRowCounts]) -> Table:
    drawn = _table(
        "Rows that walks read",
        "Of the first sample of each row: its walks, the assets that these visit (roots included), the links that they examine, "
        "and their levels, one of them before the first. Rows read, by EXPLAIN ANALYZE: rows of lineage_link_effective, "
        "including those that a filter removed, and rows of the recursion.",
        *("walks", "assets\nvisited", "links\nexamined", "levels", "rows\nread", "ratio", "aim"),
    )
    for it in counts:
        numbers = (it.walks, it.assets, it.links, it.levels, it.read)
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
