//! One act for each stage: ask the outside world, and say what came of it. An act never writes; the worker
//! commits what it returns. Its undo stands beside it.

#[cfg(test)]
mod conservation;
mod offer;
mod payment;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::controls::{Controls, port};
use crate::gateway::{Gateway, Held, Trouble};
use crate::lifecycle::{Event, Stage};
use crate::meters::{self, Called, METERS};
use crate::shop::{Shops, Unreachable};
use crate::state::Order;
use crate::store::{Again, Claim, Outcome, Strike};
use crate::turns::Peer;

/// Most calls are answered sooner.
const LONG: Duration = Duration::from_secs(1);

/// The outside world, as the stages see it.
pub struct Ports {
    pub gateway: Arc<dyn Gateway>,
    pub shops: Arc<dyn Shops>,
    /// Whether a shop accepts an order by itself, without being asked: open, online and below its capacity.
    pub auto_accepts: Box<dyn Fn(&Order) -> bool + Send + Sync>,
    /// The longest call. At most a third of the lease, because an act may make two.
    pub timeout: Duration,
    /// How long a dependency that does not answer is left alone.
    pub pause: Duration,
    /// Who is not to be asked now, and what is held.
    pub controls: Arc<Controls>,
}

impl Ports {
    pub fn new(
        gateway: Arc<dyn Gateway>,
        shops: Arc<dyn Shops>,
        auto_accepts: Box<dyn Fn(&Order) -> bool + Send + Sync>,
        timeout: Duration,
        pause: Duration,
    ) -> Self {
        Self { gateway, shops, auto_accepts, timeout, pause, controls: Arc::default() }
    }

    /// The same, under these controls.
    pub fn under(self, controls: Arc<Controls>) -> Self {
        Self { controls, ..self }
    }

    /// How long an act may take: no act makes more than two calls.
    pub fn longest_act(&self) -> chrono::Duration {
        chrono::Duration::from_std(self.timeout * 2).unwrap_or(chrono::Duration::MAX)
    }

    /// Calls a peer for a stage, with a deadline and behind its breaker.
    async fn call<T, E: Silence>(
        &self,
        order: &Order,
        peer: &Peer,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let stage = order.task.stage;
        if let Err(why) = self.controls.ask(peer, Instant::now(), self.pause) {
            count(stage, peer, Called::BreakerOpen);
            return Err(E::unavailable(why));
        }
        let result = match self.patiently(order, call).await {
            Some(result) => result,
            None => Err(E::unanswered(format!("no answer within {:?}", self.timeout))),
        };
        let called = result.as_ref().map_or_else(Silence::counted, |_| Called::Answered);
        count(stage, peer, called);
        if let (Called::Invalid, Err(why)) = (called, &result) {
            tracing::error!(order.id = %order.id, stage = stage.map(Stage::word), %why, "gateway.rejects_request");
        }
        let answered = !matches!(&result, Err(error) if error.is_silence());
        self.controls.tell(peer, answered, Instant::now(), self.pause);
        result
    }

    /// What comes of a call in time. Who is asked for long is told to those who look.
    async fn patiently<T>(&self, order: &Order, call: impl Future<Output = T> + Send) -> Option<T> {
        let (mut call, began) = (std::pin::pin!(call), Instant::now());
        let soon = LONG.min(self.timeout);
        if let Ok(done) = tokio::time::timeout(soon, &mut call).await {
            return Some(done);
        }
        let _asked = self.controls.asks_long(order.id, began);
        tokio::time::timeout(self.timeout - soon, call).await.ok()
    }
}

fn count(stage: Option<Stage>, peer: &Peer, called: Called) {
    METERS.calls.of((port(peer), called)).increment(1);
    let trouble = match called {
        Called::Answered | Called::Refused => return,
        Called::Unavailable => meters::Trouble::Unavailable,
        Called::Unanswered => meters::Trouble::Unanswered,
        Called::BreakerOpen => meters::Trouble::BreakerOpen,
        Called::Invalid => meters::Trouble::Invalid,
    };
    if let Some(stage) = stage {
        METERS.stage_retries.of((stage, trouble)).increment(1);
    }
}

/// An error that may mean "it did not answer".
trait Silence: std::fmt::Display {
    fn is_silence(&self) -> bool;
    fn unavailable(why: String) -> Self;
    fn unanswered(why: String) -> Self;
    fn counted(&self) -> Called;
}

