-- The same, for a write that names some types of details: none of those changes its format before the transaction ends.
{include type_registry}
UNION ALL
SELECT false, code, format
FROM (
  SELECT code, format
  FROM detail_type
  WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:codes AS text[]))
  ORDER BY code
  FOR KEY SHARE
) held
