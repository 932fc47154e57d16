-- The instant of the latest change of a subject in the log, which includes what was committed since the statement that calls the
-- function began: a volatile function takes a new snapshot. So one statement can lock a subject, for which it may have to wait for
-- another writer, and then read the log that this writer has left.
CREATE FUNCTION latest_change(tenant bigint, kind_name text, subject bigint) RETURNS timestamptz
  LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
  RETURN (
    SELECT c.change_ts
    FROM change c
    WHERE c.tenant_id = tenant AND c.kind = kind_name AND c.subject_id = subject
    ORDER BY c.change_ts DESC, c.seq DESC
    LIMIT 1
  );
END
$$;
