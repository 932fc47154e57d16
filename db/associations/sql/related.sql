-- Read a page of the assets that each asset is related to at an instant, each once and in order of id. Of each type read no
-- more than the page may need. The bounds repeat the type, so that only the index that begins with that end fits, even
-- without statistics.
-- Parameters: :assets ids; :instants, one for each; :forward ids of the types to follow from their origin; :reverse
--   from their related end; :after and :before ids between which the page lies; :limit rows of each page.
-- Tokens: {direction} ASC or DESC.
-- Used by: db.associations.relationship.related_to_assets
SELECT requested.ordinal, page.other_id
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS requested (asset_id, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT DISTINCT near.other_id
  FROM (
    SELECT r.other_id
    FROM unnest(CAST(:forward AS bigint[])) AS type (type_id)
    CROSS JOIN LATERAL (
      SELECT r.related_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = requested.asset_id AND r.type_id = type.type_id
        AND (r.type_id, r.related_id) > (type.type_id, CAST(:after AS bigint))
        AND (r.type_id, r.related_id) < (type.type_id, CAST(:before AS bigint))
        AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
      ORDER BY r.related_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
    UNION ALL
    SELECT r.other_id
    FROM unnest(CAST(:reverse AS bigint[])) AS type (type_id)
    CROSS JOIN LATERAL (
      SELECT r.origin_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = requested.asset_id AND r.type_id = type.type_id
        AND (r.type_id, r.origin_id) > (type.type_id, CAST(:after AS bigint))
        AND (r.type_id, r.origin_id) < (type.type_id, CAST(:before AS bigint))
        AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
      ORDER BY r.origin_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
  ) near
  ORDER BY near.other_id {direction}
  LIMIT CAST(:limit AS bigint)
) page
ORDER BY requested.ordinal, page.other_id {direction}
