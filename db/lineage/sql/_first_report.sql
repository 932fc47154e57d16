-- The first instant from :seen_since on at which the effective link `l` was reported; NULL without :seen_since.
(
        SELECT min(c.change_ts)
        FROM change c
        WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = l.link_id AND c.operation <> 'DELETE'
          AND c.change_ts >= CAST(:seen_since AS timestamptz)
      )
