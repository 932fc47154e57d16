-- Read lineage links by id, each as it was effective at its own instant. One that was not has no row.
-- Parameters: :links ids; :instants, one for each.
-- Used by: db.associations.lineage_link.links_at
SELECT wanted.ordinal, l.link_id, i.uid, l.source_id, l.target_id, l.producer, l.type, l.transformation, l.confidence, l.metadata,
  l.valid_from, NULLIF(l.valid_to, 'infinity') AS valid_to, wanted.instant AS as_of
FROM unnest(CAST(:links AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS wanted (id, instant, ordinal)
CROSS JOIN LATERAL (
  -- the last period that began until then, so that a link with many is found as fast as others
  SELECT *
  FROM lineage_link_effective
  WHERE tenant_id = CAST(:tenant AS bigint) AND link_id = wanted.id AND valid_from <= wanted.instant
  ORDER BY valid_from DESC
  LIMIT 1
) l
JOIN lineage_link i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = l.link_id
WHERE l.valid_to > wanted.instant
