//! How long an order will still take, and when it is worth asking again: measured where it can be, configured where
//! nothing was measured yet.

mod sketch;

use std::collections::HashMap;

use chrono::Duration;

use crate::lifecycle::Status;
use crate::order::{Instant, ShopId};
use crate::state::Order;
use sketch::{Sketch, View};

/// What a client that waits for an order is told of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Elapsed ÷ the duration that was expected at creation, 0–99; 100 only when the order is ready; `None` where
    /// nothing is known.
    pub percent: Option<u8>,
    /// When half of such orders are ready …
    pub expected_ready_at: Option<Instant>,
    /// … and when four of five are.
    pub expected_ready_latest_at: Option<Instant>,
    /// It stands in its status longer than 95 of 100 such orders do.
    pub late: bool,
    /// When it is worth asking again; `None` once nothing more will happen.
    pub next_poll_at: Option<Instant>,
}

impl Waiting {
    /// Whole seconds until the next poll is worth its while, at least 1.
    pub fn retry_after(&self, now: Instant) -> Option<i64> {
        self.next_poll_at.map(|at| ((at - now).num_milliseconds() + 999).div_euclid(1000).max(1))
    }
}

/// An order has left a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub shop_id: ShopId,
    pub from: Status,
    pub to: Status,
    /// How long it had stood there.
    pub millis: i64,
    pub at: Instant,
}

/// How long an order usually stands in each status, before anything was measured.
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

    fn of(&self, status: Status, making: Duration) -> Duration {
        match status {
            Status::New => self.authorization,
            Status::ActionRequired => self.payment_action,
            Status::AwaitingShop => self.acceptance,
            Status::Accepted => self.queue,
            Status::Preparing => making,
            _ => self.collection,
        }
    }
}

/// The way of an order that goes well, up to the shelf.
const WAY: [Status; 4] = [Status::New, Status::AwaitingShop, Status::Accepted, Status::Preparing];
/// So many measurements say something about a shop, or about all of them.
const ENOUGH: u64 = 20;
/// So many of them must have lasted longer than the order has by now, to say how it goes on.
const ENOUGH_LEFT: u64 = 5;
/// Shops that are told apart; the others are counted with all of them. Bounds the memory: about 6 kB a shop.
const MAX_SHOPS: usize = 5_000;
/// A poll is worth this much of a customer's waiting: it comes when a change, if there was one, has gone unnoticed for
/// this long on average. The wait is short while a change is due, and grows with what is not known as the square root of
/// the duration: some 30 polls in the five minutes until an order is ready.
const POLL_WORTH: Duration = Duration::milliseconds(500);
/// Nobody is told to come back sooner, or later, than this.
const SHORTEST_POLL: Duration = Duration::seconds(1);
const LONGEST_POLL: Duration = Duration::minutes(5);

/// Measured durations: of each status, at each shop and at all shops together, over a sliding window.
pub struct Pace {
    expected: Expectations,
    window: Duration,
    all: HashMap<Status, Sketch>,
    shops: HashMap<(ShopId, Status), Sketch>,
}

impl Pace {
    /// `span` is how far the sliding window reaches back.
    pub fn new(expected: Expectations, span: Duration) -> Self {
        Self { expected, window: span / sketch::WINDOWS as i32, all: HashMap::new(), shops: HashMap::new() }
    }

    pub fn expectations(&self) -> &Expectations {
        &self.expected
    }

    /// Counts what has happened. Only what went well says how long it takes.
    pub fn record(&mut self, passed: &Passed) {
        let went_well = match passed.from {
            Status::New => matches!(passed.to, Status::AwaitingShop | Status::Scheduled | Status::ActionRequired),
            Status::ActionRequired => matches!(passed.to, Status::AwaitingShop | Status::Scheduled),
            Status::AwaitingShop => passed.to == Status::Accepted,
            Status::Accepted => passed.to == Status::Preparing,
            Status::Preparing => passed.to == Status::Ready,
            Status::Ready => passed.to == Status::Completed,
            _ => false,
        };
        if !went_well {
            return;
        }
        self.all.entry(passed.from).or_default().record(passed.millis, passed.at, self.window);
        let key = (passed.shop_id, passed.from);
        if self.shops.contains_key(&key) || self.shops.len() < MAX_SHOPS * 5 {
            self.shops.entry(key).or_default().record(passed.millis, passed.at, self.window);
        }
    }

    /// What is known of a status: at this shop, else at all shops, else nothing.
    fn view(&self, shop: ShopId, status: Status, now: Instant) -> Option<View> {
        let enough = |sketch: &Sketch| Some(sketch.view(now, self.window)).filter(|view| view.count() >= ENOUGH);
        self.shops.get(&(shop, status)).and_then(enough).or_else(|| self.all.get(&status).and_then(enough))
    }

    /// How long an order at this shop takes to be ready: the sum of what its steps take. `None` while too little was
    /// measured to say it better than the menu does.
    pub fn until_ready(&self, shop: ShopId, making: Duration, now: Instant) -> Option<Duration> {
        self.view(shop, Status::Preparing, now)?;
        Some(WAY.iter().map(|status| self.usual(shop, *status, Duration::zero(), making, 0.8, now)).sum())
    }

