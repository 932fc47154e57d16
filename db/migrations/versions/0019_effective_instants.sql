-- Indexes the periods of associations by the instants at which they begin and end, so that changes of lineage links and relationships
-- are listed in their order. The planner assumes that instants differ from row to row, as migration 0009 has it for versions.
--
-- Writers of associations wait while the indexes are built: seconds for a million links.
CREATE INDEX lineage_link_effective_starts ON lineage_link_effective (tenant_id, valid_from, link_id);
CREATE INDEX lineage_link_effective_ends ON lineage_link_effective (tenant_id, valid_to, link_id) WHERE valid_to < 'infinity';
CREATE INDEX relationship_effective_starts ON relationship_effective (tenant_id, valid_from, relationship_id);
CREATE INDEX relationship_effective_ends ON relationship_effective (tenant_id, valid_to, relationship_id) WHERE valid_to < 'infinity';
ALTER TABLE lineage_link_effective ALTER COLUMN valid_from SET (n_distinct = -1);
ALTER TABLE relationship_effective ALTER COLUMN valid_from SET (n_distinct = -1);
ANALYZE lineage_link_effective (valid_from), relationship_effective (valid_from);
