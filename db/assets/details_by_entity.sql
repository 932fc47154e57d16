-- The details of entities, each entity at an instant of its own, with what kind of detail each is and its own validity.
SELECT asked.place, t.code, t.label, t.format, d.value, d.valid_from, NULLIF(d.valid_to, 'infinity') AS valid_to
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (asset_id, instant, place)
CROSS JOIN LATERAL (
  SELECT *
  FROM entity_detail d
  WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.asset_id = asked.asset_id
    AND d.valid_from <= asked.instant AND d.valid_to > asked.instant
    AND (CAST(:types AS text[]) IS NULL OR d.detail_type = ANY (CAST(:types AS text[])))
  OFFSET 0
) d
JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = d.detail_type
ORDER BY asked.place, t.code
