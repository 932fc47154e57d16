-- Find the relationships that matter to deletions of assets: those whose type restricts them, and those whose type cascades
-- to the other end. Lifetimes are rebuilt already; relationships are still clipped to the former ones.
-- Parameters: :subjects ids of the deleted assets; :instants of the deletions, one for each.
-- Used by: db.consistency.lifecycle._on_delete_targets
SELECT t.on_delete, hit.asset_id, hit.instant, i.uid, hit.valid_from, NULLIF(hit.valid_to, 'infinity') AS valid_to, hit.since,
  t.origin || ' ' || t.key || ' ' || t.related AS type, labelled.id AS other_id, labelled.kind AS other_kind,
  {include _label} AS other, (
    -- the deleted asset has a label until just before the deletion
    SELECT {include _label}
    FROM (SELECT hit.asset_id, hit.instant - interval '1 microsecond' AS since) hit
    JOIN asset labelled ON labelled.tenant_id = CAST(:tenant AS bigint) AND labelled.id = hit.asset_id
  ) AS label
FROM (
  SELECT deletion.asset_id, deletion.instant, r.*, greatest(deletion.instant, r.valid_from) AS since
  FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS deletion (asset_id, instant)
  CROSS JOIN LATERAL (
    SELECT r.relationship_id, r.type_id, r.related_id AS other_id, r.valid_from, r.valid_to
    FROM relationship_effective r
    WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = deletion.asset_id AND r.valid_to > deletion.instant
    UNION ALL
    SELECT r.relationship_id, r.type_id, r.origin_id, r.valid_from, r.valid_to
    FROM relationship_effective r
    WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = deletion.asset_id AND r.valid_to > deletion.instant
    OFFSET 0
  ) r
) hit
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = hit.type_id
JOIN relationship i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = hit.relationship_id
JOIN asset labelled ON labelled.tenant_id = CAST(:tenant AS bigint) AND labelled.id = hit.other_id
WHERE (t.on_delete = 'CASCADE' AND hit.valid_from <= hit.instant)
  -- a relationship restricts the deletion if it would outlast the new lifetime
  OR (t.on_delete = 'RESTRICT' AND NOT EXISTS (
    SELECT
    FROM asset_lifetime l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = hit.asset_id
      AND l.valid_from <= hit.valid_from AND l.valid_to >= hit.valid_to
  ))
ORDER BY hit.since, hit.relationship_id
