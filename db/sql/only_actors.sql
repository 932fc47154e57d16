  -- made by any of them
  AND (
  SELECT c.actor {include made_by}
  ) = ANY (CAST(:actors AS text[]))
