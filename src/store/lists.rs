//! What can be read: single orders, a customer's list, histories, a shop's board, the feed of events.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;

use super::log;
use super::position::{self, Place, Position};
use super::questions::{OngoingOf, OrderOfId};
use super::rows::event::EventRow;
use super::rows::{OrderRow, document, or_log, raw, uuid, word};
use super::schema::{order_events, order_names, orders};
use super::shown::{Look, Shows, shown_at};
use super::sql::{Conn, Json, RawId, native};
use super::statements::{Ask, Value};
use super::{Result, Store, Unreadable};
use crate::admission::Revision;
use crate::lifecycle::{Actor, Event, EventKind, PaymentStatus, Reason, Status};
use crate::order::{CustomerId, Instant, OrderId, PartnerId, ShopId};
use crate::state::Order;

/// An event as it stands in the log.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub position: i64,
    pub order_id: OrderId,
    pub version: i64,
    pub kind: EventKind,
    pub from: Option<Status>,
    pub to: Status,
    pub payment_status: PaymentStatus,
    pub actor: Actor,
    pub reason: Option<Reason>,
    pub at: Instant,
    /// The event as it is stored: few who read the log read that.
    pub(super) data: Json,
}

impl Recorded {
    /// A shop's acceptance.
    #[cfg(test)]
    pub fn example(at: Instant) -> Self {
        Self {
            position: 12,
            order_id: OrderId::new(),
            version: 3,
            kind: EventKind::ShopAccepted,
            from: Some(Status::AwaitingShop),
            to: Status::Accepted,
            payment_status: PaymentStatus::Authorized,
            actor: Actor::Shop,
            reason: None,
            at,
            data: Json("{}".into()),
        }
    }

    /// All that the event says.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read.
    pub fn event(&self) -> Result<Event> {
        document(&self.data)
    }
}

impl Store {
    /// An order, and how fresh that is.
    pub async fn order(&self, id: OrderId) -> Result<Option<(Order, Position)>> {
        let cluster = self.cluster;
        self.readers.read_at(move |conn| order_at(conn, cluster, id)).await
    }

    /// A customer's orders below `below` (a number), newest first, without deleted ones, at least as fresh as `at_least`.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub async fn history(
        &self,
        partner: PartnerId,
        customer: &CustomerId,
        below: i64,
        limit: i64,
        at_least: Option<&Position>,
    ) -> std::result::Result<(Vec<Order>, Position), Unreadable> {
        let (cluster, looking) = (self.cluster, self.looking(at_least));
        loop {
            let (customer, seen) = (customer.clone(), at_least.cloned());
            let read = self.readers.read_from(move |conn| {
                let orders = page_of(conn, partner, &customer, below, limit)?;
                let shows = seen.map_or(Ok(Shows::All), |seen| shown_at(conn, partner, &customer, &seen))?;
                let of = (partner, &customer);
                Ok((orders, shows, Position::of(cluster, position::here(conn)?, of, Revision::default())))
            });
            let (holds, (orders, shows, now)) = read.await?;
            let look = Look { found: (orders, now.clone()), holds, now, shows };
            if let Some(found) = looking.judge(look).await? {
                return Ok(found);
            }
        }
    }

    /// Everything that happened to an order, oldest first.
    pub async fn events_of(&self, id: OrderId) -> Result<Vec<Recorded>> {
        self.events_after(id, 0, i64::MAX).await
    }

    /// What happened to an order after a version of it, oldest first.
    pub async fn events_after(&self, id: OrderId, version: i64, limit: i64) -> Result<Vec<Recorded>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<EventRow> = order_events::table
                    .filter(order_events::order_id.eq(raw(id)))
                    .filter(order_events::version.gt(version))
                    .order(order_events::version)
                    .limit(limit)
                    .load(conn)?;
                rows.into_iter().map(EventRow::into_recorded).collect()
            })
            .await
    }

    /// The partner's event at a position, if there is one; its events after that, oldest first; the last position of the
    /// log that can be given now; and how far the database had come by then, so that it had written all of them. Nothing
    /// is ever inserted before a position that was given.
    pub async fn feed(
        &self,
        partner: PartnerId,
        after: i64,
        limit: i64,
    ) -> Result<(Option<Recorded>, Vec<Recorded>, i64, Place)> {
        self.readers
            .read_at(move |conn| {
                let told = order_events::table
                    .filter(order_events::partner_id.eq(raw(partner)))
                    .filter(order_events::position.eq(after));
                let told = told.first::<EventRow>(conn).optional()?.map(EventRow::into_recorded).transpose()?;
                let (events, end) = feed_of(conn, partner, after, limit)?;
                // Only now: what was committed since the question before is among the events.
                Ok((told, events, end, position::here(conn)?))
            })
            .await
    }

    /// The orders a shop has to do with now.
    pub async fn board(&self, shop: ShopId) -> Result<Vec<Order>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<OrderRow> =
                    orders::table.filter(orders::shop_id.eq(raw(shop))).filter(orders::ongoing).load(conn)?;
                Ok(rows.into_iter().filter_map(|row| or_log(row.into_order())).collect())
            })
            .await
    }

    /// The ids and versions of the orders that [`Store::board`] gives: cheap enough to be asked for
    /// every few seconds.
    pub async fn board_versions(&self, shop: ShopId) -> Result<Vec<(OrderId, Status, i64)>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<(RawId, String, i64)> = orders::table
                    .filter(orders::shop_id.eq(raw(shop)))
                    .filter(orders::ongoing)
                    .select((orders::id, orders::status, orders::version))
                    .load(conn)?;
                let read = |(id, status, version): (RawId, String, i64)| -> Result<_> {
                    Ok((OrderId(uuid(&id)?), word(&status)?, version))
                };
                Ok(rows.into_iter().filter_map(|row| or_log(read(row))).collect())
            })
            .await
    }

    /// All orders after an id, in the order of their ids: for reconciling them with a gateway's ledger.
    pub async fn all_orders(&self, after: Option<OrderId>, limit: i64) -> Result<Vec<Order>> {
        self.readers
            .read(move |conn| {
                let after = raw(after.map_or(uuid::Uuid::nil(), |id| id.0));
                let rows: Vec<OrderRow> =
                    orders::table.filter(orders::id.gt(after)).order(orders::id).limit(limit).load(conn)?;
                rows.into_iter().map(OrderRow::into_order).collect()
            })
            .await
    }
}

