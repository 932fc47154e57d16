-- Read the names of the domains that exist at an instant, in order.
-- Parameters: :instant; :names to read, NULL for all.
-- Used by: db.assets.domain.domains_at, db.assets.domain.domains_by_name
SELECT d.name
{include _domains_at}
  AND (CAST(:names AS text[]) IS NULL OR d.name = ANY (CAST(:names AS text[])))
ORDER BY d.name
