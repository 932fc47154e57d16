-- Condition that a row `candidate` (at, subject_id) is strictly between two cursors, in the order of the indexes.
-- Expects :after_at and :before_at, and the ids by which the cursors bound the group of the kind. Token: {group}.
  (candidate.at, candidate.subject_id) > (CAST(:after_at AS timestamptz), CAST(:after_{group} AS bigint))
  AND (candidate.at, candidate.subject_id) < (CAST(:before_at AS timestamptz), CAST(:before_{group} AS bigint))
