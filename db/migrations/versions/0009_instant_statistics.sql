-- Lets the planner assume that instants differ from row to row.
--
-- A load gives all its rows one instant. ANALYZE then counts few instants, and PostgreSQL 18, which can skip from one value of a
-- leading index column to the next, takes the indexes by instant to look up the versions of one asset: for so few values they
-- seem as good as the primary key. Each later write adds an instant, so such a look-up reads ever more of the index, and a
-- prepared statement keeps its plan. The indexes by instant are there to list changes in order.
ALTER TABLE product_version ALTER COLUMN valid_from SET (n_distinct = -1);
ALTER TABLE entity_version ALTER COLUMN valid_from SET (n_distinct = -1);
ALTER TABLE change ALTER COLUMN change_ts SET (n_distinct = -1);
ANALYZE product_version (valid_from), entity_version (valid_from), change (change_ts);
