-- Which of a customer's orders ended a moment ago, whenever they were created: admission asks this for each new order,
-- and reads no other row of the customer's history for it.
CREATE INDEX order_names_ends ON order_names (partner_id, customer_id, closed_at) WHERE closed_at IS NOT NULL;
