-- How many entities have a type, and which relationship type joins such entities, if one does. Ended ones count: their history needs it.
SELECT count(*) AS entities, (
    SELECT min(t.origin || ' ' || t.key || ' ' || t.related)
    FROM relationship_type t
    WHERE t.tenant_id = CAST(:tenant AS bigint) AND CAST(:code AS text) IN (t.origin_type, t.related_type)
  ) AS joined_by
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND type = CAST(:code AS text)
