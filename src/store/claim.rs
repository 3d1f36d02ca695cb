//! The right to work on an order: what it is, who is offered it here, and when a row is set aside instead.

use chrono::Duration;
use strum::VariantArray;
use tokio::sync::mpsc;

use crate::lifecycle::{Event, Stage};
use crate::order::Instant;
use crate::state::Order;

/// The right to work on one order at one stage, for the time of a lease. Only the store makes one, and
/// [`Store::commit`] consumes it: acting without a lease, or committing twice, does not compile.
#[derive(Debug)]
pub struct Claim {
    /// Boxed: a claim is passed from hand to hand a dozen times.
    order: Box<Order>,
    stage: Stage,
}

impl Claim {
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// How long the lease lasts from now.
    pub fn lasts(&self, now: Instant) -> Duration {
        self.order.task.leased_until.map_or(Duration::zero(), |until| until - now)
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn fence(&self) -> i64 {
        self.order.task.fence
    }
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
    Claim { order: Box::new(order.clone()), stage }
}

/// Whether the row has hurt those who worked on it too often. Releases and look-ups never park: money is owed.
pub(super) fn is_poison(order: &Order) -> bool {
    let parkable = !matches!(order.task.stage, Some(Stage::Release | Stage::LookUp) | None);
    parkable && (order.task.errors >= MAX_ERRORS || order.task.crashes >= MAX_CRASHES)
}
