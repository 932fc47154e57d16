"""Index entities by their type."""

from db.migrations import run_body

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run_body(__file__)
