//! What admission must know of a customer, read in the deciding transaction.
//!
//! The engines are asked differently. SQLite answers one small question at a time at next to no cost. PostgreSQL is a
//! trip away, so that a batch asks about all of its customers at once; each is looked up through `LATERAL … LIMIT`, for
//! which it uses the index, whereas `= ANY` or a plain join was planned as a scan of all of a partner's orders.

use std::collections::HashMap;

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable};
use diesel::sqlite::SqliteConnection;

use super::rows::{OrderRow, instant, millis, raw, uuid};
use super::schema::{order_names, orders};
use super::sets::{AskAll, Values, set_questions};
use super::sql::{At, Conn, Id, Millis, RawId, native};
use super::statements::{Ask, NumbersOf, OrderOfKey, Value};
use super::{Error, Result, lists};
use crate::admission::{Keyed, Revision};
use crate::lifecycle::Status;
use crate::order::{CustomerId, Hash, Instant, OrderId, PartnerId};
use crate::state::Order;

/// What is asked about a customer.
#[derive(Clone, Debug)]
pub(super) struct Inquiry {
    pub partner: PartnerId,
    pub customer: CustomerId,
    /// The Idempotency-Key whose order is wanted.
    pub key: Option<String>,
    /// The revision whose nonce is wanted. Who has seen the customer's orders is not told of similar ones.
    pub seen: Option<Revision>,
    /// Orders that were created after this and succeeded may be similar.
    pub similar_since: Instant,
}

/// The answer.
#[derive(Debug, Default)]
pub(super) struct Customer {
    /// The ongoing orders, and those that succeeded and may be similar, not deleted.
    pub orders: Vec<Order>,
    pub revision: Revision,
    pub keyed: Option<Keyed>,
    pub nonce_at_seen: Option<i64>,
}

/// Errors: one of [`Error::Damaged`] is of a customer with an order that cannot be read: it may be the same coffee, so
/// that nothing can be decided for this customer, but for every other.
pub(super) fn look_up(conn: &mut Conn, inquiries: &[&Inquiry]) -> Result<Vec<Result<Customer>>> {
    match conn {
        Conn::Sqlite(_) => Ok(inquiries.iter().map(|inquiry| one_by_one(conn, inquiry)).collect()),
        Conn::Postgres(_) => all_at_once(conn, inquiries),
    }
}

fn one_by_one(conn: &mut Conn, inquiry: &Inquiry) -> Result<Customer> {
    let mut customer =
        Customer { orders: lists::ongoing_of(conn, inquiry.partner, &inquiry.customer)?, ..Customer::default() };
    let Conn::Sqlite(sqlite) = conn else { return Err(Error::Damaged("PostgreSQL is asked all at once".into())) };
    let too_old = numbers(sqlite, inquiry, &mut customer)?;
    if customer.revision.number > too_old {
        customer.orders.extend(succeeded_after(conn, inquiry, too_old)?);
    }
    if let Some(key) = &inquiry.key {
        let (partner, name) = (Value::Id(raw(inquiry.partner)), Value::Text(&inquiry.customer.0));
        let asked = Ask::<OrderOfKey, 3>::with([partner, name, Value::Text(key)]);
        let known = native!(conn, conn => asked.get_result::<KeyedRow>(conn)).optional()?;
        customer.keyed = known.map(keyed).transpose()?;
    }
    customer.nonce_at_seen = nonce_at_seen(conn, inquiry)?;
    Ok(customer)
}

/// Reads the customer's revision, and gives the number of the newest order that is too old to be similar.
fn numbers(conn: &mut SqliteConnection, inquiry: &Inquiry, customer: &mut Customer) -> Result<i64> {
    let since = millis(inquiry.similar_since);
    let newest_first = Ask::<NumbersOf, 2>::with([Value::Id(raw(inquiry.partner)), Value::Text(&inquiry.customer.0)]);
    for name in newest_first.load_iter::<(i64, i64, Millis), DefaultLoadingMode>(conn)? {
        let (number, nonce, created_at) = name?;
        if customer.revision.number == 0 {
            customer.revision = Revision { number, nonce };
        }
        if inquiry.seen.is_some() || created_at <= since {
            return Ok(number);
        }
    }
    Ok(0)
}

