ALTER TABLE bulk_orders DROP COLUMN versions;
