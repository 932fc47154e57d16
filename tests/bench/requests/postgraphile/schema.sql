-- The view and the functions from which PostGraphile builds its API, in a schema of their own beside Headwater's tables.
-- All functions are STABLE and written in SQL, so that PostgreSQL can inline those without recursion.
-- Used by: tests.bench.requests.postgraphile
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;

CREATE VIEW bench.product AS
SELECT p.asset_id, a.uid, p.name, p.owner, p.status, p.version, p.description
FROM public.product_version p
JOIN public.asset a ON a.tenant_id = 1 AND a.id = p.asset_id
WHERE p.tenant_id = 1 AND p.valid_from <= now() AND p.valid_to > now();
COMMENT ON VIEW bench.product IS '@behavior -query:resource:list -query:resource:connection';

CREATE FUNCTION bench.product_by_name(name text, as_of timestamptz DEFAULT NULL) RETURNS bench.product
  LANGUAGE sql STABLE
AS $$
  SELECT p.asset_id, a.uid, p.name, p.owner, p.status, p.version, p.description
  FROM public.product_version p
  JOIN public.asset a ON a.tenant_id = 1 AND a.id = p.asset_id
  WHERE p.tenant_id = 1 AND p.name = product_by_name.name AND p.valid_from <= coalesce(as_of, now()) AND p.valid_to > coalesce(as_of, now())
$$;

CREATE FUNCTION bench.products() RETURNS SETOF bench.product
  LANGUAGE sql STABLE
AS $$
  SELECT * FROM bench.product p ORDER BY p.name, p.asset_id
$$;

-- The same walk as the floor's.
CREATE FUNCTION bench.product_upstream(product bench.product, max_depth integer, as_of timestamptz DEFAULT NULL) RETURNS SETOF bench.product
  LANGUAGE sql STABLE ROWS 100
AS $$
  WITH RECURSIVE walk (depth, level, visited) AS (
    SELECT 0, ARRAY[(product).asset_id], ARRAY[(product).asset_id]
    UNION ALL
    SELECT depth + 1, next.level, visited || next.level
    FROM walk
    CROSS JOIN LATERAL (
      SELECT array_agg(id ORDER BY id) AS level
      FROM (
        SELECT l.source_id AS id
        FROM unnest(walk.level) AS near (id)
        JOIN public.lineage_link_effective l ON l.tenant_id = 1 AND l.target_id = near.id
          AND l.valid_from <= coalesce(as_of, now()) AND l.valid_to > coalesce(as_of, now())
        EXCEPT
        SELECT unnest(walk.visited)
      ) new
    ) next
    WHERE depth < max_depth AND next.level IS NOT NULL
  ),
  found AS (
    SELECT id, ordinal
    FROM (SELECT visited FROM walk ORDER BY depth DESC LIMIT 1) last
    CROSS JOIN LATERAL unnest(visited) WITH ORDINALITY AS found (id, ordinal)
    WHERE ordinal > 1
  )
  SELECT found.id, a.uid, p.name, p.owner, p.status, p.version, p.description
  FROM found
  CROSS JOIN LATERAL (SELECT a.uid FROM public.asset a WHERE a.tenant_id = 1 AND a.id = found.id OFFSET 0) a
  CROSS JOIN LATERAL (
    SELECT p.name, p.owner, p.status, p.version, p.description
    FROM public.product_version p
    WHERE p.tenant_id = 1 AND p.asset_id = found.id AND p.valid_from <= coalesce(as_of, now()) AND p.valid_to > coalesce(as_of, now())
    OFFSET 0
  ) p
  ORDER BY found.ordinal
$$;

-- The direct neighbours upstream.
CREATE FUNCTION bench.product_sources(product bench.product) RETURNS SETOF bench.product
  LANGUAGE sql STABLE ROWS 4
AS $$
  SELECT p.*
  FROM (
    SELECT DISTINCT l.source_id
    FROM public.lineage_link_effective l
    WHERE l.tenant_id = 1 AND l.target_id = (product).asset_id AND l.valid_from <= now() AND l.valid_to > now()
  ) l
  JOIN bench.product p ON p.asset_id = l.source_id
  ORDER BY l.source_id
$$;

CREATE TYPE bench.detail_type AS (code text);
CREATE TYPE bench.detail AS (type bench.detail_type, value text);

CREATE VIEW bench.entity AS
SELECT e.asset_id, a.uid, e.display_name
FROM public.entity_version e
JOIN public.asset a ON a.tenant_id = 1 AND a.id = e.asset_id
WHERE e.tenant_id = 1 AND e.valid_from <= now() AND e.valid_to > now();
COMMENT ON VIEW bench.entity IS '@behavior -query:resource:list -query:resource:connection';

CREATE FUNCTION bench.entities() RETURNS SETOF bench.entity
  LANGUAGE sql STABLE
AS $$
  SELECT * FROM bench.entity e ORDER BY e.display_name, e.asset_id
$$;

CREATE FUNCTION bench.entity_details(entity bench.entity) RETURNS bench.detail[]
  LANGUAGE sql STABLE
AS $$
  SELECT array_agg(CAST(ROW(CAST(ROW(d.detail_type) AS bench.detail_type), d.value) AS bench.detail) ORDER BY d.detail_type)
  FROM public.entity_detail d
  WHERE d.tenant_id = 1 AND d.asset_id = (entity).asset_id AND d.valid_from <= now() AND d.valid_to > now()
$$;
