-- Count the domains that exist at an instant.
-- Parameters: :instant.
-- Used by: db.assets.domain.count_domains
SELECT count(*) AS number
{include _domains_at}
