"""Tenants that several organisations can be: quotas, keys, and an account of who did what."""

from db.migrations import run_body

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_body(__file__)