fn page_of(
    conn: &mut Conn,
    partner: PartnerId,
    customer: &CustomerId,
    mut below: i64,
    limit: i64,
) -> Result<Vec<Order>> {
    let mut orders = Vec::new();
    let wanted = usize::try_from(limit).unwrap_or_default();
    // A page that an unreadable order emptied would look like the last one.
    while orders.len() < wanted {
        let rows: Vec<OrderRow> = order_names::table
            .inner_join(orders::table.on(orders::id.eq(order_names::order_id)))
            .filter(order_names::partner_id.eq(raw(partner)))
            .filter(order_names::customer_id.eq(&customer.0))
            .filter(order_names::number.gt(0))
            .filter(order_names::number.lt(below))
            .filter(orders::deleted_at.is_null())
            .order(order_names::number.desc())
            .limit(limit)
            .select(orders::all_columns)
            .load(conn)?;
        let Some(last) = rows.last() else { break };
        below = last.number;
        orders.extend(rows.into_iter().filter_map(|row| or_log(row.into_order())));
    }
    orders.truncate(wanted);
    Ok(orders)
}

/// A page of a partner's feed, and the last position of the log that can be given now.
pub(super) fn feed_of(conn: &mut Conn, partner: PartnerId, after: i64, limit: i64) -> Result<(Vec<Recorded>, i64)> {
    let end = log::end(conn)?;
    let events = order_events::table
        .filter(order_events::partner_id.eq(raw(partner)))
        .filter(order_events::position.gt(after))
        .filter(order_events::position.le(end))
        .order(order_events::position)
        // Where nobody reads row by row, all of the rest would come.
        .limit(limit)
        .load_iter::<EventRow, DefaultLoadingMode>(conn)?
        .map(|row| row?.into_recorded())
        .collect::<Result<_>>()?;
    Ok((events, end))
}

/// Never negative: clocks may be set back.
pub(super) fn age_in_seconds(since: Instant, now: Instant) -> f64 {
    (now - since).num_milliseconds().max(0) as f64 / 1000.0
}

pub(super) fn ongoing_rows(conn: &mut Conn, partner: PartnerId, customer: &CustomerId) -> Result<Vec<OrderRow>> {
    let owner = [Value::Id(raw(partner)), Value::Text(&customer.0)];
    Ok(native!(conn, conn => Ask::<OngoingOf, 2>::with(owner).load(conn))?)
}

/// A customer's ongoing orders, newest first, for admission. One that cannot be read is an error: it may be the same
/// coffee, so that nothing can be decided for this customer, but for every other.
pub(super) fn ongoing_of(conn: &mut Conn, partner: PartnerId, customer: &CustomerId) -> Result<Vec<Order>> {
    ongoing_rows(conn, partner, customer)?.into_iter().map(OrderRow::into_order).collect()
}

/// An order, and a position that it is not newer than.
pub(super) fn order_at(conn: &mut Conn, cluster: u64, id: OrderId) -> Result<Option<(Order, Position)>> {
    let Some(order) = find(conn, id)? else { return Ok(None) };
    let revision = Revision { number: order.number, nonce: order.nonce };
    let position = Position::of(cluster, position::here(conn)?, (order.partner_id, &order.customer_id), revision);
    Ok(Some((order, position)))
}

pub(super) fn find(conn: &mut Conn, id: OrderId) -> Result<Option<Order>> {
    let asked = Ask::<OrderOfId, 1>::with([Value::Id(raw(id))]);
    let row = native!(conn, conn => asked.get_result::<OrderRow>(conn)).optional()?;
    row.map(OrderRow::into_order).transpose()
}
