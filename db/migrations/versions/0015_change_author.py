"""Record the credential of a change, and the producer for which it was made."""

from db.migrations import run_body

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_body(__file__)
