//! Makes deliveries of what stands in the log of events.

use std::collections::HashMap;

use chrono::Duration;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Nullable;
use uuid::Uuid;

use super::super::sql::{At, Conn, Millis, RawId};
use super::{DeliveryResult, DeliveryRow};
use crate::lifecycle::{Actor, EventKind, Status};
use crate::meters::{METERS, Receiver};
use crate::order::{Instant, OrderId, ShopId};
use crate::store::lists::{self, age_in_seconds};
use crate::store::log;
use crate::store::rows::{instant, millis, raw, uuid, word};
use crate::store::schema::{deliveries, order_events, webhooks};
use crate::store::tx::{Tx, Urgency};
use crate::store::webhooks::{Receivers, any_of_shops, find, shops_told, tell_shops_from};
use crate::store::{Result, Store};

/// Events that are looked at at once.
const LOOKED_AT: i64 = 500;
/// Deliveries that may wait for one receiver: what happens beyond that stays in the log until there is room, and is
/// coalesced there.
const MOST_PENDING: i64 = 1_000;

/// What is to be told of.
struct Told {
    webhook: RawId,
    order: RawId,
    version: i64,
    kind: String,
    at: Millis,
    /// Older events of the order that were passed over, and when the first of all happened.
    passed_over: i32,
    since: Millis,
    /// Not before.
    due: Millis,
}

type EventColumns = (i64, RawId, i64, String, Millis);

impl Store {
    /// The receivers for whom something is due, or has happened that is not planned yet. None is disabled.
    pub async fn receivers_to_serve(&self, now: Instant) -> Result<Vec<Uuid>> {
        self.readers
            .read(move |conn| {
                let due: Vec<RawId> = deliveries::table
                    .inner_join(webhooks::table)
                    .filter(webhooks::disabled_at.is_null())
                    .filter(deliveries::next_attempt_at.le(millis(now)))
                    .select(deliveries::webhook_id)
                    .distinct()
                    .load(conn)?;
                let end = log::end(conn)?;
                let mut found = due.iter().map(uuid).collect::<Result<Vec<_>>>()?;
                for (id, partner, planned) in of_partners(conn)? {
                    let news = order_events::table
                        .filter(order_events::partner_id.eq(&partner))
                        .filter(order_events::position.gt(planned))
                        .filter(order_events::position.le(end));
                    if !found.contains(&id) && diesel::select(diesel::dsl::exists(news)).get_result(conn)? {
                        found.push(id);
                    }
                }
                Ok(found)
            })
            .await
    }

    /// Plans the deliveries of a partner's receiver from where it stands in the log, unless too much waits for it
    /// already. An order's newest event takes the place of an older one that was not sent yet. Nothing of the receiver
    /// may be under way. What is older than `patience` is left out.
    pub async fn plan_deliveries(&self, webhook: Uuid, patience: Duration, now: Instant) -> Result<()> {
        let read = move |conn: &mut Conn| look_ahead(conn, webhook, now - patience);
        let Some((from, until, told)) = self.readers.read(read).await? else { return Ok(()) };
        self.lane
            .write(Urgency::Create, move |tx| {
                let still = webhooks::table.find(raw(webhook)).filter(webhooks::planned.eq(from));
                if diesel::update(still).set(webhooks::planned.eq(until)).execute(tx.conn()?)? == 1 {
                    told.iter().try_for_each(|told| put(tx, told, patience))?;
                }
                Ok(())
            })
            .await
    }

    /// Plans what the shops have to be told: that an order ended which they know, or may know, by somebody else. An
    /// offer may have been under way when it ended: then the shop is told only after `an_offer_takes`, so that the offer
    /// cannot come after its cancellation.
    pub async fn plan_cancellations(&self, an_offer_takes: Duration, patience: Duration) -> Result<()> {
        let read = move |conn: &mut Conn| look_for_cancellations(conn, an_offer_takes);
        let Some((from, until, told)) = self.readers.read(read).await? else { return Ok(()) };
        self.lane
            .write(Urgency::Create, move |tx| {
                if shops_told(tx.conn()?)? == from {
                    tell_shops_from(tx, until)?;
                    told.iter().try_for_each(|told| put(tx, told, patience))?;
                }
                Ok(())
            })
            .await
    }

