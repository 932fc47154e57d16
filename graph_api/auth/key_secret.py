"""The secret that API keys are created and verified with."""

import os
from pathlib import Path
from secrets import token_hex

from db.errors import BadInput
from db.tenancy.api_key import KeySigner

# Characters of a generated secret.
_SECRET_LENGTH = 64


def key_signer(secret: str | None) -> KeySigner:
    """Return the signer for the value of HEADWATER_KEY_SECRET, or raise BadInput if it is not set."""
    if secret is None:
        raise BadInput(
            "HEADWATER_KEY_SECRET is missing: API keys are created and verified with it. Set it to 32 or more random characters,"
            " the same in every process, and keep it: keys created with another secret are not accepted."
        )
    return KeySigner(secret.encode())


def load_or_create_secret(path: Path) -> str:
    """Read the secret from a file. Create the file, readable by its owner alone, if it does not exist."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.touch(mode=0o600)
        with temporary.open("w") as file:
            file.write(token_hex(_SECRET_LENGTH // 2))
            file.flush()
            # keys created with the secret survive a crash of the machine, so the secret must, too
            os.fsync(file.fileno())
        try:
            # of several processes that create it at once, the first wins
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    secret = path.read_text().strip()
    if len(secret) < _SECRET_LENGTH:
        raise BadInput(
            f"{path} must hold the {_SECRET_LENGTH} characters that API keys are verified with, but holds {len(secret)}."
            " Restore the file from a backup."
        )
    return secret
