-- Returns the name of the only tenant of the database, and null if it has several.
--
-- A service of external records that names no tenants is for such a tenant, and for none of several: their sources would choose
-- what is requested with the operator's headers. Row-level security hides other tenants from the service, so it asks the owner.
CREATE FUNCTION only_tenant() RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER
AS $$
  SELECT min(name) FROM tenant HAVING count(*) = 1
$$;
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION only_tenant SET search_path = %I, pg_catalog, pg_temp', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION only_tenant FROM PUBLIC;
GRANT EXECUTE ON FUNCTION only_tenant TO headwater_service;
