-- The indexes that find the associations of an asset carry their periods beside the key instead of in it.
--
-- An instant excludes few associations, so nothing is found by the periods. As keys, they made PostgreSQL 18 maintain a position
-- in the other ends as well, to skip to a matching period, which cost a third of the time of a walk.
--
-- The new indexes are built beside the old ones: that keeps writers waiting, but no readers.
CREATE INDEX new_upstream ON lineage_link_effective (tenant_id, target_id, source_id) INCLUDE (valid_from, valid_to);
CREATE INDEX new_downstream ON lineage_link_effective (tenant_id, source_id, target_id) INCLUDE (valid_from, valid_to);
CREATE INDEX new_forward ON relationship_effective (tenant_id, origin_id, type_id, related_id) INCLUDE (valid_from, valid_to);
CREATE INDEX new_reverse ON relationship_effective (tenant_id, related_id, type_id, origin_id) INCLUDE (valid_from, valid_to);
DROP INDEX lineage_link_effective_upstream, lineage_link_effective_downstream;
DROP INDEX relationship_effective_forward, relationship_effective_reverse;
ALTER INDEX new_upstream RENAME TO lineage_link_effective_upstream;
ALTER INDEX new_downstream RENAME TO lineage_link_effective_downstream;
ALTER INDEX new_forward RENAME TO relationship_effective_forward;
ALTER INDEX new_reverse RENAME TO relationship_effective_reverse;
