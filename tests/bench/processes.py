"""Processes of the harness: servers, the client, loads, crowds, and one that cleans up if the harness is killed.

Each ends when its standard input is closed, which happens when the harness ends or is killed.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT = 30.0
# The command of a process of the harness, before its role.
COMMAND = (sys.executable, "-m", "tests.bench.processes")

REPOSITORY = Path(__file__).parent.parent.parent
_SERVES = re.compile(r"http://127\.0\.0\.1:([1-9]\d*)")


class ServerDidNotStart(Exception):
    """A server did not start. The message holds the end of its log."""


class Server:
    """A process of the harness and its log."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str, command: Sequence[str] = COMMAND) -> None:
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env={**inherited, **environment},
                # Ctrl-C reaches the harness alone, which then stops its processes in order
                start_new_session=True,
            )

    def port(self) -> int:
        """Wait until the server listens, and return its port."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if match := _SERVES.search(self.output()):
                return int(match[1])
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise ServerDidNotStart(self.output()[-2000:])

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the process ends by itself, and return its exit status."""
        return await asyncio.to_thread(self._process.wait)

    def output(self) -> str:
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
def running(log: Path, environment: Mapping[str, str], *arguments: str, command: Sequence[str] = COMMAND) -> Iterator[Server]:
    """Start a process, and stop it at the end."""
    server = Server(log, environment, *arguments, command=command)
    try:
        yield server
    finally:
        server.stop()


def _wait_for_end_of_input() -> None:
    # not sys.stdin: a thread that waits in it holds a lock that the interpreter needs when it ends
    os.read(0, 1)


def _end_with_the_harness() -> None:
    _wait_for_end_of_input()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    role = sys.argv.pop(1)
    if role == "cleaner":
        _wait_for_end_of_input()
        if (directory := Path(sys.argv[1])).exists():
            from tests.bench.databases import remove_directory

            remove_directory(directory)
        return
    # each role imports only what it needs, because a process that loads nothing else starts sooner
    if role == "client":
        from tests.bench.requests import client

        client.run()
        return
    threading.Thread(target=_end_with_the_harness, daemon=True).start()
    if role == "floor":
        from tests.bench.requests.floor import serve

        serve()
    elif role == "crowd":
        from tests.siege.crowd import run

        run(*map(Path, sys.argv[1:]))
    else:
        from graph_api import cli

        cli.main()


if __name__ == "__main__":
    main()
