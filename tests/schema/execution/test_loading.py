"""Loaders: their values are released with the operation, and each caller has a separate future."""

import asyncio
import gc
from typing import Any

import pytest

from db.driver_connection import Row
from db.errors import Unavailable
from schema.execution.loading import Loader, Loaders
from tests.builders import Api

pytestmark = pytest.mark.api


async def test_loaded_rows_are_released_with_the_operation(api: Api) -> None:
    """The executor of graphql-core is part of reference cycles, so the context would live until a garbage collection."""
    await api.register("orders")
    gc.collect()
    gc.disable()
    try:
        assert (await api('{ product(name: "orders") { name upstream { totalCount } } }')).data
        assert not [it for it in gc.get_objects() if isinstance(it, Row) and it.get("name") == "orders"]
    finally:
        gc.enable()


async def unconnected() -> Any:
    raise Unavailable("There is no database.")


async def test_cancelling_one_caller_does_not_cancel_another() -> None:
    async def find(keys: list[int]) -> list[int]:
        await asyncio.sleep(0.01)
        return keys

    loader = Loader(find, Loaders(unconnected))
    cancelled, kept = loader.load(1), loader.load(1)
    cancelled.cancel()
    assert await kept == 1
    assert cancelled.cancelled()
    assert await loader.load(1) == 1


async def test_a_failure_reaches_waiting_callers_and_is_not_logged_for_others() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

    async def find(keys: list[int]) -> list[int]:
        raise RuntimeError("the batch failed")

    async def use(loader: Loader) -> None:
        cancelled, ignored, kept = loader.load(1), loader.load(1), loader.load(2)
        cancelled.cancel()
        with pytest.raises(RuntimeError):
            await kept
        assert ignored.done()

    await use(Loader(find, Loaders(unconnected)))
    await asyncio.sleep(0)
    gc.collect()
    assert logged == []
