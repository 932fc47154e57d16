"""Relationship types, and joins between assets."""

from db.migrations import run_body

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_body(__file__)
