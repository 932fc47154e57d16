"""Writer of log lines that does not block those who log."""

import os
import queue
import select
import threading

# Seconds for which the thread collects lines before it writes them together.
_COLLECT_SECONDS = 0.02

# Bytes that are written together. While they are, they count as waiting.
_CHUNK_BYTES = 65_536

# Bytes of lines that wait while the output is blocked, such as a pipe that nobody reads. Further lines are dropped.
MAX_WAITING_BYTES = 8_388_608

# Seconds that `stop` waits for a blocked output.
STOP_TIMEOUT = 5.0

_DROPPED = b'{"level":"warning","logger":"headwater.log","event":"log lines dropped","lines":%d}\n'


class LogWriter:
    """Writes lines to a file descriptor, in the order in which they are logged.

    Before `start`, and after `stop`, a line is written by its caller, at once. In between a thread writes; callers append to a
    buffer of bounded size. Where lines had to be dropped, a line in their place has their number.
    """

    def __init__(self, descriptor: int, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._descriptor = descriptor
        self._max_waiting_bytes = max_waiting_bytes
        # Both are reentrant: a garbage collection inside `write` may log, in the same thread.
        self._lock = threading.RLock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_woken = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0

    def write(self, line: bytes) -> None:
        """Log a line, which ends with a line feed."""
        with self._lock:
            if self._thread is None:
                self._write_now(line)
            elif self._waiting_bytes + len(line) > self._max_waiting_bytes:
                self._dropped += 1
            else:
                self._append_number_of_dropped_lines()
                self._lines.append(line)
                self._waiting_bytes += len(line)
                if not self._is_woken:
                    self._is_woken = True
                    self._wake.put(None)

    def start(self) -> None:
        """Have a thread write from now on."""
        self._stopping.clear()
        # a blocked output must not keep the process alive
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write all lines that wait, unless the output is blocked, and end the thread."""
        thread = self._thread
        if thread is None:
            return
        self._stopping.set()
        self._wake.put(None)
        thread.join(STOP_TIMEOUT)
        if thread.is_alive():
            # lines are dropped from now on, for a caller would block, too
            self._max_waiting_bytes = 0
            return
        with self._lock:
            self._thread = None
            self._append_number_of_dropped_lines()
            self._write_now(self._take_lines())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.get()
            self._stopping.wait(_COLLECT_SECONDS)
            with self._lock:
                self._is_woken = False
                content = self._take_lines()
            for start in range(0, len(content), _CHUNK_BYTES):
                chunk = content[start : start + _CHUNK_BYTES]
                self._write_now(chunk)
                with self._lock:
                    self._waiting_bytes -= len(chunk)

    def _take_lines(self) -> bytes:
        """Return the lines to write. They count as waiting until they are written."""
        content = b"".join(self._lines)
        self._lines.clear()
        return content

    def _append_number_of_dropped_lines(self) -> None:
        if self._dropped:
            self._lines.append(_DROPPED % self._dropped)
            self._waiting_bytes += len(self._lines[-1])
            self._dropped = 0

    def _write_now(self, content: bytes) -> None:
        rest = memoryview(content)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    # the process that started this one has made its output non-blocking
                    select.select([], [self._descriptor], [])
        except OSError:
            # nobody reads the output any more, or the disk is full
            return
