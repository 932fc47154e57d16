-- Searches read rows of their tenant only.
--
-- A scan of the whole table tested the text of each row before its tenant: the planner derives the condition on the tenant from the
-- comparison with the setting, and puts derived conditions last. So it also read, and measurably compared, rows of other tenants. A
-- search now compares the tenant with the setting once, before it reads, and finds rows by indexes only, each of which begins with
-- the tenant.
--
-- The functions hide the tenant from the planner, as all statements do: the statistics may not know it.
CREATE OR REPLACE FUNCTION search_products(tenant bigint, pattern text, instant timestamptz) RETURNS SETOF bigint
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
AS $$
  SELECT asset_id
  FROM product_version
  WHERE (SELECT tenant) = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
    AND tenant_id = (SELECT tenant)
    AND search_text ILIKE pattern AND valid_from <= instant AND valid_to > instant
$$;

CREATE OR REPLACE FUNCTION search_entities(tenant bigint, pattern text, instant timestamptz) RETURNS SETOF bigint
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
AS $$
  SELECT asset_id
  FROM entity_version
  WHERE (SELECT tenant) = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
    AND tenant_id = (SELECT tenant)
    AND display_name ILIKE pattern AND valid_from <= instant AND valid_to > instant
$$;

-- Replacing a function drops its settings, and keeps its privileges.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['search_products', 'search_entities'] LOOP
    EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_catalog, pg_temp', name, current_schema());
    EXECUTE format('ALTER FUNCTION %I SET enable_seqscan = off', name);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION latest_change(tenant bigint, kind_name text, subject bigint) RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  RETURN (
    SELECT c.change_ts
    FROM change c
    WHERE c.tenant_id = (SELECT tenant) AND c.kind = kind_name AND c.subject_id = subject
    ORDER BY c.change_ts DESC, c.seq DESC
    LIMIT 1
  );
END
$$;
