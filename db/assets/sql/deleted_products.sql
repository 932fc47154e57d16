-- Find the products that have names at instants, or that were deleted with them.
-- Parameters: :products and :instants, one for each; :or_deleted true.
-- Used by: db.assets.reference.resolve_deleted
SELECT r.ordinal, a.id, a.uid, a.kind
FROM unnest(CAST(:products AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS r (product, instant, ordinal)
CROSS JOIN LATERAL (
{include _product_by_name}
) found
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = found.id
