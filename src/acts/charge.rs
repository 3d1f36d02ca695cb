//! A charge at a payment gateway: what it is asked for, and what it answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::order::{Instant, Money, OrderId, PaymentAction};

/// A request to hold money, and the name of what is held in every later call. Except for its reference and its trace
/// context it is a pure function of the accepted order, so that a gateway takes every repetition for the same request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The idempotency key of the authorization.
    pub key: String,
    pub order_id: OrderId,
    pub total: Money,
    /// The payment method, as the partner named it.
    pub method: String,
    /// W3C trace context of this attempt. A gateway must not tell requests apart by it.
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
