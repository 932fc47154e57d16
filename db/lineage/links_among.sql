-- Read the links among the assets of each of several sets. A set belongs to one walk and has its own instant.
-- Each asset's links are examined from one end only. At most :max_examined + 1 links per set are examined. The time belongs
-- to the statement and is checked between sets only: a set whose turn comes after :time examines none. The result has both,
-- so that the caller can say that links may be missing.
--
-- Parameters: :members asset ids; :ordinals, the set of each, and :on_page, true if it is on the page whose links are
--   wanted, one for each; :instants, one for each set; :links the most links of a page; :max_examined the most links to
--   examine in a set; :time after which no set is examined.
-- Tokens: {near} the column of the end from which links are examined; {far} that of the other end; {link_filter} conditions
-- on a link `l`; {result} `_links_on_page` or `_links_as_graph`
-- Used by: db.lineage.subgraph._links_among
WITH asset_set AS MATERIALIZED (
  SELECT m.ordinal, i.instant, array_agg(m.asset_id) AS members, array_agg(m.asset_id) FILTER (WHERE m.on_page) AS on_page
  FROM unnest(CAST(:ordinals AS bigint[]), CAST(:members AS bigint[]), CAST(:on_page AS boolean[])) AS m (ordinal, asset_id, on_page)
  JOIN unnest(CAST(:instants AS timestamptz[])) WITH ORDINALITY AS i (instant, ordinal) ON i.ordinal = m.ordinal
  GROUP BY m.ordinal, i.instant
)
SELECT w.ordinal, result.*
FROM (SELECT *, clock_timestamp() - statement_timestamp() > CAST(:time AS interval) AS timed_out FROM asset_set) w
CROSS JOIN LATERAL (
  WITH examined AS MATERIALIZED (
    SELECT l.*
    FROM unnest(w.members) AS member (asset_id)
    CROSS JOIN LATERAL (
      SELECT l.link_id, l.source_id, l.target_id, l.type, l.confidence, l.ctid AS row_ctid
      FROM lineage_link_effective l
      WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = member.asset_id
        AND l.valid_from <= w.instant AND l.valid_to > w.instant {link_filter}
      OFFSET 0
    ) l
    WHERE NOT w.timed_out
    LIMIT CAST(:max_examined AS bigint) + 1
  ),
  -- IN over a set is a hashed lookup for each link, = ANY over the array is a scan of it
  among AS MATERIALIZED (
    SELECT examined.*
    FROM examined
    WHERE examined.{far} IN (SELECT unnest(w.members))
  )
  {result}
) result
