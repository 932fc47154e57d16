"""Search products and entities by names, keys, descriptions, tags and details."""

from db.migrations import run_body

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_body(__file__)
