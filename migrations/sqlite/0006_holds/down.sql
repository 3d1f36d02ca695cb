DROP INDEX orders_capture_failed;
DROP TABLE settlements;
DROP TABLE holds;
