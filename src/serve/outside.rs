//! Connects the outside world to the store: what shops and banks say comes in as words, like everybody else's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::letters;
use crate::app::{App, Bank, Books, Callbacks, Unheard};
use crate::clock::now;
use crate::config::Secret;
use crate::drills::{self, Drills};
use crate::foreign::Caller;
use crate::gateway::simulator::GatewaySimulator;
use crate::gateway::stripe::{callback, signature};
use crate::gateway::{Gateway, HeldStatus};
use crate::lifecycle::{Event, Reason, Status};
use crate::meters::{Callback, METERS};
use crate::notify::Letter;
use crate::order::{Instant, Money, OrderId, ShopId};
use crate::reconcile::{Finding, judge};
use crate::shop::simulator::{Counter, Report, ShopSimulator};
use crate::shop::{Answer, Offer, Shops, Unreachable, webhook};
use crate::stages;
use crate::state::Order;
use crate::store::{Received, Scope, Sender, Store, Word};
use crate::tracer;

/// Simulated baristas report straight to the store, with a shop's rights.
pub struct ToStore(pub Store);

#[async_trait]
impl Counter for ToStore {
    async fn report(
        &self,
        shop_id: ShopId,
        order_id: OrderId,
        event: Event,
        since: Option<Instant>,
    ) -> Result<(), Report> {
        let now = now();
        let word = Word { order_id, scope: Scope::Shop(shop_id), sender: Sender::Shop, event, version: None, now };
        match self.0.receive_kept(word, since.unwrap_or(now)).await {
            Ok(Received::Changed(..) | Received::Already(..)) => Ok(()),
            Ok(_) => Err(Report::Refused),
            Err(_) => Err(Report::Unavailable),
        }
    }
}

/// Where offers go: to the simulator where a shop is simulated; to the shop's URL where it has one; otherwise the
/// shop's tablet finds the order in its list, and there is nobody to call.
pub struct Shopfronts {
    pub app: Arc<App>,
    pub simulated: Arc<ShopSimulator>,
    pub drills: Arc<Drills>,
    pub caller: Caller,
}

#[async_trait]
impl Shops for Shopfronts {
    async fn offer(&self, offer: &Offer) -> Result<Answer, Unreachable> {
        let is_simulated =
            self.app.catalogue().shop(offer.partner_id, offer.shop_id).is_some_and(|shop| shop.simulated);
        if is_simulated {
            if self.drills.play(drills::Actor::Shops, std::time::Instant::now()).await {
                return Ok(Answer::Rejected { reason: Reason::CannotFulfilRequest });
            }
            return self.simulated.offer(offer).await;
        }
        let Some(receiver) = self.app.shop_webhook(offer.shop_id) else { return Ok(Answer::Received) };
        let read = self.app.store.order(offer.order_id).await.map_err(|fault| Unreachable::new(fault.to_string()))?;
        // It may have ended since it was claimed, and then its shop must not hear of it any more.
        let Some((order, _)) = read.filter(|(order, _)| order.status == Status::AwaitingShop) else {
            return Err(Unreachable::new("the order is no longer on offer".into()));
        };
        let now = now();
        let Letter { id, body } = letters::offer(&order, now);
        let (secrets, traceparent) = (receiver.secrets(now), offer.traceparent.clone());
        webhook::offer(&self.caller, &receiver.url, &secrets, &id, traceparent, body, now).await
    }
}

/// What the gateway says by itself is a hint: what is true is looked up at the gateway now. So a callback may be old,
/// repeated, out of order or of its own mind, and does no harm.
pub struct Hints {
    pub store: Store,
    pub gateway: Arc<dyn Gateway>,
    /// The longest look-up.
    pub patience: Duration,
}

impl Hints {
    /// Tells an order what has become of its payment, and says whether that was news. `None` if there is no such order.
    ///
    /// # Errors
    /// Why it could not be found out: a callback should be sent again.
    async fn follow(&self, order_id: OrderId) -> Result<Option<bool>, String> {
        let mut is_news = false;
        for _ in 0..READINGS {
            let Some((order, _)) = self.store.order(order_id).await.map_err(|fault| fault.to_string())? else {
                return Ok(None);
            };
            tracer::touched(&order, false);
            let news = timeout(self.patience, stages::news(&order, &*self.gateway)).await;
            let news = news.map_err(|_| "the gateway did not answer".to_owned())?.map_err(|fault| fault.to_string())?;
            let Some(event) = news else { return Ok(Some(is_news)) };
            let version = Some(order.version);
            let (scope, sender) = (Scope::Everyone, Sender::Gateway);
            let word = Word { order_id, scope, sender, event, version, now: now() };
            match self.store.receive(word).await.map_err(|fault| fault.to_string())? {
                // Another writer was faster: look again at what is left to say.
                Received::Stale(_) => {}
                // It was taken by hand and refunded since, perhaps: each look tells one step.
                Received::Changed(after, _) if after.payment != order.payment => is_news = true,
                _ => return Ok(Some(true)),
            }
        }
        if is_news { Ok(Some(true)) } else { Err("the order changes too fast".into()) }
    }
}

