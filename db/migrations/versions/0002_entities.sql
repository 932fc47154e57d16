-- Entities: whatever has a type and typed details. The meaning of the log becomes one function, and every version knows since when
-- its subject has been there.

-- The state after one more change. A patch lays over a state, and over nothing it says nothing; `details` merge key by key, and null
-- takes one away.
CREATE FUNCTION next_state(state jsonb, operation text, payload jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
  RETURN CASE
    WHEN operation = 'SET' THEN payload
    WHEN operation = 'DELETE' OR state IS NULL THEN NULL
    WHEN payload ? 'details' THEN
      state || payload || jsonb_build_object('details', jsonb_strip_nulls((state -> 'details') || (payload -> 'details')))
    ELSE state || payload
  END;
END
$$;
CREATE AGGREGATE fold(text, jsonb) (SFUNC = next_state, STYPE = jsonb);
DROP AGGREGATE jsonb_merge(jsonb);

ALTER TABLE product_version ADD COLUMN created_at timestamptz;
UPDATE product_version v SET created_at = born.created_at
FROM (SELECT tenant_id, asset_id, min(valid_from) AS created_at FROM product_version GROUP BY tenant_id, asset_id) born
WHERE born.tenant_id = v.tenant_id AND born.asset_id = v.asset_id;
ALTER TABLE product_version
  ALTER COLUMN created_at SET NOT NULL,
  ADD CONSTRAINT product_version_created CHECK (created_at <= valid_from);
CREATE INDEX product_version_by_instant ON product_version (tenant_id, valid_from, asset_id);

CREATE TABLE entity_type (
  tenant_id bigint NOT NULL,
  code text NOT NULL,
  label text NOT NULL,
  domain text,
  source jsonb,
  CONSTRAINT entity_type_pkey PRIMARY KEY (tenant_id, code),
  CONSTRAINT entity_type_tenant FOREIGN KEY (tenant_id) REFERENCES tenant,
  CONSTRAINT entity_type_domain FOREIGN KEY (tenant_id, domain) REFERENCES domain,
  CONSTRAINT entity_type_code_given CHECK (code <> '')
);

CREATE TABLE detail_type (
  tenant_id bigint NOT NULL,
  code text NOT NULL,
  label text NOT NULL,
  format text,
  CONSTRAINT detail_type_pkey PRIMARY KEY (tenant_id, code),
  CONSTRAINT detail_type_tenant FOREIGN KEY (tenant_id) REFERENCES tenant,
  CONSTRAINT detail_type_code_given CHECK (code <> ''),
  CONSTRAINT detail_type_format CHECK (format IN ('email', 'phone', 'uri', 'date', 'number', 'text'))
);

-- The type and the key are part of the identity: like the uid, they never change.
ALTER TABLE asset
  ADD COLUMN type text,
  ADD COLUMN key text,
  DROP CONSTRAINT asset_kind,
  ADD CONSTRAINT asset_kind CHECK (kind IN ('PRODUCT', 'ENTITY')),
  ADD CONSTRAINT asset_typed CHECK ((kind = 'ENTITY') = (type IS NOT NULL)),
  ADD CONSTRAINT asset_key_typed CHECK (key IS NULL OR type IS NOT NULL),
  ADD CONSTRAINT asset_type FOREIGN KEY (tenant_id, type) REFERENCES entity_type,
  ADD CONSTRAINT asset_key_taken UNIQUE (tenant_id, type, key);

CREATE TABLE entity_version (
  tenant_id bigint NOT NULL,
  asset_id bigint NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL DEFAULT 'infinity',
  created_at timestamptz NOT NULL,
  display_name text NOT NULL,
  details jsonb NOT NULL,
  digest uuid NOT NULL,
  CONSTRAINT entity_version_pkey PRIMARY KEY (tenant_id, asset_id, valid_from),
  CONSTRAINT entity_version_asset FOREIGN KEY (tenant_id, asset_id) REFERENCES asset,
  CONSTRAINT entity_version_validity CHECK (valid_from < valid_to),
  CONSTRAINT entity_version_created CHECK (created_at <= valid_from),
  CONSTRAINT entity_version_overlap
    EXCLUDE USING gist (tenant_id WITH =, asset_id WITH =, tstzrange(valid_from, valid_to) WITH &&)
);
CREATE UNIQUE INDEX entity_version_current ON entity_version (tenant_id, asset_id) WHERE valid_to = 'infinity';
CREATE INDEX entity_version_by_name ON entity_version (tenant_id, display_name, asset_id, valid_from);
CREATE INDEX entity_version_by_instant ON entity_version (tenant_id, valid_from, asset_id);
CREATE INDEX entity_version_search ON entity_version USING gin (tenant_id, display_name gin_trgm_ops);

-- The details of entity_version, each with its own validity: a projection of it that nothing but the projection writes. `number` is
-- the value of a numeric type for an index to look at; the value itself is what counts.
CREATE TABLE entity_detail (
  tenant_id bigint NOT NULL,
  asset_id bigint NOT NULL,
  detail_type text NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL,
  value text NOT NULL,
  number double precision,
  CONSTRAINT entity_detail_pkey PRIMARY KEY (tenant_id, asset_id, detail_type, valid_from),
  CONSTRAINT entity_detail_asset FOREIGN KEY (tenant_id, asset_id) REFERENCES asset,
  CONSTRAINT entity_detail_type FOREIGN KEY (tenant_id, detail_type) REFERENCES detail_type,
  CONSTRAINT entity_detail_validity CHECK (valid_from < valid_to),
  CONSTRAINT entity_detail_overlap
    EXCLUDE USING gist (tenant_id WITH =, asset_id WITH =, detail_type WITH =, tstzrange(valid_from, valid_to) WITH &&)
);
CREATE INDEX entity_detail_by_value ON entity_detail (tenant_id, detail_type, value, asset_id, valid_from);
CREATE INDEX entity_detail_by_number ON entity_detail (tenant_id, detail_type, number, asset_id, valid_from)
  WHERE number IS NOT NULL;

-- Where things end, which no version's beginning tells.
CREATE INDEX change_of_ends ON change (tenant_id, kind, change_ts, subject_id) WHERE operation = 'DELETE';

-- As search_products: the owner's rights let the trigram index be used behind row-level security.
CREATE FUNCTION search_entities(pattern text, instant timestamptz) RETURNS SETOF bigint
  LANGUAGE sql STABLE SECURITY DEFINER ROWS 100
AS $$
  SELECT asset_id
  FROM entity_version
  WHERE tenant_id = CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)
    AND display_name ILIKE pattern AND valid_from <= instant AND valid_to > instant
$$;
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION search_entities SET search_path = %I, pg_catalog', current_schema());
END
$$;
REVOKE EXECUTE ON FUNCTION search_entities FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_entities TO headwater_service;

-- The registries are not versioned: a type is what it is.
GRANT SELECT, INSERT, UPDATE, DELETE ON entity_type, detail_type, entity_version, entity_detail TO headwater_service;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['entity_type', 'detail_type', 'entity_version', 'entity_detail'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format(
      'CREATE POLICY own_tenant ON %I USING'
      ' (tenant_id = (SELECT CAST(NULLIF(current_setting(''headwater.tenant_id'', true), '''') AS bigint)))', name);
  END LOOP;
END
$$;
