"""What a load, or whatever else takes its time, says while it works: how far it has come, and which rows it refused."""

import csv
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from graph_api.ingestion.row import RowError

# Seconds between two lines where there is no terminal.
INTERVAL = 5.0
# How many refused rows are named where people read; a file can take them all.
NAMED = 100


class Progress:
    """A bar on a terminal, a plain line now and then elsewhere. Without a total there is no end to foresee."""

    def __init__(self, console: Console, total: int | None, *, of: str = "rows", interval: float = INTERVAL) -> None:
        self._console = console
        self._total = total
        self._of = of
        self._interval = interval
        self._started = self._spoke = time.monotonic()
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

    def advance(self, rows: int, position: int) -> None:
        """So many rows are done, up to this byte of the file."""
        now = time.monotonic()
        said = described(rows, position, self._total, now - self._started, of=self._of)
        if self._bar is not None:
            self._bar.update(self._task, completed=position, description=said)
        elif now - self._spoke >= self._interval:
            self._spoke = now
            self.say(said)

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Rejects:
    """Says which rows were refused and why: the first on the console, all of them in a file if there is one.

    `part` is what the format calls a part of a row.
    """

    def __init__(self, progress: Progress, file: TextIO | None, part: str) -> None:
        self._progress = progress
        self._file = file
        self._part = part
        self._writer = csv.writer(file) if file else None
        self._count = 0
        if self._writer:
            self._writer.writerow(("line", part, "code", "reason"))

    def add(self, fault: RowError) -> None:
        self._count += 1
        if self._writer:
            self._writer.writerow((fault.line, fault.field, fault.code, fault.message))
        if self._count <= NAMED:
            place = f"line {fault.line}" if fault.field is None else f"line {fault.line}, {self._part} {fault.field}"
            self._progress.say(f"{place}: {fault.message}")

    def conclude(self) -> None:
        """Tell of what was not named."""
        if self._count > NAMED:
            where = f"{self._file.name} names them all." if self._file else "--rejects FILE names them all."
            self._progress.say(f"… and {self._count - NAMED} more. {where}")


def described(rows: int, position: int, total: int | None, seconds: float, *, of: str = "rows") -> str:
    """How far, how fast, how long still."""
    parts = [f"{_grouped(rows)} {of}"]
    if seconds > 0:
        parts.append(f"{_grouped(rows / seconds)} {of}/s")
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
