//! The answers of the contract: an order as its partner sees it, and what happened
//! to it. Pure functions of the row and of what is known of waiting.

pub mod board;
pub mod notification;
pub mod offer;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::admission::Revision;
use crate::lifecycle::{Actor, EventKind, PaymentStatus, Reason, Status, targets};
use crate::order::{Currency, Line, LineOption, Money, OnUnavailable, PaymentAction, Pickup, PickupType};
use crate::pace::Waiting;
use crate::state::{Order, Payment};
use crate::store::Recorded;
use crate::web::vocabulary::{Timestamp, shapes};
use crate::why::{Waits, why};

/// An order, for its partner.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrderView {
    pub order_id: Uuid,
    /// What the shop's ticket shows and the barista calls, beside `pickup.name`: short, and not unique for ever.
    #[schema(example = "BEEF")]
    pub short_code: String,
    pub status: Status,
    /// Whether getOngoingOrders returns it.
    pub ongoing: bool,
    /// The customer's present revision; absent where the list around the order says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub progress: Progress,
    /// When asking again is likely to show something new.
    #[schema(required)]
    pub next_poll_at: Option<Timestamp>,
    pub customer_id: String,
    pub shop_id: Uuid,
    pub lines: Vec<LineView>,
    /// As it was ordered.
    pub total: Money,
    /// The total less the lines that were dropped.
    pub amount_due: Money,
    pub payment: PaymentView,
    pub pickup: PickupView,
    pub on_unavailable: OnUnavailable,
    pub metadata: BTreeMap<String, String>,
    #[schema(required)]
    pub replaces_order_id: Option<Uuid>,
    #[schema(required)]
    pub reason: Option<ReasonView>,
    /// When the shop promised it.
    #[schema(required)]
    pub promise_at: Option<Timestamp>,
    pub allowed_actions: Vec<PartnerAction>,
    #[schema(required)]
    pub arrived_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[schema(required)]
    pub closed_at: Option<Timestamp>,
    /// Raised by every change; the order's ETag.
    pub version: i64,
}

impl OrderView {
    /// `present` is the customer's revision when the order was read, if the answer is to carry it.
    pub fn new(order: &Order, present: Option<Revision>, waiting: &Waiting) -> Self {
        let money = |amount| Money { amount, currency: order.placed.total.currency };
        let lines = order.placed.lines.iter().enumerate().map(|(position, line)| {
            LineView::new(line, order.placed.total.currency, order.dropped_lines.contains(&position))
        });
        Self {
            order_id: order.id.0,
            short_code: order.id.short_code(),
            status: order.status,
            ongoing: order.is_ongoing(),
            revision: present.map(|revision| revision.token(order.partner_id, &order.customer_id)),
            progress: Progress {
                percent: waiting.percent,
                expected_ready_at: Timestamp::maybe(waiting.expected_ready_at),
                expected_ready_latest_at: Timestamp::maybe(waiting.expected_ready_latest_at),
                late: waiting.late,
            },
            next_poll_at: Timestamp::maybe(waiting.next_poll_at),
            customer_id: order.customer_id.0.clone(),
            shop_id: order.shop_id.0,
            lines: lines.collect(),
            total: order.placed.total,
            amount_due: money(order.amount_due()),
            payment: PaymentView::new(&order.payment, order.owed(), money),
            pickup: PickupView::new(&order.pickup),
            on_unavailable: order.placed.on_unavailable,
            metadata: order.placed.metadata.clone(),
            replaces_order_id: order.placed.replaces_order_id.map(|id| id.0),
            reason: order.reason.map(|code| ReasonView {
                code,
                actor: order.reason_by,
                retryable: code.is_retryable(),
            }),
            promise_at: Timestamp::maybe(order.promise_at),
            allowed_actions: PartnerAction::allowed(order),
            arrived_at: Timestamp::maybe(order.arrived_at),
            created_at: Timestamp(order.created_at),
            updated_at: Timestamp(order.updated_at),
            closed_at: Timestamp::maybe(order.closed_at),
            version: order.version,
        }
    }
}

