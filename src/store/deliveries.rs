//! What is on its way to receivers of webhooks, and what became of it.
//!
//! The log of events is the source. Deliveries are planned from it, by a reader that knows how far it came: the place
//! and the deliveries are written in one transaction, so that no event is skipped, whenever the process dies. A delivery
//! that was sent and not recorded is sent again. All of this waits behind whatever orders need of the database.

mod plan;

use chrono::Duration;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::rows::{instant, millis, or_log, raw, uuid, word};
use super::schema::{deliveries, webhooks};
use super::sql::{Conn, Millis, MultiBackend, RawId};
use super::tx::Urgency;
use super::webhooks::{Disabled, Receivers, find};
use super::{Result, Store, lists};
use crate::lifecycle::EventKind;
use crate::order::{Instant, OrderId};
use crate::state::Order;

pub(super) use plan::measure;

/// Whether something is on its way.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryResult {
    /// Not yet, or not yet again.
    Pending,
    Delivered,
    /// It was tried for too long.
    GivenUp,
}

/// An event on its way to a receiver. It names the newest of those that were coalesced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub delivery_id: Uuid,
    pub webhook_id: Uuid,
    pub order_id: OrderId,
    pub version: i64,
    pub kind: EventKind,
    pub occurred_at: Instant,
    /// Older events of the order whose place this one took before they were sent.
    pub coalesced: i32,
    pub result: DeliveryResult,
    pub attempts: i32,
    pub next_attempt_at: Option<Instant>,
    /// After this it is not tried again.
    pub give_up_at: Instant,
    pub attempted_at: Option<Instant>,
    /// The HTTP status of the last attempt, if there was an answer.
    pub status: Option<u16>,
    /// What is to be said of the last attempt, if it was in vain.
    pub trouble: Option<String>,
}

impl Delivery {
    /// The event's own name: the same each time it is sent. The instant is part of it, because a database that was
    /// restored from a backup gives a version again, and a receiver would take the new event for the one it has had.
    pub fn event_id(&self) -> String {
        format!("evt_{}_{}_{:x}", self.order_id.0.simple(), self.version, self.occurred_at.timestamp_millis())
    }
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Attempted {
    pub delivery_id: Uuid,
    pub at: Instant,
    pub status: Option<u16>,
    pub trouble: Option<String>,
    pub then: Then,
}

/// What is to become of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Delivered,
    Again(Instant),
    GivenUp,
}

/// Which finished deliveries are to be sent again: of events within a span of time, its end not included.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub from: Instant,
    pub until: Instant,
    /// Only what was given up.
    pub only_failed: bool,
}

/// Finished deliveries that are kept of each receiver.
const KEPT: i64 = 10_000;
/// Rows of one transaction.
const AT_ONCE: i64 = 250;

#[derive(Queryable, Insertable)]
#[diesel(table_name = deliveries)]
struct DeliveryRow {
    id: RawId,
    webhook_id: RawId,
    order_id: RawId,
    version: i64,
    kind: String,
    occurred_at: Millis,
    coalesced: i32,
    waiting_since: Millis,
    result: String,
    attempts: i32,
    next_attempt_at: Option<Millis>,
    give_up_at: Millis,
    attempted_at: Option<Millis>,
    status: Option<i32>,
    trouble: Option<String>,
}

impl DeliveryRow {
    fn into_delivery(self) -> Result<Delivery> {
        Ok(Delivery {
            delivery_id: uuid(&self.id)?,
            webhook_id: uuid(&self.webhook_id)?,
            order_id: OrderId(uuid(&self.order_id)?),
            version: self.version,
            kind: word(&self.kind)?,
            occurred_at: instant(self.occurred_at),
            coalesced: self.coalesced,
            result: word(&self.result)?,
            attempts: self.attempts,
            next_attempt_at: self.next_attempt_at.map(instant),
            give_up_at: instant(self.give_up_at),
            attempted_at: self.attempted_at.map(instant),
            status: self.status.and_then(|status| u16::try_from(status).ok()),
            trouble: self.trouble,
        })
    }
}

