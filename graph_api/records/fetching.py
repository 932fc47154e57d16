"""Records in other systems: fetched over HTTP from the services that are configured, and from nowhere else."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import structlog

from db.endpoint import KEY, is_path
from db.errors import HeadwaterError, LimitExceeded, NotFound, Unavailable
from db.fields import JSON_DEPTH, depth_of
from graph_api.records.addresses import CheckedAddresses, NotPublic
from graph_api.records.service import Service
from schema.record import Caller, Lookup, unconfigured

# Seconds that one request waits for all of its records, and bytes that they may come to.
PATIENCE = 10
TOTAL_BYTES = 33_554_432
# Characters of a query beyond which no further key is put into it.
_QUERY_LENGTH = 4_000
_GONE = (404, 410)

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
        _tell(found)
        return found

    async def close(self) -> None:
        for remote in self._remotes.values():
            await remote.close()


class _Answers:
    """What one request has been answered so far, and how much of it there may be."""

    def __init__(self, asked: Mapping[Lookup, int]) -> None:
        self.found: dict[Lookup, Any] = {}
        self._asked = asked
        self._room = TOTAL_BYTES

    def require_room(self) -> None:
        if self._room < 0:
            raise LimitExceeded(f"The records of this request come to more than {TOTAL_BYTES} bytes. Ask for fewer at once.")

    def admit(self, size: int, records: Mapping[Lookup, Any]) -> None:
        """Counts what was read, and once more what stands in several places."""
        self._room -= size
        for lookup, record in records.items():
            if self._asked[lookup] > 1 and not isinstance(record, Exception):
                self._room -= len(orjson.dumps(record)) * (self._asked[lookup] - 1)
        self.require_room()


class _Remote:
    """One service, as this process asks it."""

    def __init__(self, name: str, service: Service) -> None:
        self._name = name
        self._service = service
        self._origin = f"{service.parts.scheme}://{service.parts.netloc}"
        self._base = service.parts.path.rstrip("/")
        self.concurrency = service.concurrency
        self._turns = asyncio.Semaphore(service.concurrency)
        # connections are its own: one that TLS verified for a name must not carry what is meant for another at the same address
        transport = httpx.AsyncHTTPTransport(
            verify=_trusted(),
            trust_env=False,
            limits=httpx.Limits(max_connections=service.concurrency, max_keepalive_connections=service.concurrency),
        )
        self._client = httpx.AsyncClient(
            transport=CheckedAddresses(transport, private=service.private, patience=service.timeout),
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            # what it sets for one caller is not told it by the next
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "User-Agent": "headwater",
                "Accept": "application/json",
                **{name: value.get_secret_value() for name, value in service.headers.items()},
                # what is small on the wire may be anything once it is unpacked
                "Accept-Encoding": "identity",
            },
        )

    async def close(self) -> None:
        await self._client.aclose()

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
        """Asks one question after the other; others take from the same ones meanwhile."""
        for question in questions:
            try:
                answers.require_room()
                async with self._turns:
                    answers.found.update(await self._answer(question, answers, caller))
            except HeadwaterError as error:
                answers.found.update(dict.fromkeys(question, error))
            except Exception as error:
                # a defect, which whoever tells the client masks
                answers.found.update(dict.fromkeys(question, error))

    async def _answer(self, question: list[Lookup], answers: _Answers, caller: Caller) -> Mapping[Lookup, Any]:
        address = self._address(question)
        if address is None:
            # a key that would name another place names no record
            return {lookup: self._missing(lookup) for lookup in question}
        headers = {b"X-Request-ID": caller.request_id.encode()}
        if self._service.authorization and caller.authorization is not None:
            headers[b"Authorization"] = caller.authorization.encode("latin-1")
        try:
            async with asyncio.timeout(self._service.timeout):
                status, content = await self._get(address, headers)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._unavailable(f"does not answer within {self._service.timeout:g} s") from error
        except NotPublic as error:
            reason = "leads to an address that is not public, and its configuration does not say that it may"
            raise self._unavailable(reason) from error
        except httpx.ConnectError as error:
            raise self._unavailable("cannot be connected to") from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise self._unavailable("breaks off before it has answered") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unavailable("cannot be asked") from error
        if status in _GONE and len(question) == 1:
            return {question[0]: self._missing(question[0])}
        if 300 <= status < 400:
            raise self._unavailable("redirects, which is not followed")
        if status != 200:
            raise self._unavailable(f"answers {status}")
        records = self._read(content, question)
        answers.admit(len(content), records)
        return records

    def _address(self, question: list[Lookup]) -> httpx.URL | None:
        """Where a question is asked; None where what stands in the path would lead out of it."""
        endpoint, key = question[0].endpoint, quote(question[0].key, safe="")
        if not is_path(endpoint.replace(KEY, "key", 1)):
            raise self._unavailable("is to be asked at an endpoint that is no path in it")
        path = self._base + endpoint.replace(KEY, key)
        if not is_path(path):
            return None
        target = path if KEY in endpoint else f"{path}?{_query(question)}"
        address = httpx.URL(self._origin + target)
        # whatever was overlooked above, nothing but this service is asked, and nothing but what was meant
        configured = httpx.URL(self._origin)
        same = (address.scheme, address.host, address.port) == (configured.scheme, configured.host, configured.port)
        if not same or address.raw_path != target.encode():
            raise self._unavailable("cannot be asked for that")
        return address

    async def _get(self, address: httpx.URL, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        try:
            return await self._get_once(address, headers)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            log.info("record asked for again", service=self._name, error=repr(error))
            return await self._get_once(address, headers)

    async def _get_once(self, address: httpx.URL, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        async with self._client.stream("GET", address, headers=headers) as response:
            if response.status_code != 200:
                return response.status_code, b""
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise self._unavailable("answers in an encoding that it was not asked for")
            content = bytearray()
            async for piece in response.aiter_raw():
                content += piece
                if len(content) > self._service.max_bytes:
                    raise self._unavailable(f"answers with more than {self._service.max_bytes} bytes")
            return 200, bytes(content)

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


def _query(question: Sequence[Lookup]) -> str:
    return "&".join(f"{quote(it.field, safe='')}={quote(it.key, safe='')}" for it in question)


def _written(value: Any) -> str | None:
    """A key as text: systems number their records, or name them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _tell(found: Mapping[Lookup, Any]) -> None:
    """One line of log for all records of a service that are missing for one reason. It says more than the client is told."""
    failed = defaultdict(list)
    for lookup, record in found.items():
        if isinstance(record, Unavailable | LimitExceeded):
            failed[lookup.service, record.message].append(record)
    for (service, reason), errors in failed.items():
        cause = errors[0].__cause__
        log.warning(
            "records not fetched",
            service=service,
            reason=reason,
            records=len(errors),
            cause=None if cause is None else repr(cause),
        )


@cache
def _trusted() -> ssl.SSLContext:
    """Whom the internet trusts, and whom this machine does. Reading them takes a while."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
