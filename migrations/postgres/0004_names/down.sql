ALTER TABLE order_names DROP CONSTRAINT order_names_pkey,
    ADD PRIMARY KEY (partner_id, customer_id, number, idempotency_key);
