//! By what names orders were asked for: kept as long as the orders, and looked up by people.

use diesel::prelude::*;

use super::rows::{instant, raw, uuid};
use super::schema::{order_names, partners};
use super::sql::{Millis, RawId};
use super::{Error, Result, Store, lists};
use crate::order::{Hash, Instant, OrderId, PartnerId};

/// Names of one customer that are looked through.
const LOOKED_AT: i64 = 1_000;

/// A key that an order was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOfOrder {
    pub order_id: OrderId,
    pub partner_id: PartnerId,
    /// Empty if it was made without one.
    pub key: String,
    /// What was asked for, as a hash: an equal request has the same.
    pub fingerprint: Hash,
    pub created_at: Instant,
}

type Row = (RawId, RawId, String, Vec<u8>, Millis);

type Columns = (
    order_names::order_id,
    order_names::partner_id,
    order_names::idempotency_key,
    order_names::fingerprint,
    order_names::created_at,
);
const COLUMNS: Columns = (
    order_names::order_id,
    order_names::partner_id,
    order_names::idempotency_key,
    order_names::fingerprint,
    order_names::created_at,
);

impl Store {
    /// By what an order was asked for; `None` if there is no such order. Without a key there is only its fingerprint.
    pub async fn key_of_order(&self, id: OrderId) -> Result<Option<KeyOfOrder>> {
        self.readers
            .read(move |conn| {
                let Some(order) = lists::find(conn, id)? else { return Ok(None) };
                let names: Vec<Row> = order_names::table
                    .filter(order_names::partner_id.eq(raw(order.partner_id)))
                    .filter(order_names::customer_id.eq(&order.customer_id.0))
                    .filter(order_names::number.eq_any([0, order.number]))
                    .limit(LOOKED_AT)
                    .select(COLUMNS)
                    .load(conn)?;
                let of_order = names.into_iter().filter(|(order_id, ..)| *order_id == raw(id));
                of_order.max_by_key(|(_, _, key, ..)| !key.is_empty()).map(read).transpose()
            })
            .await
    }

    /// The orders that a customer of this name, of any partner, was given under a key.
    pub async fn orders_of_key(&self, customer: String, key: String) -> Result<Vec<KeyOfOrder>> {
        self.readers
            .read(move |conn| {
                let partners: Vec<RawId> = partners::table.select(partners::id).load(conn)?;
                let names: Vec<Row> = order_names::table
                    .filter(order_names::partner_id.eq_any(partners))
                    .filter(order_names::customer_id.eq(customer))
                    .filter(order_names::number.eq(0))
                    .filter(order_names::idempotency_key.eq(key))
                    .limit(LOOKED_AT)
                    .select(COLUMNS)
                    .load(conn)?;
                names.into_iter().map(read).collect()
            })
            .await
    }
}

fn read((order, partner, key, fingerprint, created_at): Row) -> Result<KeyOfOrder> {
    let fingerprint = fingerprint.try_into().map_err(|_| Error::Damaged("a stored fingerprint's length".into()))?;
    Ok(KeyOfOrder {
        order_id: OrderId(uuid(&order)?),
        partner_id: PartnerId(uuid(&partner)?),
        key,
        fingerprint: Hash(fingerprint),
        created_at: instant(created_at),
    })
}
