-- The assets that a search finds, with the version that it found, its rank and its label.
-- Expects :text, :as_of, NULL for now, :kinds, :bound, and the filters :types, :domains, :owners and :tags, of which NULL admits all.
-- Provides: CTE found (kind, asset_id, valid_from, rank, label)
found AS MATERIALIZED (
  SELECT s.kind, s.asset_id, s.valid_from, s.rank, s.label
  FROM search_assets(
    CAST(:tenant AS bigint), CAST(:text AS text), coalesce(CAST(:as_of AS timestamptz), now()), CAST(:kinds AS text[]),
    CAST(:bound AS bigint), CAST(:types AS text[]), CAST(:domains AS text[]), CAST(:owners AS text[]), CAST(:tags AS text[])
  ) s
)
