//! The lists that operators look through: each a bounded walk along an index of live rows, or through a window of the
//! history, so that no question costs more because there is more history.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray};

use super::rows::{OrderRow, millis, or_log, raw};
use super::schema::{order_names, orders, partners};
use super::sql::{Conn, Millis, MultiBackend, Native, RawId};
use super::{Result, Store};
use crate::lifecycle::{PaymentStatus, Reason, Stage, Status};
use crate::order::{Instant, OrderId, PartnerId, ShopId};
use crate::state::Order;

/// Rows that one question looks through, and counts up to.
pub const LOOKED_THROUGH: i64 = 10_000;

/// Which orders an operator looks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum Lot {
    /// Not over; the one whose deadline comes first stands first.
    InFlight,
    /// Work on them has to be repeated; the one that is tried next stands first.
    Struggling,
    /// Set aside for an operator; the newest first.
    Parked,
    /// Not ready, though it was promised by now; by deadline.
    Late,
    /// Over; the newest first.
    Done,
    /// The gateway has not said what became of the payment; the oldest first.
    Unknown,
}

/// What all orders that are looked for have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sieve {
    pub status: Option<Status>,
    pub stage: Option<Stage>,
    pub payment: Option<PaymentStatus>,
    pub reason: Option<Reason>,
    pub shop: Option<ShopId>,
    pub partner: Option<PartnerId>,
    /// The partner's own name for its customer.
    pub customer: Option<String>,
    pub created_before: Option<Instant>,
    pub created_after: Option<Instant>,
}

/// A page of what was found.
#[derive(Debug)]
pub struct Sifted {
    pub orders: Vec<Order>,
    /// How many there are among the rows that were looked through.
    pub count: i64,
    /// Whether there are more rows than were looked through.
    pub is_partial: bool,
    /// Of the history: where to go on.
    pub below: Option<OrderId>,
}

impl Store {
    /// Orders of all partners. `skip` is how many of those found stand before the page; `below` goes on in the
    /// history.
    pub async fn browse(
        &self,
        lot: Lot,
        sieve: Sieve,
        skip: usize,
        below: Option<OrderId>,
        limit: usize,
        now: Instant,
    ) -> Result<Sifted> {
        self.readers
            .read(move |conn| {
                let Found { mut keys, is_partial, below } = find(conn, lot, &sieve, below, now)?;
                let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
                keys.drain(..skip.min(keys.len()));
                keys.truncate(limit);
                let rows: Vec<OrderRow> = orders::table.filter(orders::id.eq_any(&keys)).load(conn)?;
                let mut orders: Vec<Order> = rows.into_iter().filter_map(|row| or_log(row.into_order())).collect();
                orders.sort_by_key(|order| keys.iter().position(|key| *key == raw(order.id)));
                Ok(Sifted { orders, count, is_partial, below })
            })
            .await
    }
}

impl Sieve {
    /// Whether an order still fits.
    pub fn holds(&self, order: &Order) -> bool {
        fn fits<T: PartialEq>(wanted: &Option<T>, found: Option<&T>) -> bool {
            wanted.as_ref().is_none_or(|wanted| found == Some(wanted))
        }
        fits(&self.status, Some(&order.status))
            && fits(&self.stage, order.task.stage.as_ref())
            && fits(&self.payment, Some(&order.payment.status))
            && fits(&self.reason, order.reason.as_ref())
            && fits(&self.shop, Some(&order.shop_id))
            && fits(&self.partner, Some(&order.partner_id))
            && fits(&self.customer, Some(&order.customer_id.0))
            && self.created_before.is_none_or(|at| order.created_at < at)
            && self.created_after.is_none_or(|at| order.created_at > at)
    }
}

/// The ids that fit, in their order.
pub(super) struct Found {
    pub keys: Vec<RawId>,
    pub is_partial: bool,
    below: Option<OrderId>,
}

/// Looks through a lot.
pub(super) fn find(conn: &mut Conn, lot: Lot, sieve: &Sieve, below: Option<OrderId>, now: Instant) -> Result<Found> {
    match lot {
        Lot::InFlight | Lot::Late => in_flight(conn, sieve, lot == Lot::Late, now),
        Lot::Struggling => struggling(conn, sieve),
        Lot::Parked => parked(conn, sieve),
        Lot::Done => done(conn, sieve, below),
        Lot::Unknown => unknown(conn, sieve),
    }
}

