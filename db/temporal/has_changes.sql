-- Whether anything was ever written.
SELECT EXISTS (SELECT FROM change WHERE tenant_id = CAST(:tenant AS bigint)) AS recorded
