-- Read assets of any kind by id, each at its own instant. An asset that does not exist then has no row. The columns of the
-- other kind are NULL.
-- Parameters: :assets ids; :instants, one for each.
-- Tokens: {product_fields} and {entity_fields}, the same list of columns, in which the fields of the other kind are NULL
-- Used by: db.assets.node.nodes_by_id
SELECT wanted.ordinal, wanted.instant AS as_of, a.id AS asset_id, a.uid, a.kind, a.type, v.*
FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS wanted (id, instant, ordinal)
{include _node}
