//! How an order changes. A status changes only in [`change`], which has five doors: [`Store::commit`] (a worker with a
//! claim), [`Store::claim`] (sets an order aside), [`Store::receive`] (word from outside), [`Store::command`] (an
//! operator) and [`Store::expire`] (the timer).

pub(super) mod commands;

use chrono::Duration;
use diesel::prelude::*;

use super::accept::taken;
use super::changes::{apply, certain, surely, worked, write};
use super::claim::{Claim, Lease};
use super::drafts::{self, Draft};
use super::position::{Place, Position};
use super::rows::event::OCCURRED_AT;
use super::rows::{OrderRow, document, millis, raw, uuid};
use super::schema::{order_events, orders};
use super::sql::{Conn, Json};
use super::tx::{Touching, Tx, Urgency};
use super::{Error, Policy, Result, Store};
use crate::acts::Outcome;
use crate::admission::Revision;
use crate::lifecycle::{Actor, Event, EventKind, RULES, Status};
use crate::machine::{self, Refused, When};
use crate::meters::{METERS, WordResult};
use crate::order::{Instant, OrderId, PartnerId, ShopId};
use crate::state::Order;
use crate::work;

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

/// Who may say a word about an order. Operators are not among them: they act by [`Store::command`], which demands the
/// version they decided on and who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Partner,
    Worker,
    Gateway,
    Timer,
    Shop,
}

impl From<Sender> for Actor {
    fn from(sender: Sender) -> Self {
        match sender {
            Sender::Partner => Self::Partner,
            Sender::Worker => Self::Worker,
            Sender::Gateway => Self::Gateway,
            Sender::Timer => Self::Timer,
            Sender::Shop => Self::Shop,
        }
    }
}

/// Word from outside about an order: from the customer, the shop or the gateway. An operator has no words:
///
/// ```compile_fail,E0308
/// # use lungo::{lifecycle::{Actor, Event}, order::OrderId, store::{Scope, Word}};
/// let word = Word {
///     order_id: OrderId::new(),
///     scope: Scope::Everyone,
///     sender: Actor::Operator,
///     event: Event::Retried { note: None },
///     version: None,
///     now: lungo::clock::now(),
/// };
/// ```
pub struct Word {
    pub order_id: OrderId,
    pub scope: Scope,
    pub sender: Sender,
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
    pub async fn commit(&self, mut claim: Claim, outcome: Outcome, now: Instant) -> Result<Committed> {
        let policy = self.policy.clone();
        let touching = Touching::known(claim.order().id);
        let trial = claim.take_trial();
        let (committed, _) = self
            .lane
            .write_at(Urgency::Control, touching, move |tx| {
                // The claim knows the row as it was leased, and mostly nobody has changed it since.
                let (after, steps) = worked(claim.order(), &outcome, claim.blamed_before(), now, &policy)?;
                if let Some(after) = write(tx, claim.order(), after, steps, now, &policy)? {
                    return Ok(Committed::Done(Box::new(after)));
                }
                let Some(before) = tx.find(claim.order().id)? else { return Ok(Committed::Lost) };
                if before.task.fence != claim.fence() {
                    wake_release(tx, before, now)?;
                    return Ok(Committed::Lost);
                }
                let (after, steps) = worked(&before, &outcome, claim.blamed_before(), now, &policy)?;
                let after = certain(write(tx, &before, after, steps, now, &policy)?)?;
                Ok(Committed::Done(Box::new(after)))
            })
            .await?;
        if let Some(trial) = trial {
            trial.came_back(now);
        }
        Ok(committed)
    }

    /// Gives a claim back unused, as if it had never been taken, to be `due` again then: neither a shutdown nor a
    /// long line consumes an attempt.
    pub async fn give_back(&self, claim: Claim, due: Instant) -> Result<()> {
        let lease = claim.lease();
        let given_back = self.end_lease(lease, lease.blame_unused(), 1, due).await;
        drop(claim);
        given_back
    }

    /// Ends a lease whose act came back with a result that could not be written: its work is `due` again then. Left to
    /// lapse, it would look like the death of a process.
    pub async fn came_back(&self, lease: Lease, due: Instant) -> Result<()> {
        self.end_lease(lease, 0, 0, due).await
    }

