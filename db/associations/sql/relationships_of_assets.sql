-- Read a page of the relationships of each asset at an instant, in order of the type, the other end and the relationship. Of each
-- type read no more than the page may need. OFFSET 0 keeps the look-up of identities a nested loop.
-- Parameters: :assets ids; :instants, one for each; :forward ids of the types to follow from their origin; :reverse
--   from their related end; :after_0, :after_1, :after_2 and :before_0, :before_1, :before_2 the cursor keys between
--   which the page lies; :limit rows of each page.
-- Tokens: {direction} ASC or DESC.
-- Used by: db.associations.relationship.relationships_of_assets
SELECT page.relationship_id, i.uid, page.type_id, page.origin_id, page.related_id, page.attributes, page.valid_from,
  NULLIF(page.valid_to, 'infinity') AS valid_to, requested.instant AS as_of, requested.ordinal
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS requested (asset_id, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT near.*
  FROM (
    SELECT r.*
    FROM unnest(CAST(:forward AS bigint[])) AS type (type_id)
    CROSS JOIN LATERAL (
      SELECT r.*, r.related_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = requested.asset_id AND r.type_id = type.type_id
        AND (r.type_id, r.related_id, r.relationship_id) > (CAST(:after_0 AS bigint), CAST(:after_1 AS bigint), CAST(:after_2 AS bigint))
        AND (r.type_id, r.related_id, r.relationship_id) < (CAST(:before_0 AS bigint), CAST(:before_1 AS bigint), CAST(:before_2 AS bigint))
        AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
      ORDER BY r.related_id {direction}, r.relationship_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
    UNION ALL
    SELECT r.*
    FROM unnest(CAST(:reverse AS bigint[])) AS type (type_id)
    CROSS JOIN LATERAL (
      SELECT r.*, r.origin_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = requested.asset_id AND r.type_id = type.type_id
        AND (r.type_id, r.origin_id, r.relationship_id) > (CAST(:after_0 AS bigint), CAST(:after_1 AS bigint), CAST(:after_2 AS bigint))
        AND (r.type_id, r.origin_id, r.relationship_id) < (CAST(:before_0 AS bigint), CAST(:before_1 AS bigint), CAST(:before_2 AS bigint))
        AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
      ORDER BY r.origin_id {direction}, r.relationship_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
  ) near
  ORDER BY near.type_id {direction}, near.other_id {direction}, near.relationship_id {direction}
  LIMIT CAST(:limit AS bigint)
) page
CROSS JOIN LATERAL (
  SELECT i.uid
  FROM relationship i
  WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = page.relationship_id
  OFFSET 0
) i
ORDER BY requested.ordinal, page.type_id {direction}, page.other_id {direction}, page.relationship_id {direction}
