"""Uids that are read from text. Those of the driver are parsed, hashed and compared in C, and sent as they are."""

from uuid import UUID

from asyncpg.pgproto import pgproto


def parse_uid(text: str) -> UUID:
    """Parse a UUID. Raise ValueError if the text is none. Everything that `UUID` accepts is accepted."""
    try:
        return pgproto.UUID(text)
    except ValueError:
        # the driver knows fewer forms
        return UUID(text)
