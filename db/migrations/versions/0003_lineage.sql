-- Lineage: who feeds whom. A link is asserted like anything else, and holds only while both of its ends live.

-- When assets were there: a projection of the versions of every kind that nothing but the projection writes.
CREATE TABLE asset_life (
  tenant_id bigint NOT NULL,
  asset_id bigint NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL,
  CONSTRAINT asset_life_pkey PRIMARY KEY (tenant_id, asset_id, valid_from),
  CONSTRAINT asset_life_asset FOREIGN KEY (tenant_id, asset_id) REFERENCES asset,
  CONSTRAINT asset_life_validity CHECK (valid_from < valid_to)
);
CREATE UNIQUE INDEX asset_life_current ON asset_life (tenant_id, asset_id) WHERE valid_to = 'infinity';

INSERT INTO asset_life (tenant_id, asset_id, valid_from, valid_to)
SELECT tenant_id, asset_id, min(valid_from), max(valid_to)
FROM (
  SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY tenant_id, asset_id ORDER BY valid_from) AS life
  FROM (
    SELECT *, lag(valid_to) OVER (PARTITION BY tenant_id, asset_id ORDER BY valid_from) IS DISTINCT FROM valid_from AS begins
    FROM (
      SELECT tenant_id, asset_id, valid_from, valid_to FROM product_version
      UNION ALL
      SELECT tenant_id, asset_id, valid_from, valid_to FROM entity_version
    ) versions
  ) compared
) numbered
GROUP BY tenant_id, asset_id, life;

-- The identity of a link: its ends, and who says so. It is given once and never changes.
CREATE TABLE link (
  tenant_id bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  uid uuid NOT NULL,
  source_id bigint NOT NULL,
  target_id bigint NOT NULL,
  producer text,
  CONSTRAINT link_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT link_uid_taken UNIQUE (tenant_id, uid),
  CONSTRAINT link_taken UNIQUE NULLS NOT DISTINCT (tenant_id, source_id, target_id, producer),
  CONSTRAINT link_source FOREIGN KEY (tenant_id, source_id) REFERENCES asset,
  CONSTRAINT link_target FOREIGN KEY (tenant_id, target_id) REFERENCES asset,
  CONSTRAINT link_elsewhere CHECK (source_id <> target_id),
  CONSTRAINT link_producer_given CHECK (producer <> '')
);
CREATE INDEX link_by_target ON link (tenant_id, target_id, id);

-- What was asserted of links: the fold of the log. Overlaps would meet the constraint of lineage_link.
CREATE TABLE link_version (
  tenant_id bigint NOT NULL,
  link_id bigint NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL DEFAULT 'infinity',
  created_at timestamptz NOT NULL,
  type text NOT NULL,
  transformation text,
  confidence double precision NOT NULL,
  metadata jsonb NOT NULL,
  digest uuid NOT NULL,
  CONSTRAINT link_version_pkey PRIMARY KEY (tenant_id, link_id, valid_from),
  CONSTRAINT link_version_link FOREIGN KEY (tenant_id, link_id) REFERENCES link,
  CONSTRAINT link_version_validity CHECK (valid_from < valid_to),
  CONSTRAINT link_version_created CHECK (created_at <= valid_from),
  CONSTRAINT link_version_type CHECK (type IN ('DIRECT', 'DERIVED', 'AGGREGATED')),
  CONSTRAINT link_version_confidence CHECK (confidence BETWEEN 0 AND 1)
);
CREATE UNIQUE INDEX link_version_current ON link_version (tenant_id, link_id) WHERE valid_to = 'infinity';

-- What holds: those versions, cut to the lives of both ends. A projection that nothing but the projection writes.
CREATE TABLE lineage_link (
  tenant_id bigint NOT NULL,
  link_id bigint NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL,
  source_id bigint NOT NULL,
  target_id bigint NOT NULL,
  producer text,
  type text NOT NULL,
  transformation text,
  confidence double precision NOT NULL,
  metadata jsonb NOT NULL,
  digest uuid NOT NULL,
  CONSTRAINT lineage_link_pkey PRIMARY KEY (tenant_id, link_id, valid_from),
  CONSTRAINT lineage_link_link FOREIGN KEY (tenant_id, link_id) REFERENCES link,
  CONSTRAINT lineage_link_validity CHECK (valid_from < valid_to),
  CONSTRAINT lineage_link_overlap
    EXCLUDE USING gist (tenant_id WITH =, (link_id + 0) WITH =, tstzrange(valid_from, valid_to) WITH &&)
);
CREATE UNIQUE INDEX lineage_link_current ON lineage_link (tenant_id, link_id) WHERE valid_to = 'infinity';
-- A walk reads nothing but these: the neighbours of an asset, in order of their ids.
CREATE INDEX lineage_link_upstream ON lineage_link (tenant_id, target_id, source_id, valid_from, valid_to);
CREATE INDEX lineage_link_downstream ON lineage_link (tenant_id, source_id, target_id, valid_from, valid_to);

-- The products of a domain, in order of the name.
CREATE INDEX product_version_by_domain ON product_version (tenant_id, domain, name, asset_id, valid_from);

-- The index behind an exclusion is there to refuse. Where it could also find the versions of a subject, the planner takes it instead of
-- the key, which is several times as fast; an expression keeps it to its work.
ALTER TABLE product_version
  DROP CONSTRAINT product_version_overlap,
  ADD CONSTRAINT product_version_overlap
    EXCLUDE USING gist (tenant_id WITH =, (asset_id + 0) WITH =, tstzrange(valid_from, valid_to) WITH &&);
ALTER TABLE entity_version
  DROP CONSTRAINT entity_version_overlap,
  ADD CONSTRAINT entity_version_overlap
    EXCLUDE USING gist (tenant_id WITH =, (asset_id + 0) WITH =, tstzrange(valid_from, valid_to) WITH &&);
ALTER TABLE entity_detail
  DROP CONSTRAINT entity_detail_overlap,
  ADD CONSTRAINT entity_detail_overlap
    EXCLUDE USING gist (tenant_id WITH =, (asset_id + 0) WITH =, detail_type WITH =, tstzrange(valid_from, valid_to) WITH &&);

GRANT SELECT, INSERT, UPDATE, DELETE ON asset_life, link_version, lineage_link TO headwater_service;
-- UPDATE is what a row lock asks for; nothing about an identity is ever updated.
GRANT SELECT, INSERT, UPDATE ON link TO headwater_service;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['asset_life', 'link', 'link_version', 'lineage_link'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format(
      'CREATE POLICY own_tenant ON %I USING'
      ' (tenant_id = (SELECT CAST(NULLIF(current_setting(''headwater.tenant_id'', true), '''') AS bigint)))', name);
  END LOOP;
END
$$;
