//! What receivers of webhooks read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::OrderView;
use super::board::ShopOrderView;
use crate::lifecycle::EventKind;
use crate::web::vocabulary::Timestamp;

/// Something happened to an order: what a partner's receiver reads. The newest event stands for older ones of the same
/// order that were not sent in time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Notification {
    /// The same each time this event is sent; also in the header `webhook-id`.
    #[schema(example = "evt_01970000000070008000000000000099_3_19b8d3f2c00")]
    pub event_id: String,
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub occurred_at: Timestamp,
    pub order_id: Uuid,
    /// The version of the order that this event made. Events may come late, twice or out of order: what is below the
    /// highest version seen of an order is old.
    pub version: i64,
    /// The order as it was when this was sent: its `version` is this one or a later one. Null once it was deleted.
    #[schema(required)]
    pub order: Option<OrderView>,
}

/// What a shop is told of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShopNotice {
    /// Take it, or refuse it, by the shop API.
    OrderOffered,
    /// Do not make it, or stop making it: it ended without the shop.
    OrderCancelled,
}

/// What a shop's receiver reads: an order that is offered to it, or that was cancelled. Nothing of money.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShopNotification {
    #[serde(rename = "type")]
    pub notice: ShopNotice,
    pub occurred_at: Timestamp,
    pub order_id: Uuid,
    /// The version of the order: what is below the highest one seen of an order is old.
    pub version: i64,
    /// Null only if the order cannot be read any more.
    #[schema(required)]
    pub order: Option<ShopOrderView>,
}
