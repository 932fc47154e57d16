-- Filter on associations that an author changed between two instants, or of which the author created, deleted or restored an end.
-- Expects and tokens: those of _author_between; {identities}, {near}, {far} of the association kind.
  AND ({include _author_between} OR EXISTS (
    SELECT
    FROM {identities} i
    CROSS JOIN unnest(ARRAY[i.{near}, i.{far}]) AS ends (asset_id)
    JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = ends.asset_id
    JOIN asset_lifetime l ON l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = ends.asset_id
    JOIN change c ON c.tenant_id = CAST(:tenant AS bigint) AND c.kind = a.kind AND c.subject_id = ends.asset_id
      AND c.change_ts IN (l.valid_from, l.valid_to)
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id
      AND c.change_ts > CAST(:since AS timestamptz) AND c.change_ts <= CAST(:until AS timestamptz)
      AND c.{column} = ANY (CAST({values} AS text[]))
  ))
