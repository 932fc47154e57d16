"""Reports of a running command on the console: how far it is, and which rows it rejected."""

import csv
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from graph_api.ingestion.row import RowError
from graph_api.ingestion.spreadsheet_cells import neutralize

# Seconds between two lines of progress where there is no terminal.
INTERVAL = 5.0
# Rejected rows that are named on the console and in an HTTP response.
NAMED = 100


class Progress:
    """A bar on a terminal, and a line every few seconds elsewhere. Without a total it shows no percentage."""

    def __init__(self, console: Console, total: int | None, *, of: str = "rows", interval: float = INTERVAL) -> None:
        self._console = console
        self._total = total
        self._of = of
        self._interval = interval
        self._started = self._printed = time.monotonic()
        self._bar: Bar | None = None
        if console.is_interactive:
            self._bar = Bar(BarColumn(), TextColumn("{task.description}", markup=False), console=console, transient=True)
            self._task = self._bar.add_task(f"0 {of}", total=total)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int, position: int) -> None:
        """Show that so many are done, up to this position of the total."""
        now = time.monotonic()
        description = describe(count, position, self._total, now - self._started, of=self._of)
        if self._bar is not None:
            self._bar.update(self._task, completed=position, description=description)
        elif now - self._printed >= self._interval:
            self._printed = now
            self.print(description)

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Rejects:
    """Report of the rejected rows: the first on the console, and all of them in a CSV file if one is given.

    `part` is the name of a part of a row in the format of the load.
    """

    def __init__(self, progress: Progress, file: TextIO | None, part: str) -> None:
        self._progress = progress
        self._file = file
        self._part = part
        self._writer = csv.writer(file) if file else None
        self._count = 0
        if self._writer:
            self._writer.writerow(("line", part, "code", "reason"))

    def add(self, error: RowError) -> None:
        self._count += 1
        if self._writer:
            # both quote the file, and people open this one in a spreadsheet
            self._writer.writerow((error.line, neutralize(error.field or ""), error.code, neutralize(error.message)))
        if self._count <= NAMED:
            where = f"line {error.line}" if error.field is None else f"line {error.line}, {self._part} {error.field}"
            self._progress.print(f"{where}: {error.message}")

    def conclude(self) -> None:
        """Print how many rejected rows were not named."""
        if self._count > NAMED:
            hint = f"{self._file.name} names them all." if self._file else "--rejects FILE names them all."
            self._progress.print(f"… and {self._count - NAMED} more. {hint}")


def describe(count: int, position: int, total: int | None, seconds: float, *, of: str = "rows") -> str:
    """Return the count, the rate, and the percentage and remaining time where they are known."""
    parts = [f"{_grouped(count)} {of}"]
    if seconds > 0:
        parts.append(f"{_grouped(count / seconds)} {of}/s")
    if total and position:
        position = min(position, total)
        parts.append(f"{100 * position // total} %")
        parts.append(f"about {_duration(seconds * (total - position) / position)} left")
    return ", ".join(parts)


def _grouped(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
