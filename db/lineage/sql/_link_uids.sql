-- The identities `i` of the links `k`, which have their uids.
-- Used by: lineage/_links_on_page.sql
JOIN lineage_link i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = k.link_id
