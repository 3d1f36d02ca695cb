//! How an order comes to be and how it changes. A status changes only in [`change`], which has three doors:
//! [`Store::commit`] (a worker with a claim), [`Store::receive`] (word from outside) and [`Store::expire`]
//! (the timer).

use chrono::Duration;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;

use super::claim::{self, Claim};
use super::drafts::{self, Draft};
use super::lanes::{Tx, Urgency};
use super::position::{Position, last_position};
use super::rows::{ChangedColumns, NewEventRow, OrderRow, SeldomChangedColumns, millis, to_document, uuid};
use super::schema::{order_events, order_names, orders};
use super::statements::update_order;
use super::{Error, Policy, Result, Store, lists};
use crate::admission::{self, Keyed, Present, Request, Revision, Verdict};
use crate::catalogue::{Priced, Refusal};
use crate::lifecycle::{Actor, Event, EventKind, RULES, Stage, Status};
use crate::machine::{self, Birth, Refused};
use crate::meters::{Decision, Happened, METERS, WordResult};
use crate::order::{CustomerId, Hash, Instant, NewOrder, OrderId, PartnerId, ShopId};
use crate::state::Order;

/// A request to create an order, with all that admission needs to know besides the customer's present orders.
pub struct Accept {
    pub order_id: OrderId,
    pub partner_id: PartnerId,
    pub request: NewOrder,
    pub idempotency_key: Option<String>,
    pub seen: Option<Revision>,
    /// The catalogue's verdict: what it costs and when it could be ready, or its refusal.
    pub catalogue: std::result::Result<Priced, Refusal>,
    /// The draft that is being confirmed, as it was when the catalogue judged it. Its id is the order's id, and
    /// thereby its own idempotency key.
    pub draft: Option<Draft>,
    pub now: Instant,
}

