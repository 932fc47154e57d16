"""HTTP client of one service that holds records."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx
import orjson
import structlog

from db.admission import Admission, Slot
from db.errors import NotFound, Unavailable
from db.fields import JSON_DEPTH, depth_of
from graph_api.records.configuration import Service
from graph_api.records.lookup_requests import InvalidUrl, batch_lookups, batch_url
from graph_api.records.results import RecordResults, describe_cause
from graph_api.records.transports import CheckedAddresses, NotPublic, OneShotTransport
from schema.execution.external_record import Caller, Lookup

# Bytes of an answer beyond which it is parsed in a thread, so that the event loop is not blocked.
_THREAD_BYTES = 65_536
_NOT_FOUND_STATUSES = (404, 410)
# A header value that HTTP allows: no control characters, no blanks around it.
_HEADER_VALUE = re.compile(r"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
# The message of httpx for a connection that ended before the first byte of an answer.
_NO_RESPONSE = "Server disconnected without sending a response."

log = structlog.get_logger("headwater.records")


class RemoteService:
    """Client of one service in this process. At most `concurrency` requests run at once, in turns of the tenants."""

    def __init__(self, name: str, service: Service) -> None:
        self._name = name
        self._service = service
        self._origin = httpx.URL(f"{service.parts.scheme}://{service.parts.netloc}")
        self._base_path = service.parts.path.rstrip("/")
        self.concurrency = service.concurrency
        self._admission = Admission(service.concurrency)
        self._running: set[asyncio.Task[None]] = set()
        self._transport = CheckedAddresses(OneShotTransport(), allow_private=service.private, connect_timeout=service.timeout)
        configured = {name: value.get_secret_value() for name, value in service.headers.items()}
        self._headers = httpx.Headers({"User-Agent": "headwater", "Accept": "application/json"})
        self._headers.update(configured)
        # a compressed answer could be of any size once it is unpacked
        self._headers.update({"Accept-Encoding": "identity", "Connection": "close"})

    async def close(self) -> None:
        """Cancel running requests."""
        for fetch in self._running:
            fetch.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._transport.aclose()

    def batches(self, lookups: Sequence[Lookup]) -> Iterator[list[Lookup]]:
        """Group lookups into the batches to request."""
        return batch_lookups(lookups, self._service.batch)

    async def work(self, batches: Iterator[list[Lookup]], results: RecordResults, caller: Caller) -> None:
        """Request batches one after the other; several workers take from the same iterator.

        A cancelled worker leaves its running request to its timeout: HTTP that is cut off in the middle would leave its
        connection in an undefined state, and the service has not ended it.
        """
        for batch in batches:
            slot = self._admission.slot(caller.tenant_id, caller.credential)
            await slot.acquire()
            fetch = asyncio.create_task(self._fetch(batch, results, caller))
            self._running.add(fetch)
            fetch.add_done_callback(partial(self._release, slot))
            await asyncio.wait([fetch])

    def _release(self, slot: Slot, fetch: asyncio.Task[None]) -> None:
        self._running.discard(fetch)
        slot.release()

    async def _fetch(self, batch: list[Lookup], results: RecordResults, caller: Caller) -> None:
        try:
            # fail early if the request has used up its bytes
            results.consume(0)
            results.add(await self._request(batch, results, caller))
        except Exception as error:
            # an error that is not a HeadwaterError is a defect, which is masked before it reaches the client
            results.fail(batch, error)

    async def _request(self, batch: list[Lookup], results: RecordResults, caller: Caller) -> Mapping[Lookup, Any]:
        try:
            url = batch_url(self._origin, self._base_path, batch)
        except InvalidUrl as error:
            raise self._unavailable(str(error)) from None
        if url is None:
            return {lookup: self._not_found(lookup) for lookup in batch}
        request = httpx.Request("GET", url, headers=self._headers_for(caller))
        try:
            async with asyncio.timeout(self._service.timeout):
                status, content = await self._get(request, results)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._unavailable(f"does not answer within {self._service.timeout:g} s") from error
        except NotPublic as error:
            reason = "resolves to an address that is not public; set its option private to allow that"
            raise self._unavailable(reason) from error
        except httpx.ConnectError as error:
            raise self._unavailable("cannot be connected to") from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise self._unavailable("closed the connection before its answer was complete") from error
        except httpx.HTTPError as error:
            raise self._unavailable("cannot be requested") from error
        if status in _NOT_FOUND_STATUSES and len(batch) == 1:
            return {batch[0]: self._not_found(batch[0])}
        if 300 <= status < 400:
            raise self._unavailable("redirects, and redirects are not followed")
        if status != 200:
            raise self._unavailable(f"answers with status {status}")
        if len(content) > _THREAD_BYTES:
            return await asyncio.to_thread(self._parse, content, batch)
        return self._parse(content, batch)

    def _headers_for(self, caller: Caller) -> httpx.Headers:
        headers = self._headers.copy()
        headers["X-Request-ID"] = caller.request_id
        if caller.traceparent is not None:
            headers["traceparent"] = caller.traceparent
        if self._service.authorization and caller.authorization is not None:
            # blanks around a header value are not part of it, but servers leave them there
            value = caller.authorization.strip(" \t")
            if value and not _HEADER_VALUE.fullmatch(value):
                raise self._unavailable("cannot be sent the Authorization header: it has characters that HTTP does not allow")
            if value:
                return httpx.Headers([*headers.raw, (b"Authorization", value.encode("latin-1"))])
        return headers

    async def _get(self, request: httpx.Request, results: RecordResults) -> tuple[int, bytes]:
        """Send a request, and send it once more if the connection ended before an answer began."""
        try:
            return await self._get_once(request, results)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            # an answer that began would be the same the second time
            if isinstance(error, httpx.RemoteProtocolError) and str(error) != _NO_RESPONSE:
                raise
            log.info("record request retried", service=self._name, error=describe_cause(error))
        return await self._get_once(request, results)

    async def _get_once(self, request: httpx.Request, results: RecordResults) -> tuple[int, bytes]:
        response = await self._transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                return response.status_code, b""
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise self._unavailable("answers with a Content-Encoding that was not requested")
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                results.consume(len(chunk))
                if len(content) > self._service.max_bytes:
                    raise self._unavailable(f"answers with more than {self._service.max_bytes} bytes")
            return 200, bytes(content)
        finally:
            await response.aclose()

    def _parse(self, content: bytes, batch: list[Lookup]) -> dict[Lookup, Any]:
        """Parse an answer: one object is the record of a single lookup, a list holds records that are matched by their keys."""
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise self._unavailable("answers with a body that is not JSON") from error
        if depth_of(answer) > JSON_DEPTH:
            raise self._unavailable(f"answers with JSON that is nested more than {JSON_DEPTH} levels deep")
        field = batch[0].field
        if isinstance(answer, dict) and len(batch) == 1:
            # the record of a single lookup need not repeat its key
            by_key = {_key_text(answer.get(field, batch[0].key)): answer}
        elif isinstance(answer, list):
            by_key = {}
            for record in answer:
                if isinstance(record, dict):
                    by_key.setdefault(_key_text(record.get(field)), record)
        else:
            raise self._unavailable("answers with JSON that is neither a record nor a list of records")
        return {lookup: by_key[lookup.key] if lookup.key in by_key else self._not_found(lookup) for lookup in batch}

    def _not_found(self, lookup: Lookup) -> NotFound:
        return NotFound(f"The service {self._name} has no record with {lookup.field} {lookup.key!r}.")

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(f"The service {self._name} {reason}.")


def _key_text(value: Any) -> str | None:
    """Return a key as text: services use numbers or strings."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None
