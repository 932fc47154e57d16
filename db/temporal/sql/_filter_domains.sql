-- Filter on assets in some domains.
-- Expects a row `candidate` (subject_id) and :domains. Tokens: those of _in_domains.
  AND EXISTS (
    SELECT
    FROM (SELECT candidate.subject_id AS asset_id) subject
    WHERE {include _in_domains}
  )
