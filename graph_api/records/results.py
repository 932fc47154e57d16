"""Results of one request for records: records, failures, and the bytes read so far."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson

from db.errors import HeadwaterError, LimitExceeded
from schema.execution.external_record import Lookup

# Bytes that all records of one request may have.
MAX_TOTAL_BYTES = 33_554_432


class RecordResults:
    """Records of one request by lookup, or the exception that explains why there is none.

    `positions` counts the positions of the answer in which each record is to appear.
    """

    def __init__(self, positions: Mapping[Lookup, int]) -> None:
        self.records: dict[Lookup, Any] = {}
        # causes of failures for the log, by the message that the client gets
        self.causes: dict[str, str] = {}
        self._positions = positions
        self._bytes_left = MAX_TOTAL_BYTES

    def consume(self, size: int) -> None:
        """Count bytes that were read, or raise LimitExceeded. Bytes of answers that turn out to be unusable count, too."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise LimitExceeded(
                f"The external records of this request have more than {MAX_TOTAL_BYTES} bytes. Select fewer in one request."
            )

    def add(self, records: Mapping[Lookup, Any]) -> None:
        """Store records, and count the bytes of those that appear in several positions once more for each further one."""
        for lookup, record in records.items():
            if self._positions[lookup] > 1 and not isinstance(record, Exception):
                self.consume(len(orjson.dumps(record)) * (self._positions[lookup] - 1))
        self.records.update(records)

    def fail(self, batch: Sequence[Lookup], error: Exception) -> None:
        """Store an error for each lookup of a batch."""
        self.records.update(dict.fromkeys(batch, error))
        if isinstance(error, HeadwaterError):
            if error.__cause__ is not None:
                self.causes.setdefault(error.message, describe_cause(error.__cause__))
            # frames and causes of the error reference the content that was read, which should be freed
            error.__cause__ = error.__context__ = error.__traceback__ = None


def describe_cause(error: BaseException) -> str:
    """Describe an error for the log. Its message is left out if it may repeat a header or the answer of a service."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, httpx.ConnectError | orjson.JSONDecodeError) else name
