"""The `headwater` command as a process, and waits for conditions that nobody announces."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

COMMAND = str(Path(sys.executable).with_name("headwater"))
# Seconds after which a wait fails.
PATIENCE = 20
# Longest line, in bytes, that a process may print.
LINE_LIMIT = 2**24


class Stream:
    """Lines that a process has printed to one of its streams."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(reader))

    def __str__(self) -> str:
        return "\n".join(self.lines)

    async def line_matching(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches."""
        searched = 0
        async with asyncio.timeout(PATIENCE), self._changed:
            while True:
                for line in self.lines[searched:]:
                    if match := re.search(pattern, line):
                        return match
                searched = len(self.lines)
                assert not self.ended, f"the stream ended without a line like {pattern}; it holds:\n{self}"
                await self._changed.wait()

    async def finish(self) -> None:
        """Wait for the end of the stream."""
        await self._reading

    async def _read(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            async with self._changed:
                self.lines.append(line.decode().rstrip("\n"))
                self._changed.notify_all()
        async with self._changed:
            self.ended = True
            self._changed.notify_all()


class CommandProcess:
    """A process of the command, and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        assert process.stderr
        self.process = process
        self.out, self.err = Stream(process.stdout), Stream(process.stderr)

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    async def send_input(self, content: bytes, *, last: bool = False) -> None:
        """Write to standard input, and close it after the last content."""
        assert self.process.stdin
        self.process.stdin.write(content)
        if last:
            self.process.stdin.close()

    async def exit_code(self, patience: float = PATIENCE) -> int:
        """Wait for the process and the ends of its streams."""
        async with asyncio.timeout(patience):
            code = await self.process.wait()
            await asyncio.gather(self.out.finish(), self.err.finish())
            return code


def environment(settings: dict[str, Any]) -> dict[str, str]:
    """Return the environment of this process with these settings of Headwater and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return {**inherited, "COLUMNS": "80", **{f"HEADWATER_{name.upper()}": value for name, value in settings.items()}}


@asynccontextmanager
async def start_command(
    *arguments: str, directory: Path, user: int | None = None, stdin: int = asyncio.subprocess.DEVNULL, **settings: Any
) -> AsyncIterator[CommandProcess]:
    """Start the command in a directory, and kill it and its children at the end of the block if they still run."""
    command = CommandProcess(
        await asyncio.create_subprocess_exec(
            COMMAND,
            *arguments,
            env=environment(settings),
            cwd=directory,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    )
    try:
        yield command
    finally:
        if command.is_running:
            os.killpg(command.process.pid, signal.SIGKILL)
        await command.exit_code()


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll a condition until it is true."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def wait_for_end_of(*processes: psutil.Process) -> None:
    async def ended() -> bool:
        return not any(is_alive(process) for process in processes)

    await wait_until(ended)
