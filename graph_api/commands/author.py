"""The author of what a command changes: the user of this machine."""

import getpass
from uuid import uuid4

from db.author import Author

# Credential, and actor where the operating system names no user.
COMMAND_LINE = "command line"


def author_of(operation: str) -> Author:
    """Return the user of this machine as the author of an operation, with a new request id."""
    return Author(_user(), str(uuid4()), operation, COMMAND_LINE)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return COMMAND_LINE
