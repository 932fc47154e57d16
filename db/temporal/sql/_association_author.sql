-- FROM clause of the log entry `c` that made an association begin or cease to be effective, or changed it. That is an entry of its
-- own, unless it was asserted before the instant and from it on, and its period begins or ends with the lifetime of an end. Of all
-- entries of that subject at that instant, the last that changed its state.
-- Expects a row `candidate` (at, subject_id). Tokens: {kind}, {versions}, {identities}, {subject}, {near}, {far} of the
--   association kind.
  FROM (
    SELECT coalesce(bool_or(v.valid_from < candidate.at) AND bool_or(v.valid_to > candidate.at), false) AS is_asserted_throughout
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id
      AND v.valid_from <= candidate.at AND v.valid_to >= candidate.at
  ) own
  CROSS JOIN LATERAL (
    SELECT '{kind}' AS kind, candidate.subject_id, false AS is_end
    UNION ALL
    -- the ends whose lifetime begins or ends then
    SELECT a.kind, a.id, true
    FROM {identities} i
    CROSS JOIN unnest(ARRAY[i.{near}, i.{far}]) AS ends (asset_id)
    CROSS JOIN LATERAL (
      SELECT
      FROM asset_lifetime l
      WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = ends.asset_id
        AND (l.valid_from = candidate.at OR l.valid_to = candidate.at)
      LIMIT 1
    ) l
    CROSS JOIN LATERAL (
      SELECT a.kind, a.id
      FROM asset a
      WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = ends.asset_id
      OFFSET 0
    ) a
    WHERE own.is_asserted_throughout AND i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id
    OFFSET 0
  ) cause
  CROSS JOIN LATERAL (
    SELECT c.*
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = cause.kind AND c.subject_id = cause.subject_id AND c.change_ts = candidate.at
    OFFSET 0
  ) c
  ORDER BY cause.is_end DESC, c.changed DESC, c.seq DESC
  LIMIT 1