/// How far an order is. Only a terminal status means failure.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Progress {
    /// Never goes back but once, to 99, by a recall; 100 only when the order is ready.
    #[schema(required, maximum = 100)]
    pub percent: Option<u8>,
    /// When half of such orders are ready.
    #[schema(required)]
    pub expected_ready_at: Option<Timestamp>,
    /// When four of five such orders are ready.
    #[schema(required)]
    pub expected_ready_latest_at: Option<Timestamp>,
    /// It stands in its status longer than 95 of 100 such orders do.
    pub late: bool,
}

/// A line as it was when the order was placed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LineView {
    pub item_id: String,
    pub name: String,
    pub quantity: u32,
    pub options: Vec<OptionView>,
    /// For one drink with its options.
    pub unit_price: Money,
    /// For all of the line.
    pub price: Money,
    /// Sold out, and left out with the customer's consent.
    pub dropped: bool,
}

impl LineView {
    pub fn new(line: &Line, currency: Currency, dropped: bool) -> Self {
        let money = |amount| Money { amount, currency };
        Self {
            item_id: line.item_id.clone(),
            name: line.name.clone(),
            quantity: line.quantity,
            options: line.options.iter().map(|option| OptionView::new(option, money)).collect(),
            unit_price: money(line.unit_price),
            price: money(line.price()),
            dropped,
        }
    }
}

/// An option as it was when the order was placed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OptionView {
    pub option_id: String,
    pub name: String,
    /// For one drink; negative for what is taken off its price.
    #[schema(value_type = shapes::SignedMoney)]
    pub price: Money,
}

impl OptionView {
    fn new(option: &LineOption, money: impl Fn(i64) -> Money) -> Self {
        Self { option_id: option.option_id.clone(), name: option.name.clone(), price: money(option.price) }
    }
}

/// Where the money is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PaymentView {
    pub status: PaymentStatus,
    pub authorized: Money,
    pub captured: Money,
    pub refunded: Money,
    /// Must still go back to the customer.
    pub owed: Money,
    /// What the customer must do for the bank.
    #[schema(required)]
    pub action: Option<ActionView>,
    /// Why the gateway refused.
    #[schema(required)]
    pub refusal: Option<String>,
    /// A capture, void or refund whose answer is missing.
    #[schema(required)]
    pub pending_operation: Option<PendingOperationView>,
}

impl PaymentView {
    fn new(payment: &Payment, owed: i64, money: impl Fn(i64) -> Money) -> Self {
        Self {
            status: payment.status,
            authorized: money(payment.authorized),
            captured: money(payment.captured),
            refunded: money(payment.refunded),
            owed: money(owed),
            action: payment.action.as_ref().map(|PaymentAction { kind, url, client_secret }| ActionView {
                kind: kind.clone(),
                url: url.clone(),
                client_secret: client_secret.clone(),
            }),
            refusal: payment.refusal.clone(),
            pending_operation: payment.pending_operation.as_ref().map(|pending| PendingOperationView {
                operation: pending.operation.clone(),
                amount: money(pending.amount),
                since_at: Timestamp(pending.since),
            }),
        }
    }
}

/// What the customer must do for the bank (3-D Secure).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ActionView {
    /// `redirect`: send the customer to `url`. `use_stripe_sdk`: give `client_secret` to the gateway's library.
    #[serde(rename = "type")]
    pub kind: String,
    #[schema(required)]
    pub url: Option<String>,
    #[schema(required)]
    pub client_secret: Option<String>,
}

/// A capture, void or refund whose answer is missing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PendingOperationView {
    /// `capture`, `void` or `refund`.
    pub operation: String,
    pub amount: Money,
    pub since_at: Timestamp,
}

/// Where and when the customer picks the order up; `at` is null for as soon as possible.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PickupView {
    #[serde(rename = "type")]
    pub kind: PickupType,
    #[schema(required)]
    pub at: Option<Timestamp>,
    #[schema(required)]
    pub note: Option<String>,
    #[schema(required)]
    pub vehicle: Option<String>,
    /// What to call out when it is ready.
    #[schema(required)]
    pub name: Option<String>,
}

