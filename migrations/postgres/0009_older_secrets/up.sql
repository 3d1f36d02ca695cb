-- Secrets before `old_secret` that still sign, the newest first: [{"secret": …, "until": milliseconds}]. Rotations in a row
-- end none of them.
ALTER TABLE webhooks ADD COLUMN older_secrets json;
