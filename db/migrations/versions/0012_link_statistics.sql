-- Lets the planner assume that an asset has two associations on average, whatever ANALYZE counts.
--
-- Where most associations have one asset in common, such as a hub with 10 000 links, ANALYZE counts few ends. The planner
-- then expects that many associations of each asset, and reads the whole table for each rather than search an index. A
-- walk from the hub did so 10 000 times. The numbers of rows of walks are bounded by their own limits, not by these estimates.
ALTER TABLE lineage_link_effective
  ALTER COLUMN source_id SET (n_distinct = -0.5), ALTER COLUMN target_id SET (n_distinct = -0.5);
ALTER TABLE relationship_effective
  ALTER COLUMN origin_id SET (n_distinct = -0.5), ALTER COLUMN related_id SET (n_distinct = -0.5);
ANALYZE lineage_link_effective (source_id, target_id), relationship_effective (origin_id, related_id);
