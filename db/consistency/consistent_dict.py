"""Dictionary for rows that several statements of one mutation read as if they were one snapshot."""

from typing import NoReturn, TypeVar

from db.errors import TransactionConflict

Key = TypeVar("Key")
Value = TypeVar("Value")


class ConsistentDict(dict[Key, Value]):
    """Rows by the keys that other rows refer to. A missing key raises TransactionConflict, so that the mutation is retried.

    A query reads one snapshot, in which the row of every reference exists. A mutation reads a new snapshot with each statement,
    and another writer may commit in between.
    """

    def __missing__(self, key: Key) -> NoReturn:
        raise TransactionConflict("Another writer changed rows that this request just read. Try again.")
