-- Read which of some domains exist at an instant.
-- Parameters: :instant; :names.
-- Used by: db.assets.domain.domains_by_name
SELECT d.name
{include _domains_at}
  AND d.name = ANY (CAST(:names AS text[]))
