-- Joins of types that allow one, beside another at the same time: for each, the first that it meets at that end.
SELECT t.origin || ' ' || t.key || ' ' || t.related AS type, t.cardinality, h.since,
  h.relationship_id, i.uid, i.origin_id, i.related_id, h.valid_from, NULLIF(h.valid_to, 'infinity') AS valid_to,
  r.id AS rival_id, r.uid AS rival_uid, r.origin_id AS rival_origin_id, r.related_id AS rival_related_id, h.rival_from,
  NULLIF(h.rival_to, 'infinity') AS rival_to,
  (SELECT {include _label} FROM asset o WHERE o.tenant_id = CAST(:tenant AS bigint) AND o.id = h.near_id) AS near,
  (SELECT {include _label} FROM asset o WHERE o.tenant_id = CAST(:tenant AS bigint) AND o.id = h.far_id) AS far,
  (SELECT {include _label} FROM asset o WHERE o.tenant_id = CAST(:tenant AS bigint) AND o.id = h.rival_far_id) AS rival_far
FROM (
  SELECT j.*, m.*, greatest(j.valid_from, m.rival_from) AS since
  FROM relationship_effective j
  CROSS JOIN LATERAL (
    SELECT *
    FROM (
      SELECT j.origin_id AS near_id, j.related_id AS far_id, m.relationship_id AS rival_id, m.related_id AS rival_far_id,
        m.valid_from AS rival_from, m.valid_to AS rival_to
      FROM relationship_effective m
      WHERE j.one_related AND m.tenant_id = CAST(:tenant AS bigint) AND m.origin_id = j.origin_id AND m.type_id = j.type_id
        AND m.relationship_id <> j.relationship_id AND m.valid_from < j.valid_to AND m.valid_to > j.valid_from
      ORDER BY m.valid_from, m.relationship_id
      LIMIT 1
    ) of_origin
    UNION ALL
    SELECT *
    FROM (
      SELECT j.related_id, j.origin_id, m.relationship_id, m.origin_id, m.valid_from, m.valid_to
      FROM relationship_effective m
      WHERE j.one_origin AND m.tenant_id = CAST(:tenant AS bigint) AND m.related_id = j.related_id AND m.type_id = j.type_id
        AND m.relationship_id <> j.relationship_id AND m.valid_from < j.valid_to AND m.valid_to > j.valid_from
      ORDER BY m.valid_from, m.relationship_id
      LIMIT 1
    ) of_related
  ) m
  WHERE j.tenant_id = CAST(:tenant AS bigint) AND (j.one_origin OR j.one_related) AND {filters}
) h
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = h.type_id
JOIN relationship i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = h.relationship_id
JOIN relationship r ON r.tenant_id = CAST(:tenant AS bigint) AND r.id = h.rival_id
ORDER BY h.since, h.relationship_id
