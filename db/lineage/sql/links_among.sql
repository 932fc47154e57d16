-- Read the links among the assets of each of several sets. A set belongs to one walk and has its own instant.
-- Each asset's links are examined from one end only. At most :max_examined + 1 links per set are examined. The time belongs
-- to the statement and is checked between sets only: a set whose turn comes after :time examines none. The result has both,
-- so that the caller can say that links may be missing.
--
-- Parameters: :members, the asset ids of all sets, one set after the other; for each set its instant in :instants, and in
--   :firsts, :page_starts and :lasts the subscripts of its first member, of the first on the page whose links are wanted,
--   and of its last; :links the most links of a page; :max_examined the most links to examine in a set; :time after which
--   no set is examined; :max_rows the most rows of all sets.
-- Tokens: {near} the column of the end from which links are examined; {far} that of the other end; {link_filter} conditions
-- on a link `l`; {result} `_links_on_page` or `_links_as_graph`
-- Used by: db.lineage.subgraph._links_among
WITH asset_set AS MATERIALIZED (
  SELECT s.ordinal, s.instant, (CAST(:members AS bigint[]))[s.first : s.last] AS members,
    -- only the root comes before the first page, and no link has it at both ends
    s.page_start <= s.first + 1 AS is_first_page,
    (CAST(:members AS bigint[]))[s.page_start : s.last] AS on_page
  FROM unnest(
    CAST(:instants AS timestamptz[]), CAST(:firsts AS integer[]), CAST(:page_starts AS integer[]), CAST(:lasts AS integer[])
  ) WITH ORDINALITY AS s (instant, first, page_start, last, ordinal)
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
LIMIT CAST(:max_rows AS bigint)
