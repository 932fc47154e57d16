"""Add the function by which a statement that locks a subject reads the log as it is afterwards."""

from db.migrations import run_body

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_body(__file__)
