"""Expected failures, as one tree. Each class has a stable code that clients see.

HeadwaterError
├── BadInput         BAD_INPUT         the request is invalid
│   └── UnknownType                    a type that no registry holds yet
├── NotFound         NOT_FOUND         the named subject does not exist at that instant
├── NotPersisted     PERSISTED_QUERY_NOT_FOUND   the named document is unknown; sending its text helps
├── Conflict         CONFLICT          the request contradicts what exists
│   └── ResolvableConflict             later input of the same batch may resolve it
│       └── NameTaken                  another product has the name
├── Unauthenticated  UNAUTHENTICATED   the credentials are missing or invalid
├── Forbidden        FORBIDDEN         the credentials do not permit this
├── LimitExceeded    LIMIT_EXCEEDED    the request exceeds a limit or a quota
├── RateLimited      RATE_LIMITED      the caller has exceeded its rate limit
├── Timeout          TIMEOUT           it took too long
└── Unavailable      UNAVAILABLE       a service that this one depends on does not answer
    └── TransactionConflict            the transaction lost against another one; it may be retried
"""

from typing import ClassVar


class HeadwaterError(Exception):
    """An expected failure, with a message for the caller and the input field at fault if there is one."""

    code: ClassVar[str]

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class BadInput(HeadwaterError):
    code = "BAD_INPUT"


class UnknownType(BadInput):
    """A type that no registry holds yet."""


class NotFound(HeadwaterError):
    code = "NOT_FOUND"


class NotPersisted(HeadwaterError):
    """An unknown persisted document. Clients recognise the code or the exact message, and then send the text."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


class Conflict(HeadwaterError):
    code = "CONFLICT"


class ResolvableConflict(Conflict):
    """A conflict with the state known so far, which later input may resolve."""


class NameTaken(ResolvableConflict):
    """Another product has this name at that instant."""


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


class TransactionConflict(Unavailable):
    """A deadlock, a serialization failure or another lost race. The whole transaction may be retried."""
