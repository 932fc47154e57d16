"""Loaders belong to their operation: what they found goes with it."""

import gc

import pytest

from db.product import ProductRow
from tests.builders import Api

pytestmark = pytest.mark.api


async def test_what_was_found_goes_with_the_operation(api: Api) -> None:
    """graphql-core holds whoever runs an operation in circles, which only the collector breaks up."""
    await api.register("orders")
    gc.collect()
    gc.disable()
    try:
        assert (await api('{ product(name: "orders") { name upstream { totalCount } } }')).data
        assert not [it for it in gc.get_objects() if isinstance(it, ProductRow)]
    finally:
        gc.enable()
