-- Searches have the rights of the owner, so no policy applies to them, and the setting of the tenant was their one protection.
-- Reads of one statement keep this setting in their session. So searches now name the tenant, as every statement does, and find
-- nothing if the setting is another one.
DROP FUNCTION search_products(text, timestamptz);
CREATE FUNCTION search_products(tenant bigint, pattern text, instant timestamptz) RETURNS SETOF bigint
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
AS $$
  SELECT asset_id
  FROM product_version
  WHERE tenant_id = tenant
    AND tenant = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
    AND search_text ILIKE pattern AND valid_from <= instant AND valid_to > instant
$$;

DROP FUNCTION search_entities(text, timestamptz);
CREATE FUNCTION search_entities(tenant bigint, pattern text, instant timestamptz) RETURNS SETOF bigint
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
AS $$
  SELECT asset_id
  FROM entity_version
  WHERE tenant_id = tenant
    AND tenant = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
    AND display_name ILIKE pattern AND valid_from <= instant AND valid_to > instant
$$;

-- The search path ends with temporary tables, which anybody may create.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['search_products', 'search_entities'] LOOP
    EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_catalog, pg_temp', name, current_schema());
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %I FROM PUBLIC', name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO headwater_service', name);
  END LOOP;
END
$$;
