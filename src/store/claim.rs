//! The right to work on an order: what it is, who is offered it here, and when a row is set aside instead.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::Duration;
use strum::VariantArray;
use tokio::sync::mpsc;

use super::restored::Withheld;
use crate::lifecycle::Stage;
use crate::order::{Instant, OrderId};
use crate::state::Order;
use crate::suspects::{DEATH, Leave, SUSPECTED, Trials};
use crate::work;

/// The right to work on one order at one stage, for the time of a lease. Only the store makes one, and
/// [`Store::commit`] consumes it: acting without a lease, or committing twice, does not compile.
#[derive(Debug)]
pub struct Claim {
    /// Boxed: a claim is passed from hand to hand a dozen times.
    order: Box<Order>,
    stage: Stage,
    /// When the work was due, before the lease took the place of that.
    due: Option<Instant>,
    /// What it was blamed with before it was claimed.
    blamed_before: i32,
    /// Where it is a suspect.
    trial: Option<Trial>,
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

    /// Since when the order has waited for this claim and its turn.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Names the lease, for who has to end it when the claim is gone.
    pub fn lease(&self) -> Lease {
        let (order_id, fence, blame) = (self.order.id, self.fence(), self.blamed_before);
        Lease { order_id, fence, is_suspect: self.trial.is_some() || blame > 0, blame }
    }

    pub(super) fn fence(&self) -> i64 {
        self.order.task.fence
    }

    pub(super) fn blamed_before(&self) -> i32 {
        self.blamed_before
    }

    pub(super) fn take_trial(&mut self) -> Option<Trial> {
        self.trial.take()
    }

    /// Whether the order is tried as one that may have killed a process.
    pub fn is_tried(&self) -> bool {
        self.trial.is_some()
    }
}

/// A lease, as the row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(super) order_id: OrderId,
    pub(super) fence: i64,
    is_suspect: bool,
    blame: i32,
}

impl Lease {
    /// What the row is blamed with when the lease is given up before anything was done under it.
    pub(super) fn blame_unused(&self) -> i32 {
        if self.is_suspect { self.blame.max(SUSPECTED) } else { 0 }
    }
}

/// Places for suspects, until it is known for which; given up when dropped.
pub(super) struct Reserved {
    trials: Arc<Mutex<Trials>>,
    pub leave: Leave,
}

impl Reserved {
    pub fn in_these(trials: &Arc<Mutex<Trials>>, wanted: usize, now: Instant) -> Self {
        let leave = trials.lock().unwrap_or_else(PoisonError::into_inner).reserve(wanted, now);
        Self { trials: trials.clone(), leave }
    }

    /// Gives the suspects among the claims their places.
    pub fn begin(mut self, claims: &mut [Claim]) {
        let is_suspect = |claim: &&mut Claim| claim.order.task.blame > claim.blamed_before;
        let (mut begun, mut is_alone) = (0, false);
        for claim in claims.iter_mut().filter(is_suspect) {
            claim.trial = Some(Trial(self.trials.clone()));
            begun += 1;
            is_alone |= claim.blamed_before >= DEATH;
        }
        if self.leave.places > 0 {
            self.leave.places = 0;
            self.trials.lock().unwrap_or_else(PoisonError::into_inner).begin(begun, is_alone);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.leave.places > 0 {
            self.trials.lock().unwrap_or_else(PoisonError::into_inner).begin(0, false);
        }
    }
}

/// A suspect's place among those that this process tries; given up when dropped.
#[derive(Debug)]
pub(super) struct Trial(Arc<Mutex<Trials>>);

impl Trial {
    pub fn came_back(self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).came_back(now);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).leave();
    }
}

/// The local worker's queues, one a stage. A row is leased to this instance only when there is room in them.
#[derive(Clone)]
pub(super) struct Handoff {
    queues: Vec<mpsc::Sender<Claim>>,
    pub withheld: Withheld,
}

/// The worker's end of the local queues, in the order of [`Stage::VARIANTS`].
pub struct Claims(pub Vec<(Stage, mpsc::Receiver<Claim>)>);

impl Handoff {
    pub fn new(room: usize, withheld: Withheld) -> (Self, Claims) {
        let (queues, claims) = Stage::VARIANTS
            .iter()
            .map(|stage| {
                let (queue, claims) = mpsc::channel(room);
                (queue, (*stage, claims))
            })
            .unzip();
        (Self { queues, withheld }, Claims(claims))
    }

    pub fn reserve(&self, stage: Stage) -> Option<mpsc::OwnedPermit<Claim>> {
        self.queues[stage as usize].clone().try_reserve_owned().ok().filter(|_| !self.withheld.is())
    }
}

/// Leases the order to this instance, in memory: the caller writes the row.
pub(super) fn lease(order: &mut Order, stage: Stage, now: Instant, lease: Duration, share: i32) -> Claim {
    let (blamed_before, due) = (order.task.blame, order.task.next_attempt_at);
    work::lease(order, now, lease, share);
    Claim { order: Box::new(order.clone()), stage, due, blamed_before, trial: None }
}
