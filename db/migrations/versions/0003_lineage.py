"""Lives of assets, and lineage links between them."""

from db.migrations import run_body

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_body(__file__)
