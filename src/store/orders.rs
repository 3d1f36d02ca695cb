//! How an order changes. A status changes only in [`change`], which has three doors:
//! [`Store::commit`] (a worker with a claim), [`Store::receive`] (word from outside) and [`Store::expire`]
//! (the timer).

use chrono::Duration;
use diesel::prelude::*;

use super::accept::taken;
use super::claim::{self, Claim};
use super::drafts::{self, Draft};
use super::lanes::{Tx, Urgency};
use super::position::{Position, last_position};
use super::rows::{ChangedColumns, NewEventRow, OrderRow, SeldomChangedColumns, millis, to_document, uuid};
use super::schema::{order_events, orders};
use super::statements::update_order;
use super::{Error, Policy, Result, Store, lists};
use crate::admission::Revision;
use crate::lifecycle::{Actor, Event, EventKind, RULES, Stage, Status};
use crate::machine::{self, Refused};
use crate::meters::{Happened, METERS, WordResult};
use crate::order::{Instant, OrderId, PartnerId, ShopId};
use crate::state::Order;

/// What came of a worker's act.
#[derive(Debug)]
pub struct Outcome {
    pub event: Option<Event>,
    /// If the order still stands in the same stage afterwards: when to try again, and why.
    pub again: Option<Again>,
}

#[derive(Debug)]
pub struct Again {
    pub after: Duration,
    pub why: String,
    pub strike: Strike,
}

/// Whether a failed attempt counts towards parking the row. What is merely unavailable, unknown or switched off
/// never counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    None,
    Error,
    Panic,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Committed {
    Done(Box<Order>),
    /// The lease was lost: somebody else decided meanwhile, and this result was dropped.
    Lost,
}

/// Whose order it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Partner(PartnerId),
    Shop(ShopId),
    Everyone,
}

impl Scope {
    pub(super) fn holds(self, order: &Order) -> bool {
        match self {
            Scope::Partner(id) => order.partner_id == id,
            Scope::Shop(id) => order.shop_id == id,
            Scope::Everyone => true,
        }
    }
}

/// Word from outside about an order: from the customer, the shop, the gateway or an operator.
pub struct Word {
    pub order_id: OrderId,
    pub scope: Scope,
    pub actor: Actor,
    pub event: Event,
    /// The version the sender has seen, where it cares.
    pub version: Option<i64>,
    pub now: Instant,
}

/// What became of a word from outside.
#[derive(Debug)]
pub enum Received {
    Changed(Box<Order>, Position),
    /// It had already happened: said again, it changes nothing.
    Already(Box<Order>, Position),
    /// Not possible now. The order is unchanged.
    Refused(Box<Order>, Refused),
    /// The order has another version than the sender has seen.
    Stale(Box<Order>),
    /// A draft of this id was buried: it can no longer become an order.
    DraftBuried(Box<Draft>),
    /// The pickup slot it was to move to holds no more orders.
    SlotFull,
    /// No such order for this sender.
    Unknown,
}

impl From<&Received> for WordResult {
    fn from(received: &Received) -> Self {
        match received {
            Received::Changed(..) => Self::Changed,
            Received::Already(..) => Self::Already,
            Received::Refused(..) | Received::SlotFull => Self::Refused,
            Received::Stale(_) => Self::Stale,
            Received::DraftBuried(_) => Self::Buried,
            Received::Unknown => Self::Unknown,
        }
    }
}

