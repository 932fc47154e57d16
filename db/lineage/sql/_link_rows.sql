-- The whole rows `l` of the links `k`. A row that this statement has read already is where it was, so no index is searched.
-- Used by: lineage/_links_on_page.sql
JOIN lineage_link_effective l ON l.tenant_id = CAST(:tenant AS bigint) AND l.ctid = k.row_ctid
