"""JSON lines for tests of loads."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from tests.builders import day, iso, product_fields

A, B, C = (UUID(int=number) for number in (10, 11, 12))


def to_jsonl(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def product_line(uid: UUID | None, name: str, at: float, **changes: Any) -> dict[str, Any]:
    return {"kind": "product", "uid": uid and str(uid), **product_fields(name, **changes), "at": iso(day(at))}


def product_lines(count: int) -> list[dict[str, Any]]:
    """Return lines of different products, all from the first day on."""
    return [product_line(UUID(int=1_000 + number), f"p{number}", 0) for number in range(count)]


def link_line(source: UUID, target: UUID, at: float, **changes: Any) -> dict[str, Any]:
    ends = {"source": {"uid": str(source)}, "target": {"uid": str(target)}}
    return {"kind": "link", **ends, "at": iso(day(at)), **changes}


def delete_line(uid: UUID, at: float) -> dict[str, Any]:
    return {"kind": "delete", "uid": str(uid), "at": iso(day(at))}
