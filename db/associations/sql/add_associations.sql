-- Add identities of associations, in order of their ends, so that two statements that add some cannot deadlock with each
-- other. Existing ones have no row.
-- Parameters: :uids; :near, :far and the further parts of the identities by their names, one for each.
-- Tokens: {identities}, {near}, {far}, {parts}, {part_parameters} of the association kind.
-- Used by: db.associations.association._add_or_lock
INSERT INTO {identities} (tenant_id, uid, {near}, {far}, {parts})
SELECT CAST(:tenant AS bigint), uid, {near}, {far}, {parts}
FROM unnest(CAST(:uids AS uuid[]), CAST(:near AS bigint[]), CAST(:far AS bigint[]), {part_parameters}) AS n (uid, {near}, {far}, {parts})
ORDER BY {near}, {far}, {parts}
ON CONFLICT DO NOTHING
RETURNING id, {near}, {far}, {parts}
