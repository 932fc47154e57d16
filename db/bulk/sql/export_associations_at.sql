-- Read the associations of a kind that are effective at an instant, in order of the association.
-- Parameters: :instant at which the associations exist.
-- Tokens: {identities}, {effective}, {subject}, {near}, {far}, {discriminator}, {state} of the kind.
-- Used by: db.bulk.export.associations
SELECT i.uid, n.uid AS near, f.uid AS far, i.{discriminator} AS discriminator, v.valid_from, {state} AS state,
  CAST(NULL AS timestamptz) AS ended
FROM {effective} v
JOIN {identities} i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = v.{subject}
JOIN asset n ON n.tenant_id = CAST(:tenant AS bigint) AND n.id = v.{near}
JOIN asset f ON f.tenant_id = CAST(:tenant AS bigint) AND f.id = v.{far}
WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.valid_from <= CAST(:instant AS timestamptz) AND v.valid_to > CAST(:instant AS timestamptz)
ORDER BY v.{subject}
