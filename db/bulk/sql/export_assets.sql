-- Read every version period of the assets of a kind, in order of the asset and of time, or those that are valid at an instant.
-- `ended` is the end of a period that no other follows at once; null for an instant.
-- Parameters: :instant, or null for the whole history.
-- Tokens: {versions}, {state} of the kind.
-- Used by: db.bulk.export.assets
SELECT a.uid, a.type, v.valid_from, {state} AS state, CASE
    WHEN CAST(:instant AS timestamptz) IS NULL
      AND v.valid_to IS DISTINCT FROM lead(v.valid_from) OVER (PARTITION BY v.asset_id ORDER BY v.valid_from)
    THEN nullif(v.valid_to, 'infinity')
  END AS ended
FROM {versions} v
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = v.asset_id
WHERE v.tenant_id = CAST(:tenant AS bigint)
  AND (CAST(:instant AS timestamptz) IS NULL OR v.valid_from <= CAST(:instant AS timestamptz) AND v.valid_to > CAST(:instant AS timestamptz))
ORDER BY v.asset_id, v.valid_from