    /// How much longer a share `q` of orders stays at most in a status, that have been there for `elapsed`.
    fn usual(
        &self,
        shop: ShopId,
        status: Status,
        elapsed: Duration,
        making: Duration,
        q: f64,
        now: Instant,
    ) -> Duration {
        let already = elapsed.num_milliseconds() as f64;
        let measured = self.view(shop, status, now).and_then(|view| view.quantile_after(already, q, ENOUGH_LEFT));
        if let Some(millis) = measured {
            return Duration::milliseconds((millis - already) as i64);
        }
        let expected = self.expected.of(status, making);
        // Overdue already: the longer it took so far, the longer it is likely to take still.
        if elapsed < expected { expected - elapsed } else { elapsed / 4 }
    }

    /// How long to wait until a poll is worth its price, for an order that has been in its status for `elapsed`.
    fn worth_asking(
        &self,
        shop: ShopId,
        status: Status,
        elapsed: Duration,
        making: Duration,
        now: Instant,
    ) -> Duration {
        let (already, worth) = (elapsed.num_milliseconds() as f64, POLL_WORTH.num_milliseconds() as f64);
        let measured = self.view(shop, status, now).and_then(|view| view.unnoticed_for(worth, already, ENOUGH_LEFT));
        let millis = measured.unwrap_or_else(|| {
            // Nothing is known but a length: as if a change were equally likely at any moment. Overdue already: the
            // longer it took so far, the longer it is likely to take still.
            let length = self.expected.of(status, making).max(elapsed).num_milliseconds() as f64;
            (2.0 * worth * length).sqrt()
        });
        Duration::milliseconds(millis as i64)
    }

    /// What to tell a client that waits for this order. `jitter`, in 0..1, spreads the phones of one second.
    ///
    /// Progress is measured against the duration that was expected when the order was created; since that is never
    /// changed (but with the pickup time itself), it never goes back. Only a recall takes it from 100 to 99.
    pub fn waiting(&self, order: &Order, jitter: f64, now: Instant) -> Waiting {
        if order.status.is_over() {
            let percent = order.status.succeeded().then_some(100);
            return Waiting { percent, ..Waiting::default() };
        }
        let making = Duration::seconds(order.placed.make_seconds.into());
        let elapsed = (now - order.entered_at).max(Duration::zero());
        let is_ready = order.status == Status::Ready;
        let left = match order.status {
            Status::Scheduled => order.offer_at.map_or(LONGEST_POLL, |at| at - now),
            status => self.worth_asking(order.shop_id, status, elapsed, making, now),
        };
        let late = self
            .view(order.shop_id, order.status, now)
            .and_then(|view| view.quantile_after(0.0, 0.95, ENOUGH))
            .map_or_else(
                || !is_ready && order.expected_ready_at.is_some_and(|at| now > at + (at - order.created_at)),
                |p95| elapsed.num_milliseconds() as f64 > p95,
            );
        let wait = left.clamp(SHORTEST_POLL, LONGEST_POLL);
        let spread = Duration::milliseconds((wait.num_milliseconds() as f64 * 0.2 * jitter) as i64);
        let (expected_ready_at, expected_ready_latest_at) = self.ready_between(order, elapsed, making, now);
        Waiting {
            percent: percent(order, now),
            expected_ready_at,
            expected_ready_latest_at,
            late,
            next_poll_at: Some(now + wait + spread),
        }
    }

    /// When half, and when four of five, of such orders are ready.
    fn ready_between(
        &self,
        order: &Order,
        elapsed: Duration,
        making: Duration,
        now: Instant,
    ) -> (Option<Instant>, Option<Instant>) {
        let told = order.promise_at.or(order.expected_ready_at);
        if order.status == Status::Ready {
            return (order.ready_at, order.ready_at);
        }
        let place = WAY.iter().position(|status| *status == order.status);
        let is_measured = self.view(order.shop_id, Status::Preparing, now).is_some();
        let Some(place) = place.filter(|_| is_measured && order.pickup.at.is_none()) else { return (told, told) };
        let after = |q: f64| -> Instant {
            let here = self.usual(order.shop_id, order.status, elapsed, making, q, now);
            let rest = WAY[place + 1..].iter();
            now + here
                + rest
                    .map(|status| self.usual(order.shop_id, *status, Duration::zero(), making, q, now))
                    .sum::<Duration>()
        };
        (Some(after(0.5)), Some(after(0.8)))
    }
}

fn percent(order: &Order, now: Instant) -> Option<u8> {
    if order.status == Status::Ready {
        return Some(100);
    }
    if order.recalled {
        return Some(99);
    }
    let whole = (order.expected_ready_at? - order.created_at).num_milliseconds().max(1);
    let elapsed = (now - order.created_at).num_milliseconds().max(0);
    u8::try_from((elapsed.saturating_mul(100) / whole).min(99)).ok()
}

#[cfg(test)]
mod tests;
