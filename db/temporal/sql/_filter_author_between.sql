-- Filter on assets that an author changed between two instants.
-- Expects and tokens: those of _author_between.
  AND {include _author_between}
