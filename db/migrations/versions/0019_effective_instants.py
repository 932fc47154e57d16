"""Index the periods of associations by their starts and their ends, for changes."""

from db.migrations import run_body

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_body(__file__)
