"""Loaders belong to their operation: what they found goes with it."""

import asyncio
import gc
from typing import Any

import pytest

from db.assets.product import ProductRow
from schema.execution.loading import Loader
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


async def test_each_caller_gives_up_for_itself() -> None:
    async def find(keys: list[int]) -> list[int]:
        await asyncio.sleep(0.01)
        return keys

    loader = Loader(find)
    given_up, kept = loader.load(1), loader.load(1)
    given_up.cancel()
    assert await kept == 1
    assert given_up.cancelled()
    assert await loader.load(1) == 1


async def test_a_failure_reaches_who_waits_and_nobody_is_told_of_who_does_not() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def find(keys: list[int]) -> list[int]:
        raise RuntimeError("nothing is found")

    async def use(loader: Loader) -> None:
        given_up, abandoned, kept = loader.load(1), loader.load(1), loader.load(2)
        given_up.cancel()
        with pytest.raises(RuntimeError):
            await kept
        assert abandoned.done()

    await use(Loader(find))
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
