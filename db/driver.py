"""The driver: what it is told of the database, and what its errors mean to a caller. They become domain errors here alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.errors import BadInput, Conflict, HeadwaterError, NameTaken, Timeout, TransactionConflict, Unavailable

# What the service works as.
SERVICE_ROLE = "headwater_service"

# What a violated constraint means to a caller. Constraints that only a defect could violate are absent: they stay unforeseen.
CONFLICTS = {
    "product_name_taken": NameTaken("Another product has this name at that instant. Names are unique.", field="name"),
    "asset_uid_taken": Conflict("Another asset has this uid.", field="uid"),
    "asset_type": Conflict(
        "An entity type was removed while an entity was given it, and only one of the two can be. See which types there are."
    ),
    **dict.fromkeys(
        ("relationship_type_origin", "relationship_type_related"),
        Conflict(
            "An entity type was removed while a relationship type was declared on it, and only one of the two can be. See which"
            " types there are."
        ),
    ),
    # what is committed is looked at before; this is another writer's, just now
    **dict.fromkeys(
        ("relationship_effective_one_origin", "relationship_effective_one_related"),
        TransactionConflict("Another writer joined the same meanwhile. Try again."),
    ),
    # what was found a moment ago has been removed for good
    **dict.fromkeys(
        ("lineage_link_source", "lineage_link_target", "relationship_origin", "relationship_related"),
        TransactionConflict("An end was purged meanwhile. Try again."),
    ),
    "entity_detail_type": Conflict(
        "A detail type was removed while an entity was given such a detail, and only one of the two can be. See which types there"
        " are."
    ),
}

EXAMPLE_ADDRESS = "postgresql://user:password@host:5432/database"
# What may stand behind the question mark of an address: what the driver takes.
ADDRESS_OPTIONS = {"host", "port", "ssl", "passfile", "timeout", "command_timeout", "target_session_attrs"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
UNAVAILABLE = "The database does not answer. Try again in a moment."


def driver_address(address: str) -> URL:
    """The same address, as SQLAlchemy and its driver want it."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError) as error:
        raise BadInput(f"The database address cannot be read. It looks like {EXAMPLE_ADDRESS}.") from error
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise BadInput(f"The database address begins with {url.drivername}:// and has to look like {EXAMPLE_ADDRESS}.")
    # what libpq calls sslmode, the driver calls ssl
    options = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    unknown = sorted(options.keys() - ADDRESS_OPTIONS)
    if unknown or options.get("ssl", "prefer") not in SSL_MODES or not 0 < (url.port or 5432) < 65_536:
        fault = f"the option {unknown[0]}" if unknown else "its sslmode" if "ssl" in options else "its port"
        raise BadInput(f"The database address cannot be used because of {fault}. It looks like {EXAMPLE_ADDRESS}.")
    return url.set(drivername="postgresql+asyncpg", query=options)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what the driver raises into what a caller can understand; what nobody foresaw passes as it is."""
    try:
        yield
    except HeadwaterError:
        raise
    except PoolTimeout as error:
        raise Unavailable("Every connection to the database is in use. Try again in a moment.") from error
    except DBAPIError as error:
        known = _domain_error(error)
        if known is None:
            raise
        raise known from error
    except (ConnectionError, TimeoutError, OSError) as error:
        raise Unavailable(UNAVAILABLE) from error


def _domain_error(error: DBAPIError) -> HeadwaterError | None:
    cause = error.orig.__cause__ if error.orig else None
    state: str = getattr(cause, "sqlstate", None) or ""
    constraint = getattr(cause, "constraint_name", None)
    if constraint in CONFLICTS:
        meaning = CONFLICTS[constraint]
        return type(meaning)(meaning.message, field=meaning.field)
    if state in ("40001", "40P01"):
        return TransactionConflict("Too many writers changed the same thing at once. Try again.")
    if state in ("57014", "55P03"):
        return Timeout("The database took longer than a request may.")
    if state == "42P01" or (state == "22023" and SERVICE_ROLE in str(cause)):
        return Unavailable("The database was not migrated for this version. Run: headwater migrate")
    if state in ("3D000", "28000", "28P01"):
        return Unavailable("The database that HEADWATER_DATABASE_URL names is not there, or does not let this user in.")
    # the driver's own word for a value that does not fit its parameter is a ValueError
    if state in ("22021", "22P05") or (isinstance(cause, asyncpg.InterfaceError) and isinstance(cause, ValueError)):
        return BadInput("A value holds a character or a number that cannot be kept, such as NUL.")
    if error.connection_invalidated or state[:2] in ("08", "53") or state in ("57P01", "57P02", "57P03", "25P03"):
        return Unavailable(UNAVAILABLE)
    return None
