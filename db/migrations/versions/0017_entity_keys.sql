-- Keys of entities are a part of their state: an ordered list, of which the first is the primary key.

-- The form in which keys are compared: that of PostgreSQL for a UUID, in any spelling (upper case, without hyphens, in braces, as a
-- URN), and else the key itself.
CREATE FUNCTION compared_key(key text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT CASE
    WHEN length(key) BETWEEN 32 AND 50
      AND key ~* '^(urn:uuid:)?([0-9a-f]{4}(-?[0-9a-f]{4}){7}|\{[0-9a-f]{4}(-?[0-9a-f]{4}){7}\})$'
    THEN CAST(CAST(right(translate(key, '{-}', ''), 32) AS uuid) AS text)
    ELSE key
  END
$$;

-- The keys after a patch: `primary` replaces the first key, or removes it if it is null; then the keys `remove` go, and the keys
-- `add` follow the others. Of keys that are the same when compared, the first stays.
CREATE FUNCTION next_keys(keys jsonb, patch jsonb) RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT coalesce(jsonb_agg(key ORDER BY part, ordinal), '[]')
  FROM (
    SELECT DISTINCT ON (compared_key(key)) key, part, ordinal
    FROM (
      SELECT patch ->> 'primary' AS key, 1 AS part, 1 AS ordinal
      UNION ALL
      SELECT key, 2, ordinal
      FROM jsonb_array_elements_text(keys) WITH ORDINALITY AS k (key, ordinal)
      WHERE NOT (ordinal = 1 AND patch ? 'primary')
        AND NOT compared_key(key) = ANY (ARRAY(SELECT compared_key(r) FROM jsonb_array_elements_text(patch -> 'remove') AS r))
      UNION ALL
      SELECT key, 3, ordinal
      FROM jsonb_array_elements_text(patch -> 'add') WITH ORDINALITY AS k (key, ordinal)
    ) candidate
    WHERE key IS NOT NULL
    ORDER BY compared_key(key), part, ordinal
  ) kept
$$;

-- `keys` of a patch is an object that next_keys() applies. A SET of an entity without `keys` leaves them as they are.
CREATE OR REPLACE FUNCTION next_state(state jsonb, operation text, payload jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
  RETURN CASE
    WHEN operation = 'SET' THEN CASE
      WHEN payload ? 'details' AND NOT payload ? 'keys'
      THEN payload || jsonb_build_object('keys', coalesce(state -> 'keys', '[]'))
      ELSE payload
    END
    WHEN operation = 'STUB' THEN coalesce(state, payload)
    WHEN state IS NULL THEN NULL
    WHEN operation = 'DELETE' OR state = 'null' THEN 'null'
    ELSE state || payload
      || CASE WHEN payload ? 'details'
        THEN jsonb_build_object('details', jsonb_strip_nulls((state -> 'details') || (payload -> 'details'))) ELSE '{}' END
      || CASE WHEN payload ? 'keys' THEN jsonb_build_object('keys', next_keys(state -> 'keys', payload -> 'keys')) ELSE '{}' END
  END;
END
$$;

-- Migration 0020 builds it anew. Here it would take in each row once more.
DROP INDEX entity_version_search;
ALTER TABLE entity_version
  ADD COLUMN keys text[],
  ADD CONSTRAINT entity_version_keys CHECK (cardinality(keys) <= 20);
UPDATE entity_version v
SET keys = array_remove(ARRAY[a.key], NULL),
  digest = CAST(md5(CAST(jsonb_build_object(
    'display_name', v.display_name, 'details', v.details, 'keys', array_remove(ARRAY[a.key], NULL)
  ) AS text)) AS uuid)
FROM asset a
WHERE a.tenant_id = v.tenant_id AND a.id = v.asset_id;
ALTER TABLE entity_version ALTER COLUMN keys SET NOT NULL;

-- An entity without a key needs no `keys` in its changes.
UPDATE change c
SET payload = c.payload || jsonb_build_object('keys', jsonb_build_array(a.key))
FROM asset a
WHERE a.tenant_id = c.tenant_id AND a.id = c.subject_id
  AND c.kind = 'ENTITY' AND c.operation IN ('SET', 'STUB') AND a.key IS NOT NULL;
