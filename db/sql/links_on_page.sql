-- those that come with this page, whole
  SELECT k.*, CAST(NULL AS bigint) AS looked
  FROM (
    SELECT l.link_id, i.uid, l.source_id, l.target_id, l.producer, l.type, l.transformation, l.confidence, l.metadata, l.valid_from,
      NULLIF(l.valid_to, 'infinity') AS valid_to
    FROM among a
    JOIN lineage_link l ON l.tenant_id = CAST(:tenant AS bigint) AND l.link_id = a.link_id AND l.valid_from = a.valid_from
    JOIN link i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = a.link_id
    WHERE a.source_id IN (SELECT unnest(w.fresh)) OR a.target_id IN (SELECT unnest(w.fresh))
    ORDER BY a.link_id
    LIMIT CAST(:links AS bigint) + 1
  ) k
  UNION ALL
  SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*)
  FROM seen
