"""Loaders: their values are released with the operation, and each caller has a separate future."""

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

import pytest

from db.rows import Row
from schema.execution.loading import Batch, Loaders
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
    return Unconnected()


class Unconnected:
    async def idle(self) -> None:
        pass


def loaders() -> Loaders:
    return Loaders(unconnected)


async def test_a_value_is_found_once() -> None:
    found: list[int] = []

    async def find(_: Any, keys: Sequence[int]) -> list[int]:
        found.extend(keys)
        await asyncio.sleep(0)
        return [-key for key in keys]

    declared, used = Batch(find), loaders()
    first, second = await asyncio.gather(used.load_all(declared, [1, 2, 1]), used.load(declared, 2))
    assert (first, second) == ([-1, -2, -1], -2)
    assert await used.load_all(declared, [2, 3]) == [-2, -3]
    assert await used.load(declared, 3) == -3
    assert found == [1, 2, 3]


async def test_a_value_is_not_found_again_while_its_batch_runs() -> None:
    found: list[int] = []
    began = asyncio.Event()

    async def find(_: Any, keys: Sequence[int]) -> list[int]:
        found.extend(keys)
        began.set()
        for _ in range(20):
            await asyncio.sleep(0)
        return list(keys)

    declared, used = Batch(find), loaders()
    first = asyncio.ensure_future(used.load(declared, 1))
    await began.wait()
    assert await used.load_all(declared, [1, 2]) == [1, 2]
    assert await first == 1
    assert found == [1, 2]


async def test_an_exception_among_the_values_is_the_error_of_its_key() -> None:
    async def find(_: Any, keys: Sequence[int]) -> list[int | Exception]:
        return [ValueError(f"no {key}") if key < 0 else key for key in keys]

    declared, used = Batch(find), loaders()
    good, bad = await used.load_all(declared, [1, -1])
    assert good == 1
    assert isinstance(bad, ValueError)
    with pytest.raises(ValueError, match="no -1"):
        await used.load(declared, -1)


async def test_cancelling_one_caller_does_not_cancel_another() -> None:
    async def find(_: Any, keys: Sequence[int]) -> list[int]:
        await asyncio.sleep(0.01)
        return list(keys)

    declared, used = Batch(find), loaders()
    cancelled, kept = (asyncio.ensure_future(used.load(declared, 1)) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await kept == 1
    assert cancelled.cancelled()
    assert await used.load(declared, 1) == 1


async def test_a_failure_reaches_waiting_callers_and_is_not_logged_for_others() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

    async def find(_: Any, keys: Sequence[int]) -> list[int]:
        raise RuntimeError("the batch failed")

    async def use() -> None:
        declared, used = Batch(find), loaders()
        cancelled, kept = asyncio.ensure_future(used.load(declared, 1)), asyncio.ensure_future(used.load(declared, 2))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(RuntimeError):
            await kept

    await use()
    await asyncio.sleep(0)
    gc.collect()
    assert logged == []


async def test_the_only_call_of_an_operation_waits_for_no_other() -> None:
    async def find(_: Any, keys: Sequence[int]) -> list[int | ValueError]:
        return [-key if key > 0 else ValueError("not positive") for key in keys]

    declared, single = Batch(find), Loaders(unconnected, is_single_read=True)
    single.prime_all(declared, {5: 55})
    for key, expected in ((1, -1), (5, 55)):
        with pytest.raises(StopIteration) as ended:
            single.load(declared, key).send(None)
        assert ended.value.value == expected
    with pytest.raises(ValueError, match="not positive"):
        await single.load(declared, 0)