type Query<'q> = orders::BoxedQuery<'q, MultiBackend>;

fn sifted<'q>(sieve: &Sieve) -> Query<'q> {
    let mut query = orders::table.limit(LOOKED_THROUGH).into_boxed();
    if let Some(status) = sieve.status {
        query = query.filter(orders::status.eq(status.word()));
    }
    if let Some(stage) = sieve.stage {
        query = query.filter(orders::stage.eq(stage.word()));
    }
    if let Some(payment) = sieve.payment {
        query = query.filter(orders::payment_status.eq(payment.word()));
    }
    if let Some(reason) = sieve.reason {
        query = query.filter(orders::reason.eq(reason.word()));
    }
    if let Some(shop) = sieve.shop {
        query = query.filter(orders::shop_id.eq(raw(shop)));
    }
    if let Some(partner) = sieve.partner {
        query = query.filter(orders::partner_id.eq(raw(partner)));
    }
    if let Some(customer) = &sieve.customer {
        query = query.filter(orders::customer_id.eq(customer.clone()));
    }
    if let Some(at) = sieve.created_before {
        query = query.filter(orders::created_at.lt(millis(at)));
    }
    if let Some(at) = sieve.created_after {
        query = query.filter(orders::created_at.gt(millis(at)));
    }
    query
}

/// What only the code reads stands in `details`.
const PROMISED: Native = Native {
    sqlite: "status <> 'ready' AND COALESCE(json_extract(details, '$.promise_at'), \
             json_extract(details, '$.expected_ready_at')) < ",
    postgres: "status <> 'ready' AND COALESCE((details->>'promise_at')::bigint, \
               (details->>'expected_ready_at')::bigint) < ",
};

fn in_flight(conn: &mut Conn, sieve: &Sieve, only_late: bool, now: Instant) -> Result<Found> {
    let mut query = sifted(sieve).filter(orders::ongoing);
    if only_late {
        query = query.filter(sql::<Bool>(PROMISED.of(conn)).bind::<BigInt, _>(now.timestamp_millis()));
    }
    let mut is_partial = false;
    if sieve.shop.is_some() || sieve.customer.is_some() {
        // They have indexes of their own, which hold few rows of each.
        if sieve.customer.is_some() && sieve.partner.is_none() {
            let partners: Vec<RawId> = partners::table.select(partners::id).load(conn)?;
            query = query.filter(orders::partner_id.eq_any(partners));
        }
    } else {
        let end: Option<Option<Millis>> = orders::table
            .filter(orders::deadline_at.is_not_null())
            .order(orders::deadline_at)
            .select(orders::deadline_at)
            .offset(LOOKED_THROUGH)
            .first(conn)
            .optional()?;
        query = query.filter(orders::deadline_at.is_not_null());
        if let Some(end) = end.flatten() {
            is_partial = true;
            query = query.filter(orders::deadline_at.lt(end));
        }
    }
    let keys = query.order(orders::deadline_at).select(orders::id).load(conn)?;
    Ok(Found { keys, is_partial, below: None })
}

fn struggling(conn: &mut Conn, sieve: &Sieve) -> Result<Found> {
    let mut found: Vec<(Option<Millis>, RawId)> = Vec::new();
    let mut is_partial = false;
    let share = LOOKED_THROUGH / Stage::VARIANTS.len() as i64;
    for stage in Stage::VARIANTS.iter().filter(|stage| sieve.stage.is_none_or(|only| only == **stage)) {
        let waiting = || orders::table.filter(orders::stage.eq(stage.word())).filter(orders::parked_at.is_null());
        let end: Option<Option<Millis>> = waiting()
            .order(orders::next_attempt_at)
            .select(orders::next_attempt_at)
            .offset(share)
            .first(conn)
            .optional()?;
        let is_repeated = orders::attempts
            .gt(1)
            .or(orders::errors.gt(0))
            .or(orders::crashes.gt(0))
            .or(orders::attempts.gt(0).and(orders::leased_until.is_null()));
        let mut query = sifted(&Sieve { stage: Some(*stage), ..sieve.clone() })
            .filter(orders::parked_at.is_null())
            .filter(is_repeated);
        if let Some(end) = end.flatten() {
            is_partial = true;
            query = query.filter(orders::next_attempt_at.lt(end));
        }
        found.extend(query.select((orders::next_attempt_at, orders::id)).load::<(Option<Millis>, RawId)>(conn)?);
    }
    found.sort();
    Ok(Found { keys: found.into_iter().map(|(_, id)| id).collect(), is_partial, below: None })
}

