-- Count the versions of each subject.
-- Parameters: :subjects ids.
-- Tokens: {periods}, {subject} of the kind.
-- Used by: db.temporal.history.count_histories
SELECT v.{subject} AS subject_id, count(*) AS versions
FROM {periods} v
WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = ANY(CAST(:subjects AS bigint[]))
GROUP BY v.{subject}
