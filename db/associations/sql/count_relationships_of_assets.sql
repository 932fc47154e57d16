-- Count the relationships of each asset at an instant.
-- Parameters: :assets ids; :instants, one for each; those of _near_relationships.
-- Used by: db.associations.relationship.count_relationships_of_assets
SELECT requested.ordinal, count(*) AS relationships
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS requested (asset_id, instant, ordinal)
CROSS JOIN LATERAL (
{include _near_relationships}
) near
GROUP BY requested.ordinal