    /// A shop may take an order of its own for accepted that ended without a sale: then it is told once more, where it
    /// has a receiver. Durable when this returns.
    pub async fn owe_cancellation(
        &self,
        shop: ShopId,
        order_id: OrderId,
        patience: Duration,
        now: Instant,
    ) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let receiver = webhooks::table.filter(webhooks::shop_id.eq(raw(shop)));
                let webhook: Option<RawId> = receiver.select(webhooks::id).first(tx.conn()?).optional()?;
                let Some(webhook) = webhook else { return Ok(()) };
                let order = raw(order_id);
                let newest: Option<(i64, String, Millis, String)> = order_events::table
                    .filter(order_events::order_id.eq(&order))
                    .filter(order_events::shop_id.eq(raw(shop)))
                    .filter(order_events::from_status.ne(order_events::to_status.nullable()))
                    .order(order_events::version.desc())
                    .select((order_events::version, order_events::kind, order_events::at, order_events::to_status))
                    .first(tx.conn()?)
                    .optional()?;
                let Some((version, kind, at, status)) = newest else { return Ok(()) };
                if !word::<Status>(&status)?.is_undone() {
                    return Ok(());
                }
                let (since, due) = (millis(now), millis(now));
                put(tx, &Told { webhook, order, version, kind, at, passed_over: 0, since, due }, patience)
            })
            .await
    }
}

/// The enabled receivers of partners: whose, and the place up to which they are planned.
fn of_partners(conn: &mut Conn) -> Result<Vec<(Uuid, RawId, i64)>> {
    let rows: Vec<(RawId, RawId, i64)> = webhooks::table
        .filter(webhooks::shop_id.is_null())
        .filter(webhooks::disabled_at.is_null())
        .select((webhooks::id, webhooks::partner_id, webhooks::planned))
        .load(conn)?;
    rows.into_iter().map(|(id, partner, planned)| Ok((uuid(&id)?, partner, planned))).collect()
}

/// From which place to which one of the log has been looked, and what is to be told of. `None` if there is nothing to
/// plan, or no room.
type Ahead = Option<(i64, i64, Vec<Told>)>;

fn look_ahead(conn: &mut Conn, id: Uuid, oldest: Instant) -> Result<Ahead> {
    let Some(webhook) = find(conn, Receivers::All, id)?.filter(|w| w.disabled.is_none() && w.shop_id.is_none()) else {
        return Ok(None);
    };
    let row = webhooks::table.find(raw(id));
    let planned: i64 = row.select(webhooks::planned).first(conn)?;
    let pending =
        deliveries::table.filter(deliveries::webhook_id.eq(raw(id))).filter(deliveries::next_attempt_at.is_not_null());
    if pending.count().get_result::<i64>(conn)? >= MOST_PENDING {
        return Ok(None);
    }
    let events: Vec<EventColumns> = order_events::table
        .filter(order_events::partner_id.eq(raw(webhook.partner_id)))
        .filter(order_events::position.gt(planned))
        .filter(order_events::position.le(log::end(conn)?))
        .order(order_events::position)
        .limit(LOOKED_AT)
        .select((
            order_events::position,
            order_events::order_id,
            order_events::version,
            order_events::kind,
            order_events::at,
        ))
        .load(conn)?;
    let Some(until) = events.last().map(|(position, ..)| *position) else { return Ok(None) };
    let mut newest: HashMap<RawId, Told> = HashMap::new();
    for (_, order, version, kind, at) in events {
        if !webhook.wants(word(&kind)?) || at < millis(oldest) {
            continue;
        }
        let known = newest.remove(&order);
        let (passed_over, since) = known.map_or((0, at), |known| (known.passed_over + 1, known.since));
        let webhook = raw(id);
        newest.insert(order.clone(), Told { webhook, order, version, kind, at, passed_over, since, due: at });
    }
    let mut told: Vec<Told> = newest.into_values().collect();
    told.sort_by_key(|told| told.since);
    Ok(Some((planned, until, told)))
}

