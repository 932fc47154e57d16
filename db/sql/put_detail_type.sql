-- Registers a type of detail, or replaces the whole of what is registered. Unless that is asked for, a format is not replaced by
-- another: then nothing is written, no row is counted, and the type is locked.
INSERT INTO detail_type (tenant_id, code, label, format)
VALUES (CAST(:tenant AS bigint), CAST(:code AS text), CAST(:label AS text), CAST(:format AS text))
ON CONFLICT (tenant_id, code) DO UPDATE
SET label = excluded.label, format = excluded.format
WHERE CAST(:reformat AS boolean) OR detail_type.format IS NOT DISTINCT FROM excluded.format
