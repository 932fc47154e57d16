"""Carry periods beside the keys of the indexes that find the associations of an asset."""

from db.migrations import run_body

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_body(__file__)
