//! What a worker does about a claimed order: which question it asks of the gateway or the shop, and what the answer means
//! for the order. Each stage has one act, and the undo of an act stands beside it.
//!
//! An act is pure but for its questions, which go through [`Outside`]: the worker answers them from the network
//! (`stages`), the model checker from a model of it. An act never writes: the store commits what it returns.

pub mod charge;
pub mod offer;
pub mod payment;

use std::future::Future;

use chrono::Duration;

use self::charge::{Charge, Held, Trouble};
use self::offer::{Answer, Offer, Unreachable};
use crate::lifecycle::{Event, Stage};
use crate::state::Order;
use crate::turns::Peer;

/// The outside world, as one act sees it. Each question has a deadline: a call without an answer ends as silence
/// ([`Trouble::Unanswered`], [`Unreachable`]). What each call promises is said at `gateway::Gateway` and `shop::Shops`.
pub trait Outside: Sync {
    fn authorize(&self, charge: &Charge) -> impl Future<Output = Result<Held, Trouble>> + Send;
    fn look_up(&self, charge: &Charge) -> impl Future<Output = Result<Option<Held>, Trouble>> + Send;
    fn capture(&self, charge: &Charge, amount: i64) -> impl Future<Output = Result<Held, Trouble>> + Send;
    fn void(&self, charge: &Charge) -> impl Future<Output = Result<Held, Trouble>> + Send;
    fn refund(&self, charge: &Charge, total_refunded: i64) -> impl Future<Output = Result<Held, Trouble>> + Send;
    fn offer(&self, offer: &Offer) -> impl Future<Output = Result<Answer, Unreachable>> + Send;
    /// Whether the shop accepts this order by itself, without being asked.
    fn auto_accepts(&self, order: &Order) -> bool;
}

/// What came of a worker's act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub event: Option<Event>,
    /// If the order still stands in the same stage afterwards: when to try again, and why.
    pub again: Option<Again>,
}

/// When and why an act is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    pub after: Duration,
    /// Whether a random part of `after` is enough, so that orders that failed together do not come back together.
    pub is_spread: bool,
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

/// Which dependency an order's stage asks.
pub fn peer(order: &Order, stage: Stage) -> Peer {
    match stage {
        Stage::Offer => offer::peer(order),
        Stage::Authorize | Stage::LookUp | Stage::Capture | Stage::Release => payment::peer(order),
    }
}

/// Does what is pending on an order.
pub async fn act(order: &Order, stage: Stage, outside: &impl Outside) -> Outcome {
    match stage {
        Stage::Authorize => payment::authorize(order, outside).await,
        Stage::LookUp => payment::look_up(order, outside).await,
        Stage::Capture => payment::capture(order, outside).await,
        Stage::Release => payment::release(order, outside).await,
        Stage::Offer => offer::offer(order, outside).await,
    }
}

fn happened(event: Event) -> Outcome {
    Outcome { event: Some(event), again: None }
}

/// The pause before the next try.
#[derive(Clone, Copy)]
struct Pause {
    after: Duration,
    is_spread: bool,
}

impl Pause {
    fn exactly(after: Duration) -> Self {
        Self { after, is_spread: false }
    }
}

fn again(Pause { after, is_spread }: Pause, why: impl Into<String>) -> Outcome {
    Outcome { event: None, again: Some(Again { after, is_spread, why: why.into(), strike: Strike::None }) }
}

fn backoff(order: &Order, cap: Duration) -> Pause {
    Pause { after: longest_backoff(order.task.attempts, cap), is_spread: true }
}

/// Exponential backoff: `250 ms × 2^attempts`, but at most `cap`. With full jitter this is the longest pause.
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub fn longest_backoff(attempts: i32, cap: Duration) -> Duration {
    let doublings = attempts.clamp(0, 16);
    Duration::milliseconds((250_i64 << doublings).min(cap.num_milliseconds()))
}
