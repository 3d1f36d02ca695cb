//! The money of an order: hold it, find out about it, take it, and give it back.
//!
//! Every call carries the order's one key, so that repeating it is safe; what the gateway says is compared with
//! the order before it is believed.
//!
//! News of a payment counts in every status, and it does not matter who asked for what happened: [`difference`] compares
//! the amounts that the gateway holds with those that the order knows. Stages, callbacks and look-ups all go through it.

use std::cmp::Ordering;

use chrono::Duration;

use super::charge::{Charge, Held, HeldStatus, Trouble};
use super::{Outcome, Outside, Pause, again, backoff, happened};
use crate::lifecycle::{Event, PaymentStatus, Stage, Status};
use crate::machine;
use crate::state::Order;
use crate::turns::Peer;

/// The longest pause between two tries of what an order waits for …
const PATIENCE: Duration = Duration::seconds(15);
/// … and of what only the money waits for.
const RELEASE_PATIENCE: Duration = Duration::minutes(15);

/// Asks the gateway to hold the money.
pub(super) async fn authorize(order: &Order, outside: &impl Outside) -> Outcome {
    if !order.intact {
        return happened(Event::OrderDamaged);
    }
    match outside.authorize(&charge(order)).await {
        Ok(held) => found(order, &held),
        Err(Trouble::Refused(refusal)) => happened(Event::PaymentDeclined { refusal }),
        // No other try is any better: the order waits for an operator, and its deadline ends it.
        Err(trouble @ Trouble::Invalid(_)) if order.task.stage == Some(Stage::Authorize) => {
            happened(Event::Parked { why: trouble.to_string() })
        }
        Err(trouble) if order.payment.status == PaymentStatus::Unknown => {
            try_again(Pause::exactly(machine::look_up_after(order, order.task.attempts)), trouble)
        }
        Err(Trouble::Unanswered(_)) => happened(Event::PaymentUnanswered),
        Err(trouble) => Outcome {
            event: (order.payment.status == PaymentStatus::None).then_some(Event::PaymentAttempted),
            ..try_again(backoff(order, PATIENCE), trouble)
        },
    }
}

/// Finds out what became of an authorization: it was never answered, the bank asks the customer, or (a day
/// later) it was released and should have stayed so.
pub(super) async fn look_up(order: &Order, outside: &impl Outside) -> Outcome {
    let next = Pause::exactly(machine::look_up_after(order, order.task.attempts));
    // Every second time the request itself is repeated: under its key it finds out as well as a look-up does, and a
    // gateway that fails in turns cannot fail it for ever.
    if order.status == Status::New && order.task.attempts % 2 == 0 {
        return authorize(order, outside).await;
    }
    match outside.look_up(&charge(order)).await {
        Ok(Some(held)) if !is_ours(order, &held) => contradiction(order, &held),
        // A day after its release an order's money should be free. What is not has surfaced, and is released again.
        Ok(held) if order.payment.last_look => {
            let surfaced = held.as_ref().and_then(|held| difference(order, held));
            happened(surfaced.unwrap_or(Event::PaymentProven))
        }
        Ok(Some(held)) if held.status == HeldStatus::ActionRequired && order.status == Status::ActionRequired => {
            again(next, "the customer has not answered the bank yet")
        }
        // The request was lost, or is still on its way: the same key and the same bytes again are safe either way.
        Ok(held)
            if order.status == Status::New && held.as_ref().is_none_or(|held| held.status == HeldStatus::Prepared) =>
        {
            authorize(order, outside).await
        }
        Ok(Some(held)) => found(order, &held),
        Ok(None) => again(next, "the gateway does not know this payment"),
        Err(trouble) => try_again(next, trouble),
    }
}

/// Takes what is due of what is held, and lets go of the rest.
pub(super) async fn capture(order: &Order, outside: &impl Outside) -> Outcome {
    if !order.intact {
        return contradicted(order, "the stored order does not match its hash".into());
    }
    let amount = order.amount_due();
    match outside.capture(&charge(order), amount).await {
        Ok(held) => believed(order, &held, PATIENCE, "after its capture"),
        // It may have been taken by hand, or the hold may be gone: the refusal alone does not say.
        Err(Trouble::Refused(refusal)) => match outside.look_up(&charge(order)).await {
            Ok(Some(held)) if held.status == HeldStatus::Captured || !is_ours(order, &held) => {
                believed(order, &held, PATIENCE, "after its capture")
            }
            Ok(_) => happened(Event::CaptureRefused { refusal }),
            Err(trouble) => try_again(backoff(order, PATIENCE), trouble),
        },
        Err(trouble) => unanswered(order, "capture", amount, trouble, PATIENCE),
    }
}

