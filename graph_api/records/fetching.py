"""Records in other systems: fetched over HTTP from the services that are configured, and from nowhere else."""

import asyncio
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote, unquote

import httpx
import orjson
import structlog

from db.errors import HeadwaterError, LimitExceeded, NotFound, Unavailable
from db.fields import JSON_DEPTH, depth_of
from db.registries.endpoint import KEY, is_path
from graph_api.records.addresses import CheckedAddresses, NotPublic
from graph_api.records.configuration import Service
from schema.execution.external_record import Caller, Lookup, unconfigured

# Seconds that one request waits for all of its records, and bytes that they may come to.
PATIENCE = 10
TOTAL_BYTES = 33_554_432
# Characters of a query beyond which no further key is put into it.
_QUERY_LENGTH = 4_000
# Bytes of an answer beyond which reading it would keep others waiting.
_LARGE = 65_536
_GONE = (404, 410)
# What HTTP lets stand in a header: no control characters, and no blanks around it.
_HEADER_VALUE = re.compile(r"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
# How httpx says that a connection ended before a byte of an answer came.
_NO_ANSWER = "Server disconnected without sending a response."

log = structlog.get_logger("headwater.records")


class Records:
    """One a process: fetches what one request asks for, each record once."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._remotes = {name: _Remote(name, service) for name, service in services.items()}

    async def __call__(self, asked: Mapping[Lookup, int], caller: Caller) -> dict[Lookup, Any]:
        by_service: dict[str, list[Lookup]] = defaultdict(list)
        for lookup in asked:
            by_service[lookup.service].append(lookup)
        answers = _Answers(asked)
        workers = []
        for name, lookups in by_service.items():
            remote = self._remotes.get(name)
            if remote is None:
                answers.found.update(dict.fromkeys(lookups, unconfigured(name)))
                continue
            # as many as may work at once: a request that asks for much takes turns with those that ask for little
            questions = remote.questions(lookups)
            number = min(len(lookups), remote.concurrency)
            workers += [asyncio.create_task(remote.work(questions, answers, caller)) for _ in range(number)]
        try:
            if workers:
                await asyncio.wait(workers, timeout=PATIENCE)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        late = Unavailable(f"The records of this request take longer than {PATIENCE} seconds. Ask for fewer at once.")
        found = {lookup: answers.found.get(lookup, late) for lookup in asked}
        _tell(found, answers.causes)
        return found

    async def close(self) -> None:
        for remote in self._remotes.values():
            await remote.close()


class _Answers:
    """What one request has been answered so far, and how much of it there may be."""

    def __init__(self, asked: Mapping[Lookup, int]) -> None:
        self.found: dict[Lookup, Any] = {}
        # of a failure, by what the client is told of it, what the log is to say
        self.causes: dict[str, str] = {}
        self._asked = asked
        self._room = TOTAL_BYTES

    def count(self, size: int) -> None:
        """Counts what is read, whatever becomes of it."""
        self._room -= size
        if self._room < 0:
            raise LimitExceeded(f"The records of this request come to more than {TOTAL_BYTES} bytes. Ask for fewer at once.")

    def admit(self, records: Mapping[Lookup, Any]) -> None:
        """Counts once more what stands in several places."""
        for lookup, record in records.items():
            if self._asked[lookup] > 1 and not isinstance(record, Exception):
                self.count(len(orjson.dumps(record)) * (self._asked[lookup] - 1))
        self.found.update(records)

    def fail(self, question: Sequence[Lookup], error: Exception) -> None:
        self.found.update(dict.fromkeys(question, error))
        if isinstance(error, HeadwaterError):
            if error.__cause__ is not None:
                self.causes.setdefault(error.message, _told(error.__cause__))
            # the frames it came through, and what it came of, hold all that was read
            error.__cause__ = error.__context__ = error.__traceback__ = None


class _Remote:
    """One service, as this process asks it."""

    def __init__(self, name: str, service: Service) -> None:
        self._name = name
        self._service = service
        self._origin = httpx.URL(f"{service.parts.scheme}://{service.parts.netloc}")
        self._base = service.parts.path.rstrip("/")
        self.concurrency = service.concurrency
        self._turns = asyncio.Semaphore(service.concurrency)
        self._under_way: set[asyncio.Task[None]] = set()
        self._transport = CheckedAddresses(FreshConnections(), private=service.private, patience=service.timeout)
        configured = {name: value.get_secret_value() for name, value in service.headers.items()}
        self._headers = httpx.Headers({"User-Agent": "headwater", "Accept": "application/json"})
        self._headers.update(configured)
        # what is small on the wire may be anything once it is unpacked
        self._headers.update({"Accept-Encoding": "identity", "Connection": "close"})

    async def close(self) -> None:
        for fetch in self._under_way:
            fetch.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._transport.aclose()

    def questions(self, lookups: Sequence[Lookup]) -> Iterator[list[Lookup]]:
        """What to ask: for one record each, or for several where the service takes that."""
        alike: dict[tuple[str, str], list[Lookup]] = defaultdict(list)
        for lookup in lookups:
            alike[lookup.endpoint, lookup.field].append(lookup)
        for (endpoint, _), group in alike.items():
            most = 1 if KEY in endpoint else self._service.batch
            question: list[Lookup] = []
            length = 0
            for lookup in group:
                question.append(lookup)
                length += len(_query([lookup]))
                if len(question) == most or length > _QUERY_LENGTH:
                    yield question
                    question, length = [], 0
            if question:
                yield question

    async def work(self, questions: Iterator[list[Lookup]], answers: _Answers, caller: Caller) -> None:
        """Asks one question after the other; others take from the same ones meanwhile. Whoever ends this leaves what is under way
        to its timeout: HTTP that is cut off in the middle would leave its connection, and its turn, in disorder."""
        for question in questions:
            await self._turns.acquire()
            fetch = asyncio.create_task(self._fetch(question, answers, caller))
            self._under_way.add(fetch)
            fetch.add_done_callback(self._over)
            await asyncio.wait([fetch])

    def _over(self, fetch: asyncio.Task[None]) -> None:
        self._under_way.discard(fetch)
        self._turns.release()

    async def _fetch(self, question: list[Lookup], answers: _Answers, caller: Caller) -> None:
        try:
            answers.count(0)
            answers.admit(await self._answer(question, answers, caller))
        except Exception as error:
            # what is no domain error is a defect, which whoever tells the client masks
            answers.fail(question, error)

    async def _answer(self, question: list[Lookup], answers: _Answers, caller: Caller) -> Mapping[Lookup, Any]:
        address = self._address(question)
        if address is None:
            # a key that would name another place names no record
            return {lookup: self._missing(lookup) for lookup in question}
        request = httpx.Request("GET", address, headers=self._headers_for(caller))
        try:
            async with asyncio.timeout(self._service.timeout):
                status, content = await self._get(request, answers)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._unavailable(f"does not answer within {self._service.timeout:g} s") from error
        except NotPublic as error:
            reason = "leads to an address that is not public, and its configuration does not say that it may"
            raise self._unavailable(reason) from error
        except httpx.ConnectError as error:
            raise self._unavailable("cannot be connected to") from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise self._unavailable("breaks off before it has answered") from error
        except httpx.HTTPError as error:
            raise self._unavailable("cannot be asked") from error
        if status in _GONE and len(question) == 1:
            return {question[0]: self._missing(question[0])}
        if 300 <= status < 400:
            raise self._unavailable("redirects, which is not followed")
        if status != 200:
            raise self._unavailable(f"answers {status}")
        if len(content) > _LARGE:
            return await asyncio.to_thread(self._read, content, question)
        return self._read(content, question)

    def _headers_for(self, caller: Caller) -> httpx.Headers:
        headers = self._headers.copy()
        headers["X-Request-ID"] = caller.request_id
        if caller.traceparent is not None:
            headers["traceparent"] = caller.traceparent
        if self._service.authorization and caller.authorization is not None:
            # blanks around a value are none of it, and servers that read them leave them there
            value = caller.authorization.strip(" \t")
            if value and not _HEADER_VALUE.fullmatch(value):
                raise self._unavailable("cannot be told who asks: Authorization holds what no header may hold")
            if value:
                return httpx.Headers([*headers.raw, (b"Authorization", value.encode("latin-1"))])
        return headers

    def _address(self, question: list[Lookup]) -> httpx.URL | None:
        """Where a question is asked; None where what stands in the path would lead out of it."""
        endpoint, key = question[0].endpoint, question[0].key
        if not is_path(endpoint.replace(KEY, "key", 1)):
            raise self._unavailable("is to be asked at an endpoint that is no path in it")
        # some decode a path twice before they look for what is below it
        if KEY in endpoint and {"/", "\\"} & set(unquote(unquote(key))):
            return None
        path = self._base + endpoint.replace(KEY, quote(key, safe=""))
        if not is_path(path):
            return None
        target = (path if KEY in endpoint else f"{path}?{_query(question)}").encode()
        address = self._origin.copy_with(raw_path=target)
        # whatever was overlooked above, nothing is asked but what was meant
        if address.raw_path != target:
            raise self._unavailable("cannot be asked for that")
        return address

    async def _get(self, request: httpx.Request, answers: _Answers) -> tuple[int, bytes]:
        try:
            return await self._get_once(request, answers)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            # what began to answer would answer alike
            if isinstance(error, httpx.RemoteProtocolError) and str(error) != _NO_ANSWER:
                raise
            log.info("record asked for again", service=self._name, error=_told(error))
        return await self._get_once(request, answers)

    async def _get_once(self, request: httpx.Request, answers: _Answers) -> tuple[int, bytes]:
        response = await self._transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                return response.status_code, b""
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise self._unavailable("answers in an encoding that it was not asked for")
            content = bytearray()
            async for piece in response.aiter_raw():
                content += piece
                answers.count(len(piece))
                if len(content) > self._service.max_bytes:
                    raise self._unavailable(f"answers with more than {self._service.max_bytes} bytes")
            return 200, bytes(content)
        finally:
            await response.aclose()

    def _read(self, content: bytes, question: list[Lookup]) -> dict[Lookup, Any]:
        """The records in an answer: an object is the one asked for, of a list those that bear the keys."""
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise self._unavailable("answers with what is no JSON") from error
        if depth_of(answer) > JSON_DEPTH:
            raise self._unavailable(f"answers with JSON that is nested more than {JSON_DEPTH} levels deep")
        field = question[0].field
        if isinstance(answer, dict) and len(question) == 1:
            # what is asked for by its key need not repeat it
            bearing = {_written(answer.get(field, question[0].key)): answer}
        elif isinstance(answer, list):
            bearing = {}
            for it in answer:
                if isinstance(it, dict):
                    bearing.setdefault(_written(it.get(field)), it)
        else:
            raise self._unavailable("answers with JSON that is no record, and no list of records")
        return {it: bearing[it.key] if it.key in bearing else self._missing(it) for it in question}

    def _missing(self, lookup: Lookup) -> NotFound:
        return NotFound(f"The service {self._name} has no record whose {lookup.field} is {lookup.key!r}.")

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(f"The service {self._name} {reason}.")


class FreshConnections(httpx.AsyncBaseTransport):
    """A connection for each request, of which nothing is left once it is over: neither what came after an answer, nor one
    that was given up half-way, nor one that TLS verified for another name at the same address."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(verify=_trusted(), trust_env=False, limits=limits)
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await transport.aclose()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(response.status_code, headers=response.headers.raw, stream=_LastOf(transport, response.stream))


class _LastOf(httpx.AsyncByteStream):
    """What a connection answers; whoever closes it closes the connection."""

    def __init__(self, transport: httpx.AsyncHTTPTransport, stream: httpx.AsyncByteStream) -> None:
        self._transport = transport
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._transport.aclose()


def _query(question: Sequence[Lookup]) -> str:
    return "&".join(f"{quote(it.field, safe='')}={quote(it.key, safe='')}" for it in question)


def _written(value: Any) -> str | None:
    """A key as text: systems number their records, or name them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _told(error: BaseException) -> str:
    """What the log says of an error: its words too where they repeat neither a header nor what a service answered."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, httpx.ConnectError | orjson.JSONDecodeError) else kind


def _tell(found: Mapping[Lookup, Any], causes: Mapping[str, str]) -> None:
    """One line of log for all records of a service that are missing for one reason. It says more than the client is told."""
    failed = Counter(
        (lookup.service, record.message) for lookup, record in found.items() if isinstance(record, Unavailable | LimitExceeded)
    )
    for (service, reason), number in failed.items():
        log.warning("records not fetched", service=service, reason=reason, records=number, cause=causes.get(reason))


@cache
def _trusted() -> ssl.SSLContext:
    """Whom the internet trusts, and whom this machine does. Reading them takes a while."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
