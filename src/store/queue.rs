//! The queue hidden in the orders' rows: who works on which row now.

use chrono::Duration;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use strum::VariantArray;
use tokio::sync::mpsc;

use super::lanes::{Tx, Urgency};
use super::rows::{OrderRow, instant, millis, word};
use super::schema::orders;
use super::{Error, Result, Store, orders as changes};
use crate::lifecycle::{Actor, Event, Stage};
use crate::order::Instant;
use crate::state::Order;

/// The right to work on one order at one stage, for the time of a lease. Only the store makes one, and
/// [`Store::commit`] consumes it: acting without a lease, or committing twice, does not compile.
#[derive(Debug)]
pub struct Claim {
    order: Order,
    stage: Stage,
}

impl Claim {
    pub fn order(&self) -> &Order {
        &self.order
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn fence(&self) -> i64 {
        self.order.task.fence
    }
}

/// The local worker's queues, one a stage. A row is leased to this instance only when there is room in them.
#[derive(Clone)]
pub(super) struct Handoff {
    queues: Vec<mpsc::Sender<Claim>>,
}

/// The worker's end of the local queues, in the order of [`Stage::VARIANTS`].
pub struct Claims(pub Vec<(Stage, mpsc::Receiver<Claim>)>);

impl Handoff {
    pub fn new(room: usize) -> (Self, Claims) {
        let (queues, claims) = Stage::VARIANTS
            .iter()
            .map(|stage| {
                let (queue, claims) = mpsc::channel(room);
                (queue, (*stage, claims))
            })
            .unzip();
        (Self { queues }, Claims(claims))
    }

    pub fn reserve(&self, stage: Stage) -> Option<mpsc::OwnedPermit<Claim>> {
        self.queues[stage as usize].clone().try_reserve_owned().ok()
    }
}

/// After this many errors of no known class a row is set aside for an operator …
const MAX_ERRORS: i32 = 8;
/// … and after this many crashes of whoever worked on it.
const MAX_CRASHES: i32 = 3;

/// Leases the order to this instance, in memory: the caller writes the row.
pub(super) fn lease(order: &mut Order, stage: Stage, now: Instant, lease: Duration) -> Claim {
    let task = &mut order.task;
    task.fence += 1;
    task.attempts += 1;
    task.leased_until = Some(now + lease);
    task.next_attempt_at = task.leased_until;
    Claim { order: order.clone(), stage }
}

/// Whether the row has hurt those who worked on it too often. Releases and look-ups never park: money is owed.
pub(super) fn is_poison(order: &Order) -> bool {
    let parkable = !matches!(order.task.stage, Some(Stage::Release | Stage::LookUp) | None);
    parkable && (order.task.errors >= MAX_ERRORS || order.task.crashes >= MAX_CRASHES)
}

impl Store {
    /// Takes up to `limit` rows of a stage that nobody holds. An expired lease is simply due again, so there is
    /// no rescuer to race with.
    pub async fn claim(&self, stage: Stage, limit: i64, now: Instant) -> Result<Vec<Claim>> {
        let policy = self.policy.clone();
        self.lane
            .write(Urgency::Control, move |tx| {
                let due = orders::table
                    .filter(orders::stage.eq(stage.word()))
                    .filter(orders::next_attempt_at.le(millis(now)))
                    .filter(orders::parked_at.is_null())
                    .order(orders::next_attempt_at)
                    .load_iter::<OrderRow, DefaultLoadingMode>(tx.conn)?
                    .take(usize::try_from(limit).unwrap_or_default())
                    .collect::<QueryResult<Vec<_>>>()?;
                let mut claims = Vec::with_capacity(due.len());
                for row in due {
                    let Some(mut order) = changes::readable(tx, row, now)? else { continue };
                    // Whoever held it before never came back.
                    order.task.crashes += i32::from(order.task.leased_until.is_some());
                    if is_poison(&order) {
                        let why = format!("{} crashes, {} errors", order.task.crashes, order.task.errors);
                        changes::apply(tx, &order, &Event::Parked { why }, Actor::Worker, now, &policy)?
                            .map_err(|refused| Error::Damaged(refused.to_string()))?;
                        continue;
                    }
                    let claim = lease(&mut order, stage, now, policy.lease);
                    changes::update_task(tx, &order)?;
                    claims.push(claim);
                }
                Ok(claims)
            })
            .await
    }

    /// When something is next due: the earliest attempt of each stage, and the earliest deadline.
    pub async fn next_due(&self) -> Result<(Vec<(Stage, Instant)>, Option<Instant>)> {
        self.readers
            .read(|conn| {
                let mut stages = Vec::new();
                for stage in Stage::VARIANTS {
                    let earliest: Option<Option<i64>> = orders::table
                        .filter(orders::stage.eq(stage.word()))
                        .filter(orders::parked_at.is_null())
                        .order(orders::next_attempt_at)
                        .select(orders::next_attempt_at)
                        .get_result(conn)
                        .optional()?;
                    stages.extend(earliest.flatten().map(|at| (*stage, instant(at))));
                }
                let deadline: Option<Option<i64>> = orders::table
                    .filter(orders::deadline_at.is_not_null())
                    .order(orders::deadline_at)
                    .select(orders::deadline_at)
                    .get_result(conn)
                    .optional()?;
                Ok((stages, deadline.flatten().map(instant)))
            })
            .await
    }

    /// How many rows stand in each stage, and how many of them are parked.
    pub async fn depths(&self) -> Result<Vec<(Stage, i64, i64)>> {
        self.readers
            .read(|conn| {
                // Two questions, so that each has an index of live rows and none reads the history.
                let waiting: Vec<(Option<String>, i64)> = orders::table
                    .filter(orders::stage.is_not_null())
                    .filter(orders::parked_at.is_null())
                    .group_by(orders::stage)
                    .select((orders::stage, diesel::dsl::count_star()))
                    .load(conn)?;
                let parked: Vec<Option<String>> =
                    orders::table.filter(orders::parked_at.is_not_null()).select(orders::stage).load(conn)?;
                let mut depths: Vec<_> = Stage::VARIANTS.iter().map(|stage| (*stage, 0, 0)).collect();
                for (stage, count) in waiting {
                    depths[word::<Stage>(&stage.unwrap_or_default())? as usize].1 += count;
                }
                for stage in parked.into_iter().flatten() {
                    let depth = &mut depths[word::<Stage>(&stage)? as usize];
                    (depth.1, depth.2) = (depth.1 + 1, depth.2 + 1);
                }
                Ok(depths)
            })
            .await
    }
}

/// Leases a freshly changed row to the local worker if its next stage is due and there is room for it.
pub(super) fn keep_for_local_worker(tx: &mut Tx, order: &mut Order, now: Instant, duration: Duration) {
    let Some(stage) = order.task.stage.filter(|_| order.task.parked_at.is_none()) else { return };
    if order.task.leased_until.is_some() || order.task.next_attempt_at.is_none_or(|at| at > now) {
        return;
    }
    if let Some(permit) = tx.reserve(stage) {
        let claim = lease(order, stage, now, duration);
        tx.hand_over(permit, claim);
    }
}
