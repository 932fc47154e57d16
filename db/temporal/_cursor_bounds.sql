-- Condition that a row `candidate` (at, subject_id) is strictly between two cursors, in the order of the indexes.
-- Expects :after_at, :after_subject, :before_at, :before_subject.
  (candidate.at, candidate.subject_id) > (CAST(:after_at AS timestamptz), CAST(:after_subject AS bigint))
  AND (candidate.at, candidate.subject_id) < (CAST(:before_at AS timestamptz), CAST(:before_subject AS bigint))
