-- Read the links from a source to a target, those first that a producer states at an instant.
-- Parameters: :source and :target ids of the assets; :instant; :limit rows.
-- Used by: db.associations.reference._uid_of_link
SELECT i.uid, i.producer, EXISTS (
    SELECT
    FROM lineage_link_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.link_id = i.id
      AND v.valid_from <= CAST(:instant AS timestamptz) AND v.valid_to > CAST(:instant AS timestamptz)
  ) AS valid
FROM lineage_link i
WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.source_id = CAST(:source AS bigint) AND i.target_id = CAST(:target AS bigint)
ORDER BY valid DESC, i.producer NULLS FIRST
LIMIT CAST(:limit AS bigint)
