"""The floor of lineage in a window of time: the links of the window by one statement, a search over their periods, the assets."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

# Links of all assets that links of the window lead to, from the product that has the name at its end, with the root first.
_LINKS = """
WITH RECURSIVE walk (depth, level, visited) AS (
  SELECT 0, ARRAY[p.asset_id], ARRAY[p.asset_id]
  FROM product_version p
  WHERE p.tenant_id = 1 AND p.name = $1 AND p.valid_from <= $3 AND p.valid_to > $3
  UNION ALL
  SELECT depth + 1, next.level, visited || next.level
  FROM walk
  CROSS JOIN LATERAL (
    SELECT array_agg(id ORDER BY id) AS level
    FROM (
      SELECT l.source_id AS id
      FROM unnest(walk.level) AS near (id)
      JOIN lineage_link_effective l ON l.tenant_id = 1 AND l.target_id = near.id AND l.valid_from < $3 AND l.valid_to > $2
      EXCEPT
      SELECT unnest(walk.visited)
    ) new
  ) next
  WHERE depth < 10 AND next.level IS NOT NULL
),
found AS (SELECT visited FROM walk ORDER BY depth DESC LIMIT 1)
SELECT l.link_id, l.source_id, l.target_id, l.confidence, greatest(l.valid_from, $2) AS since, least(l.valid_to, $3) AS until,
  found.visited[1] AS root
FROM found
CROSS JOIN LATERAL unnest(found.visited) AS near (id)
JOIN lineage_link_effective l ON l.tenant_id = 1 AND l.target_id = near.id AND l.valid_from < $3 AND l.valid_to > $2
ORDER BY l.link_id, l.valid_from
"""
_ASSETS = """
SELECT a.uid, p.name
FROM unnest(CAST($1 AS bigint[]), CAST($2 AS timestamptz[])) WITH ORDINALITY AS wanted (id, instant, ordinal)
CROSS JOIN LATERAL (SELECT CAST(a.uid AS text) AS uid FROM asset a WHERE a.tenant_id = 1 AND a.id = wanted.id OFFSET 0) a
CROSS JOIN LATERAL (
  SELECT p.name
  FROM product_version p
  WHERE p.tenant_id = 1 AND p.asset_id = wanted.id AND p.valid_from <= wanted.instant AND p.valid_to > wanted.instant
  OFFSET 0
) p
ORDER BY wanted.ordinal
"""
_MICROSECOND = timedelta(microseconds=1)

Periods = list[tuple[datetime, datetime]]


async def between(pool: Any, variables: dict[str, Any]) -> dict[str, Any]:
    since, until = datetime.fromisoformat(variables["from"]), datetime.fromisoformat(variables["to"])
    rows = await pool.fetch(_LINKS, variables["name"], since, until)
    reached, depths = _reached(rows, [(since, until)])
    order = sorted(depths, key=lambda it: (depths[it], it))
    assets = await pool.fetch(_ASSETS, order, [reached[it][-1][1] - _MICROSECOND for it in order])
    edges = [
        {"depth": depths[asset_id], "periods": _written(reached[asset_id]), "node": {"uid": asset["uid"], "label": asset["name"]}}
        for asset_id, asset in zip(order, assets, strict=True)
    ]
    periods: defaultdict[int, Periods] = defaultdict(list)
    confidences = {}
    for row in rows:
        of_ends = _common(reached.get(row["source_id"], []), reached.get(row["target_id"], []))
        if common := _common([(row["since"], row["until"])], of_ends):
            periods[row["link_id"]] += common
            confidences[row["link_id"]] = row["confidence"]
    links = [{"link": {"confidence": confidences[it]}, "periods": _written(_merged(of_link))} for it, of_link in periods.items()]
    return {"lineageBetween": {"edges": edges, "links": links}}


def _reached(rows: list[Any], window: Periods) -> tuple[dict[int, Periods], dict[int, int]]:
    """Return when the root and each asset are reached, and the least depth of each asset."""
    onward: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        onward[row["target_id"]].append(row)
    root = rows[0]["root"]
    reached: dict[int, Periods] = {root: window}
    depths: dict[int, int] = {}
    level = {root: window}
    for depth in range(1, 11):
        found: defaultdict[int, Periods] = defaultdict(list)
        for near, periods in level.items():
            for row in onward[near]:
                found[row["source_id"]] += _common(periods, [(row["since"], row["until"])])
        level = {}
        for far, of_far in found.items():
            known = reached.get(far, [])
            both = _merged(sorted(known + of_far))
            if both != known:
                # periods that were known are expanded again, which finds nothing new
                reached[far] = level[far] = both
                depths.setdefault(far, depth)
    return reached, depths


def _common(periods: Periods, others: Periods) -> Periods:
    return [
        (max(since, start), min(until, end))
        for since, until in periods
        for start, end in others
        if max(since, start) < min(until, end)
    ]


def _merged(periods: Periods) -> Periods:
    merged: Periods = []
    for since, until in periods:
        if merged and merged[-1][1] >= since:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def _written(periods: Periods) -> list[dict[str, str]]:
    return [{"from": f"{since.isoformat()[:-6]}Z", "to": f"{until.isoformat()[:-6]}Z"} for since, until in periods]
