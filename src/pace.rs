//! How long an order will still take, and when it is worth asking again.

use chrono::Duration;

use crate::lifecycle::Status;
use crate::order::Instant;
use crate::state::Order;

/// What a client that waits for an order is told of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Elapsed ÷ expected duration, 0–99; 100 only when the order is ready; `None` where nothing is known.
    pub percent: Option<u8>,
    /// When the order is expected to be ready.
    pub expected_ready_at: Option<Instant>,
    /// It takes clearly longer than such orders do.
    pub late: bool,
    /// When asking again is likely to show something new; `None` once nothing more will happen.
    pub next_poll_at: Option<Instant>,
}

impl Waiting {
    /// Whole seconds until the next poll is worth its while, at least 1.
    pub fn retry_after(&self, now: Instant) -> Option<i64> {
        self.next_poll_at.map(|at| ((at - now).num_milliseconds() + 999).div_euclid(1000).max(1))
    }
}

/// How long an order usually stands in each status.
#[derive(Clone, Copy, Debug)]
pub struct Expectations {
    pub authorization: Duration,
    pub payment_action: Duration,
    pub acceptance: Duration,
    /// Accepted, and waiting for its turn.
    pub queue: Duration,
    /// On the shelf.
    pub collection: Duration,
    /// How long simulated shops take to make any order; `None` if as long as the menu says.
    pub simulated_making: Option<Duration>,
}

impl Expectations {
    /// From the order to the first hand movement.
    pub fn until_making(&self) -> Duration {
        self.authorization + self.acceptance + self.queue
    }
}

/// Nobody is told to come back later than this.
const LONGEST_POLL: Duration = Duration::minutes(5);
/// An order is late when it takes this many times what was expected.
const LATE_FACTOR: i32 = 2;

/// What to tell a client that waits for this order. `jitter`, in 0..1, spreads the phones of one second.
///
/// Progress is the elapsed part of the duration that was expected when the order was created; since that never
/// changes, it never goes back. Only a recall takes it from 100 to 99.
pub fn waiting(order: &Order, expected: &Expectations, jitter: f64, now: Instant) -> Waiting {
    if order.status.is_over() {
        let percent = order.status.succeeded().then_some(100);
        return Waiting { percent, ..Waiting::default() };
    }
    let is_ready = order.status == Status::Ready;
    let expected_ready_at = order.promise_at.or(order.expected_ready_at);
    let percent = match order.expected_ready_at {
        _ if is_ready => Some(100),
        _ if order.recalled => Some(99),
        Some(ready_at) => {
            let whole = (ready_at - order.created_at).num_milliseconds().max(1);
            let elapsed = (now - order.created_at).num_milliseconds().max(0);
            u8::try_from((elapsed.saturating_mul(100) / whole).min(99)).ok()
        }
        None => None,
    };
    let late = !is_ready
        && order.expected_ready_at.is_some_and(|at| now > order.created_at + (at - order.created_at) * LATE_FACTOR);
    let usual = match order.status {
        Status::New => expected.authorization,
        Status::ActionRequired => expected.payment_action,
        Status::Scheduled => order.offer_at.map_or(expected.queue, |at| at - order.updated_at),
        Status::AwaitingShop => expected.acceptance,
        Status::Accepted => expected.queue,
        Status::Preparing => Duration::seconds(order.placed.make_seconds.into()),
        _ => expected.collection,
    };
    let elapsed = (now - order.updated_at).max(Duration::zero());
    // Overdue already: the longer it took so far, the longer it is likely to take still.
    let left = if elapsed < usual { usual - elapsed } else { elapsed / 4 };
    let left = left.clamp(Duration::seconds(1), LONGEST_POLL);
    let spread = Duration::milliseconds((left.num_milliseconds() as f64 * 0.2 * jitter) as i64);
    Waiting { percent, expected_ready_at, late, next_poll_at: Some(now + left + spread) }
}