fn parked(conn: &mut Conn, sieve: &Sieve) -> Result<Found> {
    let query = sifted(sieve).filter(orders::parked_at.is_not_null()).order(orders::id.desc());
    let keys: Vec<RawId> = query.select(orders::id).load(conn)?;
    let is_partial = keys.len() as i64 >= LOOKED_THROUGH;
    Ok(Found { keys, is_partial, below: None })
}

/// Whatever is not known is work that is pending, so that it stands in the index of that, or is parked.
pub(super) fn unknown(conn: &mut Conn, sieve: &Sieve) -> Result<Found> {
    let is_unknown = PaymentStatus::Unknown.word();
    let (mut found, mut is_partial): (Vec<RawId>, bool) = (Vec::new(), false);
    for stage in Stage::VARIANTS {
        let waiting: Vec<(RawId, String)> = orders::table
            .filter(orders::stage.eq(stage.word()))
            .filter(orders::parked_at.is_null())
            .order(orders::next_attempt_at)
            .limit(LOOKED_THROUGH)
            .select((orders::id, orders::payment_status))
            .load(conn)?;
        is_partial |= waiting.len() as i64 >= LOOKED_THROUGH;
        found.extend(waiting.into_iter().filter(|(_, status)| status == is_unknown).map(|(id, _)| id));
    }
    let parked: Vec<RawId> = orders::table
        .filter(orders::parked_at.is_not_null())
        .filter(orders::payment_status.eq(is_unknown))
        .limit(LOOKED_THROUGH)
        .select(orders::id)
        .load(conn)?;
    found.extend(parked);
    found.sort();
    let mut keys = Vec::new();
    for some in found.chunks(1000) {
        keys.extend(sifted(sieve).filter(orders::id.eq_any(some)).select(orders::id).load::<RawId>(conn)?);
    }
    keys.sort();
    Ok(Found { keys, is_partial, below: None })
}

/// Ids are in the order of creation: a window of them is a piece of the history.
fn done(conn: &mut Conn, sieve: &Sieve, below: Option<OrderId>) -> Result<Found> {
    let below = raw(below.map_or(uuid::Uuid::max(), |id| id.0));
    let mut query = sifted(sieve).filter(orders::id.lt(below.clone())).filter(diesel::dsl::not(orders::ongoing));
    let mut end: Option<RawId> = None;
    if let Some(customer) = &sieve.customer {
        let partners: Vec<RawId> = match sieve.partner {
            Some(partner) => vec![raw(partner)],
            None => partners::table.select(partners::id).load(conn)?,
        };
        let of_customer: Vec<RawId> = order_names::table
            .filter(order_names::partner_id.eq_any(partners))
            .filter(order_names::customer_id.eq(customer))
            .filter(order_names::number.gt(0))
            .order(order_names::number.desc())
            .limit(LOOKED_THROUGH / 10)
            .select(order_names::order_id)
            .load(conn)?;
        query = query.filter(orders::id.eq_any(of_customer));
    } else {
        end = orders::table
            .filter(orders::id.lt(below))
            .order(orders::id.desc())
            .select(orders::id)
            .offset(LOOKED_THROUGH - 1)
            .first(conn)
            .optional()?;
        if let Some(end) = &end {
            query = query.filter(orders::id.ge(end.clone()));
        }
    }
    let keys = query.order(orders::id.desc()).select(orders::id).load(conn)?;
    let below = end.as_ref().map(super::rows::uuid).transpose()?.map(OrderId);
    Ok(Found { keys, is_partial: below.is_some(), below })
}
