-- Find relationships of types that allow one at an end, and for each end the first other relationship that overlaps there.
-- Parameters: those of the filters.
-- Tokens: {filters} conditions on `checked`, a row of relationship_effective; {limit} a LIMIT clause, or nothing.
-- Used by: db.consistency.cardinality.check_cardinality, check_cardinality_of_type
SELECT t.origin || ' ' || t.key || ' ' || t.related AS type, t.cardinality, hit.since, NULLIF(hit.until, 'infinity') AS until,
  hit.relationship_id, i.uid, rival.id AS rival_id, rival.uid AS rival_uid, hit.near_id, hit.far_id, hit.rival_far_id,
  (SELECT {include _label} FROM asset labelled WHERE labelled.tenant_id = CAST(:tenant AS bigint) AND labelled.id = hit.near_id) AS near,
  (SELECT {include _label} FROM asset labelled WHERE labelled.tenant_id = CAST(:tenant AS bigint) AND labelled.id = hit.far_id) AS far,
  (
    SELECT {include _label} FROM asset labelled WHERE labelled.tenant_id = CAST(:tenant AS bigint) AND labelled.id = hit.rival_far_id
  ) AS rival_far
FROM (
  SELECT checked.*, other.*, greatest(checked.valid_from, other.rival_from) AS since,
    least(checked.valid_to, other.rival_to) AS until
  FROM relationship_effective checked
  CROSS JOIN LATERAL (
    -- another related asset of the same origin
    SELECT *
    FROM (
      SELECT checked.origin_id AS near_id, checked.related_id AS far_id, r.relationship_id AS rival_id, r.related_id AS rival_far_id,
        r.valid_from AS rival_from, r.valid_to AS rival_to
      FROM relationship_effective r
      WHERE checked.one_related AND r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = checked.origin_id
        AND r.type_id = checked.type_id AND r.relationship_id <> checked.relationship_id
        AND r.valid_from < checked.valid_to AND r.valid_to > checked.valid_from
      ORDER BY r.valid_from, r.relationship_id
      LIMIT 1
    ) at_origin
    UNION ALL
    -- another origin of the same related asset
    SELECT *
    FROM (
      SELECT checked.related_id, checked.origin_id, r.relationship_id, r.origin_id, r.valid_from, r.valid_to
      FROM relationship_effective r
      WHERE checked.one_origin AND r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = checked.related_id
        AND r.type_id = checked.type_id AND r.relationship_id <> checked.relationship_id
        AND r.valid_from < checked.valid_to AND r.valid_to > checked.valid_from
      ORDER BY r.valid_from, r.relationship_id
      LIMIT 1
    ) at_related
  ) other
  WHERE checked.tenant_id = CAST(:tenant AS bigint) AND (checked.one_origin OR checked.one_related) AND {filters}
) hit
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = hit.type_id
JOIN relationship i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = hit.relationship_id
JOIN relationship rival ON rival.tenant_id = CAST(:tenant AS bigint) AND rival.id = hit.rival_id
ORDER BY hit.since, hit.relationship_id
{limit}
