"""Entities, their details, and the registries of both kinds of types."""

from db.migrations import run_body

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_body(__file__)
