-- all of them, as a graph
  SELECT array_agg(a.source_id) AS sources, array_agg(a.target_id) AS targets, array_agg(a.confidence) AS confidences,
    array_agg(a.link_id) AS links, (SELECT count(*) FROM seen) AS looked, w.late
  FROM among a
