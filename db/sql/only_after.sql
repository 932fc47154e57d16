  AND found.subject_id > CAST(:after AS bigint)
