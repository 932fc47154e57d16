"""The body of a request as a file for the thread that parses it."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from starlette.requests import ClientDisconnect, Request

from db.errors import BadInput, HeadwaterError, Timeout
from graph_api.http.deadline import TimeLimit
from graph_api.http.request_limits import RequestLimits
from graph_api.ingestion.loading import Load

# Bytes that are received before they are charged.
_CHARGED_BYTES = 262_144


class BodyFile(io.RawIOBase):
    """File for a thread that requests each piece of the body from the event loop.

    Nothing is read ahead, so a client sends no faster than the database writes. A client that disconnects, or for which the file
    has waited `body_timeout` seconds longer than `min_load_rate` takes, ends the load. A client that sends faster than that may
    not be slower in return: it never has more than `body_timeout` seconds left.

    Calls `charge` with the number of bytes that were read now and then. If it returns an error, and more follows, the load ends.
    """

    def __init__(
        self, request: Request, load: Load, limits: RequestLimits, charge: Callable[[int], Awaitable[HeadwaterError | None]]
    ) -> None:
        super().__init__()
        self.disconnected = False
        self.timed_out = False
        self._limits = limits
        self._charge = charge
        self._charged = self._received = 0
        self._seconds_left = limits.body_timeout
        self._request = request
        self._pieces = request.stream()
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._requested: Future[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._piece:
            self._requested = asyncio.run_coroutine_threadsafe(self._next_piece(), self._loop)
            self._piece = memoryview(self._requested.result())
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def abandon(self) -> None:
        """Cancel what still runs for the file, which is not read any more."""
        for running in (self._requested, self._watcher):
            if running is not None:
                running.cancel()

    async def _next_piece(self) -> bytes:
        """Return the next piece, or nothing at the end of the body. Charge for those before it now and then."""
        piece = await self._receive()
        if not piece:
            self._watcher = self._watcher or asyncio.create_task(self._watch())
        elif self._received - self._charged >= _CHARGED_BYTES:
            self._charged = self._received
            if (refusal := await self._charge(self._received)) is not None:
                raise refusal
        self._received += len(piece)
        return piece

    async def _receive(self) -> bytes:
        """Receive the next piece in the time that is left."""
        timeout, rate = self._limits.body_timeout, self._limits.min_load_rate
        started = self._loop.time()
        try:
            async with TimeLimit(
                self._seconds_left,
                f"The body was received at less than {rate:g} bytes a second, and {timeout:g} s later than that."
                " Send it faster, or in several loads.",
            ):
                async for piece in self._pieces:
                    if piece:
                        waited = self._loop.time() - started
                        self._seconds_left = min(timeout, self._seconds_left - waited + len(piece) / rate)
                        return piece
        except Timeout:
            self.timed_out = True
            raise
        except ClientDisconnect as error:
            self.disconnected = True
            raise BadInput("The request ended before its body did.") from error
        return b""

    async def _watch(self) -> None:
        """Stop the load if the client disconnects after it has sent the whole body."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.disconnected = True
        self._load.stop()
