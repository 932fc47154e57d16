"""Keep the uid of what a request with an idempotency key deleted."""

from db.migrations import run_body

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run_body(__file__)
