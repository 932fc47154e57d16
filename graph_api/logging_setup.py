"""Configuration of logging for the process."""

import logging
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from graph_api.log_writer import LogWriter

# Fields of every line that is logged while a request is handled.
REQUEST_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("request_fields")

_NO_FIELDS: Mapping[str, str] = {}

_LINE_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class _Logger:
    """Logger of a name. It renders a line and passes it to the writer, without the chain of processors of structlog."""

    __slots__ = ("_least", "_name", "_write")

    def __init__(self, name: str, least: int, write: Callable[[bytes], None]) -> None:
        self._name = name
        self._least = least
        self._write = write

    def debug(self, event: str, **fields: Any) -> None:
        if self._least <= logging.DEBUG:
            self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        if self._least <= logging.INFO:
            self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        if self._least <= logging.WARNING:
            self._log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        if self._least <= logging.ERROR:
            self._log("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        self.error(event, exc_info=True, **fields)

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if "exc_info" in fields:
            structlog.processors.format_exc_info(self, level, fields)
        line = {**REQUEST_FIELDS.get(_NO_FIELDS), **fields, "event": event, "level": level, "logger": self._name}
        line["timestamp"] = datetime.now(UTC)
        self._write(orjson.dumps(line, default=str, option=_LINE_OPTIONS))


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
        processors=[],
        logger_factory=lambda name="": _Logger(name, logging.getLevelName(level), writer.write),
        wrapper_class=lambda logger, processors, context: logger,  # type: ignore[arg-type]
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


def _add_request_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields of the current request, but for those that the line has already."""
    for name, value in REQUEST_FIELDS.get(_NO_FIELDS).items():
        event.setdefault(name, value)
    return event