impl Silence for Trouble {
    fn is_silence(&self) -> bool {
        matches!(self, Trouble::Unavailable(_) | Trouble::Unanswered(_))
    }
    fn unavailable(why: String) -> Self {
        Trouble::Unavailable(why)
    }
    fn unanswered(why: String) -> Self {
        Trouble::Unanswered(why)
    }
    fn counted(&self) -> Called {
        match self {
            Trouble::Unavailable(_) | Trouble::Later { .. } => Called::Unavailable,
            Trouble::Unanswered(_) => Called::Unanswered,
            Trouble::Refused(_) => Called::Refused,
            Trouble::Invalid(_) => Called::Invalid,
        }
    }
}

impl Silence for Unreachable {
    fn is_silence(&self) -> bool {
        true
    }
    fn unavailable(why: String) -> Self {
        Unreachable::new(why)
    }
    fn unanswered(why: String) -> Self {
        Unreachable::new(why)
    }
    // Whatever a shop did not answer is offered again: there is nothing to tell apart.
    fn counted(&self) -> Called {
        Called::Unanswered
    }
}

/// Who is asked for what is pending on a claimed order.
pub fn peer(claim: &Claim) -> Peer {
    match claim.stage() {
        Stage::Offer => offer::peer(claim.order()),
        Stage::Authorize | Stage::LookUp | Stage::Capture | Stage::Release => payment::peer(claim.order()),
    }
}

/// Does what is pending on a claimed order.
pub async fn act(claim: &Claim, ports: &Ports) -> Outcome {
    let order = claim.order();
    match claim.stage() {
        Stage::Authorize => payment::authorize(order, ports).await,
        Stage::LookUp => payment::look_up(order, ports).await,
        Stage::Capture => payment::capture(order, ports).await,
        Stage::Release => payment::release(order, ports).await,
        Stage::Offer => offer::offer(order, ports).await,
    }
}

/// What the gateway has to say about an order's payment that the order does not know yet: whoever gets a hint asks.
///
/// # Errors
/// Why the gateway gave no answer.
pub async fn news(order: &Order, gateway: &dyn Gateway) -> Result<Option<Event>, Trouble> {
    payment::news(order, gateway).await
}

/// What the gateway holds for an order.
///
/// # Errors
/// Why the gateway gave no answer.
pub async fn held(order: &Order, gateway: &dyn Gateway) -> Result<Option<Held>, Trouble> {
    gateway.look_up(&payment::charge(order)).await
}

/// Whether a payment is the one of that order: its name, its amount, its currency.
pub fn is_of(order: &Order, held: &Held) -> bool {
    payment::is_ours(order, held)
}

/// What the gateway holds under a name of its own.
///
/// # Errors
/// Why the gateway gave no answer.
pub async fn named(reference: &str, gateway: &dyn Gateway) -> Result<Option<Held>, Trouble> {
    payment::named(reference, gateway).await
}

/// Gives up what is held for an order, whatever the order says of it.
///
/// # Errors
/// Why the gateway did not.
pub async fn give_up(order: &Order, gateway: &dyn Gateway) -> Result<Held, Trouble> {
    gateway.void(&payment::charge(order)).await
}

/// How money became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Freed {
    Voided,
    Refunded,
}

/// Gives back what the gateway lists for an order that there is no more.
///
/// # Errors
/// Why it is not certain that nothing is held any more. It may be asked again.
pub async fn give_back_lost(listed: &Held, gateway: &dyn Gateway) -> Result<Freed, Trouble> {
    payment::give_back(listed, gateway).await
}

fn happened(event: Event) -> Outcome {
    Outcome { event: Some(event), again: None }
}

fn again(after: chrono::Duration, why: impl Into<String>) -> Outcome {
    Outcome { event: None, again: Some(Again { after, why: why.into(), strike: Strike::None }) }
}

/// Exponential backoff with full jitter: between 0 and `250 ms × 2^attempts`, but at most `cap`.
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub fn backoff(attempts: i32, cap: chrono::Duration) -> chrono::Duration {
    let doublings = attempts.clamp(0, 16);
    let ceiling = (250_i64 << doublings).min(cap.num_milliseconds());
    chrono::Duration::milliseconds(rand::random_range(0..=ceiling).max(20))
}
