//! An order as the tablet of a shop sees it: what to make and for when.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::lifecycle::{Actor, EventKind, Status, targets};
use crate::order::OnUnavailable;
use crate::state::Order;
use crate::web::views::{PickupView, ReasonView};
use crate::web::vocabulary::Timestamp;

/// An order on the board of a shop: what to make, for when, and nothing of money.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShopOrderView {
    pub order_id: Uuid,
    /// What is called out, as the customer's app shows it too: short, and not unique for ever.
    pub short_code: String,
    pub status: Status,
    pub lines: Vec<ShopLineView>,
    pub pickup: PickupView,
    pub on_unavailable: OnUnavailable,
    #[schema(required)]
    pub reason: Option<ReasonView>,
    pub created_at: Timestamp,
    /// When the shop got it: a scheduled one is offered when it is about to be made.
    #[schema(required)]
    pub offered_at: Option<Timestamp>,
    /// Until when the shop can accept it; null once it has decided.
    #[schema(required)]
    pub answer_by: Option<Timestamp>,
    /// When the customer was told to expect it; what an acceptance without minutes promises.
    #[schema(required)]
    pub expected_ready_at: Option<Timestamp>,
    #[schema(required)]
    pub promise_at: Option<Timestamp>,
    /// When to start so that the promise is kept.
    #[schema(required)]
    pub start_by: Option<Timestamp>,
    /// When the customer reported being there.
    #[schema(required)]
    pub arrived_at: Option<Timestamp>,
    #[schema(required)]
    pub ready_at: Option<Timestamp>,
    /// When a comparison after a restore of the database found by its payment that its making had begun. It may have been
    /// handed over already: look before you make it. Null for nearly every order.
    #[schema(required)]
    pub found_begun_at: Option<Timestamp>,
    pub allowed_actions: Vec<ShopAction>,
    pub version: i64,
}

impl ShopOrderView {
    pub fn new(order: &Order) -> Self {
        let lines = order.placed.lines.iter().enumerate().map(|(position, line)| ShopLineView {
            line: position,
            item_id: line.item_id.clone(),
            name: line.name.clone(),
            quantity: line.quantity,
            options: line.options.iter().map(|option| option.name.clone()).collect(),
            dropped: order.dropped_lines.contains(&position),
        });
        Self {
            order_id: order.id.0,
            short_code: order.id.short_code(),
            status: order.status,
            lines: lines.collect(),
            pickup: PickupView::new(&order.pickup),
            on_unavailable: order.placed.on_unavailable,
            reason: ReasonView::of(order),
            created_at: Timestamp(order.created_at),
            offered_at: Timestamp::maybe(order.offered_at),
            answer_by: Timestamp::maybe(order.deadline_at.filter(|_| order.status == Status::AwaitingShop)),
            expected_ready_at: Timestamp::maybe(order.expected_ready_at),
            promise_at: Timestamp::maybe(order.promise_at),
            start_by: Timestamp::maybe(order.start_by()),
            arrived_at: Timestamp::maybe(order.arrived_at),
            ready_at: Timestamp::maybe(order.ready_at),
            found_begun_at: Timestamp::maybe(order.found_begun_at),
            allowed_actions: ShopAction::allowed(order.status),
            version: order.version,
        }
    }
}

/// A line on the board of a shop.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShopLineView {
    /// Its position, by which it is dropped.
    pub line: usize,
    pub item_id: String,
    pub name: String,
    pub quantity: u32,
    pub options: Vec<String>,
    pub dropped: bool,
}

/// What the shop may do with an order now: the last part of the action's address, with `_` for `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShopAction {
    Accept,
    Reject,
    Start,
    Ready,
    Recall,
    Collected,
    NotCollected,
    Cancel,
}

impl ShopAction {
    /// Each action and the event that it reports.
    pub const EVENTS: &[(Self, EventKind)] = &[
        (Self::Accept, EventKind::ShopAccepted),
        (Self::Reject, EventKind::ShopRejected),
        (Self::Start, EventKind::PreparationStarted),
        (Self::Ready, EventKind::Made),
        (Self::Recall, EventKind::Recalled),
        (Self::Collected, EventKind::Collected),
        (Self::NotCollected, EventKind::NotCollected),
        (Self::Cancel, EventKind::ShopCancelled),
    ];

    pub fn allowed(status: Status) -> Vec<Self> {
        let events = Self::EVENTS.iter();
        let allowed = events.filter(|(_, event)| targets(Some(status), *event, Actor::Shop).is_some());
        allowed.map(|(action, _)| *action).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strum::VariantArray;

    use super::*;
    use crate::web::views::tests::order;

    #[test]
    fn the_board_has_nothing_of_money() {
        let mut order = order(Status::AwaitingShop);
        order.promise_at = Some(order.created_at);
        let view = serde_json::to_value(ShopOrderView::new(&order)).unwrap();
        assert_eq!(view["short_code"], "BEEF");
        assert_eq!(view["start_by"], "2026-01-02T03:03:05.000Z");
        assert_eq!(view["allowed_actions"], json!(["accept", "reject"]));
        let text = view.to_string();
        assert!(!text.contains("amount") && !text.contains("price") && !text.contains("payment"), "{text}");
    }

    #[test]
    fn an_order_that_is_over_can_only_be_handed_over_late() {
        for status in Status::VARIANTS.iter().filter(|status| status.is_over()) {
            let expected = if *status == Status::NotCollected { vec![ShopAction::Collected] } else { vec![] };
            assert_eq!(ShopAction::allowed(*status), expected);
        }
    }
}
