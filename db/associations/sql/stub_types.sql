-- Read the labels of entity types, and lock the types against changes.
-- Parameters: :codes of entity types; :with_source, true for only those that have an external source.
-- Used by: db.associations.stub._type_labels
SELECT code, label
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:codes AS text[]))
  AND (source IS NOT NULL OR NOT CAST(:with_source AS boolean))
ORDER BY code
FOR SHARE
