-- Names of products are unique at every instant, but a batch in which they pass from one to another is looked at as a whole.
ALTER TABLE product_version
  DROP CONSTRAINT product_name_taken,
  ADD CONSTRAINT product_name_taken
    EXCLUDE USING gist (tenant_id WITH =, name WITH =, tstzrange(valid_from, valid_to) WITH &&) DEFERRABLE;
