//! What is asked on the hot paths, each question in words of its own.

use diesel::sql_types::{BigInt, Binary, Nullable};

use super::rows::OrderRow;
use super::schema::orders;
use super::sql::{At, Id};
use super::statements::{Row, questions};

type OrderColumns = orders::SqlType;

questions! {
    /// The order of an id.
    OrderOfId: OrderColumns, OrderRow::NAMES, "FROM orders WHERE id = ?";
    /// The ongoing orders of a partner's customer, newest first.
    OngoingOf: OrderColumns, OrderRow::NAMES,
        "FROM orders WHERE partner_id = ? AND customer_id = ? AND ongoing ORDER BY number DESC";
    /// Number and nonce of the orders of a partner's customer, newest first.
    NumbersOf: (BigInt, BigInt), "number, nonce",
        "FROM order_names WHERE partner_id = ? AND customer_id = ? AND number > 0 ORDER BY number DESC";
    /// Number, nonce, end and id of the orders of a partner's customer, newest first.
    EndsOf: (BigInt, BigInt, Nullable<At>, Id), "number, nonce, closed_at, order_id",
        "FROM order_names WHERE partner_id = ? AND customer_id = ? AND number > 0 ORDER BY number DESC";
    /// The orders of a partner's customer that succeeded, and ended after a time.
    SucceededSince: OrderColumns, OrderRow::NAMES,
        "FROM (SELECT order_id FROM order_names WHERE partner_id = ? AND customer_id = ? AND closed_at > ?) AS ended
         JOIN orders ON id = order_id
         WHERE (status = 'completed' OR status = 'not_collected') AND deleted_at IS NULL ORDER BY number DESC";
    /// Id, fingerprint and deletion of the order that a partner's customer has under an Idempotency-Key.
    OrderOfKey: (Id, Binary, Nullable<At>), "order_id, fingerprint, deleted_at",
        "FROM order_names JOIN orders ON id = order_id
         WHERE order_names.partner_id = ? AND order_names.customer_id = ? AND order_names.number = 0
             AND idempotency_key = ?";
}
