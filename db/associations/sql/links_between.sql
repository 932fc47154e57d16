-- Read the links from sources to targets, those first that a producer states at the instant.
-- Parameters: :sources and :targets ids of the assets, with :instants; :limit rows for each.
-- Used by: db.associations.reference._uids_of_links
SELECT r.ordinal, i.uid, i.producer, i.valid
FROM unnest(CAST(:sources AS bigint[]), CAST(:targets AS bigint[]), CAST(:instants AS timestamptz[]))
  WITH ORDINALITY AS r (source, target, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT i.uid, i.producer, EXISTS (
      SELECT
      FROM lineage_link_version v
      WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.link_id = i.id AND v.valid_from <= r.instant AND v.valid_to > r.instant
    ) AS valid
  FROM lineage_link i
  WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.source_id = r.source AND i.target_id = r.target
  ORDER BY valid DESC, i.producer NULLS FIRST
  LIMIT CAST(:limit AS bigint)
) i
ORDER BY r.ordinal, i.valid DESC, i.producer NULLS FIRST
