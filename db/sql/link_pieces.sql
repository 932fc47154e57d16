-- What holds of the links in `scope` (subject_id, since), and ends at that instant or later: their versions, cut to the lives of both ends.
target AS (
  SELECT v.link_id, greatest(v.valid_from, s.valid_from, t.valid_from) AS valid_from, least(v.valid_to, s.valid_to, t.valid_to) AS valid_to,
    l.source_id, l.target_id, l.producer, v.type, v.transformation, v.confidence, v.metadata, v.digest
  FROM scope
  CROSS JOIN LATERAL (
    SELECT *
    FROM link l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.id = scope.subject_id
    OFFSET 0
  ) l
  CROSS JOIN LATERAL (
    SELECT *
    FROM link_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.link_id = scope.subject_id AND v.valid_to >= scope.since
    OFFSET 0
  ) v
  CROSS JOIN LATERAL (
    SELECT *
    FROM asset_life s
    WHERE s.tenant_id = CAST(:tenant AS bigint) AND s.asset_id = l.source_id
      AND s.valid_from < v.valid_to AND s.valid_to > v.valid_from AND s.valid_to >= scope.since
    OFFSET 0
  ) s
  CROSS JOIN LATERAL (
    SELECT *
    FROM asset_life t
    WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.asset_id = l.target_id
      AND t.valid_from < least(v.valid_to, s.valid_to) AND t.valid_to > greatest(v.valid_from, s.valid_from) AND t.valid_to >= scope.since
    OFFSET 0
  ) t
)
