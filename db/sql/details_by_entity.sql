-- The details of entities at an instant, each with its own validity and with what kind of detail it is.
SELECT d.asset_id, t.code, t.label, t.format, d.value, d.valid_from, NULLIF(d.valid_to, 'infinity') AS valid_to
FROM entity_detail d
JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = d.detail_type
WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.asset_id = ANY (CAST(:assets AS bigint[]))
  AND d.valid_from <= CAST(:instant AS timestamptz) AND d.valid_to > CAST(:instant AS timestamptz)
ORDER BY d.asset_id, d.detail_type
