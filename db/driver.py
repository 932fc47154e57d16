"""The database driver: its addresses, and the only translation of its errors to domain errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import ArgumentError, DBAPIError

from db.errors import BadInput, Conflict, HeadwaterError, KeyTaken, NameTaken, ReadOnly, Timeout, TransactionConflict, Unavailable

# Database role of the service.
SERVICE_ROLE = "headwater_service"

# Most keys of an entity, which a constraint enforces.
MAX_KEYS = 20

# Domain errors of violated constraints. Constraints that only a defect can violate are absent, so that these remain unexpected.
CONSTRAINT_ERRORS: dict[str, Callable[[], HeadwaterError]] = {
    # Final: the other product is committed and keeps the name, so a retry would fail again. The error cannot name the value: the
    # database leaves the key out of errors of tables with row-level security.
    "product_name_taken": NameTaken,
    "entity_key_taken": KeyTaken,
    "entity_version_keys": partial(
        BadInput, f"The entity would have more than {MAX_KEYS} keys at some instant. Remove others first.", field="addKeys"
    ),
    "asset_uid_taken": partial(Conflict, "Another asset has this uid.", field="uid"),
    "asset_type": partial(Conflict, "The entity type was removed while an entity of it was written. Check the entity types."),
    **dict.fromkeys(
        ("relationship_type_origin", "relationship_type_related"),
        partial(
            Conflict, "The entity type was removed while a relationship type that uses it was written. Check the entity types."
        ),
    ),
    # Retried: `check_cardinality` finds conflicts with committed relationships before the constraint is enforced, so this one was
    # committed in between. The next attempt finds it there, and its error names both relationships.
    **dict.fromkeys(
        ("relationship_effective_one_origin", "relationship_effective_one_related"),
        partial(TransactionConflict, "Another writer wrote a relationship of the same assets meanwhile. Try again."),
    ),
    # Retried: the asset existed when it was resolved, and was purged since. The next attempt finds none.
    **dict.fromkeys(
        ("lineage_link_source", "lineage_link_target", "relationship_origin", "relationship_related"),
        partial(TransactionConflict, "An end was purged meanwhile. Try again."),
    ),
    "entity_detail_type": partial(
        Conflict, "The detail type was removed while an entity with such a detail was written. Check the detail types."
    ),
}

EXAMPLE_ADDRESS = "postgresql://user:password@host:5432/database"
# Options that the driver accepts in the query of an address.
ADDRESS_OPTIONS = {"host", "port", "ssl", "passfile", "timeout", "command_timeout", "target_session_attrs"}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
# read_only_sql_transaction, disk_full
_NOT_WRITABLE = ("25006", "53100")
# query_canceled, transaction_timeout, lock_not_available
_TIMEOUTS = ("57014", "25P04", "55P03")
# Connection exceptions, insufficient resources, interventions of operators, system errors: the server refuses for a reason of its
# own.
_UNAVAILABLE_CLASSES = ("08", "53", "57", "58")
# idle_in_transaction_session_timeout. Other states of a transaction are unexpected: only a defect of this service leads to them.
_UNAVAILABLE_STATES = ("25P03",)
# Data exceptions and violated constraints, whose messages quote values.
_CLASSES_THAT_QUOTE = ("22", "23")
UNAVAILABLE = "The database does not answer. Try again in a moment."


def driver_address(address: str) -> URL:
    """Convert a database address to the form that SQLAlchemy and the driver expect."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError) as error:
        raise BadInput(f"The database address cannot be parsed. Write it like {EXAMPLE_ADDRESS}.") from error
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise BadInput(f"The database address begins with {url.drivername}://. Write it like {EXAMPLE_ADDRESS}.")
    # libpq's sslmode is the driver's ssl.
    options = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    unknown = sorted(options.keys() - ADDRESS_OPTIONS)
    if unknown or options.get("ssl", "prefer") not in SSL_MODES or not 0 < (url.port or 5432) < 65_536:
        part = f"option {unknown[0]}" if unknown else "sslmode" if "ssl" in options else "port"
        raise BadInput(f"The {part} of the database address is not supported. Write it like {EXAMPLE_ADDRESS}.")
    return url.set(drivername="postgresql+asyncpg", query=options)


def connect_arguments(address: str) -> dict[str, Any]:
    """Build the arguments by which the driver connects to an address."""
    _, arguments = _DIALECT.create_connect_args(driver_address(address))  # type: ignore[no-untyped-call]
    return dict(arguments)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise errors of the driver as domain errors. An unexpected error is raised as it is."""
    try:
        yield
    except HeadwaterError:
        raise
    except Exception as error:
        translated = domain_error(error)
        if translated is None:
            raise
        raise translated from error


def domain_error(error: Exception, *, connection_lost: bool = False) -> HeadwaterError | None:
    """Translate an error of the driver. None: it is unexpected."""
    # migrations run through SQLAlchemy, which wraps the error of the driver twice
    cause = (error.orig and error.orig.__cause__) if isinstance(error, DBAPIError) else error
    state: str = getattr(cause, "sqlstate", None) or ""
    constraint = getattr(cause, "constraint_name", None)
    if constraint in CONSTRAINT_ERRORS:
        return CONSTRAINT_ERRORS[constraint]()
    if state in ("40001", "40P01"):
        return TransactionConflict("Concurrent writers changed the same data. Try again.")
    if state in _NOT_WRITABLE:
        return ReadOnly()
    if state in _TIMEOUTS:
        return Timeout("The database took longer than a request may.")
    if state == "42P01" or (state == "22023" and SERVICE_ROLE in str(cause)):
        return Unavailable("The database was not migrated for this version. Run: headwater migrate")
    if state in ("3D000", "28000", "28P01"):
        return Unavailable("The database that HEADWATER_DATABASE_URL names does not exist, or it refuses this user.")
    # The driver raises a ValueError for a value that does not fit its parameter.
    if state in ("22021", "22P05") or is_unencodable(cause):
        return BadInput("A value holds a character or a number that cannot be stored, such as NUL.")
    if connection_lost or state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE_STATES:
        return Unavailable(UNAVAILABLE)
    if isinstance(cause, (OSError, asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)):
        # A migration changes what statements return; the connection that prepared them is closed.
        return Unavailable(UNAVAILABLE)
    return None


def remove_values(error: BaseException) -> None:
    """Remove the values of parameters and rows from an error of the driver, so that no log that has its text has them."""
    if isinstance(error, asyncpg.PostgresError):
        error.detail = None
        if (error.sqlstate or "")[:2] in _CLASSES_THAT_QUOTE:
            named = f" {name}" if (name := getattr(error, "constraint_name", None)) else ""
            error.args = (f"{type(error).__name__} {error.sqlstate}{named}",)
    elif is_unencodable(error):
        error.args = ("A parameter does not fit its type.",)


def missing_privilege(error: BaseException | None) -> Unavailable:
    """Build the error of an operator whose database user may not do what a command does."""
    return Unavailable(f"This database user lacks a privilege: {error}. Use the user that owns the tables.")


def is_unencodable(error: BaseException | None) -> bool:
    """True if the driver refused a value before it sent anything."""
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
