"""The floor of changes of links: the page of candidates by two indexes, then their periods, ends and authors by one statement."""

from datetime import datetime
from typing import Any

# Each end is that of the link itself: no asset of the data ends.
_CHANGES = """
WITH page AS MATERIALIZED (
  SELECT at, link_id
  FROM (
    (
      SELECT valid_from AS at, link_id
      FROM lineage_link_effective
      WHERE tenant_id = 1 AND valid_from >= $1 AND valid_from < $2
      ORDER BY valid_from, link_id
      LIMIT 101
    )
    UNION
    (
      SELECT valid_to, link_id
      FROM lineage_link_effective
      WHERE tenant_id = 1 AND valid_to >= $1 AND valid_to < $2
      ORDER BY valid_to, link_id
      LIMIT 101
    )
  ) candidate
  ORDER BY at, link_id
  LIMIT 101
)
SELECT page.at, CAST(l.uid AS text) AS uid, c.actor, source.name AS source, target.name AS target,
  before.type AS type_before, before.confidence AS confidence_before, after.type, after.confidence
FROM page
JOIN lineage_link l ON l.tenant_id = 1 AND l.id = page.link_id
LEFT JOIN lineage_link_effective before
  ON before.tenant_id = 1 AND before.link_id = page.link_id AND before.valid_to = page.at
LEFT JOIN lineage_link_effective after
  ON after.tenant_id = 1 AND after.link_id = page.link_id AND after.valid_from = page.at
CROSS JOIN LATERAL (
  SELECT c.actor
  FROM change c
  WHERE c.tenant_id = 1 AND c.kind = 'LINK' AND c.subject_id = page.link_id AND c.change_ts = page.at
  ORDER BY c.changed DESC, c.seq DESC
  LIMIT 1
) c
CROSS JOIN LATERAL (
  SELECT p.name
  FROM product_version p
  WHERE p.asset_id = l.source_id AND p.tenant_id = 1 AND p.valid_from <= page.at AND p.valid_to > page.at
  OFFSET 0
) source
CROSS JOIN LATERAL (
  SELECT p.name
  FROM product_version p
  WHERE p.asset_id = l.target_id AND p.tenant_id = 1 AND p.valid_from <= page.at AND p.valid_to > page.at
  OFFSET 0
) target
ORDER BY page.at, page.link_id
"""


async def changes_of_links(pool: Any, variables: dict[str, Any]) -> dict[str, Any]:
    rows = await pool.fetch(_CHANGES, datetime.fromisoformat(variables["from"]), datetime.fromisoformat(variables["to"]))
    nodes = []
    for at, uid, actor, source, target, type_before, confidence_before, type_, confidence in rows[:100]:
        ends = {"source": {"label": source}, "target": {"label": target}}
        before = type_before and {"type": type_before, "confidence": confidence_before, **ends}
        after = type_ and {"type": type_, "confidence": confidence, **ends}
        kind = "CREATED" if before is None else "UPDATED" if after else "DELETED"
        instant = at.isoformat().replace("+00:00", "Z")
        nodes.append({"kind": kind, "at": instant, "actor": actor, "uid": uid, "subject": after, "subjectBefore": before})
    return {"changes": {"nodes": nodes, "pageInfo": {"hasNextPage": len(rows) > 100}}}
