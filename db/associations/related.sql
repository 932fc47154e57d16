-- What each of some assets is joined with at an instant of its own, along types whose origin it is, and along types whose related end:
-- each asset once, in order of the ids. From each type no more is read than the page may need.
-- (The bounds name the type as well, so that only the index that begins with the end in question is of use, even without statistics.)
SELECT asked.place, found.other_id
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (asset_id, instant, place)
CROSS JOIN LATERAL (
  SELECT DISTINCT near.other_id
  FROM (
    SELECT r.other_id
    FROM unnest(CAST(:forward AS bigint[])) AS way (type_id)
    CROSS JOIN LATERAL (
      SELECT r.related_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = asked.asset_id AND r.type_id = way.type_id
        AND (r.type_id, r.related_id) > (way.type_id, CAST(:after AS bigint))
        AND (r.type_id, r.related_id) < (way.type_id, CAST(:before AS bigint))
        AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
      ORDER BY r.related_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
    UNION ALL
    SELECT r.other_id
    FROM unnest(CAST(:reverse AS bigint[])) AS way (type_id)
    CROSS JOIN LATERAL (
      SELECT r.origin_id AS other_id
      FROM relationship_effective r
      WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = asked.asset_id AND r.type_id = way.type_id
        AND (r.type_id, r.origin_id) > (way.type_id, CAST(:after AS bigint))
        AND (r.type_id, r.origin_id) < (way.type_id, CAST(:before AS bigint))
        AND r.valid_from <= asked.instant AND r.valid_to > asked.instant
      ORDER BY r.origin_id {direction}
      LIMIT CAST(:limit AS bigint)
    ) r
  ) near
  ORDER BY near.other_id {direction}
  LIMIT CAST(:limit AS bigint)
) found
ORDER BY asked.place, found.other_id {direction}
