"""The processes that the harness starts: the two servers that are compared, loads, crowds of clients, and one that cleans up
should the harness be killed.

Each ends when its standard input does, and that ends with the harness, however the harness ends.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 30.0

_REPOSITORY = Path(__file__).parent.parent.parent
_SERVES = re.compile(r"http://127\.0\.0\.1:([1-9]\d*)")


class ServerDidNotStart(Exception):
    """One of the two servers is not there; the message holds what it said last."""


class Server:
    """A process that serves, or loads, or asks, or will clean up."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.servers", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=_REPOSITORY,
                env={**inherited, **environment},
                # Ctrl-C is for the harness, which ends the servers when it has done with them
                start_new_session=True,
            )

    def port(self) -> int:
        """Where it listens, once it does."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := _SERVES.search(self.said()):
                return int(found[1])
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise ServerDidNotStart(self.said()[-2000:])

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        return await asyncio.to_thread(self._process.wait)

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(log: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Server]:
    server = Server(log, environment, *arguments)
    try:
        yield server
    finally:
        server.stop()


def _end_of_input() -> None:
    # not sys.stdin: a thread that waits in it holds a lock that the interpreter wants when it ends
    os.read(0, 1)


def _end_with_the_harness() -> None:
    _end_of_input()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    which = sys.argv.pop(1)
    if which == "keeper":
        _end_of_input()
        if (directory := Path(sys.argv[1])).exists():
            from tests.bench.data import remove_directory

            remove_directory(directory)
        return
    threading.Thread(target=_end_with_the_harness, daemon=True).start()
    if which == "floor":
        from tests.bench.baseline_server import serve

        serve(Path(sys.argv[1]))
    elif which == "crowd":
        from tests.bench.crowd import play

        play(*map(Path, sys.argv[1:]))
    else:
        from graph_api import cli

        cli.main()


if __name__ == "__main__":
    main()
