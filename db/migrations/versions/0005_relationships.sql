-- Relationships: which joins between assets may be, and those that are. A join holds only while both of its ends live, and never beside
-- another where its type allows one.

-- The state after one more change. A stub is what is known of something that was only named: whatever else was said before counts more,
-- and so what has ended, which is null to JSON, is told from what never was.
CREATE OR REPLACE FUNCTION next_state(state jsonb, operation text, payload jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
  RETURN CASE
    WHEN operation = 'SET' THEN payload
    WHEN operation = 'STUB' THEN coalesce(state, payload)
    WHEN state IS NULL THEN NULL
    WHEN operation = 'DELETE' OR state = 'null' THEN 'null'
    WHEN payload ? 'details' THEN
      state || payload || jsonb_build_object('details', jsonb_strip_nulls((state -> 'details') || (payload -> 'details')))
    ELSE state || payload
  END;
END
$$;
ALTER TABLE change
  DROP CONSTRAINT change_operation,
  ADD CONSTRAINT change_operation CHECK (operation IN ('SET', 'STUB', 'PATCH', 'DELETE'));

-- Which joins may be: from what to what, and what they are called from either end. An end is a kind of asset, or a type of entities.
CREATE TABLE relationship_type (
  tenant_id bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  origin text NOT NULL,
  key text NOT NULL,
  related text NOT NULL,
  reverse_key text NOT NULL,
  cardinality text NOT NULL,
  on_delete text NOT NULL,
  foreign_key_field text,
  origin_type text GENERATED ALWAYS AS (CASE WHEN origin NOT IN ('PRODUCT', 'ENTITY') THEN origin END) STORED,
  related_type text GENERATED ALWAYS AS (CASE WHEN related NOT IN ('PRODUCT', 'ENTITY') THEN related END) STORED,
  -- whether what is related has one origin, and an origin one that is related to it
  one_origin boolean GENERATED ALWAYS AS (cardinality IN ('ONE_TO_ONE', 'ONE_TO_MANY')) STORED,
  one_related boolean GENERATED ALWAYS AS (cardinality IN ('ONE_TO_ONE', 'MANY_TO_ONE')) STORED,
  CONSTRAINT relationship_type_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT relationship_type_taken UNIQUE (tenant_id, origin, key, related),
  CONSTRAINT relationship_type_tenant FOREIGN KEY (tenant_id) REFERENCES tenant,
  CONSTRAINT relationship_type_origin FOREIGN KEY (tenant_id, origin_type) REFERENCES entity_type,
  CONSTRAINT relationship_type_related FOREIGN KEY (tenant_id, related_type) REFERENCES entity_type,
  CONSTRAINT relationship_type_key_given CHECK (key <> '' AND reverse_key <> ''),
  CONSTRAINT relationship_type_cardinality CHECK (cardinality IN ('ONE_TO_ONE', 'ONE_TO_MANY', 'MANY_TO_ONE', 'MANY_TO_MANY')),
  CONSTRAINT relationship_type_on_delete CHECK (on_delete IN ('CLOSE', 'RESTRICT', 'CASCADE')),
  -- where both ends are alike there is no one beside many
  CONSTRAINT relationship_type_mutual
    CHECK (origin <> related OR key <> reverse_key OR cardinality = 'MANY_TO_MANY')
);

-- What the joins of a type are called, seen from one end towards the other: a row for each end. Nothing is called so twice.
CREATE TABLE relationship_key (
  tenant_id bigint NOT NULL,
  near text NOT NULL,
  key text NOT NULL,
  far text NOT NULL,
  type_id bigint NOT NULL,
  CONSTRAINT relationship_key_pkey PRIMARY KEY (tenant_id, near, key, far),
  CONSTRAINT relationship_key_type FOREIGN KEY (tenant_id, type_id) REFERENCES relationship_type
);
CREATE INDEX relationship_key_by_type ON relationship_key (tenant_id, type_id);

-- The identity of a join: its type and its ends. It is given once and never changes; what the type allows is repeated here, so that
-- constraints can tell.
CREATE TABLE relation (
  tenant_id bigint NOT NULL,
  id bigint GENERATED ALWAYS AS IDENTITY,
  uid uuid NOT NULL,
  type_id bigint NOT NULL,
  origin_id bigint NOT NULL,
  related_id bigint NOT NULL,
  one_origin boolean NOT NULL,
  one_related boolean NOT NULL,
  CONSTRAINT relation_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT relation_uid_taken UNIQUE (tenant_id, uid),
  CONSTRAINT relation_taken UNIQUE (tenant_id, origin_id, related_id, type_id),
  CONSTRAINT relation_type FOREIGN KEY (tenant_id, type_id) REFERENCES relationship_type,
  CONSTRAINT relation_origin FOREIGN KEY (tenant_id, origin_id) REFERENCES asset,
  CONSTRAINT relation_related FOREIGN KEY (tenant_id, related_id) REFERENCES asset,
  CONSTRAINT relation_elsewhere CHECK (origin_id <> related_id)
);
CREATE INDEX relation_by_related ON relation (tenant_id, related_id, id);
-- The joins of a type, in the order in which they were first heard of. (Beside those that hold, an index by type would be taken for
-- those of an asset, while nothing is known of how many there are.)
CREATE INDEX relation_by_type ON relation (tenant_id, type_id, id);

-- What was asserted of joins: the fold of the log. Overlaps would meet the constraint of relationship.
CREATE TABLE relation_version (
  tenant_id bigint NOT NULL,
  relation_id bigint NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL DEFAULT 'infinity',
  created_at timestamptz NOT NULL,
  attributes jsonb NOT NULL,
  digest uuid NOT NULL,
  CONSTRAINT relation_version_pkey PRIMARY KEY (tenant_id, relation_id, valid_from),
  CONSTRAINT relation_version_relation FOREIGN KEY (tenant_id, relation_id) REFERENCES relation,
  CONSTRAINT relation_version_validity CHECK (valid_from < valid_to),
  CONSTRAINT relation_version_created CHECK (created_at <= valid_from)
);
CREATE UNIQUE INDEX relation_version_current ON relation_version (tenant_id, relation_id) WHERE valid_to = 'infinity';

-- What holds: those versions, cut to the lives of both ends. A projection that nothing but the projection writes. The cardinality of a
-- batch is looked at as a whole.
CREATE TABLE relationship (
  tenant_id bigint NOT NULL,
  relation_id bigint NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz NOT NULL,
  type_id bigint NOT NULL,
  origin_id bigint NOT NULL,
  related_id bigint NOT NULL,
  one_origin boolean NOT NULL,
  one_related boolean NOT NULL,
  attributes jsonb NOT NULL,
  digest uuid NOT NULL,
  CONSTRAINT relationship_pkey PRIMARY KEY (tenant_id, relation_id, valid_from),
  CONSTRAINT relationship_relation FOREIGN KEY (tenant_id, relation_id) REFERENCES relation,
  CONSTRAINT relationship_validity CHECK (valid_from < valid_to),
  CONSTRAINT relationship_overlap
    EXCLUDE USING gist (tenant_id WITH =, (relation_id + 0) WITH =, tstzrange(valid_from, valid_to) WITH &&),
  CONSTRAINT relationship_one_origin
    EXCLUDE USING gist (tenant_id WITH =, type_id WITH =, (related_id + 0) WITH =, tstzrange(valid_from, valid_to) WITH &&)
    WHERE (one_origin) DEFERRABLE,
  CONSTRAINT relationship_one_related
    EXCLUDE USING gist (tenant_id WITH =, type_id WITH =, (origin_id + 0) WITH =, tstzrange(valid_from, valid_to) WITH &&)
    WHERE (one_related) DEFERRABLE
);
CREATE UNIQUE INDEX relationship_current ON relationship (tenant_id, relation_id) WHERE valid_to = 'infinity';
-- What an asset is joined with, in order of the ids.
CREATE INDEX relationship_forward ON relationship (tenant_id, origin_id, type_id, related_id, valid_from, valid_to);
CREATE INDEX relationship_reverse ON relationship (tenant_id, related_id, type_id, origin_id, valid_from, valid_to);

GRANT SELECT, INSERT, UPDATE, DELETE ON relationship_type, relationship_key, relation_version, relationship TO headwater_service;
-- UPDATE is what a row lock asks for, and what repeats a cardinality that has changed.
GRANT SELECT, INSERT, UPDATE ON relation TO headwater_service;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['relationship_type', 'relationship_key', 'relation', 'relation_version', 'relationship'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format(
      'CREATE POLICY own_tenant ON %I USING'
      ' (tenant_id = (SELECT CAST(NULLIF(current_setting(''headwater.tenant_id'', true), '''') AS bigint)))', name);
  END LOOP;
END
$$;
