"""Keep the keys of entities in their versions, so that an entity can have several, and change them."""

from db.migrations import run_body

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_body(__file__)