impl PickupView {
    pub fn new(pickup: &Pickup) -> Self {
        let Pickup { kind, at, note, vehicle, name } = pickup.clone();
        Self { kind, at: Timestamp::maybe(at), note, vehicle, name }
    }
}

/// Why an order ended as it did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonView {
    pub code: Reason,
    /// Whose decision it was.
    #[schema(required)]
    pub actor: Option<Actor>,
    /// Whether the same order may succeed when the customer tries again.
    pub retryable: bool,
}

impl ReasonView {
    fn of(order: &Order) -> Option<Self> {
        order.reason.map(|code| Self { code, actor: order.reason_by, retryable: code.is_retryable() })
    }
}

/// Why an order stands where it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WhyView {
    pub order_id: Uuid,
    pub status: Status,
    pub code: Waits,
    pub sentence: &'static str,
    /// What would carry it on.
    pub unblocked_by: &'static str,
    pub since: Timestamp,
    /// How often it was tried in this stage.
    pub attempts: i32,
    /// When the service tries next; null while it is at it, or has nothing to do.
    #[schema(required)]
    pub next_attempt_at: Option<Timestamp>,
    /// When the timer decides.
    #[schema(required)]
    pub deadline_at: Option<Timestamp>,
}

impl WhyView {
    pub fn new(order: &Order) -> Self {
        let why = why(order);
        Self {
            order_id: order.id.0,
            status: order.status,
            code: why.code,
            sentence: why.sentence,
            unblocked_by: why.unblocked_by,
            since: Timestamp(why.since),
            attempts: why.attempts,
            next_attempt_at: Timestamp::maybe(why.next_attempt_at),
            deadline_at: Timestamp::maybe(why.deadline_at),
        }
    }
}

/// What the partner may do with an order now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartnerAction {
    Cancel,
    UpdatePickup,
    ReportArrival,
    Delete,
}

impl PartnerAction {
    /// `report_arrival` is offered from `awaiting_shop` on, when an arrival means something to a shop. `delete` is
    /// offered once the order ended without a sale; before that it is `cancel` by another name.
    pub fn allowed(order: &Order) -> Vec<Self> {
        let Order { status, .. } = *order;
        let at_the_shop = status.is_ongoing() && status >= Status::AwaitingShop;
        let actions = [
            (Self::Cancel, targets(Some(status), EventKind::CustomerCancelled, Actor::Partner).is_some()),
            (Self::UpdatePickup, status.is_ongoing()),
            (Self::ReportArrival, at_the_shop && order.arrived_at.is_none()),
            (Self::Delete, status.is_undone() && order.deleted_at.is_none()),
        ];
        actions.into_iter().filter_map(|(action, allowed)| allowed.then_some(action)).collect()
    }
}

/// One entry of an order's history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventView {
    pub version: i64,
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Null for the first event.
    #[schema(required)]
    pub from: Option<Status>,
    /// Equal to `from` if the event left the status as it was.
    pub to: Status,
    pub payment_status: PaymentStatus,
    pub actor: Actor,
    #[schema(required)]
    pub reason: Option<Reason>,
    pub at: Timestamp,
}