/// The orders with numbers above this that succeeded.
fn succeeded_after(conn: &mut Conn, inquiry: &Inquiry, number: i64) -> Result<Vec<Order>> {
    // Only those that can be similar. `eq_any` would be the shorter text, but is never cached.
    let succeeded = orders::status.eq(Status::Completed.word()).or(orders::status.eq(Status::NotCollected.word()));
    let rows: Vec<OrderRow> = order_names::table
        .filter(order_names::partner_id.eq(raw(inquiry.partner)))
        .filter(order_names::customer_id.eq(&inquiry.customer.0))
        .filter(order_names::number.gt(number))
        .inner_join(orders::table.on(orders::id.eq(order_names::order_id)))
        .filter(succeeded)
        .filter(orders::deleted_at.is_null())
        .order(order_names::number.desc())
        .select(orders::all_columns)
        .load(conn)?;
    rows.into_iter().map(OrderRow::into_order).collect()
}

fn nonce_at_seen(conn: &mut Conn, inquiry: &Inquiry) -> Result<Option<i64>> {
    let Some(seen) = inquiry.seen.filter(|seen| seen.number > 0) else { return Ok(None) };
    Ok(order_names::table
        .filter(order_names::partner_id.eq(raw(inquiry.partner)))
        .filter(order_names::customer_id.eq(&inquiry.customer.0))
        .filter(order_names::number.eq(seen.number))
        .select(order_names::nonce)
        .get_result(conn)
        .optional()?)
}

type KeyedRow = (RawId, Vec<u8>, Option<Millis>);

fn keyed((id, fingerprint, deleted_at): KeyedRow) -> Result<Keyed> {
    let fingerprint = fingerprint.try_into().map(Hash);
    Ok(Keyed {
        order_id: OrderId(uuid(&id)?),
        fingerprint: fingerprint.map_err(|_| Error::Damaged("a stored fingerprint has another length".into()))?,
        is_deleted: deleted_at.is_some(),
    })
}

set_questions! {
    /// The ongoing orders of customers (partners, names), with the place of the customer in the question.
    OngoingOfAll: (BigInt, orders::SqlType), "SELECT c.place, ongoing.* FROM unnest(?, ?) WITH ORDINALITY AS c (partner, name, place)
         CROSS JOIN LATERAL (SELECT * FROM orders WHERE partner_id = c.partner AND customer_id = c.name AND ongoing
             ORDER BY number DESC LIMIT 1000) AS ongoing";
    /// Number, nonce and creation of the newest orders of customers.
    NewestOfAll: (BigInt, BigInt, BigInt, At),
        "SELECT c.place, number, nonce, created_at FROM unnest(?, ?) WITH ORDINALITY AS c (partner, name, place)
         CROSS JOIN LATERAL (SELECT number, nonce, created_at FROM order_names
             WHERE partner_id = c.partner AND customer_id = c.name AND number > 0 ORDER BY number DESC LIMIT 32) AS newest";
    /// Id, fingerprint and deletion of the orders that customers have under keys.
    OrdersOfKeys: (BigInt, Id, Binary, Nullable<At>),
        "SELECT c.place, order_id, fingerprint, deleted_at
         FROM unnest(?, ?, ?) WITH ORDINALITY AS c (partner, name, key, place)
         CROSS JOIN LATERAL (SELECT order_id, fingerprint FROM order_names WHERE partner_id = c.partner
             AND customer_id = c.name AND number = 0 AND idempotency_key = c.key LIMIT 1) AS known
         CROSS JOIN LATERAL (SELECT deleted_at FROM orders WHERE id = order_id LIMIT 1) AS its_order";
}

