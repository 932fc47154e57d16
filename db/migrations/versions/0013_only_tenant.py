"""Tell the service which tenant is the only one of the database."""

from db.migrations import run_body

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_body(__file__)
