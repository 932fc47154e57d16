"""Configuration of logging for the process."""

import logging
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
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
    structlog.configure(
        processors=[_render],
        logger_factory=lambda name="": _Logger(name, writer),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                _add_request_fields,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
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


def _render(logger: _Logger, level: str, event: MutableMapping[str, Any]) -> bytes:
    """Render a line. One processor does what several of structlog would, so that a line costs one call."""
    if "exc_info" in event:
        structlog.processors.format_exc_info(logger, level, event)
    _add_request_fields(logger, level, event)
    event["level"] = level
    event["logger"] = logger.name
    event["timestamp"] = datetime.now(UTC)
    return orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _add_request_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields of the current request, but for those that the line has already."""
    for name, value in REQUEST_FIELDS.get(_NO_FIELDS).items():
        event.setdefault(name, value)
    return event
