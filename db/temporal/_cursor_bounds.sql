-- strictly between two places in the order of instant and asset, which is that of the indexes
  (found.at, found.subject_id) > (CAST(:after_at AS timestamptz), CAST(:after_subject AS bigint))
  AND (found.at, found.subject_id) < (CAST(:before_at AS timestamptz), CAST(:before_subject AS bigint))
