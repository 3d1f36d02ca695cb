//! What admission must know of a customer, read in the deciding transaction.
//!
//! The engines are asked differently. SQLite answers one small question at a time at next to no cost. PostgreSQL is a
//! trip away, so that a batch asks about all of its customers at once; each is looked up through `LATERAL … LIMIT`, for
//! which it uses the index, whereas `= ANY` or a plain join was planned as a scan of all of a partner's orders.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable};

use super::questions::{NumbersOf, OrderOfKey, SucceededSince};
use super::rows::{OrderRow, instant, millis, raw, uuid};
use super::schema::{order_names, orders};
use super::sets::{AskAll, Values, index, set_questions};
use super::sql::{At, Conn, Id, Millis, RawId, native};
use super::statements::{Ask, Value};
use super::{Error, Result, lists};
use crate::admission::{Keyed, Revision};
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
    /// Orders that ended after this and succeeded may be similar.
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
        Conn::Postgres(postgres) => {
            let found = all_at_once(postgres, inquiries)?;
            inquiries.iter().zip(found).map(|(inquiry, found)| complete(conn, inquiry, found)).collect()
        }
    }
}

fn one_by_one(conn: &mut Conn, inquiry: &Inquiry) -> Result<Customer> {
    let mut customer =
        Customer { orders: lists::ongoing_of(conn, inquiry.partner, &inquiry.customer)?, ..Customer::default() };
    let newest_first = Ask::<NumbersOf, 2>::with([Value::Id(raw(inquiry.partner)), Value::Text(&inquiry.customer.0)]);
    let newest = native!(conn, conn => newest_first.get_result::<(i64, i64)>(conn)).optional()?;
    if let Some((number, nonce)) = newest {
        customer.revision = Revision { number, nonce };
        if inquiry.seen.is_none() {
            customer.orders.extend(succeeded_since(conn, inquiry)?);
        }
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

/// The orders that may be similar although they have ended.
fn succeeded_since(conn: &mut Conn, inquiry: &Inquiry) -> Result<Vec<Order>> {
    let (partner, name) = (Value::Id(raw(inquiry.partner)), Value::Text(&inquiry.customer.0));
    let asked = Ask::<SucceededSince, 3>::with([partner, name, Value::At(millis(inquiry.similar_since))]);
    let rows = native!(conn, conn => asked.load::<OrderRow>(conn))?;
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
    /// Of customers: number and nonce of the newest order, the latest end of any, and whether any is ongoing; and of the
    /// order that has the key its id, fingerprint and deletion. Of each only the key is read, however long history is.
    NamesOfAll: (BigInt, BigInt, BigInt, Nullable<At>, Bool, Nullable<Id>, Nullable<Binary>, Nullable<At>),
        "SELECT c.place, name.* FROM unnest(?, ?, ?) WITH ORDINALITY AS c (partner, name, key, place)
         CROSS JOIN LATERAL (
             (SELECT number, nonce,
                  (SELECT closed_at FROM order_names
                   WHERE partner_id = c.partner AND customer_id = c.name AND closed_at IS NOT NULL
                   ORDER BY closed_at DESC LIMIT 1),
                  EXISTS (SELECT FROM orders WHERE partner_id = c.partner AND customer_id = c.name AND ongoing),
                  NULL::uuid, NULL::bytea, NULL::timestamptz FROM order_names
              WHERE partner_id = c.partner AND customer_id = c.name AND number > 0 ORDER BY number DESC LIMIT 1)
             UNION ALL
             (SELECT 0, nonce, NULL, FALSE, order_id, fingerprint,
                  (SELECT deleted_at FROM orders WHERE id = order_id) FROM order_names
              WHERE partner_id = c.partner AND customer_id = c.name AND number = 0 AND idempotency_key = c.key LIMIT 1)
         ) AS name";
}

/// What is found of a customer together with all others, and when an order of the customer's last ended.
type Found = (Result<Customer>, Option<Instant>);

fn all_at_once(conn: &mut PgConnection, inquiries: &[&Inquiry]) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = inquiries.iter().map(|_| (Ok(Customer::default()), None)).collect();
    let customers = |asking: &mut dyn Iterator<Item = usize>| {
        let asking = asking.map(|place| (raw(inquiries[place].partner), inquiries[place].customer.0.clone()));
        let (partners, names) = asking.unzip();
        [Values::Ids(partners), Values::Texts(names)]
    };
    let [partners, names] = customers(&mut (0..inquiries.len()));
    // No order has the empty key.
    let keys = inquiries.iter().map(|inquiry| inquiry.key.clone().unwrap_or_default()).collect();
    let mut with_ongoing: Vec<usize> = Vec::new();
    let asked = AskAll::<NamesOfAll, 3>::with([partners, names, Values::Texts(keys)]);
    for (place, number, nonce, last_end, has_ongoing, id, fingerprint, deleted_at) in asked.load::<NameFound>(conn)? {
        let (customer, last_ended_at) = &mut found[index(place)];
        if let (Some(id), Some(fingerprint)) = (id, fingerprint) {
            let known = keyed((id, fingerprint, deleted_at));
            add(customer, known, |customer, keyed| customer.keyed = Some(keyed));
        } else {
            add(customer, Ok(Revision { number, nonce }), |customer, revision| customer.revision = revision);
            *last_ended_at = last_end.map(instant);
            with_ongoing.extend(has_ongoing.then(|| index(place)));
        }
    }
    if !with_ongoing.is_empty() {
        let asked = AskAll::<OngoingOfAll, 2>::with(customers(&mut with_ongoing.iter().copied()));
        for (place, row) in asked.load::<(i64, OrderRow)>(conn)? {
            let customer = &mut found[with_ongoing[index(place)]].0;
            add(customer, row.into_order(), |customer, order| customer.orders.push(order));
        }
    }
    Ok(found)
}

/// A row of [`NamesOfAll`].
type NameFound = (i64, i64, i64, Option<Millis>, bool, Option<RawId>, Option<Vec<u8>>, Option<Millis>);

/// Adds to what is known of a customer; what cannot be read leaves nothing known of it.
fn add<T>(customer: &mut Result<Customer>, read: Result<T>, add: impl FnOnce(&mut Customer, T)) {
    match (read, &mut *customer) {
        (Ok(read), Ok(known)) => add(known, read),
        (Err(fault), Ok(_)) => *customer = Err(fault),
        (_, Err(_)) => {}
    }
}

/// Asks about one customer what few have to be asked about. An error is of the connection, and thereby of all.
fn complete(conn: &mut Conn, inquiry: &Inquiry, (found, last_ended_at): Found) -> Result<Result<Customer>> {
    let Ok(mut customer) = found else { return Ok(found) };
    match inquiry.seen {
        Some(seen) if seen.number == customer.revision.number => {
            customer.nonce_at_seen = (seen.number > 0).then_some(customer.revision.nonce);
        }
        Some(_) => customer.nonce_at_seen = nonce_at_seen(conn, inquiry)?,
        None if last_ended_at.is_some_and(|end| end > inquiry.similar_since) => match succeeded_since(conn, inquiry) {
            Ok(orders) => customer.orders.extend(orders),
            Err(fault @ Error::Damaged(_)) => return Ok(Err(fault)),
            Err(fault) => return Err(fault),
        },
        None => {}
    }
    Ok(Ok(customer))
}
