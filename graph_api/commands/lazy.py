"""Click commands that import their implementation when they run, and one form for expected errors."""

import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import IO, Any, NoReturn

import click

from db.errors import HeadwaterError


class LazyCommand(click.Command):
    """Command of an implementation named by `module:function` within `graph_api.commands`.

    The function takes the parameters by their names, and returns the exit code, or None for 0.
    """

    def __init__(self, name: str, implementation: str, help: str, params: Sequence[click.Parameter] = ()) -> None:  # noqa: A002
        super().__init__(name, help=help, params=list(params))
        self._implementation = implementation

    def implementation(self) -> Callable[..., int | None]:
        """Import the module of the implementation, and return the function."""
        module, function = self._implementation.split(":")
        implementation: Callable[..., int | None] = getattr(import_module(f"graph_api.commands.{module}"), function)
        return implementation

    def invoke(self, context: click.Context) -> NoReturn:
        context.exit(self.implementation()(**context.params) or 0)


class CommandError(click.ClickException):
    """Expected failure of a command: one line on standard error, and exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"{click.style('error:', fg='red')} {self.message}", file=file or sys.stderr)


# Exit code of a command that Ctrl-C ended, as a shell reports it.
INTERRUPTED = 128 + signal.SIGINT


class RootGroup(click.Group):
    """Group that reports every HeadwaterError of its commands as a CommandError, and an interrupt by its exit code alone."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except HeadwaterError as error:
            raise CommandError(error.message) from error
        except KeyboardInterrupt:
            context.exit(INTERRUPTED)
