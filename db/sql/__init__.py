"""Fixed statements, one a file."""

from functools import cache
from importlib.resources import files


@cache
def load(name: str) -> str:
    """The text of a statement."""
    return files(__package__).joinpath(f"{name}.sql").read_text()
