-- Filter on rows `candidate` (subject_id) after a cursor.
-- Expects the id by which the cursor bounds the group of the kind. Token: {group}.
  AND candidate.subject_id > CAST(:after_{group} AS bigint)