impl Store {
    /// Writes what a worker found out, if it still holds the lease, and hands the next stage to the local worker.
    pub async fn commit(&self, claim: Claim, outcome: Outcome, now: Instant) -> Result<Committed> {
        let policy = self.policy.clone();
        self.lane
            .write(Urgency::Control, move |tx| {
                let Some(before) = lists::find(tx.conn, claim.order().id)? else { return Ok(Committed::Lost) };
                if before.task.fence != claim.fence() {
                    wake_release(tx, before, now)?;
                    return Ok(Committed::Lost);
                }
                let mut order = before.clone();
                if let Some(event) = outcome.event.map(|event| machine::as_found(&before, event)) {
                    order = match change(tx, &before, &event, Actor::Worker, now, &policy)? {
                        Ok(after) => after,
                        Err(refused) => {
                            let event = Event::Contradicted { what: refused.to_string() };
                            certain(change(tx, &before, &event, Actor::Worker, now, &policy)?)?
                        }
                    };
                }
                if order.task.fence == before.task.fence {
                    let again = outcome.again.unwrap_or(Again {
                        after: policy.lease,
                        why: "the stage did not finish".into(),
                        strike: Strike::None,
                    });
                    let task = &mut order.task;
                    task.fence += 1;
                    task.leased_until = None;
                    task.next_attempt_at = task.stage.map(|_| now + again.after);
                    task.errors += i32::from(again.strike == Strike::Error);
                    task.crashes += i32::from(again.strike == Strike::Panic);
                    // Whoever has to look at a contradiction needs to know what it was.
                    if task.last_error == before.task.last_error {
                        task.last_error = Some(again.why);
                    }
                    if task.parked_at.is_none() && claim::is_poison(&order) {
                        let event = Event::Parked { why: order.task.last_error.clone().unwrap_or_default() };
                        order = certain(change(tx, &order, &event, Actor::Worker, now, &policy)?)?;
                    }
                }
                tx.keep_for_local_worker(&mut order, now, policy.lease);
                update(tx, &before, &order)?;
                Ok(Committed::Done(Box::new(order)))
            })
            .await
    }

    /// Gives a claim back unused, as if it had never been taken, to be `due` again then: neither a shutdown nor a
    /// long line consumes an attempt.
    pub async fn give_back(&self, claim: Claim, due: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let Some(mut order) = lists::find(tx.conn, claim.order().id)? else { return Ok(()) };
                if order.task.fence == claim.fence() {
                    order.task.fence += 1;
                    order.task.attempts -= 1;
                    order.task.leased_until = None;
                    order.task.next_attempt_at = Some(due);
                    update_task(tx, &order)?;
                }
                Ok(())
            })
            .await
    }

    /// Hears a word from outside. Whatever is late, repeated or illegal leaves the order as it is.
    pub async fn receive(&self, word: Word) -> Result<Received> {
        let (policy, cluster, actor) = (self.policy.clone(), self.cluster, word.actor);
        let received = self.lane.write(Urgency::Control, move |tx| hear(tx, word, cluster, &policy)).await?;
        METERS.received.of((actor, WordResult::from(&received))).increment(1);
        Ok(received)
    }

    /// Changes how an order is picked up. `slot_capacity` is how many orders the slot holds that it moves to, if it
    /// moves; it is counted in the transaction that moves it.
    pub async fn change_pickup(&self, word: Word, slot_capacity: Option<u32>) -> Result<Received> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        self.lane
            .write(Urgency::Control, move |tx| {
                let order = lists::find(tx.conn, word.order_id)?.filter(|order| word.scope.holds(order));
                if let (Some(order), Event::PickupChanged { pickup, .. }, Some(capacity)) =
                    (order, &word.event, slot_capacity)
                    && order.pickup.at != pickup.at
                    && taken(tx.conn, order.shop_id, pickup.at)? >= capacity
                {
                    return Ok(Received::SlotFull);
                }
                hear(tx, word, cluster, &policy)
            })
            .await
    }

    /// Removes an order from its customer's sight: a cancellation by the customer where it is still ongoing, and
    /// a tombstone.
    pub async fn delete(&self, order_id: OrderId, partner: PartnerId, now: Instant) -> Result<Received> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let received = self
            .lane
            .write(Urgency::Control, move |tx| {
                let Some(order) = lists::find(tx.conn, order_id)?.filter(|o| o.partner_id == partner) else {
                    let draft = drafts::bury(tx, order_id, partner, now)?;
                    return Ok(draft.map_or(Received::Unknown, |draft| Received::DraftBuried(Box::new(draft))));
                };
                let word = |event| Word {
                    order_id,
                    scope: Scope::Partner(partner),
                    actor: Actor::Partner,
                    event,
                    version: None,
                    now,
                };
                if order.is_ongoing() {
                    let cancelled = hear(tx, word(Event::CustomerCancelled), cluster, &policy)?;
                    if let Received::Refused(..) = cancelled {
                        return Ok(cancelled);
                    }
                }
                hear(tx, word(Event::Deleted), cluster, &policy)
            })
            .await?;
        METERS.received.of((Actor::Partner, WordResult::from(&received))).increment(1);
        Ok(received)
    }

    /// Decides every order whose deadline has come, up to `limit`. Needs nothing but the database: a lease does
    /// not hold a deadline up.
    pub async fn expire(&self, limit: i64, now: Instant) -> Result<Vec<(OrderId, EventKind)>> {
        let policy = self.policy.clone();
        self.lane
            .write(Urgency::Control, move |tx| {
                let due: Vec<OrderRow> = orders::table
                    .filter(orders::deadline_at.le(millis(now)))
                    .order(orders::deadline_at)
                    .limit(limit)
                    .load(tx.conn)?;
                let mut decided = Vec::with_capacity(due.len());
                for row in due {
                    let Some(order) = readable(tx, row, now)? else { continue };
                    let Some(event) = machine::deadline_event(&order) else { continue };
                    certain(apply(tx, &order, &event, Actor::Timer, now, &policy)?)?;
                    decided.push((order.id, event.kind()));
                }
                Ok(decided)
            })
            .await
    }
}

