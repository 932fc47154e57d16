-- Filter on the author of a change.
-- Expects a row `candidate` (at, subject_id) and a parameter. Tokens: {author} of the kind; {column} of the change log;
--   {values}, the parameter.
  AND (
    SELECT c.{column}
{author}
  ) = ANY (CAST({values} AS text[]))