impl Store {
    /// The deliveries of a receiver below this id, the newest first; `None` if there is no such receiver.
    pub async fn deliveries(
        &self,
        of: Receivers,
        webhook: Uuid,
        result: Option<DeliveryResult>,
        below: Option<Uuid>,
        limit: i64,
    ) -> Result<Option<Vec<Delivery>>> {
        self.readers
            .read(move |conn| {
                if find(conn, of, webhook)?.is_none() {
                    return Ok(None);
                }
                let mut rows = of_webhook(webhook).order(deliveries::id.desc()).limit(limit);
                if let Some(result) = result {
                    rows = rows.filter(deliveries::result.eq(<&str>::from(result)));
                }
                if let Some(below) = below {
                    rows = rows.filter(deliveries::id.lt(raw(below)));
                }
                let rows: Vec<DeliveryRow> = rows.load(conn)?;
                rows.into_iter().map(DeliveryRow::into_delivery).collect::<Result<_>>().map(Some)
            })
            .await
    }

    /// Has one delivery sent again, or at once if it is waiting; `None` if there is none. It is given up that much later.
    pub async fn resend(
        &self,
        of: Receivers,
        webhook: Uuid,
        delivery: Uuid,
        patience: Duration,
        now: Instant,
    ) -> Result<Option<Delivery>> {
        self.lane
            .write(Urgency::Control, move |tx| {
                if find(tx.conn()?, of, webhook)?.is_none() {
                    tx.refuse();
                    return Ok(None);
                }
                again(tx.conn()?, &[raw(delivery)], webhook, patience, now)?;
                let row = of_webhook(webhook).filter(deliveries::id.eq(raw(delivery)));
                let row = row.first::<DeliveryRow>(tx.conn()?).optional()?;
                if row.is_none() {
                    tx.refuse();
                }
                row.map(DeliveryRow::into_delivery).transpose()
            })
            .await
    }

    /// Has the finished deliveries of a range sent again, as far as they are kept, and says how many; `None` if there is
    /// no such receiver. It goes through them in steps, so that others write in between; cut short, it may be said again.
    pub async fn resend_range(
        &self,
        of: Receivers,
        webhook: Uuid,
        range: Range,
        patience: Duration,
        now: Instant,
    ) -> Result<Option<usize>> {
        if self.webhook(of, webhook).await?.is_none() {
            return Ok(None);
        }
        let (mut after, mut count) = (raw(Uuid::nil()), 0);
        loop {
            let from = after.clone();
            let step = move |tx: &mut super::tx::Tx| {
                let mut finished = of_webhook(webhook)
                    .filter(deliveries::id.gt(from.clone()))
                    .filter(deliveries::next_attempt_at.is_null())
                    .filter(deliveries::occurred_at.ge(millis(range.from)))
                    .filter(deliveries::occurred_at.lt(millis(range.until)));
                if range.only_failed {
                    finished = finished.filter(deliveries::result.eq(<&str>::from(DeliveryResult::GivenUp)));
                }
                let ids: Vec<RawId> =
                    finished.order(deliveries::id).limit(AT_ONCE).select(deliveries::id).load(tx.conn()?)?;
                again(tx.conn()?, &ids, webhook, patience, now)?;
                Ok(ids)
            };
            let ids = self.lane.write(Urgency::Create, step).await?;
            count += ids.len();
            match ids.last() {
                Some(last) if ids.len() as i64 == AT_ONCE => after = last.clone(),
                _ => return Ok(Some(count)),
            }
        }
    }

