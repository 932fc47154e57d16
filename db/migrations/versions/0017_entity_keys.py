"""Keep the keys of entities in their versions, so that an entity can have several, and change them."""

from db.migrations import run_body

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_body(__file__)
