-- With how many assets each of some assets is joined at an instant of its own, along types whose origin it is, and along types whose
-- related end.
SELECT asked.place, count(DISTINCT near.other_id) AS assets
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (asset_id, instant, place)
CROSS JOIN LATERAL (
  SELECT r.related_id AS other_id
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = asked.asset_id AND r.type_id = ANY (CAST(:forward AS bigint[]))
    AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
  UNION ALL
  SELECT r.origin_id
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = asked.asset_id AND r.type_id = ANY (CAST(:reverse AS bigint[]))
    AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
) near
GROUP BY asked.place
