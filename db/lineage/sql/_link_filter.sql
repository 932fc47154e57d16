-- Conditions on an effective link `l`: only the links that a filter admits.
          -- Expects: l (lineage_link_effective), and the parameters :types, :producers, :min_confidence and :seen_since, of
          -- which NULL is no condition
          -- Tokens: {instant} the column of the instant at which the link is read
          AND (CAST(:types AS text[]) IS NULL OR l.type = ANY (CAST(:types AS text[])))
          AND (CAST(:producers AS text[]) IS NULL OR l.producer = ANY (CAST(:producers AS text[])))
          AND (CAST(:min_confidence AS double precision) IS NULL OR l.confidence >= CAST(:min_confidence AS double precision))
          -- reported between seen_since and the instant
          AND (CAST(:seen_since AS timestamptz) IS NULL OR EXISTS (
            SELECT
            FROM change c
            WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = l.link_id AND c.operation <> 'DELETE'
              AND c.change_ts >= CAST(:seen_since AS timestamptz) AND c.change_ts <= {instant}
          ))