impl EventView {
    pub fn new(recorded: &Recorded) -> Self {
        Self {
            version: recorded.version,
            kind: recorded.kind,
            from: recorded.from,
            to: recorded.to,
            payment_status: recorded.payment_status,
            actor: recorded.actor,
            reason: recorded.reason,
            at: Timestamp(recorded.at),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};
    use strum::VariantArray;

    use super::*;
    use crate::order::{CustomerId, OrderId, PartnerId, Placed, ShopId};
    use crate::state::{PendingOperation, Task};

    /// An order of two lungos with oat milk.
    pub fn order(status: Status) -> Order {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        Order {
            id: OrderId("0197c000-0000-7000-8000-00000000beef".parse().unwrap()),
            partner_id: PartnerId::new(),
            customer_id: CustomerId("cus".into()),
            shop_id: ShopId::new(),
            number: 1,
            nonce: 7,
            placed: Placed {
                lines: vec![Line {
                    item_id: "lungo".into(),
                    name: "Lungo".into(),
                    quantity: 2,
                    options: vec![LineOption { option_id: "oat".into(), name: "Oat milk".into(), price: 50 }],
                    unit_price: 410,
                    make_seconds: 60,
                }],
                total: Money { amount: 820, currency: "EUR".parse().unwrap() },
                payment_method: "pm_secret".into(),
                on_unavailable: OnUnavailable::Cancel,
                metadata: BTreeMap::new(),
                replaces_order_id: None,
                traceparent: None,
                tracks_steps: true,
                make_seconds: 60,
            },
            intact: true,
            pickup: Pickup { note: Some("hot".into()), ..Pickup::default() },
            status,
            reason: None,
            reason_by: None,
            payment: Payment::default(),
            task: Task::default(),
            entered_at: at,
            deadline_at: None,
            dropped_lines: vec![],
            offer_at: None,
            offered_at: None,
            promise_at: None,
            expected_ready_at: None,
            ready_at: None,
            arrived_at: None,
            recalled: false,
            found_begun_at: None,
            version: 1,
            created_at: at,
            updated_at: at,
            closed_at: None,
            deleted_at: None,
        }
    }

    fn json_of(order: &Order) -> Value {
        let present = Revision { number: 1, nonce: 7 };
        serde_json::to_value(OrderView::new(order, Some(present), &Waiting::default())).unwrap()
    }

    #[test]
    fn a_new_order_looks_as_the_contract_says() {
        let order = order(Status::New);
        let view = json_of(&order);
        let eur = |amount: i64| json!({"amount": amount, "currency": "EUR"});
        for (pointer, expected) in [
            ("/short_code", json!(order.id.short_code())),
            ("/status", json!("new")),
            ("/ongoing", json!(true)),
            ("/progress/percent", json!(null)),
            ("/progress/late", json!(false)),
            ("/lines/0/options/0", json!({"option_id": "oat", "name": "Oat milk", "price": eur(50)})),
            ("/lines/0/price", eur(820)),
            ("/amount_due", eur(820)),
            ("/payment/status", json!("none")),
            ("/payment/action", json!(null)),
            ("/pickup", json!({"type": "counter", "at": null, "note": "hot", "vehicle": null, "name": null})),
            ("/reason", json!(null)),
            ("/allowed_actions", json!(["cancel", "update_pickup"])),
            ("/created_at", json!("2026-01-02T03:04:05.000Z")),
            ("/closed_at", json!(null)),
        ] {
            assert_eq!(view.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert!(Revision::parse(view["revision"].as_str().unwrap(), order.partner_id, &order.customer_id).is_some());
        assert!(!view.to_string().contains("pm_secret"));
    }

    #[test]
    fn money_that_is_moving_is_shown() {
        let mut order = order(Status::Cancelled);
        (order.reason, order.reason_by) = (Some(Reason::CustomerRequest), Some(Actor::Partner));
        order.payment.status = PaymentStatus::Authorized;
        order.payment.authorized = 820;
        order.payment.release = true;
        order.payment.pending_operation =
            Some(PendingOperation { operation: "void".into(), amount: 820, since: order.created_at });
        let view = json_of(&order);
        assert_eq!(view["payment"]["owed"]["amount"], 820);
        assert_eq!(view["payment"]["pending_operation"]["operation"], "void");
        assert_eq!(view["reason"], json!({"code": "customer_request", "actor": "partner", "retryable": false}));
        assert_eq!(view["allowed_actions"], json!(["delete"]));
    }

    #[test]
    fn nothing_is_offered_that_the_table_refuses() {
        for status in Status::VARIANTS {
            let actions = PartnerAction::allowed(&order(*status));
            assert!(!actions.contains(&PartnerAction::Delete) || status.is_undone());
            assert!(!actions.contains(&PartnerAction::UpdatePickup) || status.is_ongoing());
        }
    }
}
