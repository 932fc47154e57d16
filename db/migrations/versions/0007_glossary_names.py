"""Rename tables, with their constraints, indexes and sequences, to the terms of the glossary."""

from db.migrations import run_body

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_body(__file__)
