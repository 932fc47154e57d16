-- Read assets of any kind by uid at an instant. An asset that does not exist then has no row. The columns of the other kind
-- are NULL.
-- Parameters: :uids; :as_of the instant, NULL for now.
-- Tokens: {product_fields} and {entity_fields}, the same list of columns, in which the fields of the other kind are NULL
-- Used by: db.assets.node.nodes_by_uid
SELECT wanted.instant AS as_of, a.id AS asset_id, a.uid, a.kind, a.type, v.*
FROM (
  SELECT i.id, coalesce(CAST(:as_of AS timestamptz), now()) AS instant
  FROM asset i
  WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.uid = ANY (CAST(:uids AS uuid[]))
  OFFSET 0
) wanted
{include _node}