/// What comes of an answer: the event that tells the order of it, if it is not what the order knew.
fn believed(order: &Order, held: &Held, patience: Duration, when: &str) -> Outcome {
    let why =
        format!("{when} the gateway says {:?}, {} captured, {} refunded", held.status, held.captured, held.refunded);
    Outcome { event: difference(order, held), ..again(backoff(order, patience), why) }
}

/// Gives the money back: by void or by refund, whichever the gateway's actual state asks for. Ends only with the
/// gateway's own word that nothing is held and nothing is owed.
///
/// What is known to be taken is refunded; everything else is voided first, because a void binds the key even before
/// its authorization arrives, and a gateway that has taken the money refuses it.
pub(super) async fn release(order: &Order, outside: &impl Outside) -> Outcome {
    if order.is_taken() { refund(order, outside).await } else { void(order, outside).await }
}

async fn refund(order: &Order, outside: &impl Outside) -> Outcome {
    let payment = &order.payment;
    let target = order.must_go_back() - payment.refunded_elsewhere;
    match outside.refund(&charge(order), target).await {
        // It will not get there: the log of the order says so, and the next try asks anew.
        Ok(held) if is_ours(order, &held) && held.refunded < target => {
            let amount = refunded(order, &held);
            let again = again(backoff(order, RELEASE_PATIENCE), "the refund failed");
            Outcome { event: Some(Event::RefundFailed { amount }), ..again }
        }
        Ok(held) => believed(order, &held, RELEASE_PATIENCE, "after its refund"),
        Err(Trouble::Refused(why)) => found_out(order, outside, &why).await,
        Err(trouble) => unanswered(order, "refund", target, trouble, RELEASE_PATIENCE),
    }
}

/// All that the customer was given back, as the gateway says now.
fn refunded(order: &Order, held: &Held) -> i64 {
    (held.refunded + order.payment.refunded_elsewhere).min(order.payment.captured)
}

async fn void(order: &Order, outside: &impl Outside) -> Outcome {
    let charge = charge(order);
    let refused = match outside.void(&charge).await {
        Ok(held) if !is_ours(order, &held) => return contradiction(order, &held),
        Ok(held) if matches!(held.status, HeldStatus::Voided | HeldStatus::Declined) => {
            return happened(Event::PaymentVoided);
        }
        Ok(held) => format!("the gateway still says {:?}", held.status),
        Err(Trouble::Refused(why)) => why,
        Err(trouble) => return unanswered(order, "void", order.placed.total.amount, trouble, RELEASE_PATIENCE),
    };
    found_out(order, outside, &refused).await
}

/// What the gateway refuses, it refuses because the payment is not what the order knows: what that is, the order has to
/// be told before anything else is tried.
async fn found_out(order: &Order, outside: &impl Outside, refused: &str) -> Outcome {
    match outside.look_up(&charge(order)).await {
        Ok(Some(held)) if held.status == HeldStatus::Declined && is_ours(order, &held) && !order.is_taken() => {
            happened(Event::PaymentDeclined { refusal: held.refusal.unwrap_or_default() })
        }
        Ok(held) => {
            let event = held.as_ref().and_then(|held| difference(order, held));
            let is_known = !matches!(event, None | Some(Event::Contradicted { .. }));
            let after = if is_known { Pause::exactly(Duration::zero()) } else { backoff(order, RELEASE_PATIENCE) };
            Outcome { event, ..again(after, format!("the gateway refused: {refused}")) }
        }
        Err(trouble) => try_again(backoff(order, RELEASE_PATIENCE), trouble),
    }
}

