-- A repeated deletion by a name or by ends answers with the uid, also when its subject has been purged.
ALTER TABLE idempotency_key ADD COLUMN uid uuid;
