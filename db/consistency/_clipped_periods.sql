-- What holds of the bonds in `scope` (subject_id, since), and ends at that instant or later: their versions, cut to the lives of both ends.
target AS (
  SELECT v.{subject}, greatest(v.valid_from, n.valid_from, f.valid_from) AS valid_from, least(v.valid_to, n.valid_to, f.valid_to) AS valid_to,
    v.digest, {given}
  FROM scope
  CROSS JOIN LATERAL (
    SELECT *
    FROM {identities} i
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = scope.subject_id
    OFFSET 0
  ) i
  CROSS JOIN LATERAL (
    SELECT *
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = scope.subject_id AND v.valid_to >= scope.since
    OFFSET 0
  ) v
  CROSS JOIN LATERAL (
    SELECT *
    FROM asset_lifetime n
    WHERE n.tenant_id = CAST(:tenant AS bigint) AND n.asset_id = i.{near}
      AND n.valid_from < v.valid_to AND n.valid_to > v.valid_from AND n.valid_to >= scope.since
    OFFSET 0
  ) n
  CROSS JOIN LATERAL (
    SELECT *
    FROM asset_lifetime f
    WHERE f.tenant_id = CAST(:tenant AS bigint) AND f.asset_id = i.{far}
      AND f.valid_from < least(v.valid_to, n.valid_to) AND f.valid_to > greatest(v.valid_from, n.valid_from) AND f.valid_to >= scope.since
    OFFSET 0
  ) f
)
