-- Counts the distinct assets that each asset is related to at an instant.
-- Parameters: :assets ids, :instants one for each, :forward ids of the types to follow from their origin, :reverse from their
-- related end.
-- Used by: db.associations.relationship.count_related
SELECT requested.ordinal, count(DISTINCT near.other_id) AS assets
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS requested (asset_id, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT r.related_id AS other_id
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = requested.asset_id AND r.type_id = ANY (CAST(:forward AS bigint[]))
    AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
  UNION ALL
  SELECT r.origin_id
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = requested.asset_id AND r.type_id = ANY (CAST(:reverse AS bigint[]))
    AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
) near
GROUP BY requested.ordinal
