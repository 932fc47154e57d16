-- Filter on the actor that caused a change.
-- Expects a row `candidate` (at, subject_id) and :actors. Token: {kind}.
  AND (
  SELECT c.actor {include _change_author}
  ) = ANY (CAST(:actors AS text[]))
