"""What is measured. A row of the table is an entry of `ROWS`, and nothing else has to know of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.data import UPDATED_FROM, product_name, product_uid
from tests.bench.replay import FRESH


@dataclass(frozen=True, slots=True)
class Row:
    """An operation to measure. `variables` gives those of each sample; requests take the samples in turn.

    What it answers must depend neither on the clock nor on what other rows write, for the answers of service and floor are
    compared. Writers of different samples must not wait for each other.
    """

    name: str
    document: str
    variables: Callable[[int], dict[str, Any]] = lambda _: {}
    samples: int = 1
    writes: bool = False


ROWS = (
    Row(
        "product by name",
        "query Product($name: String!) { product(name: $name) { uid name owner status version description domain { name } } }",
        lambda sample: {"name": product_name(sample)},
        samples=50,
    ),
    Row(
        "page of 50 products",
        "{ products(first: 50) { nodes { uid name owner status version domain { name } } pageInfo { hasNextPage endCursor } } }",
    ),
    Row(
        "update of a product",
        "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed product { uid name description } } }",
        lambda sample: {"input": {"product": {"uid": str(product_uid(UPDATED_FROM + sample))}, "description": f"Now {FRESH}."}},
        samples=100,
        writes=True,
    ),
)


def chosen(fragments: list[str]) -> list[Row]:
    """The rows whose names contain one of these texts; all of them when there is none."""
    return [row for row in ROWS if not fragments or any(fragment.lower() in row.name for fragment in fragments)]
