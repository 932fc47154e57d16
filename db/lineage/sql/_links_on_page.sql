-- The links that have an end on the page, in order of their ids, and one row without a link that says how many links were
  -- examined.
  -- Tokens: {columns} further columns, each after a comma; {nulls} as many; {joins} what they need: _link_rows.sql,
  --   _link_uids.sql
  -- Expects: w (instant, is_first_page, on_page, timed_out), examined, among (link_id, source_id, target_id, type, confidence,
  -- row_ctid), and the parameter :links
  SELECT k.link_id, k.source_id, k.target_id, k.type, k.confidence, CAST(NULL AS bigint) AS examined,
    CAST(NULL AS boolean) AS timed_out {columns}
  FROM (
    SELECT a.*
    FROM among a
    WHERE w.is_first_page OR a.source_id IN (SELECT unnest(w.on_page)) OR a.target_id IN (SELECT unnest(w.on_page))
    ORDER BY a.link_id
    LIMIT CAST(:links AS bigint) + 1
  ) k
  {joins}
  UNION ALL
  SELECT NULL, NULL, NULL, NULL, NULL, count(*), w.timed_out {nulls}
  FROM examined
