-- Tenants that several organisations can be: whether they are let in, how much they may keep and for how long, with which keys they
-- come, and who did what.

ALTER TABLE tenant
  ADD COLUMN suspended_because text,
  -- null: what was deleted is kept for good
  ADD COLUMN retention_days integer,
  ADD CONSTRAINT tenant_reason_given CHECK (suspended_because <> ''),
  ADD CONSTRAINT tenant_retention CHECK (retention_days >= 0);

-- How many identities of a kind a tenant has, and how many it may have; null: any number. What was deleted counts until it is purged.
CREATE TABLE quota (
  tenant_id bigint NOT NULL,
  kind text NOT NULL,
  used bigint NOT NULL DEFAULT 0,
  allowed bigint,
  CONSTRAINT quota_pkey PRIMARY KEY (tenant_id, kind),
  CONSTRAINT quota_tenant FOREIGN KEY (tenant_id) REFERENCES tenant,
  CONSTRAINT quota_kind CHECK (kind IN ('PRODUCT', 'ENTITY', 'LINK', 'RELATIONSHIP')),
  CONSTRAINT quota_used CHECK (used >= 0),
  CONSTRAINT quota_allowed CHECK (allowed >= 0)
);
INSERT INTO quota (tenant_id, kind, used)
SELECT tenant_id, kind, count(*)
FROM (
  SELECT tenant_id, kind FROM asset
  UNION ALL
  SELECT tenant_id, 'LINK' FROM link
  UNION ALL
  SELECT tenant_id, 'RELATIONSHIP' FROM relation
) kept
GROUP BY tenant_id, kind;

-- Keys: what tells one apart is public, what proves it is kept as a digest that takes a secret of the service to make.
CREATE TABLE api_key (
  tenant_id bigint NOT NULL,
  name text NOT NULL,
  label text NOT NULL,
  digest bytea NOT NULL,
  scopes text[] NOT NULL,
  operator boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  created_by text NOT NULL,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  CONSTRAINT api_key_pkey PRIMARY KEY (tenant_id, name),
  CONSTRAINT api_key_tenant FOREIGN KEY (tenant_id) REFERENCES tenant,
  CONSTRAINT api_key_digest CHECK (length(digest) = 32),
  CONSTRAINT api_key_label_given CHECK (label <> ''),
  CONSTRAINT api_key_scopes_given CHECK (cardinality(scopes) > 0)
);

-- Who wrote, what, and what came of it. A write that is kept is told here by the same transaction.
CREATE TABLE audit (
  tenant_id bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL,
  actor text NOT NULL,
  credential text NOT NULL,
  operator boolean NOT NULL,
  operation text NOT NULL,
  outcome text NOT NULL,
  request_id text,
  CONSTRAINT audit_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT audit_tenant FOREIGN KEY (tenant_id) REFERENCES tenant
);

-- Whoever comes with a tenant's name in hand, and no tenant yet, has to learn which it is. Nothing else is told of tenants to who is
-- in none.
CREATE FUNCTION tenant_named(wanted text) RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER
AS $$
  SELECT tenant_id FROM tenant WHERE name = wanted
$$;
-- (what works with the owner's rights looks in temporary tables, which anybody may make, last)
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tenant_named', 'search_products', 'search_entities'] LOOP
    EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_catalog, pg_temp', name, current_schema());
  END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION tenant_named FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_named TO headwater_service;

-- What a tenant may keep, and which keys are an operator's, is not for the service to say.
GRANT SELECT, INSERT (tenant_id, kind, used), UPDATE (used) ON quota TO headwater_service;
GRANT SELECT, INSERT (tenant_id, name, label, digest, scopes, created_at, created_by, expires_at),
  UPDATE (revoked_at, last_used_at) ON api_key TO headwater_service;
GRANT SELECT, INSERT ON audit TO headwater_service;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['quota', 'api_key', 'audit'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format(
      'CREATE POLICY own_tenant ON %I USING'
      ' (tenant_id = (SELECT CAST(NULLIF(current_setting(''headwater.tenant_id'', true), '''') AS bigint)))', name);
  END LOOP;
END
$$;
