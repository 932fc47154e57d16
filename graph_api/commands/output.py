"""Output of commands: tables, and errors that name the file they concern."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from db.errors import BadInput


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with one line a row, however wide the line gets."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Raise an OSError of the block as a BadInput that names the file."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be used: {error.strerror}.") from error
