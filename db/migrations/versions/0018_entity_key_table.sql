-- The keys of entity_version in the form in which they are compared, each with its own validity: a projection, which finds an entity
-- by any of its keys. No two entities of a type have a key at the same time. A batch in which keys pass from one entity to another
-- is checked at its end.
CREATE TABLE entity_key (
  tenant_id bigint NOT NULL,
  asset_id bigint NOT NULL,
  type text NOT NULL,
  compared text NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL
);
INSERT INTO entity_key (tenant_id, asset_id, type, compared, valid_from, valid_to)
SELECT l.tenant_id, l.asset_id, a.type, compared_key(a.key), l.valid_from, l.valid_to
FROM asset_lifetime l
JOIN asset a ON a.tenant_id = l.tenant_id AND a.id = l.asset_id
WHERE a.key IS NOT NULL;
ALTER TABLE entity_key
  ADD CONSTRAINT entity_key_pkey PRIMARY KEY (tenant_id, asset_id, compared, valid_from),
  ADD CONSTRAINT entity_key_asset FOREIGN KEY (tenant_id, asset_id) REFERENCES asset,
  ADD CONSTRAINT entity_key_validity CHECK (valid_from < valid_to),
  ADD CONSTRAINT entity_key_taken
    EXCLUDE USING gist (tenant_id WITH =, type WITH =, compared WITH =, tstzrange(valid_from, valid_to) WITH &&) DEFERRABLE;
CREATE INDEX entity_key_by_key ON entity_key (tenant_id, type, compared, valid_from) INCLUDE (asset_id, valid_to);

GRANT SELECT, INSERT, UPDATE, DELETE ON entity_key TO headwater_service;
ALTER TABLE entity_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON entity_key
  USING (tenant_id = (SELECT CAST(NULLIF(current_setting('headwater.tenant_id', true), '') AS bigint)));

-- The type stays a part of the identity.
ALTER TABLE asset DROP COLUMN key;