/// One word from outside, inside a transaction.
fn hear(tx: &mut Tx, word: Word, cluster: u64, policy: &Policy) -> Result<Received> {
    let Word { order_id, scope, actor, event, version, now } = word;
    let Some(before) = lists::find(tx.conn, order_id)?.filter(|order| scope.holds(order)) else {
        return Ok(Received::Unknown);
    };
    if version.is_some_and(|seen| seen != before.version) {
        return Ok(Received::Stale(Box::new(before)));
    }
    let event = machine::as_found(&before, event);
    let position = |tx: &mut Tx, order: &Order| -> Result<Position> {
        let revision = Revision { number: order.number, nonce: order.nonce };
        Ok(Position::of(cluster, last_position(tx.conn)?, (order.partner_id, &order.customer_id), revision))
    };
    match apply(tx, &before, &event, actor, now, policy)? {
        Ok(after) => {
            let position = position(tx, &after)?;
            Ok(Received::Changed(Box::new(after), position))
        }
        Err(_) if has_happened(tx.conn, &before, &event)? => {
            let position = position(tx, &before)?;
            Ok(Received::Already(Box::new(before), position))
        }
        // The gateway is not told "no": what it says and what is written here cannot both be true, and a person has
        // to know of it.
        Err(refused) if actor == Actor::Gateway => {
            let event = Event::Contradicted { what: refused.to_string() };
            let after = certain(apply(tx, &before, &event, actor, now, policy)?)?;
            let position = position(tx, &after)?;
            Ok(Received::Changed(Box::new(after), position))
        }
        Err(refused) => Ok(Received::Refused(Box::new(before), refused)),
    }
}

/// Whether this was said and done before, with the same content: a tablet that replays its queue is not told off for
/// it. A recall can be taken back, so it counts only while the order is being made again. An acceptance that names
/// neither time nor lines says no more than any other.
fn has_happened(conn: &mut SqliteConnection, order: &Order, event: &Event) -> Result<bool> {
    let kind = event.kind();
    let is_step = RULES.iter().any(|rule| rule.event == kind) || kind == EventKind::Deleted;
    let undone = kind == EventKind::Recalled && order.status != Status::Preparing;
    if !is_step || undone {
        return Ok(false);
    }
    let earlier: Vec<String> = order_events::table
        .filter(order_events::order_id.eq(order.id.0.as_bytes().as_slice()))
        .filter(order_events::kind.eq(kind.word()))
        .select(order_events::data)
        .load(conn)?;
    let says_no_more =
        matches!(event, Event::ShopAccepted { minutes: None, dropped_lines } if dropped_lines.is_empty());
    let said = to_document(event);
    Ok(earlier.iter().any(|data| says_no_more || *data == said))
}

