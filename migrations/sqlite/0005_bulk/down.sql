DROP TABLE bulk_orders;
DROP TABLE bulk_jobs;
