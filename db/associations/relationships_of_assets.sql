-- The joins of each of some assets at an instant of its own, of types whose origin it is, and of types whose related end; in order of the
-- type, of the other end, and of the join. From each type no more is read than the page may need.
-- (Identities are looked up one by one, which no guess of how many there are turns into a scan.)
SELECT found.relationship_id, i.uid, found.type_id, found.origin_id, found.related_id, found.attributes, found.valid_from,
  NULLIF(found.valid_to, 'infinity') AS valid_to, asked.place
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (asset_id, instant, place)
CROSS JOIN LATERAL (
  SELECT near.*
  FROM (
    SELECT r.*
    FROM unnest(CAST(:forward AS bigint[])) AS way (type_id)
    CROSS JOIN LATERAL (
      SELECT r.*, r.related_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = asked.asset_id AND r.type_id = way.type_id
        AND (r.type_id, r.related_id, r.relationship_id) > (CAST(:after_0 AS bigint), CAST(:after_1 AS bigint), CAST(:after_2 AS bigint))
        AND (r.type_id, r.related_id, r.relationship_id) < (CAST(:before_0 AS bigint), CAST(:before_1 AS bigint), CAST(:before_2 AS bigint))
        AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
      ORDER BY r.related_id {direction}, r.relationship_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
    UNION ALL
    SELECT r.*
    FROM unnest(CAST(:reverse AS bigint[])) AS way (type_id)
    CROSS JOIN LATERAL (
      SELECT r.*, r.origin_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = asked.asset_id AND r.type_id = way.type_id
        AND (r.type_id, r.origin_id, r.relationship_id) > (CAST(:after_0 AS bigint), CAST(:after_1 AS bigint), CAST(:after_2 AS bigint))
        AND (r.type_id, r.origin_id, r.relationship_id) < (CAST(:before_0 AS bigint), CAST(:before_1 AS bigint), CAST(:before_2 AS bigint))
        AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
      ORDER BY r.origin_id {direction}, r.relationship_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
  ) near
  ORDER BY near.type_id {direction}, near.other_id {direction}, near.relationship_id {direction}
  LIMIT CAST(:limit AS bigint)
) found
CROSS JOIN LATERAL (
  SELECT i.uid
  FROM relationship i
  WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = found.relationship_id
  OFFSET 0
) i
ORDER BY asked.place, found.type_id {direction}, found.other_id {direction}, found.relationship_id {direction}
