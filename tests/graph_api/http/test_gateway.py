"""The outermost application: errors while a response is sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from graph_api.http.browsers import CrossOriginPolicy
from graph_api.http.gateway import Gateway
from tests.graph_api.http.test_http_protocol import GET, connect, settle

pytestmark = pytest.mark.unit

QUOTED = GET.replace(b"Host", b"X-Request-ID: quote-me\r\nHost")


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(status_code=404)(scope, receive, send)


async def test_an_error_while_a_response_is_sent_is_answered_500_with_the_request_id_and_logged() -> None:
    async def respond(_: object, receive: Receive) -> Response:
        return Response("secret", headers={"x-name": "a\nb"})

    connection, transport = connect(Gateway(not_found, {"/a": respond}, CrossOriginPolicy(()), loopback_only=False))
    with capture_logs() as records:
        connection.data_received(QUOTED)
        await settle(lambda: len(records) == 2)
        await asyncio.sleep(0)
    (answer,) = transport.written
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nx-request-id: quote-me\r\n" in answer
    assert b'"requestId":"quote-me"' in answer
    assert b"secret" not in answer
    assert [(it["event"], it.get("status")) for it in records] == [("unhandled error", None), ("request", 500)]


async def test_a_response_that_has_begun_is_broken_off_after_an_error() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError("secret")

    async def respond(_: object, receive: Receive) -> Response:
        return StreamingResponse(parts())

    for direct in ({"/a": respond}, {}):

        async def router(scope: Scope, receive: Receive, send: Send) -> None:
            await (await respond(scope, receive))(scope, receive, send)

        connection, transport = connect(Gateway(router, direct, CrossOriginPolicy(()), loopback_only=False))
        with capture_logs() as records:
            connection.data_received(QUOTED)
            await settle(lambda: transport.is_closed)  # noqa: B023
        (answer,) = transport.written
        assert answer.endswith(b"\r\n\r\n3\r\none\r\n")
        assert [it["event"] for it in records] == ["unhandled error", "request"]
