-- What joins say of assets that end: those whose type restricts hold them, those whose type cascades take the other end along. Lives are
-- what they are to be, joins are still what they were.
SELECT t.on_delete, h.asset_id, h.instant, i.uid, h.valid_from, NULLIF(h.valid_to, 'infinity') AS valid_to, h.since,
  t.origin || ' ' || t.key || ' ' || t.related AS type, o.id AS other_id, o.kind AS other_kind,
  {include _label} AS other, (
    SELECT {include _label}
    FROM (SELECT h.asset_id, h.instant - interval '1 microsecond' AS since) h
    JOIN asset o ON o.tenant_id = CAST(:tenant AS bigint) AND o.id = h.asset_id
  ) AS label
FROM (
  SELECT e.asset_id, e.instant, r.*, greatest(e.instant, r.valid_from) AS since
  FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS e (asset_id, instant)
  CROSS JOIN LATERAL (
    SELECT r.relationship_id, r.type_id, r.related_id AS other_id, r.valid_from, r.valid_to
    FROM relationship_effective r
    WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = e.asset_id AND r.valid_to > e.instant
    UNION ALL
    SELECT r.relationship_id, r.type_id, r.origin_id, r.valid_from, r.valid_to
    FROM relationship_effective r
    WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = e.asset_id AND r.valid_to > e.instant
    OFFSET 0
  ) r
) h
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = h.type_id
JOIN relationship i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = h.relationship_id
JOIN asset o ON o.tenant_id = CAST(:tenant AS bigint) AND o.id = h.other_id
WHERE (t.on_delete = 'CASCADE' AND h.valid_from <= h.instant)
  -- what goes on beyond the life is what is held
  OR (t.on_delete = 'RESTRICT' AND NOT EXISTS (
    SELECT
    FROM asset_lifetime l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = h.asset_id AND l.valid_from <= h.valid_from AND l.valid_to >= h.valid_to
  ))
ORDER BY h.since, h.relationship_id
