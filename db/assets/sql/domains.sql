-- Read the names of the domains that exist at an instant, in order.
-- Parameters: :instant.
-- Used by: db.assets.domain.domains_at
SELECT d.name
{include _domains_at}
ORDER BY d.name