    async fn end_lease(&self, lease: Lease, blame: i32, unused_attempts: i32, due: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let Some(before) = tx.find(lease.order_id)? else { return Ok(()) };
                if before.task.fence == lease.fence {
                    let mut order = before.clone();
                    order.task.fence += 1;
                    order.task.attempts -= unused_attempts;
                    order.task.blame = blame;
                    order.task.leased_until = None;
                    order.task.next_attempt_at = Some(due);
                    tx.update_task(&before, &order)?;
                }
                Ok(())
            })
            .await
    }

    /// Hears a word from outside. Whatever is late, repeated or illegal leaves the order as it is.
    pub async fn receive(&self, word: Word) -> Result<Received> {
        let occurred = word.now;
        self.receive_kept(word, occurred).await
    }

    /// Hears what `occurred` before it could be said.
    pub async fn receive_kept(&self, word: Word, occurred: Instant) -> Result<Received> {
        let (policy, cluster, actor) = (self.policy.clone(), self.cluster, word.sender.into());
        let touching = Touching::order(word.order_id);
        let heard = move |tx: &mut Tx| {
            let received = hear_kept(tx, &word, occurred, cluster, &policy)?;
            if !matches!(received, Received::Changed(..)) {
                tx.refuse();
            }
            Ok(received)
        };
        let received = self.heard(self.lane.write_at(Urgency::Control, touching, heard).await?);
        METERS.received.of((actor, WordResult::from(&received))).increment(1);
        Ok(received)
    }

    /// Changes how an order is picked up. `slot_capacity` is how many orders the slot holds that it moves to, if it
    /// moves; it is counted in the transaction that moves it.
    pub async fn change_pickup(&self, word: Word, slot_capacity: Option<u32>) -> Result<Received> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let mut touching = Touching::order(word.order_id);
        if let (Event::PickupChanged { pickup, .. }, Some(order)) = (&word.event, self.order(word.order_id).await?) {
            // Which shop takes an order never changes.
            touching = touching.and_slot(order.0.shop_id, pickup.at);
        }
        let moved = self
            .lane
            .write_at(Urgency::Control, touching, move |tx| {
                let order = tx.find(word.order_id)?.filter(|order| word.scope.holds(order));
                if let (Some(order), Event::PickupChanged { pickup, .. }, Some(capacity)) =
                    (order, &word.event, slot_capacity)
                    && order.pickup.at != pickup.at
                    && taken(tx.conn()?, order.shop_id, pickup.at)? >= capacity
                {
                    return Ok(Received::SlotFull);
                }
                hear(tx, &word, cluster, &policy)
            })
            .await?;
        Ok(self.heard(moved))
    }

    /// Removes an order from its customer's sight: a cancellation by the customer where it is still ongoing, and
    /// a tombstone.
    pub async fn delete(&self, order_id: OrderId, partner: PartnerId, now: Instant) -> Result<Received> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let deleted = self
            .lane
            .write_at(Urgency::Control, Touching::order(order_id).and_draft(order_id), move |tx| {
                let Some(order) = tx.find(order_id)?.filter(|o| o.partner_id == partner) else {
                    let draft = drafts::bury(tx, order_id, partner, now)?;
                    return Ok(draft.map_or(Received::Unknown, |draft| Received::DraftBuried(Box::new(draft))));
                };
                let word = |event| Word {
                    order_id,
                    scope: Scope::Partner(partner),
                    sender: Sender::Partner,
                    event,
                    version: None,
                    now,
                };
                if order.is_ongoing() {
                    let cancelled = hear(tx, &word(Event::CustomerCancelled), cluster, &policy)?;
                    if let Received::Refused(..) = cancelled {
                        return Ok(cancelled);
                    }
                }
                hear(tx, &word(Event::Deleted), cluster, &policy)
            })
            .await?;
        let received = self.heard(deleted);
        METERS.received.of((Actor::Partner, WordResult::from(&received))).increment(1);
        Ok(received)
    }

    /// What was committed, with how far the database has come by it.
    fn heard(&self, (mut received, place): (Received, Place)) -> Received {
        if let Received::Changed(order, position) | Received::Already(order, position) = &mut received {
            position.at = place;
            self.wrote(order.partner_id, &order.customer_id, place);
        }
        received
    }

    /// Decides every order whose deadline has come, up to `limit`; only of those created at `since` or later, if
    /// that is given (see `gaps`). Needs nothing but the database: a lease does not hold a deadline up.
    pub async fn expire(&self, limit: i64, now: Instant, since: Option<Instant>) -> Result<Vec<(OrderId, EventKind)>> {
        if self.is_withheld() {
            return Ok(Vec::new());
        }
        let policy = self.policy.clone();
        let (decided, _) = self
            .lane
            .write_at(Urgency::Control, Touching::nothing(), move |tx| {
                let since = millis(since.unwrap_or(Instant::UNIX_EPOCH));
                let due = orders::table
                    .filter(orders::deadline_at.le(millis(now)))
                    .filter(orders::created_at.ge(since))
                    .order(orders::deadline_at)
                    .limit(limit);
                // What somebody else changes now is seen to by whoever looks next.
                let due: Vec<OrderRow> = match tx.conn()? {
                    Conn::Sqlite(conn) => due.load(conn)?,
                    Conn::Postgres(conn) => due.for_update().skip_locked().load(conn)?,
                };
                let mut decided = Vec::with_capacity(due.len());
                for row in due {
                    let Some(order) = readable(tx, row, now)? else { continue };
                    let Some(event) = machine::deadline_event(&order, now, &policy.deadlines) else { continue };
                    surely(apply(tx, &order, &event, Actor::Timer, now, &policy)?)?;
                    decided.push((order.id, event.kind()));
                }
                Ok(decided)
            })
            .await?;
        Ok(decided)
    }
}

/// One word from outside, inside a transaction. How far the database has come is only known once it is committed.
fn hear(tx: &mut Tx, word: &Word, cluster: u64, policy: &Policy) -> Result<Received> {
    hear_kept(tx, word, word.now, cluster, policy)
}

