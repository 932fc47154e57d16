"""Let searches take the tenant, and compare it with the setting."""

from db.migrations import run_body

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_body(__file__)