fn look_for_cancellations(conn: &mut Conn, an_offer_takes: Duration) -> Result<Ahead> {
    if !any_of_shops(conn)? {
        return Ok(None);
    }
    let from = shops_told(conn)?;
    let until = log::reach(conn, from, LOOKED_AT)?;
    if until <= from {
        return Ok(None);
    }
    let ends = [Status::Cancelled, Status::Rejected, Status::Failed].map(Status::word);
    let known_there =
        [Status::AwaitingShop, Status::Accepted, Status::Preparing, Status::Ready].map(|status| Some(status.word()));
    let ended: Vec<(EventColumns, RawId, Option<String>)> = order_events::table
        .filter(order_events::position.gt(from))
        .filter(order_events::position.le(until))
        .filter(order_events::to_status.eq_any(ends))
        .filter(order_events::from_status.eq_any(known_there))
        .filter(order_events::actor.ne(Actor::Shop.word()))
        .filter(order_events::kind.ne(EventKind::ShopRejected.word()))
        .order(order_events::position)
        .select((
            (
                order_events::position,
                order_events::order_id,
                order_events::version,
                order_events::kind,
                order_events::at,
            ),
            order_events::shop_id,
            order_events::from_status,
        ))
        .load(conn)?;
    let mut told = Vec::new();
    for ((position, order, version, kind, at), shop, was) in ended {
        let receiver = webhooks::table.filter(webhooks::shop_id.eq(&shop)).filter(webhooks::planned.lt(position));
        let webhook: Option<RawId> = receiver.select(webhooks::id).first(conn).optional()?;
        let Some(webhook) = webhook else { continue };
        let was_offered = was.as_deref() != Some(Status::AwaitingShop.word())
            || lists::find(conn, OrderId(uuid(&order)?))?.is_some_and(|order| order.offered_at.is_some());
        let due = if was_offered { at } else { millis(instant(at) + an_offer_takes) };
        told.push(Told { webhook, order, version, kind, at, passed_over: 0, since: at, due });
    }
    Ok(Some((from, until, told)))
}

/// Takes the place of what waits for the same receiver and order, or stands beside what is finished.
fn put(tx: &mut Tx, told: &Told, patience: Duration) -> Result<()> {
    let waiting: Option<RawId> = deliveries::table
        .filter(deliveries::webhook_id.eq(&told.webhook))
        .filter(deliveries::order_id.eq(&told.order))
        .filter(deliveries::next_attempt_at.is_not_null())
        .order(deliveries::id.desc())
        .select(deliveries::id)
        .first(tx.conn()?)
        .optional()?;
    let give_up_at = millis(instant(told.at.max(told.since)) + patience);
    if let Some(waiting) = waiting {
        diesel::update(deliveries::table.find(waiting))
            .set((
                deliveries::version.eq(told.version),
                deliveries::kind.eq(&told.kind),
                deliveries::occurred_at.eq(told.at),
                deliveries::coalesced.eq(deliveries::coalesced + told.passed_over + 1),
                deliveries::give_up_at.eq(give_up_at),
            ))
            .execute(tx.conn()?)?;
        return Ok(());
    }
    diesel::insert_into(deliveries::table)
        .values(DeliveryRow {
            id: raw(Uuid::now_v7()),
            webhook_id: told.webhook.clone(),
            order_id: told.order.clone(),
            version: told.version,
            kind: told.kind.clone(),
            occurred_at: told.at,
            coalesced: told.passed_over,
            waiting_since: told.since,
            result: DeliveryResult::Pending.to_string(),
            attempts: 0,
            next_attempt_at: Some(told.due),
            give_up_at,
            attempted_at: None,
            status: None,
            trouble: None,
        })
        .execute(tx.conn()?)?;
    Ok(())
}

/// Sets the gauges of what waits for receivers, in the log or planned.
pub(in crate::store) fn measure(conn: &mut Conn, now: Instant) -> Result<()> {
    let mut oldest_in_the_log: Option<Millis> = None;
    for (_, partner, planned) in of_partners(conn)? {
        let next: Option<Millis> = order_events::table
            .filter(order_events::partner_id.eq(partner))
            .filter(order_events::position.gt(planned))
            .order(order_events::position)
            .select(order_events::at)
            .first(conn)
            .optional()?;
        oldest_in_the_log = [oldest_in_the_log, next].into_iter().flatten().min();
    }
    for (receiver, in_the_log) in [(Receiver::Partner, oldest_in_the_log), (Receiver::Shop, None)] {
        let (count, planned): (i64, Option<Millis>) = deliveries::table
            .inner_join(webhooks::table)
            .filter(webhooks::disabled_at.is_null())
            .filter(webhooks::shop_id.is_null().eq(receiver == Receiver::Partner))
            .filter(deliveries::next_attempt_at.is_not_null())
            .select((diesel::dsl::count_star(), sql::<Nullable<At>>("MIN(waiting_since)")))
            .first(conn)?;
        METERS.deliveries_pending.of(receiver).set(count as f64);
        let oldest = [planned, in_the_log].into_iter().flatten().min();
        METERS.deliveries_oldest.of(receiver).set(oldest.map_or(0.0, |since| age_in_seconds(instant(since), now)));
    }
    let disabled: i64 = webhooks::table.filter(webhooks::disabled_at.is_not_null()).count().get_result(conn)?;
    METERS.webhooks_disabled.of(()).set(disabled as f64);
    Ok(())
}
