"""The `headwater` command: quick where no command runs, and each declaration in step with its implementation."""

import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from db.tenancy.tenant import LIMITED
from graph_api.cli import app
from graph_api.commands.lazy import LazyCommand

# Modules that take long to import, and that no parsing needs.
HEAVY = {"alembic", "asyncio", "asyncpg", "httpx", "pydantic", "rich", "sqlalchemy", "starlette", "strawberry", "structlog"}
REPORT_IMPORTS = """
import atexit, sys
atexit.register(lambda: print("imported:", *sorted({name.partition(".")[0] for name in sys.modules})))
from graph_api.cli import main
main()
"""

# Commands that neither serve, nor use the schema, nor migrate; and what those import that do.
LIGHT_COMMANDS = ("audit", "export", "ingest", "keys", "purge", "tenants", "verify")
SERVICE_ONLY = {"alembic", "graphql", "httpx", "jwt", "limits", "schema", "starlette", "strawberry", "structlog", "uvicorn"}
IMPORT_COMMANDS = f"""
import sys
from importlib import import_module
for command in {LIGHT_COMMANDS}:
    import_module("graph_api.commands." + command)
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
import graph_api.commands.migrate
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""

QUICK = [
    (["--version"], 0),
    (["--help"], 0),
    (["keys", "--help"], 0),
    (["keys", "create", "--help"], 0),
    ([], 2),
    (["keys"], 2),
    (["purge_everything"], 2),
    (["keys", "create"], 2),
    (["serve", "--port", "http"], 2),
    (["audit", "--count", "0"], 2),
    (["ingest", "csv", "people.csv", "--on-error", "ignore"], 2),
]


@pytest.mark.integration
@pytest.mark.parametrize(("arguments", "code"), QUICK, ids=lambda it: " ".join(it) or "nothing" if isinstance(it, list) else "")
def test_help_version_and_refused_arguments_import_no_heavy_module(arguments: list[str], code: int) -> None:
    command = subprocess.run([sys.executable, "-c", REPORT_IMPORTS, *arguments], capture_output=True, text=True, check=False)
    assert command.returncode == code, command.stderr
    _, _, imported = command.stdout.rpartition("imported: ")
    assert "click" in imported.split()
    assert not HEAVY & set(imported.split())


@pytest.mark.integration
def test_only_commands_that_serve_import_the_schema_and_only_those_that_migrate_import_alembic() -> None:
    command = subprocess.run([sys.executable, "-c", IMPORT_COMMANDS], capture_output=True, text=True, check=True)
    light, with_migrate = (set(line.split()) for line in command.stdout.splitlines())
    assert "sqlalchemy" in light
    assert not SERVICE_ONLY & light
    assert SERVICE_ONLY & with_migrate == {"alembic"}


@pytest.mark.integration
def test_the_command_starts_about_as_fast_as_click_is_imported() -> None:
    headwater = str(Path(sys.executable).with_name("headwater"))
    bare = quickest([sys.executable, "-c", "import click"])
    for arguments in (["--version"], ["--help"], ["keys", "--help"]):
        # Importing what one of the commands needs takes ten times as long.
        assert quickest([headwater, *arguments]) < 3 * bare + 0.2


def quickest(command: list[str]) -> float:
    """Return the seconds that the quickest of a few runs takes, so that other load on the machine counts little."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"headwater {version('headwater')}\n")


@pytest.mark.parametrize(
    "group", [app, *(it for it in app.commands.values() if isinstance(it, click.Group))], ids=lambda it: it.name
)
def test_help_shows_a_whole_sentence_for_each_command(group: click.Group) -> None:
    shown = CliRunner().invoke(group, ["--help"]).output.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in shown] == sorted(group.commands)
    assert all(line.endswith(".") and not line.endswith("...") for line in shown)


def lazy_commands(group: click.Group, path: str = "") -> Iterator[tuple[str, LazyCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from lazy_commands(command, f"{path}{name} ")
        else:
            assert isinstance(command, LazyCommand)
            yield f"{path}{name}", command


@pytest.mark.parametrize("command", [pytest.param(command, id=name) for name, command in lazy_commands(app)])
def test_a_command_declares_the_parameters_of_its_implementation(command: LazyCommand) -> None:
    assert [it.name for it in command.params] == list(inspect.signature(command.implementation()).parameters)


def test_tenants_settings_has_an_option_for_each_limited_kind() -> None:
    tenants = app.commands["tenants"]
    assert isinstance(tenants, click.Group)
    options = {it.name for it in tenants.commands["settings"].params if isinstance(it, click.Option)}
    assert options - {"retention_days", "data"} == LIMITED.keys()
