-- How many entities have or had a detail of a type.
WITH had AS (
  SELECT asset_id
  FROM entity_detail
  WHERE tenant_id = CAST(:tenant AS bigint) AND detail_type = CAST(:code AS text)
),
-- Where none is to be seen, the log may know one: a patch of an entity that was not there then after all. It shows as soon as a late
-- change makes the entity live at that instant.
said AS (
  SELECT subject_id
  FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = 'ENTITY' AND operation = 'PATCH'
    AND payload -> 'details' ->> CAST(:code AS text) IS NOT NULL AND NOT EXISTS (SELECT FROM had)
)
SELECT count(*) AS entities
FROM (SELECT asset_id FROM had UNION SELECT subject_id FROM said) AS used
