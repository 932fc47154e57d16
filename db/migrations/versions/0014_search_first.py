"""Let searches compare their tenant before they read, and find rows by indexes that begin with it."""

from db.migrations import run_body

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_body(__file__)
