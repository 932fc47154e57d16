-- Adds the credential of the author of a change, as the audit log has it, and the producer for which the author wrote. Both are null
-- for what was recorded before.
ALTER TABLE change ADD COLUMN credential text, ADD COLUMN producer text;
