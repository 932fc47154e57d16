"""Supervision of the embedded server while a command uses it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from db.embedded.server import EmbeddedServer
from db.errors import HeadwaterError

# Seconds between two looks at the server, which take microseconds, and after a start that failed.
_INTERVAL = 0.5
_RETRY_INTERVAL = 5.0

log = structlog.get_logger("headwater.database")


@contextmanager
def supervised(server: EmbeddedServer) -> Iterator[None]:
    """Start the server again, within the block, whenever it has ended. Connections find it at the same address."""
    ended = threading.Event()
    thread = threading.Thread(target=_supervise, args=(server, ended), name="database supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # it may be starting the server, which stops after this
        thread.join()


def _supervise(server: EmbeddedServer, ended: threading.Event) -> None:
    interval = _INTERVAL
    while not ended.wait(interval):
        interval = _INTERVAL
        try:
            if server.restart():
                log.warning("database server restarted")
        except Exception as error:
            # whatever it is, nobody else starts the server again
            interval = _RETRY_INTERVAL
            details = {"reason": error.message} if isinstance(error, HeadwaterError) else {"exc_info": True}
            log.error("database server not restarted", **details)
