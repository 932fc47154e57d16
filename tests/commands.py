"""The `headwater` command in this process, and both ways to run it on the database of a test."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from graph_api import asgi
from graph_api.cli import app
from tests.processes import CommandProcess, environment, start_command

# The secret that API keys are signed with.
SECRET = "a secret of the tests, made at random"

# The runner replaces the standard streams and the environment of the whole process.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class CommandResult:
    """Exit code and lines of output of a command that has ended."""

    code: int
    out: list[str]
    err: list[str]


def run_now(*arguments: str, **settings: Any) -> CommandResult:
    """Run the command in this thread, which must have no running event loop. Its standard input is empty.

    A command that would serve fails: nothing could end it.
    """
    with _one_at_a_time, patch.object(asgi, "serve", side_effect=AssertionError("Start a process to serve.")):
        wanted = environment(settings)
        changes = {**{name: None for name in os.environ if name not in wanted}, **wanted}
        result = CliRunner(catch_exceptions=False).invoke(app, arguments, env=changes, prog_name="headwater")
    return CommandResult(result.exit_code, result.stdout.splitlines(), result.stderr.splitlines())


async def run_in_process(*arguments: str, **settings: Any) -> CommandResult:
    """Run the command in a thread of this process."""
    return await asyncio.to_thread(run_now, *arguments, **settings)


class Commands:
    """Runs commands on one database."""

    def __init__(self, address: str, directory: Path) -> None:
        self.address = address
        self.directory = directory

    async def run(self, *arguments: Any, **settings: Any) -> CommandResult:
        """Run the command in this process."""
        return await run_in_process(*map(str, arguments), **self._settings(settings))

    async def __call__(self, *arguments: Any, **settings: Any) -> list[str]:
        """Run the command in this process, and return the lines that it prints if it succeeds."""
        result = await self.run(*arguments, **settings)
        assert result.code == 0, result.err
        assert "Warning" not in str(result.err)
        return result.out

    async def error(self, *arguments: Any, **settings: Any) -> str:
        """Run a command in this process that fails with one line, and return its message."""
        result = await self.run(*arguments, **settings)
        assert (result.code, result.out) == (1, []), result.err
        (line,) = result.err
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    @asynccontextmanager
    async def start(
        self, *arguments: Any, stdin: int = asyncio.subprocess.DEVNULL, **settings: Any
    ) -> AsyncIterator[CommandProcess]:
        """Start the command as a process."""
        async with start_command(
            *map(str, arguments), directory=self.directory, stdin=stdin, **self._settings(settings)
        ) as command:
            yield command

    async def run_process(self, *arguments: Any, **settings: Any) -> CommandResult:
        """Run the command as a process."""
        async with self.start(*arguments, **settings) as command:
            code = await command.exit_code()
        assert "Traceback" not in str(command.err)
        return CommandResult(code, command.out.lines, command.err.lines)

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        data = str(self.directory / "data")
        return {"database_url": self.address, "data": data, "key_secret": SECRET, "port": "0", **settings}