/// A hint of the gateway's is not believed, only what a look-up says. Where several things happened each look tells one
/// of them, in the order in which they must have happened.
///
/// The next event that brings what an order knows of its payment to what the gateway holds; `None` if they agree, or if
/// what differs is for a stage to find out that is pending.
pub fn difference(order: &Order, held: &Held) -> Option<Event> {
    use HeldStatus as H;
    use PaymentStatus as P;
    if !is_ours(order, held) {
        return contradiction(order, held).event;
    }
    match (order.payment.status, held.status) {
        // What was taken was held before, also if a person took it: the order learns of the hold first.
        (P::None | P::Authorizing | P::ActionRequired | P::Unknown, H::Authorized | H::Captured)
        | (P::Declined | P::Voided, H::Authorized | H::Captured | H::ActionRequired) => Some(authorized(held)),
        // The money of an order that is over is released until that is proven, whatever the gateway says meanwhile.
        (P::None | P::Authorizing | P::ActionRequired | P::Unknown, H::Declined | H::Voided) if order.is_ongoing() => {
            found(order, held).event
        }
        (P::None | P::Authorizing | P::Unknown, H::ActionRequired) if order.is_ongoing() => found(order, held).event,
        (P::Authorized | P::CaptureFailed, H::Captured) => Some(Event::PaymentCaptured { amount: held.captured }),
        (P::Authorized | P::CaptureFailed, H::Declined | H::Voided) => lost(order, held),
        (P::Captured | P::PartiallyRefunded | P::Refunded, H::Captured) if held.captured == order.payment.captured => {
            let (says, knows) = (refunded(order, held), order.payment.refunded);
            match says.cmp(&knows) {
                Ordering::Greater => Some(Event::PaymentRefunded { amount: says }),
                Ordering::Equal => None,
                // Banks send some refunds back days later.
                Ordering::Less => Some(Event::RefundFailed { amount: says }),
            }
        }
        // What was taken cannot be taken differently, nor be held again.
        (P::Captured | P::PartiallyRefunded | P::Refunded, _) => contradiction(order, held).event,
        (_, H::Prepared | H::ActionRequired)
        | (P::None | P::Authorizing | P::ActionRequired | P::Unknown, H::Declined | H::Voided)
        | (P::Authorized | P::CaptureFailed, H::Authorized)
        | (P::Declined | P::Voided, H::Declined | H::Voided) => None,
    }
}

/// The hold of an order is gone. Nothing is made for it if that is known in time; otherwise the sale is unpaid.
fn lost(order: &Order, held: &Held) -> Option<Event> {
    match order.status {
        status if status.is_undone() => Some(Event::PaymentVoided),
        Status::Scheduled | Status::AwaitingShop | Status::Accepted => Some(Event::PaymentHoldLost),
        _ if order.payment.status == PaymentStatus::CaptureFailed => None,
        _ => Some(Event::CaptureRefused { refusal: held.refusal.clone().unwrap_or_else(|| "the hold is gone".into()) }),
    }
}

fn authorized(held: &Held) -> Event {
    Event::PaymentAuthorized {
        amount: held.total.amount,
        reference: held.reference.clone(),
        capture_before: held.capture_before,
    }
}

/// What names an order's money in every call to the gateway.
pub fn charge(order: &Order) -> Charge {
    Charge {
        key: order.authorization_key(),
        order_id: order.id,
        total: order.placed.total,
        method: order.placed.payment_method.clone(),
        traceparent: order.placed.traceparent.clone(),
        reference: order.payment.reference.clone(),
    }
}

/// Each payment method by itself: one whose bank is silent does not hold the others up.
pub fn peer(order: &Order) -> Peer {
    Peer::Method(order.placed.payment_method.clone())
}

/// What the gateway says about an authorization, as an event.
fn found(order: &Order, held: &Held) -> Outcome {
    if !is_ours(order, held) {
        return contradiction(order, held);
    }
    let reference = held.reference.clone();
    happened(match held.status {
        // Only once its name is committed may money move under it.
        HeldStatus::Prepared if order.payment.reference.is_none() => {
            return Outcome {
                event: Some(Event::PaymentPrepared { reference }),
                ..again(Pause::exactly(Duration::zero()), "prepared: now it can be held")
            };
        }
        HeldStatus::Prepared => {
            return again(backoff(order, PATIENCE), "the gateway has not begun with it yet");
        }
        HeldStatus::Authorized | HeldStatus::Captured => authorized(held),
        HeldStatus::ActionRequired => match &held.action {
            Some(action) => Event::PaymentActionRequired { action: action.clone(), reference },
            None => return contradiction(order, held),
        },
        HeldStatus::Declined => Event::PaymentDeclined { refusal: held.refusal.clone().unwrap_or_default() },
        HeldStatus::Voided => Event::PaymentDeclined { refusal: "voided".into() },
    })
}

