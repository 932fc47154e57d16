-- Filter on associations with an end in some domains.
-- Expects a row `candidate` (subject_id) and :domains. Tokens: those of _in_domains; {identities}, {near}, {far} of the
--   association kind.
  AND EXISTS (
    SELECT
    FROM {identities} i
    CROSS JOIN unnest(ARRAY[i.{near}, i.{far}]) AS subject (asset_id)
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id AND {include _in_domains}
  )
