"""Limits of requests that the HTTP endpoints enforce."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bytes and seconds of a body, operations of a batch, and seconds of an operation."""

    max_body_bytes: int
    body_timeout: float
    max_batch: int
    request_timeout: float