/// One change of an order, written as a whole, and handed to the local worker if there is more to do at once.
pub(super) fn apply(
    tx: &mut Tx,
    before: &Order,
    event: &Event,
    by: Actor,
    now: Instant,
    policy: &Policy,
) -> Result<std::result::Result<Order, Refused>> {
    let mut after = match change(tx, before, event, by, now, policy)? {
        Ok(after) => after,
        Err(refused) => return Ok(Err(refused)),
    };
    tx.keep_for_local_worker(&mut after, now, policy.lease);
    update(tx, before, &after)?;
    Ok(Ok(after))
}

/// THE function through which every order changes: one step of the machine and one row of `order_events`. Its callers
/// write the row in the same transaction, by [`update`].
fn change(
    tx: &mut Tx,
    before: &Order,
    event: &Event,
    by: Actor,
    now: Instant,
    policy: &Policy,
) -> Result<std::result::Result<Order, Refused>> {
    let after = match machine::step(before, event, by, now, &policy.deadlines) {
        Ok(after) => after,
        Err(refused) => return Ok(Err(refused)),
    };
    record(tx, Some(before), &after, event, by)?;
    Ok(Ok(after))
}

/// A change that the machine never refuses, unless the row is not what it should be.
fn certain(changed: std::result::Result<Order, Refused>) -> Result<Order> {
    changed.map_err(|refused| Error::Damaged(refused.to_string()))
}

/// The order of a row; `None` if it cannot be read. One such row must not hold up the others: it is set aside for an
/// operator, and its deadline is put off.
pub(super) fn readable(tx: &mut Tx, row: OrderRow, now: Instant) -> Result<Option<Order>> {
    let id = row.id().to_vec();
    let fault = match row.into_order() {
        Ok(order) => return Ok(Some(order)),
        Err(fault) => fault,
    };
    tracing::error!(order.id = ?uuid(&id), %fault, "store.unreadable_order");
    let later = now + Duration::hours(1);
    let row = orders::table.find(&id);
    diesel::update(row).set(orders::parked_at.eq(millis(now))).execute(tx.conn)?;
    diesel::update(row.filter(orders::deadline_at.is_not_null()))
        .set(orders::deadline_at.eq(millis(later)))
        .execute(tx.conn)?;
    Ok(None)
}

/// A result came too late, but it may tell of money: if the order's money is on its way back, look again now.
fn wake_release(tx: &mut Tx, mut order: Order, now: Instant) -> Result<()> {
    if order.task.stage == Some(Stage::Release) && order.task.leased_until.is_none() {
        order.task.next_attempt_at = Some(now);
        update_task(tx, &order)?;
    }
    Ok(())
}

/// Appends to the event log and gives the place in it.
pub(super) fn record(tx: &mut Tx, before: Option<&Order>, after: &Order, event: &Event, by: Actor) -> Result<i64> {
    tx.count(Happened::new(before, after, event, by));
    Ok(diesel::insert_into(order_events::table)
        .values(NewEventRow::of(before, after, event, by))
        .returning(order_events::position)
        .get_result(tx.conn)?)
}

/// Writes what has changed of an order. The caller has just read the row in this transaction, and there is one
/// writer: nothing can have come between.
fn update(tx: &mut Tx, before: &Order, after: &Order) -> Result<()> {
    let seldom = SeldomChangedColumns::of(after);
    let changed = if seldom == SeldomChangedColumns::of(before) {
        update_order(after.id, ChangedColumns::of(after)).execute(tx.conn)?
    } else {
        update_order(after.id, (ChangedColumns::of(after), seldom)).execute(tx.conn)?
    };
    if changed == 1 { Ok(()) } else { Err(Error::Damaged(format!("order {} vanished while it was changed", after.id))) }
}

/// Writes only what a claim changes.
pub(super) fn update_task(tx: &mut Tx, order: &Order) -> Result<()> {
    let task = (
        orders::fence.eq(order.task.fence),
        orders::attempts.eq(order.task.attempts),
        orders::crashes.eq(order.task.crashes),
        orders::leased_until.eq(order.task.leased_until.map(millis)),
        orders::next_attempt_at.eq(order.task.next_attempt_at.map(millis)),
    );
    update_order(order.id, task).execute(tx.conn)?;
    Ok(())
}
