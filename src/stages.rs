//! The questions of `acts`, asked of the real gateway and the real shops: each with a deadline and behind a breaker.

#[cfg(test)]
mod conservation;
mod lost;

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::lost::{Freed, give_back_lost, named};
pub use crate::acts::payment::is_ours as is_of;
use crate::acts::{self, Outcome, Outside, payment};
use crate::controls::{Controls, port};
use crate::gateway::{Charge, Gateway, Held, Trouble};
use crate::lifecycle::{Event, Stage};
use crate::meters::{self, Called, METERS};
use crate::shop::{Answer, Offer, Shops, Unreachable};
use crate::state::Order;
use crate::store::Claim;
use crate::turns::Peer;
use crate::{trace, tracer};

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
            let trace_id = trace::id_of(order).map(tracing::field::display);
            tracing::error!(order.id = %order.id, trace.id = trace_id, stage = stage.map(Stage::word), %why, "gateway.rejects_request");
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

/// A charge as the gateway is told of it: with the present span, where that is recorded.
fn told<'c>(order: &Order, charge: &'c Charge) -> Cow<'c, Charge> {
    match tracer::context(order) {
        Some(context) => Cow::Owned(Charge { traceparent: Some(context.to_string()), ..charge.clone() }),
        None => Cow::Borrowed(charge),
    }
}

/// The ports, as an act on one order asks them.
struct Asked<'a> {
    ports: &'a Ports,
    order: &'a Order,
}

impl Asked<'_> {
    async fn gateway<T>(&self, call: impl Future<Output = Result<T, Trouble>> + Send) -> Result<T, Trouble> {
        self.ports.call(self.order, &payment::peer(self.order), call).await
    }
}

impl Outside for Asked<'_> {
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble> {
        self.gateway(self.ports.gateway.authorize(&told(self.order, charge))).await
    }
    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble> {
        self.gateway(self.ports.gateway.look_up(&told(self.order, charge))).await
    }
    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble> {
        self.gateway(self.ports.gateway.capture(&told(self.order, charge), amount)).await
    }
    async fn void(&self, charge: &Charge) -> Result<Held, Trouble> {
        self.gateway(self.ports.gateway.void(&told(self.order, charge))).await
    }
    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble> {
        self.gateway(self.ports.gateway.refund(&told(self.order, charge), total_refunded)).await
    }
    async fn offer(&self, offer: &Offer) -> Result<Answer, Unreachable> {
        let context = tracer::context(self.order).map(|context| context.to_string());
        let offer = match context {
            Some(traceparent) => Cow::Owned(Offer { traceparent: Some(traceparent), ..offer.clone() }),
            None => Cow::Borrowed(offer),
        };
        self.ports.call(self.order, &acts::offer::peer(self.order), self.ports.shops.offer(&offer)).await
    }
    fn auto_accepts(&self, order: &Order) -> bool {
        (self.ports.auto_accepts)(order)
    }
}

/// Who is asked for what is pending on a claimed order.
pub fn peer(claim: &Claim) -> Peer {
    acts::peer(claim.order(), claim.stage())
}

/// Does what is pending on a claimed order.
pub async fn act(claim: &Claim, ports: &Ports) -> Outcome {
    act_on(claim.order(), claim.stage(), ports).await
}

async fn act_on(order: &Order, stage: Stage, ports: &Ports) -> Outcome {
    let mut outcome = acts::act(order, stage, &Asked { ports, order }).await;
    if let Some(again) = outcome.again.as_mut().filter(|again| again.is_spread) {
        again.after = spread(again.after);
    }
    outcome
}

/// What the gateway knows about an order's payment and the order does not; `None` if the two agree. A hint, such as a
/// callback, leads to this question.
///
/// # Errors
/// Why the gateway gave no answer.
pub async fn news(order: &Order, gateway: &dyn Gateway) -> Result<Option<Event>, Trouble> {
    Ok(held(order, gateway).await?.and_then(|held| payment::difference(order, &held)))
}

/// What the gateway holds for an order.
///
/// # Errors
/// Why the gateway gave no answer.
pub async fn held(order: &Order, gateway: &dyn Gateway) -> Result<Option<Held>, Trouble> {
    gateway.look_up(&told(order, &payment::charge(order))).await
}

/// Gives up what is held for an order, whatever the order says of it.
///
/// # Errors
/// Why the gateway did not.
pub async fn give_up(order: &Order, gateway: &dyn Gateway) -> Result<Held, Trouble> {
    gateway.void(&told(order, &payment::charge(order))).await
}

/// A random pause of up to `longest` (full jitter).
fn spread(longest: chrono::Duration) -> chrono::Duration {
    chrono::Duration::milliseconds(rand::random_range(0..=longest.num_milliseconds()).max(20))
}

/// How long to wait before the next of so many attempts (see [`acts::longest_backoff`]).
pub fn backoff(attempts: i32, cap: chrono::Duration) -> chrono::Duration {
    spread(acts::longest_backoff(attempts, cap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::order_in;
    use crate::gateway::simulator::GatewaySimulator;
    use crate::lifecycle::Status;
    use crate::shop::simulator::ShopSimulator;
    use crate::simulator::Speed;

    #[tokio::test]
    async fn orders_that_fail_together_do_not_come_back_together_unless_the_gateway_names_a_time() {
        let gateway = GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap();
        let shops = ShopSimulator::open(None, Speed::Zero).unwrap();
        let patience = Duration::from_secs(60);
        let ports = Ports::new(Arc::new(gateway), Arc::new(shops), Box::new(|_| false), patience, patience);
        let mut order = order_in(Status::New);
        (order.task.stage, order.task.attempts) = (Some(Stage::Authorize), 6);
        let again = async |order: &Order| act_on(order, Stage::Authorize, &ports).await.again.expect("it fails").after;

        order.placed.payment_method = "pm_busy".into();
        assert_eq!(again(&order).await, chrono::Duration::seconds(1));

        order.placed.payment_method = "pm_card_visa".into();
        for _ in 0..10 {
            ports.controls.tell(&payment::peer(&order), false, Instant::now(), patience);
        }
        let mut pauses = Vec::new();
        for _ in 0..20 {
            pauses.push(again(&order).await);
        }
        let longest = acts::longest_backoff(6, chrono::Duration::seconds(15));
        assert!(pauses.iter().all(|pause| *pause <= longest), "{pauses:?}");
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 10, "{pauses:?}");
    }
}
