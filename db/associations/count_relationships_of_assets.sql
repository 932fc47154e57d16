-- How many joins each of some assets has at an instant of its own, of types whose origin it is, and of types whose related end.
SELECT asked.place, count(*) AS joins
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (asset_id, instant, place)
CROSS JOIN LATERAL (
  SELECT
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = asked.asset_id AND r.type_id = ANY (CAST(:forward AS bigint[]))
    AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
  UNION ALL
  SELECT
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = asked.asset_id AND r.type_id = ANY (CAST(:reverse AS bigint[]))
    AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
) near
GROUP BY asked.place
