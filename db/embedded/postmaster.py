"""The server process of a cluster: how it is launched, found, awaited and stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from db.embedded.user import EmbeddedServerError, ServerUser

try:
    import psutil
except ImportError:
    # It comes with the `embedded` extra; `binaries` explains how to install that before this module uses it.
    psutil = None  # type: ignore[assignment]

STOP_TIMEOUT = 60.0
LOG_LIMIT = 10_000_000


class Postmaster:
    """The server process of one cluster, whether it runs or not."""

    def __init__(self, cluster: Path, user: ServerUser, log_file: Path) -> None:
        self._cluster = cluster
        self._user = user
        self._log_file = log_file

    def find(self) -> psutil.Process | None:
        """Return the running server of this cluster. A stale pid file may name any process, so the process is checked: only the
        server of this cluster may ever be signalled."""
        try:
            process = psutil.Process(int(self._pid_file()[0]))
            if not is_alive(process) or process.name() != "postgres" or process.uids().real != self._user.uid:
                return None
            try:
                ours = process.cwd() == str(self._cluster)
            except psutil.AccessDenied:  # root without CAP_SYS_PTRACE, as in containers, may not read it
                ours = process.cmdline()[1:3] == ["-D", str(self._cluster)]
        except (IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process if ours else None

    def launch(self, program: Path, settings: Mapping[str, str], log: int) -> psutil.Process | None:
        """Launch the server as the child of a shell that ends at once, so that it is no child of this process: if it was
        killed, it would stay a zombie until this process ends. Return None if it ended at once.

        It starts a new session, because it may serve other processes too: Ctrl-C in this terminal must not reach it.
        """
        if os.fstat(log).st_size > LOG_LIMIT:
            os.ftruncate(log, 0)
        # PostgreSQL mistakes an unrelated process, or a zombie, that has the process id of a dead postmaster for a running one,
        # unless it is its own grandparent. pg_ctl makes use of that too. Deleting the pid file instead would lose the check for
        # backends that still write.
        stale = [line for line in self._pid_file()[:1] if line.isdecimal()]
        result = self._user.run(
            *("/bin/sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh"),
            *(program, "-D", self._cluster),
            *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
            stderr=log,
            environment={"PG_GRANDPARENT_PID": stale[0]} if stale else {},
            start_new_session=True,
        )
        try:
            return psutil.Process(int(result.stdout))
        except psutil.NoSuchProcess:
            return None

    def wait_until_ready(self, process: psutil.Process, deadline: float) -> bool:
        """Wait until the server accepts connections. Return False if it ends before, or is not ready at the deadline."""
        while time.monotonic() < deadline and is_alive(process):
            match self._pid_file():
                case [pid, _, _, _, _, _, _, state, *_] if pid == str(process.pid) and state.strip() == "ready":
                    return True
            time.sleep(0.01)
        return False

    def stop(self, process: psutil.Process) -> None:
        """Stop the server by a fast shutdown, which rolls back open transactions."""
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT
        while is_alive(process):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"PostgreSQL in {self._cluster}, process {process.pid}, did not stop within {STOP_TIMEOUT:.0f} s. "
                    f"See {self._log_file} for the reason."
                )
            time.sleep(0.01)

    def _pid_file(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []


def is_alive(process: psutil.Process) -> bool:
    """Return True if a process runs. A killed process that its parent has not waited for does not, though its id is in use."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
