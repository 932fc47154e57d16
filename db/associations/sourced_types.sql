-- Which of these types of entities have their records elsewhere.
SELECT code, label
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:codes AS text[])) AND source IS NOT NULL
ORDER BY code
FOR SHARE
