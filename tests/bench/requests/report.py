"""The tables of the measured requests, in Markdown, with the aims beside the figures."""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from tests.bench.requests.floor import POOL_SIZE
from tests.bench.requests.measure import AIMED, CONNECTIONS, Figures, Result
from tests.bench.requests.servers import FLOOR, HEADWATER, POSTGRAPHILE, RAISED

# A row that reads as of an instant has at least this share of the throughput of the row before it.
AS_OF_AIM = 0.95
# The aim of p99 at the most connections, as a multiple of p50.
TAIL_AIM = 4


def report(results: Sequence[Result], conditions: str, contents: str, rounds: int, seconds: float) -> Iterator[str]:
    """Yield the parts of the report."""
    yield (
        f"{conditions}. {contents}. Medians of {rounds} rounds of {seconds:g} s for each server and number of connections, in "
        "which the servers take turns; shares are medians of the shares of the rounds, with the lowest and the highest. Each "
        f"server is one process with {POOL_SIZE} connections to PostgreSQL. Checked before: all answers are equal byte for byte, "
        "extensions aside, and each write adds the same rows."
    )
    settings = ", ".join(f"`{name}={value}`" for name, value in RAISED.items())
    yield f"Raised for {CONNECTIONS[-1]} connections: {settings}. Rates are counted all the same."
    if not any(name == POSTGRAPHILE for result in results for name, _ in result.figures):
        yield "PostGraphile is not installed and left out: it needs npm."
    yield _throughput(results)
    yield _tails(results)
    yield _everything(results)


def memory_table(measured: Sequence[tuple[int, float]]) -> str:
    """Return the table of the memory of Headwater after numbers of requests."""
    return _table(
        "Memory of Headwater",
        ("requests", "RSS, MB"),
        ((f"{requests:,}", f"{memory / 1e6:.0f}") for requests, memory in measured),
    )


def _throughput(results: Sequence[Result]) -> str:
    """Compare requests a second at the number of connections that has aims."""
    by_name = {it.row.name: it for it in results}

    def line(result: Result) -> tuple[str, ...]:
        row, of = result.row, result.figures
        before = by_name.get(row.before or "")
        return (
            row.name,
            *(_number(of.get((name, AIMED))) for name in (FLOOR, POSTGRAPHILE, HEADWATER)),
            _share(result, result, POSTGRAPHILE),
            _percent(row.postgraphile_aim),
            _share(result, result, FLOOR),
            _percent(row.floor_aim),
            _share(result, before, HEADWATER) if before else "",
            _percent(AS_OF_AIM) if row.before else "",
        )

    headings = (
        *("", FLOOR, POSTGRAPHILE, HEADWATER, "of PostGraphile", "aim", "of the floor", "aim"),
        *("of the same now", "aim"),
    )
    return _table(f"Requests a second at {AIMED} connections", headings, map(line, results))


def _tails(results: Sequence[Result]) -> str:
    """Compare the slowest responses with the median at the most connections."""
    most = CONNECTIONS[-1]

    def line(result: Result) -> tuple[str, ...]:
        figures = result.figures[HEADWATER, most]
        others = (result.figures.get((name, most)) for name in (FLOOR, POSTGRAPHILE))
        return (
            result.row.name,
            f"{figures.p50:.1f}",
            f"{figures.p99:.1f}",
            *("" if it is None else f"{it.p99 / it.p50:.1f}×" for it in (figures, *others)),
            f"≤ {TAIL_AIM}×",
        )

    headings = ("", "p50, ms", "p99, ms", f"p99 : p50 of {HEADWATER}", FLOOR, POSTGRAPHILE, "aim")
    return _table(f"Slow responses at {most} connections", headings, map(line, results))


def _everything(results: Sequence[Result]) -> str:
    def lines() -> Iterator[tuple[str, ...]]:
        for result in results:
            for (name, connections), it in sorted(result.figures.items(), key=lambda item: (item[0][1], item[0][0])):
                yield (
                    result.row.name,
                    str(connections),
                    name,
                    _number(it),
                    f"{it.p50:.2f}",
                    f"{it.p99:.2f}",
                    f"{it.cpu:.2f}",
                    f"{it.database_cpu:.2f}",
                )

    headings = ("", "connections", "server", "requests/s", "p50, ms", "p99, ms", "CPU s of the server", "of PostgreSQL")
    return _table("All figures; CPU seconds are those of 1 000 requests", headings, lines())


def _share(result: Result, other: Result, name: str) -> str:
    """Return the throughput of Headwater as a share of that of a server, in the same rounds."""
    theirs = other.figures.get((name, AIMED))
    if theirs is None:
        return ""
    shares = [one / another for one, another in zip(result.figures[HEADWATER, AIMED].rates, theirs.rates, strict=True)]
    return f"{statistics.median(shares):.0%} ({min(shares):.0%}–{max(shares):.0%})"


def _number(figures: Figures | None) -> str:
    return "" if figures is None else f"{figures.rate:,.0f}"


def _percent(aim: float | None) -> str:
    return "" if aim is None else f"≥ {aim:.0%}"


def _table(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose other columns are numbers."""
    rows = [headings, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]

    def drawn(row: Sequence[str]) -> str:
        cells = (
            it.rjust(width) if column else it.ljust(width) for column, (it, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = "|".join(("-" * (width + 1) + (":" if column else "-")) for column, width in enumerate(widths))
    return "\n".join([f"### {title}", "", drawn(headings), f"|{rule}|", *map(drawn, rows[1:])])
