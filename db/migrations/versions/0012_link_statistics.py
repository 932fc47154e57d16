"""Let the planner assume that assets have few associations, so that it looks these up by their ends."""

from db.migrations import run_body

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_body(__file__)