/// Whether a payment is the one of that order: its name, its amount, its currency.
pub fn is_ours(order: &Order, held: &Held) -> bool {
    // A key that was voided before its authorization arrived has no amount of its own.
    let voided_unseen = held.status == HeldStatus::Voided && held.total.amount == 0;
    let is_named = order.payment.reference.as_ref().is_none_or(|reference| *reference == held.reference);
    held.order_id == order.id && is_named && (held.total == order.placed.total || voided_unseen)
}

/// The gateway holds something under our key that is not what we ordered: nothing of it is believed.
fn contradiction(order: &Order, held: &Held) -> Outcome {
    contradicted(
        order,
        format!(
            "the gateway holds {} for order {} as `{:?}` by the name {} under the key of this order over {}",
            held.total, held.order_id, held.status, held.reference, order.placed.total
        ),
    )
}

/// What cannot be: recorded once, for a person to look at, and tried again where money depends on it.
fn contradicted(order: &Order, what: String) -> Outcome {
    let is_news = order.task.last_error.as_ref() != Some(&what);
    let again = again(backoff(order, RELEASE_PATIENCE), what.clone());
    Outcome { event: is_news.then_some(Event::Contradicted { what }), ..again }
}

fn unanswered(order: &Order, operation: &str, amount: i64, trouble: Trouble, patience: Duration) -> Outcome {
    let is_news = order.payment.pending_operation.is_none() && matches!(trouble, Trouble::Unanswered(_));
    let patience = if matches!(trouble, Trouble::Invalid(_)) { RELEASE_PATIENCE } else { patience };
    Outcome {
        event: is_news.then(|| Event::OperationUnanswered { operation: operation.into(), amount }),
        ..try_again(backoff(order, patience), trouble)
    }
}

