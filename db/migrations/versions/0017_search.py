"""Search products and entities by names, keys, descriptions, tags and details."""

from db.migrations import run_body

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_body(__file__)