fn all_at_once(conn: &mut Conn, inquiries: &[&Inquiry]) -> Result<Vec<Result<Customer>>> {
    let mut found: Vec<Result<Customer>> = inquiries.iter().map(|_| Ok(Customer::default())).collect();
    let mut newest: HashMap<usize, Vec<(i64, i64, Millis)>> = HashMap::new();
    {
        let Conn::Postgres(conn) = conn else { return Err(Error::Damaged("SQLite is asked one by one".into())) };
        let customers = |inquiries: &[&Inquiry]| {
            let partners = inquiries.iter().map(|inquiry| raw(inquiry.partner)).collect();
            let names = inquiries.iter().map(|inquiry| inquiry.customer.0.clone()).collect();
            [Values::Ids(partners), Values::Texts(names)]
        };
        let ongoing: Vec<(i64, OrderRow)> = AskAll::<OngoingOfAll, 2>::with(customers(inquiries)).load(conn)?;
        for (place, row) in ongoing {
            let customer = &mut found[index(place)];
            match (row.into_order(), customer) {
                (Ok(order), Ok(customer)) => customer.orders.push(order),
                (Err(fault), customer) => *customer = Err(fault),
                (Ok(_), Err(_)) => {}
            }
        }
        let names: Vec<(i64, i64, i64, Millis)> = AskAll::<NewestOfAll, 2>::with(customers(inquiries)).load(conn)?;
        for (place, number, nonce, created_at) in names {
            newest.entry(index(place)).or_default().push((number, nonce, created_at));
        }
        let (with_key, keys): (Vec<usize>, Vec<String>) =
            inquiries.iter().enumerate().filter_map(|(place, inquiry)| Some((place, inquiry.key.clone()?))).unzip();
        if !keys.is_empty() {
            let asking: Vec<&Inquiry> = with_key.iter().map(|place| inquiries[*place]).collect();
            let [partners, names] = customers(&asking);
            let asked = AskAll::<OrdersOfKeys, 3>::with([partners, names, Values::Texts(keys)]);
            for (place, id, fingerprint, deleted_at) in asked.load::<(i64, RawId, Vec<u8>, Option<Millis>)>(conn)? {
                let customer = &mut found[with_key[index(place)]];
                match (keyed((id, fingerprint, deleted_at)), customer) {
                    (Ok(keyed), Ok(customer)) => customer.keyed = Some(keyed),
                    (Err(fault), customer) => *customer = Err(fault),
                    (Ok(_), Err(_)) => {}
                }
            }
        }
    }
    for (place, inquiry) in inquiries.iter().enumerate() {
        let newest = newest.remove(&place).unwrap_or_default();
        let Ok(customer) = &mut found[place] else { continue };
        if let Some((number, nonce, _)) = newest.first() {
            customer.revision = Revision { number: *number, nonce: *nonce };
        }
        match inquiry.seen {
            Some(seen) if seen.number == customer.revision.number => {
                customer.nonce_at_seen = (seen.number > 0).then_some(customer.revision.nonce);
            }
            Some(_) => customer.nonce_at_seen = nonce_at_seen(conn, inquiry)?,
            None => {
                let too_old = newest.iter().find(|(.., created_at)| instant(*created_at) <= inquiry.similar_since);
                // More than were looked at: then all there are may be.
                let too_old = too_old.map_or(0, |(number, ..)| *number);
                if customer.revision.number > too_old {
                    match succeeded_after(conn, inquiry, too_old) {
                        Ok(orders) => customer.orders.extend(orders),
                        Err(fault @ Error::Damaged(_)) => found[place] = Err(fault),
                        Err(fault) => return Err(fault),
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The place in the question, which counts from 1.
fn index(place: i64) -> usize {
    usize::try_from(place - 1).unwrap_or_default()
}
