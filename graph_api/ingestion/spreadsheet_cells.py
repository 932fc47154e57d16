"""Cells of CSV files that people open in a spreadsheet, which must not run what a supplier wrote."""

import re

# The beginning of a formula, by OWASP: a spreadsheet drops leading blanks, and knows the wide forms of the characters.
_FORMULA = r"'*[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]"
# The beginning of a cell: a spreadsheet of another language separates cells at semicolons, even inside quotation marks.
_BEGINNING = r"(?:\A|(?<=[;\t\r\n]))"
_UNSAFE = re.compile(f"{_BEGINNING}(?={_FORMULA})")


def neutralize(text: str) -> str:
    """Put an apostrophe before every part of a cell that a spreadsheet would run. Removing one gives the text again."""
    return _UNSAFE.sub("'", text)
