-- Read the figures of a tenant: the numbers of its products, entities and links, as its quotas count them, those of the entries of
-- its change log and of its domains, and the mean degrees that a walk meets, named by the end of a link at which links are counted,
-- and the direction in which they are.
--
-- The range of the numbers in the log, which all tenants share, is cut into :stretches. Of each, up to :entries are counted. If it
-- has more, these tell how dense it is.
--
-- The degrees come from at most :sample links that are effective now, drawn evenly from the range of their ids: so from all
-- links, if there are not more. Means over links, rather than over assets, weigh an asset by how often a walk meets it.
--
-- A degree is at most :most, which it also is for an asset with as many links of which some have ended: no more are read of it. So
-- each number takes a few index look-ups for each link, whatever the tenant has and whatever the statistics say. Both look-ups of
-- a degree name an order that only the index of the end has: without statistics, any index that begins with the tenant seems as
-- good.
-- Parameters: :sample, the most links to draw; :most, the highest degree, and the most domains, that are counted; :stretches of the
--   log; :entries of a stretch.
-- Used by: db.lineage.figures.read_figures
WITH RECURSIVE number AS (
  SELECT coalesce(sum(used) FILTER (WHERE kind = 'PRODUCT'), 0) AS products,
    coalesce(sum(used) FILTER (WHERE kind = 'ENTITY'), 0) AS entities,
    coalesce(sum(used) FILTER (WHERE kind = 'LINK'), 0) AS links
  FROM quota
  WHERE tenant_id = CAST(:tenant AS bigint)
),
log AS (
  SELECT
    (SELECT seq FROM change WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY seq LIMIT 1) AS lowest,
    (SELECT seq FROM change WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY seq DESC LIMIT 1) AS highest
),
stretch AS (
  SELECT log.lowest + (log.highest + 1 - log.lowest) * step.number / CAST(:stretches AS bigint) AS since,
    log.lowest + (log.highest + 1 - log.lowest) * (step.number + 1) / CAST(:stretches AS bigint) AS until
  FROM log
  CROSS JOIN generate_series(0, CAST(:stretches AS bigint) - 1) AS step (number)
),
-- the first entries of each stretch, one after the other: without statistics, PostgreSQL would sort all to find the first few
entry AS (
  SELECT stretch.since, stretch.until, 0 AS number, stretch.since - 1 AS seq
  FROM stretch
  UNION ALL
  SELECT entry.since, entry.until, entry.number + 1, next.seq
  FROM entry
  CROSS JOIN LATERAL (
    SELECT c.seq FROM change c WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.seq > entry.seq ORDER BY c.seq LIMIT 1
  ) next
  WHERE entry.number < CAST(:entries AS bigint) AND next.seq < entry.until
),
length AS (
  SELECT coalesce(sum(
      CASE WHEN counted.entries < CAST(:entries AS bigint) THEN counted.entries
        ELSE counted.entries * (counted.until - counted.since) / (counted.last + 1 - counted.since)
      END
    ), 0) AS changes
  FROM (SELECT since, until, max(number) AS entries, max(seq) AS last FROM entry GROUP BY since, until) counted
),
ids AS (
  SELECT
    (SELECT link_id FROM lineage_link_effective WHERE tenant_id = CAST(:tenant AS bigint) AND valid_to = 'infinity'
     ORDER BY link_id LIMIT 1) AS lowest,
    (SELECT link_id FROM lineage_link_effective WHERE tenant_id = CAST(:tenant AS bigint) AND valid_to = 'infinity'
     ORDER BY link_id DESC LIMIT 1) AS highest
),
-- the first link from each of evenly spaced ids on
drawn AS (
  SELECT DISTINCT link.link_id, link.source_id, link.target_id
  FROM ids
  CROSS JOIN generate_series(0, CAST(:sample AS bigint) - 1) AS step (number)
  CROSS JOIN LATERAL (
    SELECT l.link_id, l.source_id, l.target_id
    FROM lineage_link_effective l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.valid_to = 'infinity'
      AND l.link_id >= ids.lowest + (ids.highest - ids.lowest) * step.number / greatest(CAST(:sample AS bigint) - 1, 1)
    ORDER BY l.link_id
    LIMIT 1
  ) link
),
-- each end once, however many of the drawn links it has
degree AS (
  SELECT ends.asset_id,
    (SELECT CASE WHEN count(*) < CAST(:most AS bigint) THEN count(*) FILTER (WHERE valid_to = 'infinity') ELSE count(*) END
     FROM (
       SELECT l.valid_to FROM lineage_link_effective l
       WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.target_id = ends.asset_id
       ORDER BY l.source_id
       LIMIT CAST(:most AS bigint)
     ) found) AS upstream,
    (SELECT CASE WHEN count(*) < CAST(:most AS bigint) THEN count(*) FILTER (WHERE valid_to = 'infinity') ELSE count(*) END
     FROM (
       SELECT l.valid_to FROM lineage_link_effective l
       WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.source_id = ends.asset_id
       ORDER BY l.target_id
       LIMIT CAST(:most AS bigint)
     ) found) AS downstream
  FROM (SELECT source_id AS asset_id FROM drawn UNION SELECT target_id FROM drawn) ends
),
around AS (
  SELECT avg(target.upstream) AS target_upstream, avg(source.upstream) AS source_upstream,
    avg(source.downstream) AS source_downstream, avg(target.downstream) AS target_downstream
  FROM drawn
  JOIN degree source ON source.asset_id = drawn.source_id
  JOIN degree target ON target.asset_id = drawn.target_id
)
SELECT number.products, number.entities, number.links, length.changes,
  (SELECT count(*)
   FROM (SELECT FROM domain WHERE tenant_id = CAST(:tenant AS bigint) LIMIT CAST(:most AS bigint)) counted) AS domains,
  around.target_upstream, around.source_upstream, around.source_downstream,
  around.target_downstream
FROM number
CROSS JOIN length
CROSS JOIN around
