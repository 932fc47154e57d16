"""What can go wrong, as one tree. Each kind has a stable code that clients see.

HeadwaterError
├── BadInput         BAD_INPUT         the caller asked for something that cannot be
│   └── Unregistered                   a type that is in no registry; it may come
├── NotFound         NOT_FOUND         what the caller names is not there at that instant
├── NotPersisted     PERSISTED_QUERY_NOT_FOUND   a document that the caller names and nobody here knows; its text helps
├── Conflict         CONFLICT          what the caller wants collides with what is there
│   └── Contested                      it collides with what is known yet; what comes may resolve it
│       └── NameTaken                  a name that another bears
├── Unauthenticated  UNAUTHENTICATED   nobody says who the caller is
├── Forbidden        FORBIDDEN         the caller may not do this
├── LimitExceeded    LIMIT_EXCEEDED    more than one request may ask for
├── RateLimited      RATE_LIMITED      more than one caller may ask for in this time
├── Timeout          TIMEOUT           it took longer than it may
└── Unavailable      UNAVAILABLE       something the service rests on does not answer
    └── Interrupted                    the database gave up on the transaction; the same may succeed again
"""

from typing import ClassVar


class HeadwaterError(Exception):
    """An expected failure: a message for the caller, and the input field at fault where there is one."""

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
    """Clients tell it by its code or by its message, word for word, and send the text."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


class Conflict(HeadwaterError):
    code = "CONFLICT"


class ResolvableConflict(Conflict):
    """What cannot be together with something else, by what is known yet."""


class NameTaken(ResolvableConflict):
    """A name that another product bears at that instant."""


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
    """A deadlock or a serialization failure: the whole transaction may be tried again."""
