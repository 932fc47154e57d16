"""Log lines: their order, a blocked output, and what is written when the process ends."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
import structlog

from graph_api import log_writer
from graph_api.log_writer import LogWriter
from graph_api.logging_setup import REQUEST_FIELDS, configure_logging
from tests.processes import wait_until

pytestmark = pytest.mark.unit


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe, and yield both ends."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def numbered(count: int) -> list[bytes]:
    return [b"%d\n" % number for number in range(count)]


def read_all(reader: int) -> bytes:
    """Return all that a pipe holds."""
    os.set_blocking(reader, False)
    content = b""
    try:
        while chunk := os.read(reader, 65_536):
            content += chunk
    except BlockingIOError:
        pass
    finally:
        os.set_blocking(reader, True)
    return content


def test_a_line_is_written_at_once_unless_a_thread_writes() -> None:
    with pipe() as (reader, output):
        writer = LogWriter(output)
        writer.write(b"before\n")
        assert read_all(reader) == b"before\n"
        writer.start()
        writer.write(b"during\n")
        writer.stop()
        assert read_all(reader) == b"during\n"
        writer.write(b"after\n")
        assert read_all(reader) == b"after\n"
        # a writer can be started again
        writer.start()
        writer.stop()
        writer.stop()


async def test_a_thread_writes_all_lines_in_order() -> None:
    with pipe() as (reader, output):
        writer = LogWriter(output)
        writer.start()
        received = b""

        async def has_been_written() -> bool:
            nonlocal received
            received += read_all(reader)
            return received.endswith(b"\n999\n")

        for line in numbered(1_000):
            writer.write(line)
        await wait_until(has_been_written)
        assert received == b"".join(numbered(1_000))
        writer.stop()


def test_lines_of_several_threads_are_whole_and_each_thread_is_in_order() -> None:
    with pipe() as (reader, output):
        writer = LogWriter(output)
        writer.start()

        def log(name: bytes) -> None:
            for line in numbered(500):
                writer.write(name + line)

        threads = [threading.Thread(target=log, args=(name,)) for name in (b"a", b"b", b"c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.stop()
        lines = read_all(reader).splitlines(keepends=True)
    for name in (b"a", b"b", b"c"):
        assert [line[1:] for line in lines if line[:1] == name] == numbered(500)


def test_a_blocked_output_blocks_no_caller_and_loses_only_what_exceeds_the_buffer() -> None:
    line = b"x" * 999 + b"\n"
    with pipe() as (reader, output):
        writer = LogWriter(output, max_waiting_bytes=500_000)
        writer.start()
        for _ in range(2_000):
            writer.write(line)
        received = b""
        while len(received) < 200_000:
            received += os.read(reader, 65_536)
        writer.write(b"again\n")
        stopping = threading.Thread(target=writer.stop)
        stopping.start()
        while not received.endswith(b"again\n"):
            received += os.read(reader, 65_536)
        stopping.join()
    *kept, dropped, again = received.splitlines(keepends=True)
    assert set(kept) == {line}
    assert again == b"again\n"
    assert orjson.loads(dropped) == {
        "level": "warning",
        "logger": "headwater.log",
        "event": "log lines dropped",
        "lines": 2_000 - len(kept),
    }


def test_a_blocked_output_does_not_keep_the_process_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "STOP_TIMEOUT", 0.05)
    with pipe() as (reader, output):
        writer = LogWriter(output)
        writer.start()
        for _ in range(200):
            writer.write(b"x" * 1_000)
        writer.stop()
        # this caller would block
        writer.write(b"x")
        # let the thread end
        received = b""
        while len(received) < 200_000:
            received += os.read(reader, 65_536)


def test_an_output_that_nobody_reads_any_more_fails_no_caller() -> None:
    reader, output = os.pipe()
    os.close(reader)
    writer = LogWriter(output)
    writer.write(b"before\n")
    writer.start()
    writer.write(b"during\n")
    writer.stop()
    os.close(output)


def test_a_non_blocking_output_gets_all_lines() -> None:
    line = b"x" * 99_999 + b"\n"
    with pipe() as (reader, output):
        os.set_blocking(output, False)
        writer = LogWriter(output)
        writer.start()
        for _ in range(10):
            writer.write(line)
        stopping = threading.Thread(target=writer.stop)
        stopping.start()
        received = b""
        while len(received) < 1_000_000:
            received += os.read(reader, 65_536)
        stopping.join()
        assert received == line * 10


@pytest.fixture
def logged() -> Iterator[int]:
    """Configure logging. Yield the end of the pipe from which its lines are read."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with pipe() as (reader, output):
        configure_logging("INFO", output)
        yield reader
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_the_fields_of_its_request(logged: int) -> None:
    log = structlog.get_logger("headwater.test")
    log.debug("not logged")
    log.info("outside", number=1, other=object)
    token = REQUEST_FIELDS.set({"request_id": "r", "trace_id": "t"})
    try:
        log.warning("inside", request_id="its own")
        logging.getLogger("library").error("of the %s", "library")
        raise ValueError("reason")
    except ValueError:
        log.exception("failed")
    finally:
        REQUEST_FIELDS.reset(token)
    outside, inside, library, failed = [orjson.loads(line) for line in read_all(logged).splitlines()]
    assert outside.pop("timestamp").endswith("Z")
    assert outside == {
        "number": 1,
        "other": "<class 'object'>",
        "event": "outside",
        "level": "info",
        "logger": "headwater.test",
    }
    assert (inside["request_id"], inside["trace_id"], inside["level"]) == ("its own", "t", "warning")
    assert (library["event"], library["level"], library["logger"]) == ("of the library", "error", "library")
    assert library["request_id"] == "r"
    assert (failed["level"], failed["request_id"]) == ("error", "r")
    assert failed["exception"].endswith("ValueError: reason")
