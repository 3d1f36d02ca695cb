//! Connects the outside world to the store: what shops and banks say comes in as words, like everybody else's.

use std::sync::Arc;

use async_trait::async_trait;

use crate::app::{App, Bank};
use crate::clock::now;
use crate::gateway::simulator::GatewaySimulator;
use crate::gateway::{Gateway, Held, HeldStatus};
use crate::lifecycle::{Actor, Event};
use crate::order::{Money, OrderId, ShopId};
use crate::shop::simulator::{Counter, Report, ShopSimulator};
use crate::shop::{Answer, Offer, Shops, Unreachable};
use crate::store::{Received, Scope, Store, Word};

/// Simulated baristas report straight to the store, with a shop's rights.
pub struct ToStore(pub Store);

#[async_trait]
impl Counter for ToStore {
    async fn report(&self, shop_id: ShopId, order_id: OrderId, event: Event) -> Result<(), Report> {
        let word = Word { order_id, scope: Scope::Shop(shop_id), actor: Actor::Shop, event, version: None, now: now() };
        match self.0.receive(word).await {
            Ok(Received::Changed(..) | Received::Already(..)) => Ok(()),
            Ok(_) => Err(Report::Refused),
            Err(_) => Err(Report::Unavailable),
        }
    }
}

/// Where offers go: to the simulator where a shop is simulated; otherwise the shop's tablet finds the order in its
/// list, and there is nobody to call.
pub struct Tablets {
    pub app: Arc<App>,
    pub simulated: Arc<ShopSimulator>,
}

#[async_trait]
impl Shops for Tablets {
    async fn offer(&self, offer: &Offer) -> Result<Answer, Unreachable> {
        let is_simulated =
            self.app.catalogue().shop(offer.partner_id, offer.shop_id).is_some_and(|shop| shop.simulated);
        if is_simulated { self.simulated.offer(offer).await } else { Ok(Answer::Received) }
    }
}

/// The bank behind the simulated gateway. What the customer answers there comes back as a callback would.
pub struct SimulatedBank {
    gateway: Arc<GatewaySimulator>,
    store: Store,
}

impl SimulatedBank {
    pub fn new(gateway: Arc<GatewaySimulator>, store: Store) -> Self {
        Self { gateway, store }
    }
}

#[async_trait]
impl Bank for SimulatedBank {
    async fn asks(&self, key: &str) -> Result<Option<Money>, String> {
        let held = self.gateway.look_up(key).await.map_err(|trouble| trouble.to_string())?;
        Ok(held.filter(|held| held.status == HeldStatus::ActionRequired).map(|held| held.total))
    }

    async fn answer(&self, key: &str, approve: bool) -> Result<bool, String> {
        let held = self.gateway.answer_bank(key, approve).await.map_err(|trouble| trouble.to_string())?;
        let Some(held) = held else { return Ok(false) };
        if let Some(event) = callback(&held) {
            let word = Word {
                order_id: held.order_id,
                scope: Scope::Everyone,
                actor: Actor::Gateway,
                event,
                version: None,
                now: now(),
            };
            // A callback may get lost: the look-ups find out all the same.
            if let Err(fault) = self.store.receive(word).await {
                tracing::warn!(%fault, order.id = %held.order_id, "gateway.callback_lost");
            }
        }
        Ok(true)
    }
}

fn callback(held: &Held) -> Option<Event> {
    match held.status {
        HeldStatus::Authorized => Some(Event::PaymentAuthorized {
            amount: held.total.amount,
            reference: held.reference.clone(),
            capture_before: held.capture_before,
        }),
        HeldStatus::Declined => Some(Event::PaymentDeclined { refusal: held.refusal.clone().unwrap_or_default() }),
        HeldStatus::ActionRequired | HeldStatus::Voided | HeldStatus::Captured => None,
    }
}
