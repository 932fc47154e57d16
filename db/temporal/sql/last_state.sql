-- Read the state of a subject's last version that begins at an instant or before it.
-- Parameters: :subject id; :instant, NULL for no limit.
-- Tokens: {state}, {versions} and {subject} of the kind
-- Used by: db.assets.asset.restore, db.associations.lineage_link.restore
SELECT {state} AS state
FROM {versions} v
WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = CAST(:subject AS bigint)
  AND v.valid_from <= coalesce(CAST(:instant AS timestamptz), 'infinity')
ORDER BY v.valid_from DESC
LIMIT 1
