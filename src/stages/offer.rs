//! Brings an authorized order to its shop. Its undo is the release of the money, in `payment`.

use super::{Ports, again, backoff, happened};
use crate::lifecycle::Event;
use crate::shop::{Answer, Offer};
use crate::state::Order;
use crate::store::Outcome;
use crate::turns::Peer;

/// The longest pause between two tries, unless the shop asks for another one.
const PATIENCE: chrono::Duration = chrono::Duration::seconds(15);

pub(super) fn peer(order: &Order) -> Peer {
    Peer::Shop(order.shop_id)
}

/// Offers the order to its shop, which may answer at once or later by the shop API.
pub(super) async fn offer(order: &Order, ports: &Ports) -> Outcome {
    let offer = Offer {
        order_id: order.id,
        partner_id: order.partner_id,
        shop_id: order.shop_id,
        lines: order.placed.lines.len(),
        on_unavailable: order.placed.on_unavailable,
        make_seconds: order.placed.make_seconds,
        pickup_at: order.pickup.at,
        simulate: order.placed.metadata.get("simulate").cloned(),
    };
    match ports.call(order, &peer(order), ports.shops.offer(&offer)).await {
        // The shop has it and wants us to accept on its behalf.
        Ok(Answer::Received) if (ports.auto_accepts)(order) => {
            happened(Event::ShopAccepted { minutes: None, dropped_lines: Vec::new() })
        }
        Ok(Answer::Received) => happened(Event::Offered),
        Ok(Answer::Accepted { minutes, dropped_lines }) => happened(Event::ShopAccepted { minutes, dropped_lines }),
        Ok(Answer::Rejected { reason }) => happened(Event::ShopRejected { reason }),
        Err(unreachable) => {
            let told = unreachable.after.map(|after| chrono::Duration::from_std(after).unwrap_or(PATIENCE));
            again(told.unwrap_or_else(|| backoff(order.task.attempts, PATIENCE)), unreachable.to_string())
        }
    }
}
