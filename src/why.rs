//! Why an order stands where it stands: one sentence, for a person, and a code, for a program.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

use crate::lifecycle::{PaymentStatus, Stage, Status};
use crate::order::Instant;
use crate::state::Order;

/// What an order waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Waits {
    PaymentAuthorization,
    PaymentRetry,
    PaymentOutcome,
    CustomerAtBank,
    PickupTime,
    OfferToShop,
    ShopDecision,
    ShopStart,
    ShopMaking,
    Collection,
    Capture,
    MoneyBack,
    LastLook,
    Operator,
    Nothing,
}

/// Why an order stands where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub code: Waits,
    pub sentence: &'static str,
    /// What would carry it on.
    pub unblocked_by: &'static str,
    pub since: Instant,
    pub attempts: i32,
    /// When the service does something about it by itself; in the past, or `None`, while it is at it.
    pub next_attempt_at: Option<Instant>,
    /// When the timer decides.
    pub deadline_at: Option<Instant>,
}

/// Explains an order.
pub fn why(order: &Order) -> Why {
    let (code, sentence, unblocked_by) = explain(order);
    Why {
        code,
        sentence,
        unblocked_by,
        since: order.task.parked_at.unwrap_or(order.updated_at),
        attempts: order.task.attempts,
        next_attempt_at: order.task.next_attempt_at.filter(|_| order.task.leased_until.is_none()),
        deadline_at: order.deadline_at,
    }
}

fn explain(order: &Order) -> (Waits, &'static str, &'static str) {
    use PaymentStatus as P;
    if order.task.parked_at.is_some() {
        return (
            Waits::Operator,
            "Working on it failed too often, or the gateway rejects or contradicts it: it is set aside.",
            "An operator who looks at it and tries it again; its deadline still holds.",
        );
    }
    match order.task.stage {
        Some(Stage::Release) => {
            return (
                Waits::MoneyBack,
                "Its money is on its way back to the customer.",
                "The gateway's proof that nothing is held or owed any more; asked for until it comes.",
            );
        }
        Some(Stage::LookUp) if order.payment.last_look => {
            return (
                Waits::LastLook,
                "It is over and its money was released; the gateway is asked a last time.",
                "The passing of a day.",
            );
        }
        Some(Stage::Capture) => {
            return (
                Waits::Capture,
                "It is made, and its payment is being taken.",
                "The gateway's answer; the order does not wait for it.",
            );
        }
        Some(Stage::Authorize | Stage::LookUp | Stage::Offer) | None => {}
    }
    match order.status {
        Status::New if order.payment.status == P::Unknown => (
            Waits::PaymentOutcome,
            "The gateway did not answer, and may or may not hold the money.",
            "A look-up at the gateway, at 2, 5, 15 and 45 s and then again and again.",
        ),
        Status::New if order.payment.status == P::Authorizing => (
            Waits::PaymentRetry,
            "The gateway cannot be used right now; nothing was taken.",
            "The next try, with the same key.",
        ),
        Status::New => (Waits::PaymentAuthorization, "Its payment is being authorized.", "The gateway's answer."),
        Status::ActionRequired => (
            Waits::CustomerAtBank,
            "The bank asks the customer.",
            "The customer, at `payment.action.url`; the bank is also asked at 15, 60 and 150 s.",
        ),
        Status::Scheduled => {
            (Waits::PickupTime, "It is paid for and waits for its time.", "The time at which the shop is asked.")
        }
        Status::AwaitingShop if order.offered_at.is_none() => {
            (Waits::OfferToShop, "It is being offered to the shop.", "The shop's receipt.")
        }
        Status::AwaitingShop => {
            (Waits::ShopDecision, "The shop has it and has not decided yet.", "The shop, which accepts or rejects.")
        }
        Status::Accepted => {
            (Waits::ShopStart, "The shop accepted it and has not started yet.", "The shop, which starts making it.")
        }
        Status::Preparing => (Waits::ShopMaking, "It is being made.", "The shop, which says that it is ready."),
        Status::Ready => {
            (Waits::Collection, "It is ready and waits for the customer.", "The customer, who collects it.")
        }
        Status::Completed | Status::Rejected | Status::Failed | Status::Cancelled | Status::NotCollected => {
            (Waits::Nothing, "It is over.", "Nothing: nothing is pending.")
        }
    }
}
