-- Indexes the orders of lists in which users look for something among all assets. The other orders, such as by status, sort what
-- they read: an index would cost each write more than it would save the few lists. Writers wait while the indexes are built.

-- The expression that orders semantic versions, in the collation "C": numbers by their number of digits and then by these; before a
-- release its pre-releases, of which a number precedes a text, and a shorter list of identifiers the longer one. Metadata of a build
-- does not count. Numbers of more than 20 digits in a pre-release are in no particular order.
CREATE FUNCTION version_precedence(version text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN
    lpad(length(split_part(split_part(version, '-', 1), '.', 1))::text, 3, '0') || split_part(split_part(version, '-', 1), '.', 1)
    || '!' ||
    lpad(length(split_part(split_part(version, '-', 1), '.', 2))::text, 3, '0') || split_part(split_part(version, '-', 1), '.', 2)
    || '!' ||
    lpad(length(split_part(split_part(split_part(version, '+', 1), '-', 1), '.', 3))::text, 3, '0')
    || split_part(split_part(split_part(version, '+', 1), '-', 1), '.', 3)
    || CASE
      WHEN strpos(split_part(version, '+', 1), '-') = 0 THEN '~'
      ELSE '-' || translate(
        regexp_replace(
          regexp_replace(
            substr(split_part(version, '+', 1), strpos(version, '-') + 1), '(^|\.)([0-9]+)(?=\.|$)', '\1#' || repeat('0', 19) || '\2', 'g'
          ),
          '(^|\.)#0*([0-9]{20})(?=\.|$)', '\1#\2', 'g'
        ),
        '.', '!'
      )
    END;

-- The look-up of the product that has or had a name, which may have many versions.
CREATE INDEX product_version_named ON product_version (tenant_id, name, valid_from) INCLUDE (asset_id, valid_to);

CREATE INDEX product_version_by_creation ON product_version (tenant_id, created_at, asset_id, valid_from);
CREATE INDEX product_version_by_owner ON product_version (tenant_id, owner, asset_id, valid_from);
CREATE INDEX entity_version_by_creation ON entity_version (tenant_id, created_at, asset_id, valid_from);
CREATE INDEX entity_version_by_key ON entity_version (tenant_id, coalesce(keys[1], ''), asset_id, valid_from);
