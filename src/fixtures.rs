//! One plain order and one plain request for the tests in the crate, to be changed where a test cares.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration};

use crate::lifecycle::{Actor, Event, EventKind, PaymentStatus, Reason, Refund, Status};
use crate::machine::{self, Birth, Deadlines};
use crate::order::{
    CustomerId, Instant, Line, LineOption, Money, NewOrder, OnUnavailable, OrderId, PartnerId, PaymentAction, Pickup,
    Placed, RequestedLine, ShopId,
};
use crate::state::Order;

/// What [`order`] costs, in minor units: two lungos with oat milk for 300 each, and a roll for 250.
pub const TOTAL: i64 = 850;
/// How long the shop needs for it.
pub const MAKE: Duration = Duration::seconds(300);

/// So many seconds after the orders of these tests were placed.
pub fn at(seconds: i64) -> Instant {
    DateTime::from_timestamp(1_767_600_000 + seconds, 0).expect("a time in 2026")
}

pub fn customer() -> CustomerId {
    CustomerId("cus_1".into())
}

pub fn euros(amount: i64) -> Money {
    Money { amount, currency: "EUR".parse().expect("a known currency") }
}

pub fn placed() -> Placed {
    let line = |item_id: &str, quantity, options: &[&str], unit_price| Line {
        item_id: item_id.into(),
        name: item_id.to_uppercase(),
        quantity,
        options: options
            .iter()
            .map(|option| LineOption { option_id: (*option).into(), name: (*option).into(), price: 0 })
            .collect(),
        unit_price,
        make_seconds: 120,
    };
    Placed {
        lines: vec![line("lungo", 2, &["milk_oat"], 300), line("roll", 1, &[], 250)],
        total: euros(TOTAL),
        payment_method: "pm_card_visa".into(),
        on_unavailable: OnUnavailable::RemoveLine,
        metadata: BTreeMap::new(),
        replaces_order_id: None,
        traceparent: None,
        tracks_steps: true,
        make_seconds: 300,
    }
}

/// The request that [`placed`] came from.
pub fn request(shop_id: ShopId) -> NewOrder {
    let placed = placed();
    NewOrder {
        customer_id: customer(),
        shop_id,
        lines: placed.requested_lines().collect(),
        total: Some(placed.total),
        payment_method: placed.payment_method,
        pickup: Pickup::default(),
        on_unavailable: placed.on_unavailable,
        metadata: placed.metadata,
        replaces_order_id: None,
    }
}

pub fn requested(item_id: &str, options: &[&str], quantity: u32) -> RequestedLine {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    RequestedLine { item_id: item_id.into(), options, quantity }
}

/// A new order of these, placed at `at(0)` and expected at `at(600)`.
pub fn order_of(placed: Placed, pickup: Pickup, offer_at: Option<Instant>) -> Order {
    machine::born(Birth {
        id: OrderId::new(),
        partner_id: PartnerId::new(),
        customer_id: customer(),
        shop_id: ShopId::new(),
        number: 1,
        nonce: 7,
        placed,
        pickup,
        offer_at,
        expected_ready_at: at(600),
        now: at(0),
        deadlines: &Deadlines::default(),
    })
}

/// A new order for now, at a shop that tracks its steps.
pub fn order() -> Order {
    order_of(placed(), Pickup::default(), None)
}

