-- Read a page of the names of the domains that exist at an instant.
-- Parameters: :instant; :after and :before, the cursors, or NULL; :limit.
-- Tokens: {direction} in which the page is fetched
-- Used by: db.assets.domain.domain_page
SELECT d.name
{include _domains_at}
  AND (CAST(:after AS text) IS NULL OR d.name > CAST(:after AS text))
  AND (CAST(:before AS text) IS NULL OR d.name < CAST(:before AS text))
ORDER BY d.name {direction}
LIMIT CAST(:limit AS bigint)
