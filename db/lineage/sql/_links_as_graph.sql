-- All links as one row of parallel arrays, and how many links were examined.
  -- Expects: w (timed_out), examined, among (link_id, source_id, target_id, confidence)
  SELECT array_agg(a.source_id) AS sources, array_agg(a.target_id) AS targets, array_agg(a.confidence) AS confidences,
    array_agg(a.link_id) AS links, (SELECT count(*) FROM examined) AS examined, w.timed_out
  FROM among a