    /// What is due for a receiver, the longest due first, each with its order as it is now: at or past the event.
    /// `None` for an order that cannot be read.
    pub async fn due_deliveries(
        &self,
        webhook: Uuid,
        limit: i64,
        now: Instant,
    ) -> Result<Vec<(Delivery, Option<Order>)>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<DeliveryRow> = of_webhook(webhook)
                    .filter(deliveries::next_attempt_at.le(millis(now)))
                    .order((deliveries::next_attempt_at, deliveries::id))
                    .limit(limit)
                    .load(conn)?;
                rows.into_iter()
                    .map(|row| {
                        let delivery = row.into_delivery()?;
                        let order = or_log(lists::find(conn, delivery.order_id)).flatten();
                        Ok((delivery, order))
                    })
                    .collect()
            })
            .await
    }

    /// Writes what came of attempts, and switches the receiver off if it wants nothing more.
    pub async fn record_attempts(&self, webhook: Uuid, made: Vec<Attempted>, disable: Option<Disabled>) -> Result<()> {
        self.lane
            .write(Urgency::Create, move |tx| {
                for attempted in &made {
                    let (result, next) = match attempted.then {
                        Then::Delivered => (DeliveryResult::Delivered, None),
                        Then::Again(at) => (DeliveryResult::Pending, Some(millis(at))),
                        Then::GivenUp => (DeliveryResult::GivenUp, None),
                    };
                    let row = deliveries::table.find(raw(attempted.delivery_id));
                    diesel::update(row.filter(deliveries::next_attempt_at.is_not_null()))
                        .set((
                            deliveries::result.eq(<&str>::from(result)),
                            deliveries::next_attempt_at.eq(next),
                            deliveries::attempts.eq(deliveries::attempts + 1),
                            deliveries::attempted_at.eq(millis(attempted.at)),
                            deliveries::status.eq(attempted.status.map(i32::from)),
                            deliveries::trouble.eq(&attempted.trouble),
                        ))
                        .execute(tx.conn()?)?;
                }
                if let Some(Disabled { at, why }) = &disable {
                    diesel::update(webhooks::table.find(raw(webhook)))
                        .filter(webhooks::disabled_at.is_null())
                        .set((webhooks::disabled_at.eq(millis(*at)), webhooks::disabled_why.eq(why)))
                        .execute(tx.conn()?)?;
                }
                Ok(())
            })
            .await
    }

    /// Has all that waits for a receiver tried now: it is back.
    pub async fn hurry_deliveries(&self, webhook: Uuid, now: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Create, move |tx| {
                let waiting = deliveries::table
                    .filter(deliveries::webhook_id.eq(raw(webhook)))
                    .filter(deliveries::next_attempt_at.gt(millis(now)));
                diesel::update(waiting).set(deliveries::next_attempt_at.eq(millis(now))).execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }

    /// Forgets the oldest finished deliveries of a receiver that has too many.
    pub async fn trim_deliveries(&self, webhook: Uuid) -> Result<()> {
        let finished = move || of_webhook(webhook).filter(deliveries::next_attempt_at.is_null());
        let newest_gone = move |conn: &mut Conn| {
            let ids = finished().order(deliveries::id.desc()).select(deliveries::id);
            Ok(ids.offset(KEPT).first::<RawId>(conn).optional()?)
        };
        let Some(newest) = self.readers.read(newest_gone).await? else { return Ok(()) };
        loop {
            let newest = newest.clone();
            let step = move |tx: &mut super::tx::Tx| {
                let old = finished().filter(deliveries::id.le(newest.clone())).order(deliveries::id).limit(AT_ONCE);
                let old: Vec<RawId> = old.select(deliveries::id).load(tx.conn()?)?;
                Ok(diesel::delete(deliveries::table.filter(deliveries::id.eq_any(&old))).execute(tx.conn()?)?)
            };
            if (self.lane.write(Urgency::Create, step).await? as i64) < AT_ONCE {
                return Ok(());
            }
        }
    }
}

fn of_webhook<'q>(webhook: Uuid) -> deliveries::BoxedQuery<'q, MultiBackend> {
    deliveries::table.filter(deliveries::webhook_id.eq(raw(webhook))).into_boxed()
}

/// Makes some deliveries of a receiver new.
fn again(conn: &mut Conn, ids: &[RawId], webhook: Uuid, patience: Duration, now: Instant) -> Result<()> {
    let chosen = deliveries::table.filter(deliveries::id.eq_any(ids)).filter(deliveries::webhook_id.eq(raw(webhook)));
    diesel::update(chosen)
        .set((
            deliveries::result.eq(<&str>::from(DeliveryResult::Pending)),
            deliveries::attempts.eq(0),
            deliveries::waiting_since.eq(millis(now)),
            deliveries::next_attempt_at.eq(Some(millis(now))),
            deliveries::give_up_at.eq(millis(now + patience)),
        ))
        .execute(conn)?;
    Ok(())
}
