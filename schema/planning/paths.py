"""Paths of values in the response, which are built only for a resolver or an error that reads one."""

from collections.abc import Callable, Sequence
from typing import Any

# Returns the path of a value by its index among the values of a level.
PathOf = Callable[[int], list[str | int]]
# Returns the path of one value.
FindPath = Callable[[], list[str | int]]


def path_of_root(_: int) -> list[str | int]:
    """Return the path of the root."""
    return []


def path_of_field(path: PathOf, key: str) -> PathOf:
    """Return the path of a field of an object by the index of the object."""
    return lambda index: [*path(index), key]


def path_of_selected(path: PathOf, indexes: Sequence[int]) -> PathOf:
    """Return the path of a value by its index among the selected ones."""
    return lambda index: path(indexes[index])


def path_from(path: PathOf, start: int) -> PathOf:
    """Return the path of a value by its index among those from a start on."""
    return lambda index: path(start + index)


def path_of_item(lists: Sequence[Any], path: PathOf) -> PathOf:
    """Return the path of an item by its index among the items of all lists."""

    def item_path(index: int) -> list[str | int]:
        for number, value in enumerate(lists):
            length = len(value) if isinstance(value, list) else 0
            if index < length:
                return [*path(number), index]
            index -= length
        raise IndexError(index)

    return item_path
