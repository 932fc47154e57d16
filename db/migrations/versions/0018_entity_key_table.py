"""Find entities by any of their keys at any instant, and remove the one key of their identities."""

from alembic import op
from sqlalchemy import text

from db.errors import Conflict
from db.migrations import run_body

revision = "0018"
down_revision = "0017"

# Entities of one type whose keys are the same when compared, at the same time.
_TWINS = """
SELECT t.name AS tenant, one.type, one.key, one.uid, other.key AS other_key, other.uid AS other_uid
FROM asset one
JOIN asset other
  ON other.tenant_id = one.tenant_id AND other.type = one.type AND compared_key(other.key) = compared_key(one.key)
  AND other.id > one.id
JOIN tenant t ON t.tenant_id = one.tenant_id
WHERE EXISTS (
  SELECT
  FROM asset_lifetime l
  JOIN asset_lifetime m ON m.tenant_id = l.tenant_id AND m.valid_from < l.valid_to AND m.valid_to > l.valid_from
  WHERE l.tenant_id = one.tenant_id AND l.asset_id = one.id AND m.asset_id = other.id
)
ORDER BY t.name, one.type, one.key
"""
_LISTED = 20


def upgrade() -> None:
    twins = op.get_bind().execute(text(_TWINS)).fetchall()
    if twins:
        listed = "".join(
            f"\n  {it.tenant}: {it.type} {it.key!r} ({it.uid}) and {it.other_key!r} ({it.other_uid})" for it in twins[:_LISTED]
        )
        raise Conflict(
            f"{len(twins)} pairs of entities of one type have the same UUID as their key, in different spellings:{listed}\n"
            "Nothing was migrated. With the version that you have, delete one entity of each pair from its createdAt on"
            " (deleteEntity with its uid and this at), or purge it. Then migrate again."
        )
    run_body(__file__)
