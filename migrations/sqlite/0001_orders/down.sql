-- There is no way back from the first schema but an empty database.
DROP TABLE order_events; DROP TABLE order_names; DROP TABLE orders; DROP TABLE drafts; DROP TABLE shop_items;
DROP TABLE items; DROP TABLE shops; DROP TABLE keys; DROP TABLE partners; DROP TABLE meta;
