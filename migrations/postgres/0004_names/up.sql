-- What a list and admission ask of a customer's orders stands beside their numbers: of those that ended long ago no row
-- is touched. For that an order's end changes its key as well, once, and is no HOT update any more.
--
-- The key is built anew, some seconds for each million of orders. Meanwhile nobody can order or see a list, on standbys
-- neither. By itself, because others lock this table and `orders` in this order.
ALTER TABLE order_names DROP CONSTRAINT order_names_pkey,
    ADD PRIMARY KEY (partner_id, customer_id, number, idempotency_key)
        INCLUDE (order_id, nonce, created_at, closed_at);
