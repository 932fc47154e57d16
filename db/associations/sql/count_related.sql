-- Count the distinct assets that each asset is related to at an instant.
-- Parameters: :assets ids; :instants, one for each; those of _near_relationships.
-- Used by: db.associations.relationship.count_related
SELECT requested.ordinal, count(DISTINCT near.other_id) AS assets
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS requested (asset_id, instant, ordinal)
CROSS JOIN LATERAL (
{include _near_relationships}
) near
GROUP BY requested.ordinal
