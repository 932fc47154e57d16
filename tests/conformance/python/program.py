"""python program.py <address of the demo> <address of the guarded service> <a key>

Calls both with the client that ariadne-codegen generates from the schema and queries.graphql, and writes the result of each
check as a line of JSON into the file that HEADWATER_RESULTS names.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import cast

import httpx
from lineage_client import (
    GraphQLClientGraphQLMultiError,
    GraphQLClientHttpError,
    LineageClient,
    ProductRef,
    RegisterProductInput,
    UpdateProductInput,
)
from lineage_client.feeds import FeedsProductUpstreamEdgesNodeEntity, FeedsProductUpstreamEdgesNodeProduct

# A product of the demo mesh: customer_accounts until 2026-02-10, customers from then on.
UID = "d93586aa-49fa-5734-bb1c-7c71451dfa5c"


def connect(address: str, key: str | None = None) -> LineageClient:
    """Return a client that accepts JSON. Then an answer with errors is 200, unless their code has a different status."""
    headers = {"Accept": "application/json"}
    if key is not None:
        headers["X-API-Key"] = key
    return LineageClient(url=address, headers=headers)


def code_of(error: Exception) -> object:
    """Return the code of an error of the API, from any exception of the client."""
    if isinstance(error, GraphQLClientGraphQLMultiError):
        return (error.errors[0].extensions or {})["code"]
    if isinstance(error, GraphQLClientHttpError):
        # 401, 403, 429, 503 and 504 have a body of the same shape
        return cast(httpx.Response, error.response).json()["errors"][0]["extensions"]["code"]
    raise error


async def refusal(call: Awaitable[object], error_type: type[Exception] = GraphQLClientGraphQLMultiError) -> object:
    """Await a call that has to fail. Return the code of its error."""
    try:
        await call
    except error_type as error:
        return code_of(error)
    raise AssertionError("the call succeeded")


async def names_of(client: LineageClient, as_of: str | None) -> list[str]:
    names: list[str] = []
    after: str | None = None
    while True:
        products = (await client.products_page(after=after, as_of=as_of)).products
        names += [it.name for it in products.nodes]
        if not products.page_info.has_next_page:
            return names
        after = products.page_info.end_cursor


async def pages(client: LineageClient) -> str:
    now, then = await names_of(client, None), await names_of(client, "2025-12-01")
    assert (len(now), len(then)) == (len(set(now)), len(set(then))), "an item is listed twice"
    assert len(now) > 50, "all items fit in one page"
    return f"{len(now)} products now, {len(then)} then"


async def instants(client: LineageClient) -> str:
    found = await client.now_and_then(uid=UID, then="2025-12-01")
    assert found.now is not None
    assert found.then is not None
    assert (found.now.id, found.now.label) == (f"Product:{UID}", "customers")
    assert (found.then.id, found.then.label) == (f"Product:{UID}@2025-12-01T00:00:00Z", "customer_accounts")
    return f"{found.then.label}, until {found.then.valid_to} {found.now.label}"


async def walk(client: LineageClient) -> str:
    product = (await client.feeds(name="revenue_daily")).product
    assert product is not None
    upstream = product.upstream
    assert upstream is not None
    assert upstream.truncated is None
    uids = {product.uid, *(it.node.uid for it in upstream.edges)}
    assert all({it.source.uid, it.target.uid} <= uids for it in upstream.links), "a link leads to an asset that is not returned"
    kinds: dict[str, str] = {}
    for edge in upstream.edges:
        match edge.node:
            case FeedsProductUpstreamEdgesNodeProduct() as asset:
                kinds["Product"] = f"{asset.label} of {asset.domain.name}"
            case FeedsProductUpstreamEdgesNodeEntity() as asset:
                kinds["Entity"] = f"{asset.label}, {asset.type_.code}"
    assert kinds.keys() == {"Product", "Entity"}
    return f"{len(upstream.edges)} assets, {len(upstream.links)} links: {'; '.join(kinds.values())}"


async def write_once(client: LineageClient) -> str:
    name = "generated_guarded" if "X-API-Key" in (client.headers or {}) else "generated_demo"
    content = RegisterProductInput(name=name, domain="web", owner="python@shop.example", schema={}, idempotencyKey=f"make {name}")
    first, again = await client.register(input=content), await client.register(input=content)
    assert first.register_product.changed
    assert first == again
    other = content.model_copy(update={"owner": "another"})
    assert await refusal(client.register(input=other)) == "CONFLICT"
    return f"{first.register_product.product.id}, twice; with other content: CONFLICT"


async def omit_fields(client: LineageClient) -> str:
    ref = ProductRef(uid=UID)
    for change, expected in (
        (UpdateProductInput(product=ref, description="Who buys."), "Who buys."),
        (UpdateProductInput(product=ref, owner="python@shop.example"), "Who buys."),
        (UpdateProductInput(product=ref, description=None), None),
    ):
        assert (await client.describe(input=change)).update_product.product.description == expected
    return "a description is kept if it is left out, and None clears it"


async def errors(client: LineageClient) -> str:
    taken = RegisterProductInput(name="customers", domain="web", owner="nobody", schema={})
    found = [
        await refusal(client.register(input=taken)),
        await refusal(client.products_page(after="nonsense")),
        await refusal(client.now_and_then(uid=UID, then="yesterday")),
    ]
    assert found == ["CONFLICT", "BAD_INPUT", "BAD_INPUT"], found
    return f"{found}"


async def strangers(address: str, key: str) -> str:
    for wrong in (None, f"{key}x"):
        async with connect(address, wrong) as client:
            assert await refusal(client.products_page(), GraphQLClientHttpError) == "UNAUTHENTICATED"
    return "UNAUTHENTICATED, with status 401"


async def main(demo: str, guarded: str, key: str) -> None:
    for service, address, its_key in (("demo", demo, None), ("guarded", guarded, key)):
        async with connect(address, its_key) as client:
            for name, checked in {
                "pages follow each other to the end": pages,
                "one product at two instants has two ids": instants,
                "each asset of a walk has its concrete type": walk,
                "a repeated write with the same idempotencyKey is executed once": write_once,
                "an update changes the given fields": omit_fields,
                "an error has a code": errors,
            }.items():
                await report(f"{service}: {name}", checked(client))
    await report("guarded: without a valid key, every call is refused", strangers(guarded, key))


async def report(name: str, checked: Awaitable[str]) -> None:
    try:
        write(name, True, await checked)
    except Exception as error:
        write(name, False, f"{type(error).__name__}: {error}")


def write(name: str, ok: bool, detail: str) -> None:
    with Path(os.environ["HEADWATER_RESULTS"]).open("a") as results:
        results.write(json.dumps({"name": name, "ok": ok, "detail": detail}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