/// An event of that kind, as it would legally come to [`order`].
pub fn event(kind: EventKind) -> Event {
    use EventKind as E;
    let reference = || "ref_1".to_owned();
    let refusal = || "card_declined".to_owned();
    match kind {
        E::Created => Event::Created,
        E::PaymentAuthorized => {
            Event::PaymentAuthorized { amount: TOTAL, reference: reference(), capture_before: None }
        }
        E::PaymentActionRequired => {
            let action = PaymentAction::redirect("https://bank.example".into());
            Event::PaymentActionRequired { action, reference: reference() }
        }
        E::PaymentDeclined => Event::PaymentDeclined { refusal: refusal() },
        E::PaymentExpired => Event::PaymentExpired,
        E::PaymentUnavailable => Event::PaymentUnavailable,
        E::PaymentUnknown => Event::PaymentUnknown,
        E::PaymentHoldLost => Event::PaymentHoldLost,
        E::OrderDamaged => Event::OrderDamaged,
        E::SlotDue => Event::SlotDue,
        E::ShopAccepted => Event::ShopAccepted { minutes: None, dropped_lines: Vec::new() },
        E::ShopRejected => Event::ShopRejected { reason: Reason::ShopTooBusy },
        E::ShopTimedOut => Event::ShopTimedOut,
        E::SlotMissed => Event::SlotMissed,
        E::PreparationStarted => Event::PreparationStarted,
        E::Made => Event::Made,
        E::Recalled => Event::Recalled,
        E::Collected => Event::Collected,
        E::NotCollected => Event::NotCollected,
        E::Abandoned => Event::Abandoned,
        E::CustomerCancelled => Event::CustomerCancelled,
        E::ShopCancelled => Event::ShopCancelled { reason: Reason::EquipmentFailure },
        E::ForceCompleted => Event::ForceCompleted { note: None },
        E::OperatorCancelled => {
            Event::OperatorCancelled { reason: Reason::OperatorRequest, refund: Refund::Full, note: None }
        }
        E::PaymentPrepared => Event::PaymentPrepared { reference: reference() },
        E::PaymentAttempted => Event::PaymentAttempted,
        E::PaymentUnanswered => Event::PaymentUnanswered,
        E::PaymentCaptured => Event::PaymentCaptured { amount: TOTAL },
        E::CaptureRefused => Event::CaptureRefused { refusal: refusal() },
        E::PaymentVoided => Event::PaymentVoided,
        E::PaymentRefunded => Event::PaymentRefunded { amount: TOTAL },
        E::RefundFailed => Event::RefundFailed { amount: 0 },
        E::RefundReduced => Event::RefundReduced { amount: 100, note: None },
        E::PaymentSurfaced => Event::PaymentSurfaced { status: PaymentStatus::Authorized, amount: TOTAL },
        E::PaymentProven => Event::PaymentProven,
        E::OperationUnanswered => Event::OperationUnanswered { operation: "capture".into(), amount: TOTAL },
        E::RefundRequested => Event::RefundRequested { amount: 100, note: None },
        E::Offered => Event::Offered,
        E::PickupChanged => Event::PickupChanged { pickup: Pickup::default(), offer_at: None },
        E::Arrived => Event::Arrived,
        E::Deleted => Event::Deleted,
        E::Parked => Event::Parked { why: "a test".into() },
        E::Retried => Event::Retried { note: None },
        E::DeadlineExtended => Event::DeadlineExtended { minutes: 10 },
        E::OfferRepeated => Event::OfferRepeated,
        E::Contradicted => Event::Contradicted { what: "a test".into() },
        E::FoundBegun => Event::FoundBegun { dropped_lines: Vec::new() },
        E::FoundSold => Event::FoundSold { dropped_lines: Vec::new() },
        E::FoundUndone => Event::FoundUndone,
    }
}

/// Takes one step that has to be possible.
pub fn after(order: &Order, event: &Event, by: Actor, now: Instant) -> Order {
    machine::step(order, event, by, now, &Deadlines::default())
        .unwrap_or_else(|refused| panic!("{event:?} by {by}: {refused}"))
}

/// The order, brought to a status in the shortest way, all at `at(0)`. To be `scheduled` it needs an `offer_at`.
pub fn brought_to(status: Status, order: Order) -> Order {
    use EventKind as E;
    let (before, kind, by) = match status {
        Status::New => return order,
        Status::ActionRequired => (Status::New, E::PaymentActionRequired, Actor::Gateway),
        Status::Scheduled => (Status::New, E::PaymentAuthorized, Actor::Worker),
        Status::AwaitingShop => (Status::New, E::PaymentAuthorized, Actor::Worker),
        Status::Accepted => (Status::AwaitingShop, E::ShopAccepted, Actor::Shop),
        Status::Preparing => (Status::Accepted, E::PreparationStarted, Actor::Shop),
        Status::Ready => (Status::Preparing, E::Made, Actor::Shop),
        Status::Completed => (Status::Ready, E::Collected, Actor::Shop),
        Status::Rejected => (Status::AwaitingShop, E::ShopRejected, Actor::Shop),
        Status::Failed => (Status::New, E::PaymentDeclined, Actor::Worker),
        Status::Cancelled => (Status::New, E::CustomerCancelled, Actor::Partner),
        Status::NotCollected => (Status::Ready, E::NotCollected, Actor::Timer),
    };
    let order = after(&brought_to(before, order), &event(kind), by, at(0));
    assert_eq!(order.status, status);
    order
}

/// A plain order in that status.
pub fn order_in(status: Status) -> Order {
    let offer_at = (status == Status::Scheduled).then(|| at(3600));
    let pickup = Pickup { at: offer_at.map(|at| at + Duration::minutes(20)), ..Pickup::default() };
    brought_to(status, order_of(placed(), pickup, offer_at))
}