impl Hints {
    /// The order that a payment of that name was made for, as the gateway says; `None` if it knows of none.
    async fn order_of(&self, reference: &str) -> Result<Option<OrderId>, String> {
        let no_order = OrderId(uuid::Uuid::nil());
        let held = timeout(self.patience, stages::named(reference, &*self.gateway)).await;
        match held.map_err(|_| "the gateway did not answer".to_owned())? {
            Ok(held) => Ok(held.map(|held| held.order_id).filter(|order| *order != no_order)),
            Err(trouble) => Err(trouble.to_string()),
        }
    }
}

/// How often an order is read again that changes meanwhile.
const READINGS: usize = 5;
/// How many callbacks may be looked into at once: each holds a connection to the gateway.
const LOOKING: usize = 32;

/// Understands the callbacks of Stripe.
pub struct StripeCallbacks {
    hints: Hints,
    secrets: Vec<Secret>,
    room: Semaphore,
}

impl StripeCallbacks {
    pub fn new(hints: Hints, secrets: Vec<Secret>) -> Self {
        Self { hints, secrets, room: Semaphore::new(LOOKING) }
    }
}

#[async_trait]
impl Callbacks for StripeCallbacks {
    async fn hear(&self, signature: &str, body: &[u8], now: Instant) -> Result<(), Unheard> {
        if let Err(why) = signature::verify(signature, body, &self.secrets, now) {
            METERS.callbacks.of(Callback::Unverified).increment(1);
            tracing::warn!(%why, "callback.unverified");
            return Err(Unheard::Unverified(why.to_string()));
        }
        let notice = callback::read(body).map_err(|fault| {
            METERS.callbacks.of(Callback::Unreadable).increment(1);
            Unheard::Unreadable(fault.to_string())
        })?;
        let (event, kind) = (&notice.id, &notice.kind);
        let named = match (notice.order_id(), notice.reference()) {
            (Some(order_id), _) => Some(order_id),
            (None, Some(reference)) => self.hints.order_of(reference).await.map_err(Unheard::Later)?,
            (None, None) => None,
        };
        let Some(order_id) = named else {
            METERS.callbacks.of(Callback::Foreign).increment(1);
            tracing::info!(event, kind, "callback.foreign");
            return Ok(());
        };
        let followed = match self.room.try_acquire() {
            Ok(_place) => self.hints.follow(order_id).await,
            Err(_) => Err("too many at once".into()),
        };
        let became = match &followed {
            Ok(Some(true)) => Callback::News,
            Ok(Some(false)) => Callback::Known,
            Ok(None) => Callback::Foreign,
            Err(_) => Callback::PutOff,
        };
        METERS.callbacks.of(became).increment(1);
        let trace_id = tracer::present_trace().map(tracing::field::display);
        tracing::info!(order.id = %order_id, trace.id = trace_id, event, kind, became = <&str>::from(became), fault = followed.as_ref().err(), "callback.heard");
        followed.map(drop).map_err(Unheard::Later)
    }
}

/// Orders whose payments are looked up at the gateway at once, where many are compared.
const COMPARING: usize = 16;

#[async_trait]
impl Books for Hints {
    async fn look_up(&self, order: OrderId) -> Result<Option<bool>, String> {
        self.follow(order).await
    }

    async fn void(&self, order: &Order, now: Instant) -> Result<(), String> {
        let given_up = timeout(self.patience, stages::give_up(order, &*self.gateway)).await;
        let held = given_up.map_err(|_| "the gateway did not answer".to_owned())?.map_err(|fault| fault.to_string())?;
        if !matches!(held.status, HeldStatus::Voided | HeldStatus::Declined) {
            return Err(format!("the gateway still says {:?}", held.status));
        }
        let (scope, sender, event) = (Scope::Everyone, Sender::Gateway, Event::PaymentVoided);
        let word = Word { order_id: order.id, scope, sender, event, version: None, now };
        self.store.receive(word).await.map(drop).map_err(|fault| fault.to_string())
    }

