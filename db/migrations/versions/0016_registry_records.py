"""Record who changed an entry of a registry and when, and the role that the details of a type play."""

from db.migrations import run_body

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_body(__file__)
