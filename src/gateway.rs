//! The payment port: what the workers ask of whoever holds the customers' money.

pub mod simulator;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::order::{Instant, Money, OrderId, PaymentAction};

/// A request to hold money. It is a pure function of the accepted order, so that every repetition is the
/// same to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The idempotency key, and the name of the charge in every later call.
    pub key: String,
    pub order_id: OrderId,
    pub total: Money,
    pub method: String,
    pub traceparent: Option<String>,
}

/// What the gateway holds under a key, as it says itself. Amounts are minor units of the charge's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub order_id: OrderId,
    pub total: Money,
    pub reference: String,
    pub status: HeldStatus,
    pub captured: i64,
    pub refunded: i64,
    pub capture_before: Option<Instant>,
    pub action: Option<PaymentAction>,
    pub refusal: Option<String>,
}

/// The gateway's own states of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldStatus {
    ActionRequired,
    Authorized,
    Declined,
    Voided,
    /// Some or all of it may have been refunded since: see [`Held::refunded`].
    Captured,
}

/// Why the gateway gave no result. The difference between the first two is the difference between trying
/// again and finding out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// It certainly did nothing: not reached, or refused for now.
    #[error("the gateway is unavailable: {0}")]
    Unavailable(String),
    /// It may have done it: no answer in time, or an answer that says nothing (a 5xx, fresh or replayed).
    #[error("the gateway did not answer: {0}")]
    Unanswered(String),
    /// It will never do it, and did not do it.
    #[error("the gateway refused: {0}")]
    Refused(String),
}

/// A payment gateway.
///
/// Every call is idempotent by its key, and *void binds even a key that the gateway has not seen yet*: an
/// authorization that arrives later under a voided key is refused. Therefore a release can always be proven.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Holds the money, or says why not ([`HeldStatus::Declined`]), or what the customer has to do first.
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble>;
    /// What the gateway knows of a key. `None` is not final: a request may still be on its way.
    async fn look_up(&self, key: &str) -> Result<Option<Held>, Trouble>;
    /// Takes `amount` of what is held under `key` and lets the rest go. Once per charge.
    async fn capture(&self, key: &str, amount: i64) -> Result<Held, Trouble>;
    /// Lets go of what is held under `key`, now and for ever. Refused once captured.
    async fn void(&self, key: &str, order_id: OrderId) -> Result<(), Trouble>;
    /// Gives back until `total_refunded` has been given back in all: repeating it gives nothing twice.
    async fn refund(&self, key: &str, total_refunded: i64) -> Result<Held, Trouble>;
}
