"""Expected failures, as one tree. Each class has a stable code that clients see.

HeadwaterError
├── BadInput         BAD_INPUT         the request is invalid
│   ├── UnknownType                    a type that no registry holds yet
│   └── Ambiguous                      a reference that means several subjects
├── NotFound         NOT_FOUND         the named subject does not exist at that instant
├── NotPersisted     PERSISTED_QUERY_NOT_FOUND   the named document is unknown; sending its text helps
├── Conflict         CONFLICT          the request contradicts what exists
│   └── ResolvableConflict             later rows of the same load may resolve it
│       ├── NameTaken                  another product has the name
│       └── KeyTaken                   another entity has the key
├── Unauthenticated  UNAUTHENTICATED   the credentials are missing or invalid
├── Forbidden        FORBIDDEN         the credentials do not permit this
├── LimitExceeded    LIMIT_EXCEEDED    the request exceeds a limit or a quota
├── RateLimited      RATE_LIMITED      the caller has exceeded its rate limit
├── Timeout          TIMEOUT           it took too long
└── Unavailable      UNAVAILABLE       a service that this one depends on does not answer
    ├── ReadOnly                       the database accepts reads only
    └── TransactionConflict            the transaction lost against another one; it may be retried
"""

from typing import ClassVar

OUTCOME_UNKNOWN = "It is unknown if the mutation was committed. With an idempotencyKey it is safe to repeat."


class HeadwaterError(Exception):
    """An expected failure, with a message for the caller and the input field at fault if there is one.

    `blind` is the message for a caller who may write but not read, if the message names something stored: it names only what the
    caller sent.
    """

    code: ClassVar[str]

    def __init__(self, message: str, *, field: str | None = None, blind: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.blind = blind

    def message_for(self, *, may_read: bool) -> str:
        """Return the message for a caller with or without the right to read."""
        return self.message if may_read or self.blind is None else self.blind


class BadInput(HeadwaterError):
    code = "BAD_INPUT"


class UnknownType(BadInput):
    """A type that no registry holds yet."""


class Ambiguous(BadInput):
    """A reference that means several subjects. Later rows of the same load may end all but one."""


class NotFound(HeadwaterError):
    code = "NOT_FOUND"


class NotPersisted(HeadwaterError):
    """An unknown persisted document. Clients recognise the code or the exact message, and then send the text."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


class Conflict(HeadwaterError):
    """A contradiction to what exists. Clients see CONFLICT. It is not retried: the same input would meet it again."""

    code = "CONFLICT"


class ResolvableConflict(Conflict):
    """A conflict with what is written so far, which later rows of the same load may remove: they may rename the other product, or
    end the other relationship.

    Clients see CONFLICT. A load writes the row again behind the rest of the file, as long as this gets more rows accepted. A
    GraphQL mutation is not retried.
    """


class NameTaken(ResolvableConflict):
    """The name of a product that another product has at that instant. Clients see CONFLICT with the field `name`.

    Handled like any ResolvableConflict. The names that pass between products of one batch are checked at its end: see `ingest`.
    """

    def __init__(self, name: str | None = None) -> None:
        taken = "this name" if name is None else f"the name {name!r}"
        message = "Another product has {} at that instant. Choose another name, or rename the other product first."
        # the name may be that of a state which the caller restores
        super().__init__(message.format(taken), field="name", blind=message.format("this name"))


class KeyTaken(ResolvableConflict):
    """A key of an entity that another entity of its type has at that instant. Clients see CONFLICT with the field `key`.

    Handled like NameTaken.
    """

    def __init__(self, key: str | None = None) -> None:
        taken = "one of these keys" if key is None else f"the key {key!r}"
        message = "Another entity of this type has {} at that instant. Give another, or remove it from the other entity first."
        super().__init__(message.format(taken), field="key", blind=message.format("one of these keys"))


class Unauthenticated(HeadwaterError):
    code = "UNAUTHENTICATED"


class Forbidden(HeadwaterError):
    code = "FORBIDDEN"


class LimitExceeded(HeadwaterError):
    code = "LIMIT_EXCEEDED"


class RateLimited(HeadwaterError):
    code = "RATE_LIMITED"


class Timeout(HeadwaterError):
    code = "TIMEOUT"


class Unavailable(HeadwaterError):
    code = "UNAVAILABLE"


class ReadOnly(Unavailable):
    """A write to a database that accepts none, as in a failover or with a full disk. Clients see UNAVAILABLE.

    Reads go on: what they would note, such as the last use of a key, is left out.
    """

    def __init__(self) -> None:
        super().__init__(
            "The database accepts no writes at the moment, as in a failover or with a full disk. Reads go on. Try the write again"
            " in a moment."
        )


class TransactionConflict(Unavailable):
    """A deadlock, a serialization failure or another lost race, after which the same transaction may succeed.

    `retry_on_conflict` runs the whole transaction again: it makes at most 5 attempts at a GraphQL mutation or a step of a purge,
    and 8 at a batch of a load. Clients see UNAVAILABLE if the last attempt loses, too.
    """
