"""Index the orders of lists of products and entities."""

from db.migrations import run_body

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run_body(__file__)