/// What admission decided, and what the client has to be told with it.
pub struct Admitted {
    pub verdict: Verdict<Refusal>,
    /// The new order, the replayed one, the deleted one or the similar one.
    pub order: Option<Order>,
    pub customer_id: CustomerId,
    /// The customer's ongoing orders, before this one.
    pub present: Vec<Order>,
    /// The customer's revision now.
    pub revision: Revision,
    pub position: Position,
}

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
    /// Decides about a new order against the customer's present ones and, if it is accepted, commits it.
    pub async fn accept(&self, accept: Accept) -> Result<Admitted> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let admitted = self
            .lane
            .write(Urgency::Create, move |tx| {
                let now = accept.now;
                let owner = (accept.partner_id, &accept.request.customer_id);
                let request = Request {
                    basket: accept.request.basket(),
                    fingerprint: accept.request.fingerprint(),
                    seen: accept.seen,
                };
                let slot_capacity =
                    accept.catalogue.as_ref().ok().and_then(|priced| priced.slot.map(|slot| slot.capacity));
                let mut present = present(tx, &accept, &policy)?;
                let mut judged = accept.catalogue;
                if let Some(draft) = &accept.draft {
                    let now_held = drafts::find_draft(tx.conn, accept.order_id)?;
                    if now_held.as_ref().is_some_and(|held| held.deleted_at.is_some()) {
                        present.keyed.get_or_insert(Keyed {
                            order_id: accept.order_id,
                            fingerprint: request.fingerprint,
                            is_deleted: true,
                        });
                    }
                    if now_held.is_none_or(|held| !held.holds_the_same(draft)) {
                        judged = Err(Refusal::DraftReplaced);
                    }
                }
                let (priced, catalogue) = match judged {
                    Ok(priced) => (Some(priced), Ok(slot_capacity)),
                    Err(refusal) => (None, Err(refusal)),
                };
                let verdict = admission::decide(&present, &request, catalogue, &policy.admission, now);
                let mut revision = present.revision;
                let mut place = None;
                let order = match (&verdict, priced) {
                    (Verdict::Accept, Some(priced)) => {
                        let mut order = machine::born(Birth {
                            id: accept.order_id,
                            partner_id: accept.partner_id,
                            customer_id: accept.request.customer_id.clone(),
                            shop_id: accept.request.shop_id,
                            number: present.revision.number + 1,
                            nonce: rand::random::<i64>(),
                            placed: priced.placed,
                            pickup: accept.request.pickup.clone(),
                            offer_at: priced.offer_at,
                            expected_ready_at: priced.expected_ready_at,
                            now,
                            deadlines: &policy.deadlines,
                        });
                        tx.keep_for_local_worker(&mut order, now, policy.lease);
                        place = Some(insert(tx, &order, accept.idempotency_key.as_deref(), request.fingerprint)?);
                        revision = Revision { number: order.number, nonce: order.nonce };
                        Some(order)
                    }
                    (Verdict::Replay(id) | Verdict::Deleted(id) | Verdict::Similar(id), _) => {
                        lists::find(tx.conn, *id)?
                    }
                    _ => None,
                };
                let place = place.map_or_else(|| last_position(tx.conn), Ok)?;
                Ok(Admitted {
                    verdict,
                    order,
                    position: Position::of(cluster, place, owner, revision),
                    customer_id: accept.request.customer_id,
                    present: present.orders.into_iter().filter(Order::is_ongoing).collect(),
                    revision,
                })
            })
            .await?;
        METERS.admissions.of(Decision::from(&admitted.verdict)).increment(1);
        Ok(admitted)
    }

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

    /// Gives a claim back unused, as if it had never been taken: a shutdown consumes no attempt.
    pub async fn give_back(&self, claim: Claim, now: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let Some(mut order) = lists::find(tx.conn, claim.order().id)? else { return Ok(()) };
                if order.task.fence == claim.fence() {
                    order.task.fence += 1;
                    order.task.attempts -= 1;
                    order.task.leased_until = None;
                    order.task.next_attempt_at = Some(now);
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

/// What admission must know of the customer, read in the deciding transaction.
fn present(tx: &mut Tx, accept: &Accept, policy: &Policy) -> Result<Present> {
    let (partner, customer) = (accept.partner_id.0.as_bytes(), &accept.request.customer_id.0);
    let conn = &mut *tx.conn;
    let mut known = lists::ongoing_of(conn, accept.partner_id, &accept.request.customer_id)?;

    let names = || {
        order_names::table
            .filter(order_names::partner_id.eq(partner.as_slice()))
            .filter(order_names::customer_id.eq(customer))
    };
    // Whoever has seen the customer's orders is not told of similar ones: then nothing but the revision is needed.
    let since = millis(accept.now - policy.admission.similar_within);
    let mut revision = Revision::default();
    let mut too_old = 0;
    let newest_first = names()
        .filter(order_names::number.gt(0))
        .order(order_names::number.desc())
        .select((order_names::number, order_names::nonce, order_names::created_at))
        .load_iter::<(i64, i64, i64), DefaultLoadingMode>(conn)?;
    for name in newest_first {
        let (number, nonce, created_at) = name?;
        if revision.number == 0 {
            revision = Revision { number, nonce };
        }
        if accept.seen.is_some() || created_at <= since {
            too_old = number;
            break;
        }
    }
    if revision.number > too_old {
        // Only those that can be similar. `eq_any` would be the shorter text, but is never cached.
        let succeeded = orders::status.eq(Status::Completed.word()).or(orders::status.eq(Status::NotCollected.word()));
        let rows: Vec<OrderRow> = names()
            .filter(order_names::number.gt(too_old))
            .inner_join(orders::table.on(orders::id.eq(order_names::order_id)))
            .filter(succeeded)
            .filter(orders::deleted_at.is_null())
            .order(order_names::number.desc())
            .select(orders::all_columns)
            .load(conn)?;
        for row in rows {
            known.push(row.into_order()?);
        }
    }

    let keyed = if accept.draft.is_some() {
        lists::find(conn, accept.order_id)?.map(|order| Keyed {
            order_id: order.id,
            fingerprint: accept.request.fingerprint(),
            is_deleted: order.deleted_at.is_some(),
        })
    } else if let Some(key) = &accept.idempotency_key {
        names()
            .filter(order_names::number.eq(0))
            .filter(order_names::idempotency_key.eq(key))
            .inner_join(orders::table.on(orders::id.eq(order_names::order_id)))
            .select((order_names::order_id, order_names::fingerprint, orders::deleted_at.is_not_null()))
            .get_result::<(Vec<u8>, Vec<u8>, bool)>(conn)
            .optional()?
            .map(|(id, fingerprint, is_deleted)| {
                let fingerprint = fingerprint
                    .try_into()
                    .map(Hash)
                    .map_err(|_| Error::Damaged("a stored fingerprint has another length".into()))?;
                Ok::<_, Error>(Keyed { order_id: OrderId(uuid(&id)?), fingerprint, is_deleted })
            })
            .transpose()?
    } else {
        None
    };

    let nonce_at_seen = match accept.seen {
        Some(seen) if seen.number > 0 => names()
            .filter(order_names::number.eq(seen.number))
            .select(order_names::nonce)
            .get_result(conn)
            .optional()?,
        _ => None,
    };

    let slot_taken = taken(conn, accept.request.shop_id, accept.request.pickup.at)?;
    Ok(Present { orders: known, revision, keyed, nonce_at_seen, slot_taken })
}

/// How many ongoing orders of a shop are in a pickup slot.
fn taken(conn: &mut SqliteConnection, shop: ShopId, slot: Option<Instant>) -> Result<u32> {
    let Some(at) = slot else { return Ok(0) };
    let count: i64 = orders::table
        .filter(orders::shop_id.eq(shop.0.as_bytes().as_slice()))
        .filter(orders::slot_at.eq(millis(at)))
        .filter(orders::ongoing)
        .count()
        .get_result(conn)?;
    Ok(count.try_into().unwrap_or(u32::MAX))
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

fn insert(tx: &mut Tx, order: &Order, key: Option<&str>, fingerprint: Hash) -> Result<i64> {
    diesel::insert_into(orders::table).values(OrderRow::of(order)).execute(tx.conn)?;
    let name = |number: i64, key: &str| {
        (
            order_names::partner_id.eq(order.partner_id.0.as_bytes().to_vec()),
            order_names::customer_id.eq(order.customer_id.0.clone()),
            order_names::number.eq(number),
            order_names::idempotency_key.eq(key.to_owned()),
            order_names::order_id.eq(order.id.0.as_bytes().to_vec()),
            order_names::nonce.eq(order.nonce),
            order_names::fingerprint.eq(fingerprint.0.to_vec()),
            order_names::created_at.eq(millis(order.created_at)),
        )
    };
    diesel::insert_into(order_names::table).values(name(order.number, "")).execute(tx.conn)?;
    if let Some(key) = key {
        diesel::insert_into(order_names::table).values(name(0, key)).execute(tx.conn)?;
    }
    record(tx, None, order, &Event::Created, Actor::Partner)
}

/// Appends to the event log and gives the place in it.
fn record(tx: &mut Tx, before: Option<&Order>, after: &Order, event: &Event, by: Actor) -> Result<i64> {
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
