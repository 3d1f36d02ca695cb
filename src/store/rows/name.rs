//! The rows of the names that orders go by.

use super::super::sql::{Millis, RawId};
use super::{millis, raw};
use crate::order::Hash;
use crate::state::Order;
use crate::store::statements::rows;

rows! {
    /// A row of `order_names`.
    pub(in crate::store) struct NameRow as new_order_name in order_names {
        partner_id: RawId,
        customer_id: String,
        number: i64,
        idempotency_key: String,
        order_id: RawId,
        nonce: i64,
        fingerprint: Vec<u8>,
        created_at: Millis,
    }
}

rows! {
    /// When the order of a number was closed, as it stands beside that number.
    pub(in crate::store) struct NameEndRow as order_name_end in order_names {
        partner_id: RawId,
        customer_id: String,
        number: i64,
        closed_at: Option<Millis>,
    }
}

impl NameRow {
    /// The name of an order among its customer's: its number, or else its Idempotency-Key.
    pub(in crate::store) fn of(order: &Order, key: Option<&str>, fingerprint: Hash) -> Self {
        Self {
            partner_id: raw(order.partner_id),
            customer_id: order.customer_id.0.clone(),
            number: if key.is_some() { 0 } else { order.number },
            idempotency_key: key.unwrap_or_default().to_owned(),
            order_id: raw(order.id),
            nonce: order.nonce,
            fingerprint: fingerprint.0.to_vec(),
            created_at: millis(order.created_at),
        }
    }
}

impl NameEndRow {
    pub(in crate::store) fn of(order: &Order) -> Self {
        Self {
            partner_id: raw(order.partner_id),
            customer_id: order.customer_id.0.clone(),
            number: order.number,
            closed_at: order.closed_at.map(millis),
        }
    }
}
