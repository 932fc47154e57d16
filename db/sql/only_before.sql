  AND found.subject_id < CAST(:before AS bigint)
