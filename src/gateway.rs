//! The payment port: what the workers ask of whoever holds the customers' money.

pub mod simulator;
pub mod stripe;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::order::{Instant, Money, OrderId, PaymentAction};

/// A request to hold money, and the name of what is held in every later call. But for its reference it is a pure
/// function of the accepted order, so that every repetition is the same to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The idempotency key.
    pub key: String,
    pub order_id: OrderId,
    pub total: Money,
    pub method: String,
    pub traceparent: Option<String>,
    /// The gateway's own name for it, once that is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// What the gateway holds for a charge, as it says itself. Amounts are minor units of the charge's currency.
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
    /// Known to the gateway under its reference, without any money.
    Prepared,
    ActionRequired,
    Authorized,
    Declined,
    Voided,
    /// Some or all of it may have been refunded since: see [`Held::refunded`].
    Captured,
}

/// Some of the payments that were made at a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub held: Vec<Held>,
    /// Payments of which the gateway says nothing clear now.
    pub unclear: usize,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Why the gateway gave no result. The difference between nothing done and no answer is the difference between trying
/// again and finding out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// It certainly moved no money: not reached, or refused for now.
    #[error("the gateway is unavailable: {0}")]
    Unavailable(String),
    /// It did nothing now, and says when to ask again.
    #[error("the gateway asks to come back in {after:?}: {why}")]
    Later { after: Duration, why: String },
    /// It may have done it: no answer in time, or an answer that says nothing (a 5xx, fresh or replayed).
    #[error("the gateway did not answer: {0}")]
    Unanswered(String),
    /// It will never do it, and did not do it.
    #[error("the gateway refused: {0}")]
    Refused(String),
    /// It does not understand the request, or does not permit it, and did nothing: a fault of this service or of its
    /// settings, never of the customer's card.
    #[error("the gateway rejects the request as invalid: {0}")]
    Invalid(String),
}

/// A payment gateway.
///
/// Every call is idempotent, and no money moves that a release would not find. A gateway keeps one of two promises:
/// *void binds even a charge that it has not seen yet*, so that an authorization that arrives later is refused; or
/// *`authorize` without a reference only prepares it* ([`HeldStatus::Prepared`]), so that money moves only once the
/// reference is committed, and under that reference a void binds.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Holds the money, or says why not ([`HeldStatus::Declined`]), or what the customer has to do first, or by which
    /// reference to ask for it ([`HeldStatus::Prepared`]).
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble>;
    /// What the gateway knows of a charge. `None` is not final: a request may still be on its way.
    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble>;
    /// Takes `amount` of what is held and lets the rest go. Once per charge.
    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble>;
    /// Lets go of what is held, now and for ever. Refused once captured.
    async fn void(&self, charge: &Charge) -> Result<Held, Trouble>;
    /// Gives back until `total_refunded` has been given back in all, by this service and by people at the gateway.
    ///
    /// A call may repeat one whose answer was lost, with the same total or with another one, and people may have given
    /// something back in between: of such calls the gateway carries out one only, however late the others arrive. A
    /// result with less than the total means that this refund has failed for good; the next call asks anew.
    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble>;
    /// Payments that this installation asked for, and no other on the same account, made within that time by the
    /// gateway's clock; to the second, rather more than fewer.
    async fn list(&self, made: &Range<Instant>, after: Option<&str>) -> Result<Page, Trouble>;
}