/// As [`hear`], for what `occurred` before.
fn hear_kept(tx: &mut Tx, word: &Word, occurred: Instant, cluster: u64, policy: &Policy) -> Result<Received> {
    let Word { order_id, scope, sender, ref event, version, now } = *word;
    let when = When { now, occurred };
    said(tx, &Said { order_id, scope, actor: sender.into(), event, version, when }, cluster, policy)
}

/// A word, or what an operator decided.
struct Said<'a> {
    order_id: OrderId,
    scope: Scope,
    actor: Actor,
    event: &'a Event,
    version: Option<i64>,
    when: When,
}

fn said(tx: &mut Tx, said: &Said, cluster: u64, policy: &Policy) -> Result<Received> {
    let Said { order_id, scope, actor, event, version, when } = *said;
    if actor != Actor::Gateway && tx.is_withheld() {
        return Err(Error::Withheld);
    }
    let Some(before) = tx.find(order_id)?.filter(|order| scope.holds(order)) else {
        return Ok(Received::Unknown);
    };
    if version.is_some_and(|seen| seen != before.version) {
        return Ok(Received::Stale(Box::new(before)));
    }
    let event = machine::as_found(&before, event.clone());
    let position = |order: &Order| position(order, cluster);
    match apply(tx, &before, &event, actor, when, policy)? {
        Ok(after) => {
            let position = position(&after);
            Ok(Received::Changed(Box::new(after), position))
        }
        Err(_) if has_happened(tx.conn()?, &before, &event)? => {
            let position = position(&before);
            Ok(Received::Already(Box::new(before), position))
        }
        // The gateway is not told "no": what it says and what is written here cannot both be true, and a person has
        // to know of it.
        Err(refused) if actor == Actor::Gateway => {
            let event = Event::Contradicted { what: refused.to_string() };
            let after = surely(apply(tx, &before, &event, actor, when.now, policy)?)?;
            let position = position(&after);
            Ok(Received::Changed(Box::new(after), position))
        }
        Err(refused) => Ok(Received::Refused(Box::new(before), refused)),
    }
}

/// Where an order stands in the log, before it is known how far the database has come.
fn position(order: &Order, cluster: u64) -> Position {
    let revision = Revision { number: order.number, nonce: order.nonce };
    Position::of(cluster, Place::default(), (order.partner_id, &order.customer_id), revision)
}

/// Whether this was said and done before, with the same content: a tablet that replays its queue is not told off for
/// it. A recall can be taken back, so it counts only while the order is being made again. An acceptance that names
/// neither time nor lines says no more than any other.
fn has_happened(conn: &mut Conn, order: &Order, event: &Event) -> Result<bool> {
    let kind = event.kind();
    let is_step = RULES.iter().any(|rule| rule.event == kind) || kind == EventKind::Deleted;
    let undone = kind == EventKind::Recalled && order.status != Status::Preparing;
    if !is_step || undone {
        return Ok(false);
    }
    let earlier: Vec<Json> = order_events::table
        .filter(order_events::order_id.eq(raw(order.id)))
        .filter(order_events::kind.eq(kind.word()))
        .select(order_events::data)
        .load(conn)?;
    let says_no_more =
        matches!(event, Event::ShopAccepted { minutes: None, dropped_lines } if dropped_lines.is_empty());
    let said = serde_json::to_value(event).expect("plain data serialises");
    // Not letter by letter: PostgreSQL writes documents in its own way.
    let is_the_same = |data: &Json| {
        let mut data = document::<serde_json::Value>(data)?;
        data.as_object_mut().map(|data| data.remove(OCCURRED_AT));
        Ok(data == said)
    };
    if says_no_more {
        return Ok(!earlier.is_empty());
    }
    Ok(earlier.iter().map(is_the_same).collect::<Result<Vec<_>>>()?.contains(&true))
}

/// The order of a row; `None` if it cannot be read. One such row must not hold up the others: it is set aside for an
/// operator, and its deadline is put off.
pub(super) fn readable(tx: &mut Tx, row: OrderRow, now: Instant) -> Result<Option<Order>> {
    let id = row.id().clone();
    let fault = match row.into_order() {
        Ok(order) => {
            tx.is_locked(&order);
            return Ok(Some(order));
        }
        Err(fault) => fault,
    };
    let order_id = uuid(&id).map_or_else(|_| "unreadable".to_owned(), |id| id.to_string());
    tracing::error!(order.id = order_id, %fault, "store.unreadable_order");
    let later = now + Duration::hours(1);
    let row = orders::table.find(&id);
    diesel::update(row).set(orders::parked_at.eq(millis(now))).execute(tx.conn()?)?;
    diesel::update(row.filter(orders::deadline_at.is_not_null()))
        .set(orders::deadline_at.eq(millis(later)))
        .execute(tx.conn()?)?;
    Ok(None)
}

/// A result came too late, but it may tell of money.
fn wake_release(tx: &mut Tx, before: Order, now: Instant) -> Result<()> {
    if let Some(order) = work::woken(&before, now) {
        tx.update_task(&before, &order)?;
    }
    Ok(())
}
