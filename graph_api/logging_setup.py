"""Configuration of logging for the process."""

import logging
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

from graph_api.log_writer import LogWriter

# Fields of every line that is logged while a request is handled.
REQUEST_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("request_fields")

_NO_FIELDS: Mapping[str, str] = {}


class _Logger:
    """Logger of a name. Each line goes to the writer."""

    def __init__(self, name: str, writer: LogWriter) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = writer.write


class _Handler(logging.Handler):
    """Handler that writes the lines of the standard library."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record).encode() + b"\n")
        except Exception:
            self.handleError(record)


def configure_logging(level: str, descriptor: int = 2) -> LogWriter:
    """Write every log line, of structlog and of the standard library, as one JSON object on standard error."""
    writer = LogWriter(descriptor)
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[
            add_request_fields,
            structlog.processors.add_log_level,
            _add_logger_name,
            timestamp,
            structlog.processors.format_exc_info,
            _render,
        ],
        logger_factory=lambda name="": _Logger(name, writer),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                add_request_fields,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                timestamp,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # each request is logged by the application instead of uvicorn; the URLs that httpx logs contain keys of records
    for name in ("uvicorn", "uvicorn.error", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(logging.getLevelName(level), logging.WARNING))
    return writer


def add_request_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields of the current request (a processor of structlog)."""
    for name, value in REQUEST_FIELDS.get(_NO_FIELDS).items():
        event.setdefault(name, value)
    return event


def _add_logger_name(logger: _Logger, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["logger"] = logger.name
    return event


def _render(_: Any, __: str, event: MutableMapping[str, Any]) -> bytes:
    return orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE)
