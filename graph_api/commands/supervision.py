"""Supervision of the embedded server while a command uses it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from db.embedded.server import EmbeddedServer
from db.errors import HeadwaterError

# Seconds between two looks at the server, which take microseconds, and after a start that failed.
_INTERVAL = 0.5
_RETRY_INTERVAL = 5.0

# Of the standard library: without a configuration, as in an export, it writes to standard error.
log = logging.getLogger("headwater.database")


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
        except HeadwaterError as error:
            interval = _RETRY_INTERVAL
            log.error("database server not restarted: %s", error.message)
        except Exception:
            # whatever it is, nobody else starts the server again
            interval = _RETRY_INTERVAL
            log.exception("database server not restarted")
