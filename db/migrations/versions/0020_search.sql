-- One search for products and entities: by names, keys, descriptions, tags and details.
--
-- The text of a version that is searched is a column of it, so it follows the change log without a projection. It is in lower case,
-- and holds the name and the keys, each between two unit separators (U+001F), then the other values, each after a record separator
-- (U+001E). No search text holds such a character, so none matches across two values.

-- jsonb_each_text is IMMUTABLE, and so is string_agg of text.
CREATE FUNCTION join_values(details jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (SELECT string_agg(value, U&'\001E') FROM jsonb_each_text(details));

CREATE FUNCTION searched_text(names text[], others text[]) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN lower(U&'\001F' || array_to_string(names, U&'\001F') || U&'\001F\001E' || array_to_string(others, U&'\001E'));

DROP FUNCTION search_products(bigint, text, timestamptz);
DROP FUNCTION search_entities(bigint, text, timestamptz);
DROP INDEX product_version_search;
ALTER TABLE product_version DROP COLUMN search_text;
DROP FUNCTION join_texts(text[]);

ALTER TABLE product_version
  ADD COLUMN search_text text NOT NULL GENERATED ALWAYS AS (searched_text(ARRAY[name], description || tags)) STORED;
ALTER TABLE entity_version
  ADD COLUMN search_text text NOT NULL
    GENERATED ALWAYS AS (searched_text(display_name || keys, ARRAY[join_values(details)])) STORED;

CREATE INDEX product_version_search ON product_version USING gin (tenant_id, search_text gin_trgm_ops);
CREATE INDEX entity_version_search ON entity_version USING gin (tenant_id, search_text gin_trgm_ops);
-- the names that begin with a text, in their order
CREATE INDEX product_version_by_prefix ON product_version (tenant_id, lower(name) COLLATE "C");
CREATE INDEX entity_version_by_prefix ON entity_version (tenant_id, lower(display_name) COLLATE "C");
-- and the keys
CREATE INDEX entity_key_by_prefix ON entity_key (tenant_id, lower(compared) COLLATE "C");

-- What a search looks for, from its text: patterns, and the names and keys between which all are that begin with the text. Letters
-- are those of the locale of the database. The index of texts holds three characters of a word each. So, unless it is wanted anywhere,
-- a text without three in a row has no pattern, and is looked for where a name or a key begins. If it is wanted anywhere, the pattern
-- finds every key that begins with it but a UUID in another spelling, so only whole keys are looked for beside it.
CREATE FUNCTION search_patterns(
  wanted text, anywhere boolean, OUT exact text, OUT prefix text, OUT pattern text, OUT word text,
  OUT first_name text, OUT past_names text, OUT first_key text, OUT past_keys text
)
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT U&'\001F' || lower(wanted) || U&'\001F', U&'\001F' || lower(wanted),
    CASE
      WHEN anywhere OR lower(wanted) ~ '[[:alnum:]]{3}' THEN '%' || regexp_replace(lower(wanted), '([\\%_])', '\\\1', 'g') || '%'
    END,
    '(?<![[:alnum:]])' || regexp_replace(lower(wanted), '([^[:alnum:][:space:]_])', '\\\1', 'g') || '(?![[:alnum:]])',
    lower(wanted), lower(wanted) || chr(1114111),
    lower(compared_key(wanted)), lower(compared_key(wanted)) || chr(CASE WHEN anywhere THEN 1 ELSE 1114111 END)
$$;

-- How well a version matches: 1, a name or a key is the text; 2, one begins with it; 3, the text occurs anywhere as whole words;
-- 4, it occurs anywhere.
CREATE FUNCTION search_rank(search_text text, exact text, prefix text, word text) RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE
    WHEN strpos(search_text, exact) > 0 THEN 1
    WHEN strpos(search_text, prefix) > 0 THEN 2
    WHEN search_text ~ word THEN 3
    ELSE 4
  END;

-- Versions as searches see them. PostgreSQL inlines the function. An entity is in the domain of its type. Its owner is the first of
-- its details of types with this role, and its tags are all those of types with that role.
CREATE FUNCTION searched_versions() RETURNS TABLE (
  tenant_id bigint, kind text, asset_id bigint, valid_from timestamptz, valid_to timestamptz, search_text text, label text,
  lower_label text, type text, domain text, owner text, tags text[], status text
)
  LANGUAGE sql STABLE
AS $$
  SELECT v.tenant_id, 'PRODUCT' AS kind, v.asset_id, v.valid_from, v.valid_to, v.search_text, v.name AS label,
    lower(v.name) AS lower_label, CAST(NULL AS text) AS type, v.domain, v.owner, v.tags, v.status
  FROM product_version v
  UNION ALL
  SELECT v.tenant_id, 'ENTITY', v.asset_id, v.valid_from, v.valid_to, v.search_text, v.display_name,
    lower(v.display_name),
    (SELECT a.type FROM asset a WHERE a.tenant_id = v.tenant_id AND a.id = v.asset_id),
    (SELECT t.domain
      FROM asset a
      JOIN entity_type t ON t.tenant_id = a.tenant_id AND t.code = a.type
      WHERE a.tenant_id = v.tenant_id AND a.id = v.asset_id),
    (SELECT v.details ->> d.code
      FROM detail_type d
      WHERE d.tenant_id = v.tenant_id AND d.role = 'OWNER' AND v.details ? d.code
      ORDER BY d.code
      LIMIT 1),
    ARRAY(SELECT v.details ->> d.code FROM detail_type d WHERE d.tenant_id = v.tenant_id AND d.role = 'TAG' AND v.details ? d.code),
    CAST(NULL AS text)
  FROM entity_version v
$$;

-- Row-level security evaluates operators that may leak, such as LIKE, only behind its policy, which keeps them out of an index. So
-- a search has the rights of the owner. It compares the tenant with the setting once, before it reads, and finds rows by indexes
-- only, each of which begins with the tenant. The tenant is hidden from the planner, as in all statements.
--
-- Without a bound it returns all matches, unranked. With one, those whose name or one of whose keys begins with the text come first,
-- each in their order and up to the bound, and then others, up to twice the bound. A filter that is NULL admits all.
CREATE FUNCTION search_assets(
  tenant bigint, wanted text, instant timestamptz, of_kinds text[], bound bigint DEFAULT NULL, of_types text[] DEFAULT NULL,
  in_domains text[] DEFAULT NULL, of_owners text[] DEFAULT NULL, with_tags text[] DEFAULT NULL
) RETURNS TABLE (kind text, asset_id bigint, valid_from timestamptz, rank integer, label text)
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
AS $$
  WITH patterns AS MATERIALIZED (SELECT n.* FROM search_patterns(wanted, bound IS NULL) n),
  named AS MATERIALIZED (
    SELECT v.kind, v.asset_id, v.valid_from, v.search_text, v.label
    FROM searched_versions() v
    WHERE bound IS NOT NULL
      AND (SELECT tenant) = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
      AND v.tenant_id = (SELECT tenant)
      AND v.kind = ANY (of_kinds) AND v.valid_from <= instant AND v.valid_to > instant
      AND v.lower_label COLLATE "C" >= (SELECT first_name FROM patterns)
      AND v.lower_label COLLATE "C" < (SELECT past_names FROM patterns)
      AND (of_types IS NULL OR v.type = ANY (of_types))
      AND (in_domains IS NULL OR v.domain = ANY (in_domains))
      AND (of_owners IS NULL OR v.owner = ANY (of_owners))
      AND (with_tags IS NULL OR v.tags && with_tags)
    ORDER BY v.lower_label COLLATE "C"
    LIMIT bound
  ),
  -- a UUID is found in any spelling
  keyed AS MATERIALIZED (
    SELECT v.kind, v.asset_id, v.valid_from, v.search_text, v.label,
      CASE WHEN lower(k.compared) = (SELECT first_key FROM patterns) THEN 1 ELSE 2 END AS key_rank
    FROM entity_key k
    CROSS JOIN LATERAL (
      SELECT v.*
      FROM searched_versions() v
      WHERE v.kind = 'ENTITY' AND v.tenant_id = (SELECT tenant) AND v.asset_id = k.asset_id
        AND v.valid_from <= instant AND v.valid_to > instant
        AND (of_types IS NULL OR v.type = ANY (of_types))
        AND (in_domains IS NULL OR v.domain = ANY (in_domains))
        AND (of_owners IS NULL OR v.owner = ANY (of_owners))
        AND (with_tags IS NULL OR v.tags && with_tags)
      OFFSET 0
    ) v
    WHERE 'ENTITY' = ANY (of_kinds)
      AND (SELECT tenant) = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
      AND k.tenant_id = (SELECT tenant)
      AND k.valid_from <= instant AND k.valid_to > instant
      AND lower(k.compared) COLLATE "C" >= (SELECT first_key FROM patterns)
      AND lower(k.compared) COLLATE "C" < (SELECT past_keys FROM patterns)
      -- only the first key of an entity, so that the bound counts entities
      AND NOT EXISTS (
        SELECT
        FROM entity_key o
        WHERE o.tenant_id = (SELECT tenant) AND o.asset_id = k.asset_id AND o.valid_from <= instant AND o.valid_to > instant
          AND lower(o.compared) COLLATE "C" >= (SELECT first_key FROM patterns)
          AND (lower(o.compared) COLLATE "C", o.compared) < (lower(k.compared) COLLATE "C", k.compared)
        OFFSET 0
      )
    ORDER BY lower(k.compared) COLLATE "C"
    LIMIT bound
  ),
  -- an entity may have a name and a key that begin with the text
  begun AS MATERIALIZED (
    SELECT b.kind, b.asset_id, b.valid_from, b.search_text, b.label, min(b.key_rank) AS key_rank
    FROM (
      SELECT n.kind, n.asset_id, n.valid_from, n.search_text, n.label, 2 AS key_rank
      FROM named n
      UNION ALL
      SELECT k.kind, k.asset_id, k.valid_from, k.search_text, k.label, k.key_rank
      FROM keyed k
    ) b
    GROUP BY b.kind, b.asset_id, b.valid_from, b.search_text, b.label
  ),
  -- materialized, so that the planner expects all of it to be read, and reads the index of the text
  containing AS MATERIALIZED (
    SELECT v.kind, v.asset_id, v.valid_from, v.search_text, v.label
    FROM searched_versions() v
    WHERE (SELECT tenant) = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
      AND v.tenant_id = (SELECT tenant)
      AND v.kind = ANY (of_kinds) AND v.valid_from <= instant AND v.valid_to > instant
      AND v.search_text LIKE (SELECT pattern FROM patterns)
      AND (of_types IS NULL OR v.type = ANY (of_types))
      AND (in_domains IS NULL OR v.domain = ANY (in_domains))
      AND (of_owners IS NULL OR v.owner = ANY (of_owners))
      AND (with_tags IS NULL OR v.tags && with_tags)
  ),
  examined AS (
    SELECT * FROM containing LIMIT 2 * bound
  ),
  found AS (
    SELECT b.kind, b.asset_id, b.valid_from, b.search_text, b.label, b.key_rank
    FROM begun b
    UNION ALL
    SELECT e.kind, e.asset_id, e.valid_from, e.search_text, e.label, 4
    FROM examined e
    WHERE NOT EXISTS (SELECT FROM begun b WHERE b.asset_id = e.asset_id)
  )
  SELECT f.kind, f.asset_id, f.valid_from,
    CASE WHEN bound IS NOT NULL THEN least(search_rank(f.search_text, p.exact, p.prefix, p.word), f.key_rank) END, f.label
  FROM found f
  CROSS JOIN patterns p
$$;

-- The search path ends with temporary tables, which anybody may create.
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION search_assets SET search_path = %I, pg_catalog, pg_temp', current_schema());
END
$$;
ALTER FUNCTION search_assets SET enable_seqscan = off;
REVOKE EXECUTE ON FUNCTION search_assets FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_assets TO headwater_service;
