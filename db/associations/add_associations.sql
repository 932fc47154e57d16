-- Gives bonds their identities, always in order of their ends, so that two batches cannot wait for each other. Those that are there
-- already have no row.
INSERT INTO {identities} (tenant_id, uid, {near}, {far}, {parts})
SELECT CAST(:tenant AS bigint), uid, {near}, {far}, {parts}
FROM unnest(CAST(:uids AS uuid[]), CAST(:near AS bigint[]), CAST(:far AS bigint[]), {given_parts}) AS n (uid, {near}, {far}, {parts})
ORDER BY {near}, {far}, {parts}
ON CONFLICT DO NOTHING
RETURNING id, {near}, {far}, {parts}