/// Tries again after this time, or exactly when the gateway says: what it says is obeyed, and our own patience with its
/// silence has nothing to do with it.
fn try_again(after: Pause, trouble: Trouble) -> Outcome {
    let after = match &trouble {
        Trouble::Later { after: told, .. } => Pause::exactly(Duration::from_std(*told).unwrap_or(RELEASE_PATIENCE)),
        Trouble::Unavailable(_) | Trouble::Unanswered(_) | Trouble::Refused(_) | Trouble::Invalid(_) => after,
    };
    again(after, trouble.to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::fixtures::{after, at, event, order_in};
    use crate::lifecycle::{Actor, EventKind};

    fn holds(order: &Order, status: HeldStatus, refunded: i64) -> Held {
        let total = order.placed.total;
        let captured = if status == HeldStatus::Captured { total.amount } else { 0 };
        let reference = order.payment.reference.clone().unwrap_or("ref_1".into());
        let action = Some(crate::order::PaymentAction::redirect("https://bank.example".into()));
        let (order_id, refusal) = (order.id, Some("lost_card".into()));
        Held { order_id, total, reference, status, captured, refunded, capture_before: None, action, refusal }
    }

    fn captured() -> Order {
        after(&order_in(Status::Completed), &event(EventKind::PaymentCaptured), Actor::Worker, at(1))
    }

    fn refunded() -> Order {
        let asked = after(&captured(), &event(EventKind::RefundRequested), Actor::Operator, at(2));
        after(&asked, &Event::PaymentRefunded { amount: 100 }, Actor::Worker, at(3))
    }

    fn voided() -> Order {
        after(&order_in(Status::Rejected), &event(EventKind::PaymentVoided), Actor::Worker, at(1))
    }

    fn failed_to_capture() -> Order {
        after(&order_in(Status::Ready), &event(EventKind::CaptureRefused), Actor::Worker, at(1))
    }

    #[rstest]
    #[case::prepared(order_in(Status::New), HeldStatus::Prepared, 0, None)]
    #[case::authorized(order_in(Status::New), HeldStatus::Authorized, 0, Some(EventKind::PaymentAuthorized))]
    #[case::asked(order_in(Status::New), HeldStatus::ActionRequired, 0, Some(EventKind::PaymentActionRequired))]
    #[case::asked_already(order_in(Status::ActionRequired), HeldStatus::ActionRequired, 0, None)]
    #[case::approved(order_in(Status::ActionRequired), HeldStatus::Authorized, 0, Some(EventKind::PaymentAuthorized))]
    #[case::declined(order_in(Status::ActionRequired), HeldStatus::Declined, 0, Some(EventKind::PaymentDeclined))]
    #[case::known(order_in(Status::AwaitingShop), HeldStatus::Authorized, 0, None)]
    #[case::lost_while_scheduled(order_in(Status::Scheduled), HeldStatus::Voided, 0, Some(EventKind::PaymentHoldLost))]
    #[case::lost_while_offered(order_in(Status::AwaitingShop), HeldStatus::Voided, 0, Some(EventKind::PaymentHoldLost))]
    #[case::lost_once_accepted(order_in(Status::Accepted), HeldStatus::Declined, 0, Some(EventKind::PaymentHoldLost))]
    #[case::lost_while_made(order_in(Status::Preparing), HeldStatus::Voided, 0, Some(EventKind::CaptureRefused))]
    #[case::lost_after_hand_over(order_in(Status::Completed), HeldStatus::Voided, 0, Some(EventKind::CaptureRefused))]
    #[case::lost_and_known(failed_to_capture(), HeldStatus::Voided, 0, None)]
    #[case::taken(order_in(Status::Preparing), HeldStatus::Captured, 0, Some(EventKind::PaymentCaptured))]
    #[case::taken_early(order_in(Status::Scheduled), HeldStatus::Captured, 0, Some(EventKind::PaymentCaptured))]
    #[case::taken_after_a_refusal(failed_to_capture(), HeldStatus::Captured, 0, Some(EventKind::PaymentCaptured))]
    #[case::taken_already(captured(), HeldStatus::Captured, 0, None)]
    #[case::given_back_by_hand(captured(), HeldStatus::Captured, 100, Some(EventKind::PaymentRefunded))]
    #[case::given_back_already(refunded(), HeldStatus::Captured, 100, None)]
    #[case::sent_back_by_the_bank(refunded(), HeldStatus::Captured, 0, Some(EventKind::RefundFailed))]
    #[case::held_again_though_taken(captured(), HeldStatus::Authorized, 0, Some(EventKind::Contradicted))]
    #[case::released(order_in(Status::Rejected), HeldStatus::Voided, 0, Some(EventKind::PaymentVoided))]
    #[case::freed(voided(), HeldStatus::Voided, 0, None)]
    #[case::held_after_all(voided(), HeldStatus::Authorized, 0, Some(EventKind::PaymentAuthorized))]
    #[case::taken_after_all(voided(), HeldStatus::Captured, 0, Some(EventKind::PaymentAuthorized))]
    #[case::taken_before_it_was_held(
        order_in(Status::New),
        HeldStatus::Captured,
        0,
        Some(EventKind::PaymentAuthorized)
    )]
    fn only_what_is_new_is_told_and_the_machine_takes_it(
        #[case] order: Order,
        #[case] status: HeldStatus,
        #[case] refunded: i64,
        #[case] told: Option<EventKind>,
    ) {
        let news = difference(&order, &holds(&order, status, refunded));
        assert_eq!(news.as_ref().map(Event::kind), told);
        if let Some(event) = news {
            after(&order, &machine::as_found(&order, event), Actor::Gateway, at(9));
        }
    }

    #[test]
    fn what_the_gateway_says_of_when_to_come_back_is_obeyed_however_often_it_was_asked() {
        let told = Trouble::Later { after: std::time::Duration::from_secs(1), why: "429".into() };
        for patience in [Duration::milliseconds(20), Duration::minutes(15)] {
            assert_eq!(
                try_again(Pause { after: patience, is_spread: true }, told.clone()).again.unwrap().after,
                Duration::seconds(1)
            );
        }
    }

    #[test]
    fn another_payment_under_the_name_of_an_order_is_quarantined_once() {
        let mut order = order_in(Status::AwaitingShop);
        let mut foreign = holds(&order, HeldStatus::Captured, 0);
        foreign.reference = "ref_of_another".into();
        let told = difference(&order, &foreign).expect("it is told");
        assert_eq!(told.kind(), EventKind::Contradicted);
        order = after(&order, &told, Actor::Gateway, at(2));
        assert_eq!(difference(&order, &foreign), None, "the same again is no news");
    }
}
