"""Limits of requests that the HTTP endpoints enforce."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bytes and seconds of a body, bytes a second of a load, operations of a batch, and seconds of an operation."""

    max_body_bytes: int
    body_timeout: float
    min_load_rate: float
    max_batch: int
    request_timeout: float
