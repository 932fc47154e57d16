-- How many versions each subject has.
SELECT v.{subject} AS subject_id, count(*) AS versions
FROM {versions} v
WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = ANY(CAST(:subjects AS bigint[]))
GROUP BY v.{subject}
