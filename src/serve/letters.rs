//! What receivers of webhooks read, in the words of the API.

use std::sync::Arc;

use serde::Serialize;

use crate::app::App;
use crate::notify::{Letter, Letters};
use crate::order::Instant;
use crate::state::Order;
use crate::store::{Delivery, Webhook};
use crate::web::views::OrderView;
use crate::web::views::board::ShopOrderView;
use crate::web::views::notification::{Notification, ShopNotice, ShopNotification};
use crate::web::vocabulary::Timestamp;

/// Writes to partners in the words of their API, and to shops in those of theirs.
pub struct InOurWords(pub Arc<App>);

impl Letters for InOurWords {
    fn write(&self, webhook: &Webhook, delivery: &Delivery, order: Option<&Order>, now: Instant) -> Letter {
        let (occurred_at, order_id) = (Timestamp(delivery.occurred_at), delivery.order_id.0);
        if webhook.shop_id.is_some() {
            // Told once more after it accepted too late, a shop must not take it for what it has had.
            let id = format!("msg_{}", delivery.delivery_id.simple());
            let version = order.map_or(delivery.version, |order| order.version);
            let order = order.map(ShopOrderView::new);
            let notice = ShopNotice::OrderCancelled;
            return letter(id, &ShopNotification { notice, occurred_at, order_id, version, order });
        }
        let shown = order.filter(|order| order.deleted_at.is_none());
        let notification = Notification {
            event_id: delivery.event_id(),
            kind: delivery.kind,
            occurred_at,
            order_id,
            version: delivery.version,
            order: shown.map(|order| OrderView::new(order, None, &self.0.pace().waiting(order, rand::random(), now))),
        };
        letter(delivery.event_id(), &notification)
    }
}

/// The offer of an order to its shop: under the same id however often it is offered.
pub fn offer(order: &Order, now: Instant) -> Letter {
    let notification = ShopNotification {
        notice: ShopNotice::OrderOffered,
        occurred_at: Timestamp(now),
        order_id: order.id.0,
        version: order.version,
        order: Some(ShopOrderView::new(order)),
    };
    letter(format!("offer_{}", order.id.0.simple()), &notification)
}

fn letter(id: String, body: &impl Serialize) -> Letter {
    Letter { id, body: serde_json::to_vec(body).expect("plain data serialises") }
}
