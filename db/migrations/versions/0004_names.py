"""Names that may pass from one product to another within a batch."""

from db.migrations import run_body

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_body(__file__)
