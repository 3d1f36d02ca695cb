ALTER TABLE webhooks DROP COLUMN older_secrets;
