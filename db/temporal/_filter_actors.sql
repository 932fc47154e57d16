  -- made by any of them
  AND (
  SELECT c.actor {include _change_author}
  ) = ANY (CAST(:actors AS text[]))
