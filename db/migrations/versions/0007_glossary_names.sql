-- Renames tables, with their constraints, indexes and sequences, to the terms of the glossary. An association has an identity
-- (lineage_link), asserted versions (lineage_link_version) and effective rows (lineage_link_effective).

DO $$
DECLARE
  renamed record;
  part record;
BEGIN
  -- The effective tables come first: they give up the names that the identities take.
  FOR renamed IN
    SELECT *
    FROM (VALUES
      (1, 'lineage_link', 'lineage_link_effective'),
      (2, 'link_version', 'lineage_link_version'),
      (3, 'link', 'lineage_link'),
      (4, 'relationship', 'relationship_effective'),
      (5, 'relation_version', 'relationship_version'),
      (6, 'relation', 'relationship'),
      (7, 'asset_life', 'asset_lifetime'),
      (8, 'request', 'idempotency_key')
    ) AS renames (position, before, after)
    ORDER BY position
  LOOP
    EXECUTE format('ALTER TABLE %I RENAME TO %I', renamed.before, renamed.after);
    -- Renaming a constraint renames the index behind it. PostgreSQL 18 keeps NOT NULL as constraints, too.
    FOR part IN
      SELECT conname AS name
      FROM pg_constraint
      WHERE conrelid = to_regclass(quote_ident(renamed.after)) AND starts_with(conname, renamed.before || '_')
    LOOP
      EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', renamed.after, part.name,
        renamed.after || substr(part.name, length(renamed.before) + 1));
    END LOOP;
    FOR part IN
      SELECT c.relname AS name
      FROM pg_index i
      JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = to_regclass(quote_ident(renamed.after)) AND starts_with(c.relname, renamed.before || '_')
        AND NOT starts_with(c.relname, renamed.after || '_')
    LOOP
      EXECUTE format('ALTER INDEX %I RENAME TO %I', part.name, renamed.after || substr(part.name, length(renamed.before) + 1));
    END LOOP;
    IF to_regclass(quote_ident(renamed.before || '_id_seq')) IS NOT NULL THEN
      EXECUTE format('ALTER SEQUENCE %I RENAME TO %I', renamed.before || '_id_seq', renamed.after || '_id_seq');
    END IF;
  END LOOP;

  -- The column that refers to a relationship, and the constraints that are named after it.
  FOR renamed IN SELECT unnest(ARRAY['relationship_version', 'relationship_effective']) AS name LOOP
    EXECUTE format('ALTER TABLE %I RENAME COLUMN relation_id TO relationship_id', renamed.name);
    FOR part IN
      SELECT conname AS name
      FROM pg_constraint
      WHERE conrelid = to_regclass(quote_ident(renamed.name)) AND conname ~ '_relation(_id_not_null)?$'
    LOOP
      EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT %I TO %I', renamed.name, part.name,
        regexp_replace(part.name, '_relation(_id_not_null)?$', '_relationship\1'));
    END LOOP;
  END LOOP;
END
$$;
