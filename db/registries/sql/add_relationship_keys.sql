-- Add the keys of a relationship type from both sides, unless another type has them. They are inserted in one order, so that two
-- writers of the same keys cannot deadlock.
-- Parameters: :type id of the relationship type; :keys; :near and :far, the codes of their near and far ends, one for each.
-- Used by: db.registries.relationship_type._put_keys
INSERT INTO relationship_key (tenant_id, near, key, far, type_id)
SELECT CAST(:tenant AS bigint), near, key, far, CAST(:type AS bigint)
FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS k (near, key, far)
ORDER BY near, key, far
ON CONFLICT DO NOTHING
