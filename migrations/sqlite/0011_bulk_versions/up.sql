-- The version of each order when it was counted, 8 bytes each, beside the ids: a job leaves alone what has changed since.
-- Empty where an older release counted: such a job is counted again.
ALTER TABLE bulk_orders ADD COLUMN versions BLOB;