    async fn compare(&self, orders: Vec<Order>) -> (Vec<Finding>, Vec<(OrderId, String)>) {
        let judged = orders.into_iter().map(|order| async move {
            match timeout(self.patience, stages::held(&order, &*self.gateway)).await {
                Ok(Ok(held)) => Ok(judge(&order, held.as_ref(), now())),
                Ok(Err(fault)) => Err((order.id, fault.to_string())),
                Err(_) => Err((order.id, "the gateway did not answer".into())),
            }
        });
        let judged: Vec<_> = stream::iter(judged).buffered(COMPARING).collect().await;
        let (mut wrong, mut unanswered) = (Vec::new(), Vec::new());
        for judged in judged {
            match judged {
                Ok(finding) if finding.verdict.is_wrong() => wrong.push(finding),
                Ok(_) => {}
                Err(fault) => unanswered.push(fault),
            }
        }
        (wrong, unanswered)
    }
}

/// The bank behind the simulated gateway. What the customer answers there comes back as a callback would.
pub struct SimulatedBank {
    pub gateway: Arc<GatewaySimulator>,
    pub hints: Hints,
}

#[async_trait]
impl Bank for SimulatedBank {
    async fn asks(&self, key: &str) -> Result<Option<Money>, String> {
        let entry = self.gateway.entry(key).map_err(|trouble| trouble.to_string())?;
        let held = entry.map(|entry| entry.held).filter(|held| held.status == HeldStatus::ActionRequired);
        Ok(held.map(|held| held.total))
    }

    async fn answer(&self, key: &str, approve: bool) -> Result<bool, String> {
        let held = self.gateway.answer_bank(key, approve).await.map_err(|trouble| trouble.to_string())?;
        let Some(held) = held else { return Ok(false) };
        // A callback may get lost: the look-ups find out all the same.
        if let Err(fault) = self.hints.follow(held.order_id).await {
            let trace_id = tracer::present_trace().map(tracing::field::display);
            tracing::warn!(%fault, order.id = %held.order_id, trace.id = trace_id, "gateway.callback_lost");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Charge;
    use crate::lifecycle::Actor;
    use crate::lifecycle::PaymentStatus;
    use crate::reconcile::Verdict;
    use crate::simulator::Speed;
    use crate::web::harness::House;

    #[actix_web::test]
    async fn a_hold_that_was_refused_to_be_taken_is_given_up_and_mismatches_are_seen() {
        let house = House::open().await;
        let gateway = Arc::new(GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap());
        let hints =
            Hints { store: house.app.store.clone(), gateway: gateway.clone(), patience: Duration::from_secs(5) };
        let id = house.place(house.request(crate::catalogue::demo::LUNGO_CENTRAL)).await;
        let read = async || house.app.store.order(id).await.unwrap().unwrap().0;
        let order = read().await;
        let charge = Charge {
            key: order.authorization_key(),
            order_id: id,
            total: order.placed.total,
            method: order.placed.payment_method.clone(),
            traceparent: None,
            reference: None,
        };
        let held = gateway.authorize(&charge).await.unwrap();
        assert_eq!(hints.look_up(id).await, Ok(Some(true)), "that it is held is news");
        assert_eq!(hints.look_up(id).await, Ok(Some(false)));
        house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
        house.hear(id, Actor::Shop, Event::PreparationStarted).await;
        house.hear(id, Actor::Worker, Event::CaptureRefused { refusal: "later".into() }).await;
        assert_eq!(hints.compare(vec![read().await]).await, (vec![], vec![]));

        hints.void(&read().await, now()).await.unwrap();
        assert_eq!(read().await.payment.status, PaymentStatus::Voided);
        assert_eq!(gateway.look_up(&charge).await.unwrap().unwrap().status, HeldStatus::Voided);
        assert_eq!(hints.compare(vec![read().await]).await, (vec![], vec![]));
        let mut wrong = read().await;
        (wrong.payment.status, wrong.payment.captured) = (PaymentStatus::Captured, held.total.amount);
        let (found, _) = hints.compare(vec![wrong]).await;
        assert_eq!(found.iter().map(|finding| finding.verdict).collect::<Vec<_>>(), [Verdict::WrongAmount]);
    }
}
