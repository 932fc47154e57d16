"""What is read in several statements, as if it were in one."""

from typing import NoReturn, TypeVar

from db.errors import TransactionConflict

Key = TypeVar("Key")
Value = TypeVar("Value")


class ConsistentDict(dict[Key, Value]):
    """What was read because something else refers to it. A query sees one snapshot, in which it is there; between two statements
    of a mutation others may write, and then all of it is done once more."""

    def __missing__(self, key: Key) -> NoReturn:
        raise TransactionConflict("Another writer changed what was just read. Try again.")
