"""Cursors as clients see them: the position of an item in a list, sealed, so that a cursor tells nothing and cannot be forged."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from db.instants import MICROSECOND

# Bytes of the digest of a list, with which the content of a cursor begins.
DIGEST_SIZE = 6

# Bytes of a number. Every number takes as many, for the length of a cursor is visible.
_NUMBER_SIZE = 8
_LENGTH_SIZE = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_INSTANT, _NUMBER, _TEXT = b"t", b"n", b"s"


class CursorCipher:
    """Cipher of the cursors of one tenant.

    Cursors hold database ids, which count what all tenants together have. The cipher is AES-SIV: it is authenticated, in constant
    time, and deterministic, so that an item of a list has one cursor. The key is derived from the secret of the service and the
    tenant, so a cursor of another tenant or secret is none.
    """

    def __init__(self, secret: bytes, tenant_id: int) -> None:
        self._cipher = AESSIV(hmac.digest(secret, f"cursors of tenant {tenant_id}".encode(), "sha512"))

    def seal(self, digest: bytes, parts: Sequence[Any]) -> str:
        """Return the cursor of an item: the digest of its list, and the values of the columns that the list is ordered by."""
        content = digest + b"".join(map(_encode, parts))
        return urlsafe_b64encode(self._cipher.encrypt(content, None)).rstrip(b"=").decode()

    def open(self, cursor: str) -> tuple[bytes, tuple[Any, ...]] | None:
        """Return the digest and the values that a cursor was made of. None: this cipher did not make it."""
        try:
            sealed = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
            content = self._cipher.decrypt(sealed, None)
        except (ValueError, InvalidTag):
            return None
        # base64 has several spellings of the same bytes
        if urlsafe_b64encode(sealed).rstrip(b"=").decode() != cursor:
            return None
        return content[:DIGEST_SIZE], tuple(_decode(content[DIGEST_SIZE:]))


def _encode(part: Any) -> bytes:
    if isinstance(part, datetime):
        return _INSTANT + ((part - _EPOCH) // MICROSECOND).to_bytes(_NUMBER_SIZE, signed=True)
    if isinstance(part, int):
        return _NUMBER + part.to_bytes(_NUMBER_SIZE, signed=True)
    text = part.encode()
    return b"".join((_TEXT, len(text).to_bytes(_LENGTH_SIZE), text))


def _decode(content: bytes) -> list[Any]:
    parts: list[Any] = []
    while content:
        kind, content = content[:1], content[1:]
        if kind == _TEXT:
            size = _LENGTH_SIZE + int.from_bytes(content[:_LENGTH_SIZE])
            parts.append(content[_LENGTH_SIZE:size].decode())
        else:
            size = _NUMBER_SIZE
            number = int.from_bytes(content[:size], signed=True)
            parts.append(_EPOCH + number * MICROSECOND if kind == _INSTANT else number)
        content = content[size:]
    return parts
