"""Tenants, assets, the change log and products."""

from db.migrations import run_body

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_body(__file__)
