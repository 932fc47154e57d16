-- The whole rows of the links that have an end on the page, in order of their ids, and one row without a link that says how
  -- many links were examined.
  -- Expects: w (instant, on_page, timed_out), examined, among (link_id, source_id, target_id, row_ctid), and the parameter :links
  SELECT k.link_id, w.instant AS as_of, i.uid, l.source_id, l.target_id, l.producer, l.type, l.transformation, l.confidence,
    l.metadata, l.valid_from, NULLIF(l.valid_to, 'infinity') AS valid_to, CAST(NULL AS bigint) AS examined,
    CAST(NULL AS boolean) AS timed_out
  FROM (
    SELECT a.link_id, a.row_ctid
    FROM among a
    WHERE a.source_id IN (SELECT unnest(w.on_page)) OR a.target_id IN (SELECT unnest(w.on_page))
    ORDER BY a.link_id
    LIMIT CAST(:links AS bigint) + 1
  ) k
  -- a row that this statement has read already is where it was, so no index is searched
  JOIN lineage_link_effective l ON l.tenant_id = CAST(:tenant AS bigint) AND l.ctid = k.row_ctid
  JOIN lineage_link i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = k.link_id
  UNION ALL
  SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*), w.timed_out
  FROM examined
