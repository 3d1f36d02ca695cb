//! Brings an authorized order to its shop. Its undo is the release of the money, in `payment`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Outcome, Outside, Pause, again, backoff, happened};
use crate::lifecycle::{Event, Reason};
use crate::order::{Instant, OnUnavailable, OrderId, PartnerId, ShopId};
use crate::state::Order;
use crate::turns::Peer;

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
    /// W3C trace context of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
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

/// The longest pause between two offers, unless the shop asks for another one.
const PATIENCE: chrono::Duration = chrono::Duration::seconds(15);

/// Each shop by itself.
pub fn peer(order: &Order) -> Peer {
    Peer::Shop(order.shop_id)
}

/// Offers the order to its shop, which may answer at once or later by the shop API.
pub(super) async fn offer(order: &Order, outside: &impl Outside) -> Outcome {
    let offer = Offer {
        order_id: order.id,
        partner_id: order.partner_id,
        shop_id: order.shop_id,
        lines: order.placed.lines.len(),
        on_unavailable: order.placed.on_unavailable,
        make_seconds: order.placed.make_seconds,
        pickup_at: order.pickup.at,
        traceparent: order.placed.traceparent.clone(),
        simulate: order.placed.metadata.get("simulate").cloned(),
    };
    match outside.offer(&offer).await {
        // The shop has it and wants us to accept on its behalf.
        Ok(Answer::Received) if outside.auto_accepts(order) => {
            happened(Event::ShopAccepted { minutes: None, dropped_lines: Vec::new() })
        }
        Ok(Answer::Received) => happened(Event::Offered),
        Ok(Answer::Accepted { minutes, dropped_lines }) => happened(Event::ShopAccepted { minutes, dropped_lines }),
        Ok(Answer::Rejected { reason }) => happened(Event::ShopRejected { reason }),
        Err(unreachable) => {
            let told =
                unreachable.after.map(|after| Pause::exactly(chrono::Duration::from_std(after).unwrap_or(PATIENCE)));
            again(told.unwrap_or_else(|| backoff(order, PATIENCE)), unreachable.to_string())
        }
    }
}
