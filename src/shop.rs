//! The shop port: how an order reaches the people who make it.

pub mod simulator;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lifecycle::Reason;
use crate::order::{Instant, OnUnavailable, OrderId, PartnerId, ShopId};

/// What a shop is told of an order. No prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub order_id: OrderId,
    pub partner_id: PartnerId,
    pub shop_id: ShopId,
    /// The number of lines, and what may be done if one of them is sold out.
    pub lines: usize,
    pub on_unavailable: OnUnavailable,
    pub make_seconds: u32,
    /// The requested time; `None` is as soon as possible.
    pub pickup_at: Option<Instant>,
    /// `metadata.simulate`, which only the simulator reads.
    pub simulate: Option<String>,
}

/// The shop's answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has the order; its decision will come by the shop API.
    Received,
    Accepted {
        minutes: Option<u32>,
        dropped_lines: Vec<usize>,
    },
    Rejected {
        reason: Reason,
    },
}

/// The shop could not be reached, or did not answer: the offer is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the shop did not answer: {why}")]
pub struct Unreachable {
    pub why: String,
    /// When it asks to be offered the order again, if it says so.
    pub after: Option<Duration>,
}

impl Unreachable {
    pub fn new(why: String) -> Self {
        Self { why, after: None }
    }
}

/// Whoever brings offers to shops. Repeating an offer is safe: a shop knows an order by its id.
#[async_trait]
pub trait Shops: Send + Sync {
    async fn offer(&self, offer: &Offer) -> Result<Answer, Unreachable>;
}
