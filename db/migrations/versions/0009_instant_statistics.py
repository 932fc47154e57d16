"""Let the planner assume that instants differ, so that it looks up versions by their asset."""

from db.migrations import run_body

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_body(__file__)
