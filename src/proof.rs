//! What a database that was restored from a backup learns from the gateway: pure.
//!
//! **A restored database is behind its world.** What the gateway holds was decided after the backup and is believed:
//! a capture proves that making had begun, money given back proves that the order had ended. An order that stands
//! earlier here is brought there, and is neither offered, made nor refunded again. What the gateway cannot prove goes on
//! from where it stands; what cannot be is set aside for an operator.

use chrono::Duration;

use crate::acts::charge::{Held, HeldStatus};
use crate::lifecycle::{Event, PaymentStatus, Status};
use crate::machine::{self, Deadlines};
use crate::order::{Instant, OnUnavailable};
use crate::state::Order;

/// What follows for an order from what the gateway holds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Both agree, or the gateway proves nothing: the order goes on from where it stands.
    Nothing,
    /// This has happened. Compare again afterwards: more may follow.
    Happened(Event),
    /// Both cannot be true: for an operator.
    Question(String),
}

/// Subsets of so many lines at most are tried for the one that was dropped.
const MOST_LINES: usize = 12;

/// What follows for an ongoing order. `held` is all that the gateway knows of its payment, and is of this order.
pub fn proof(order: &Order, held: Option<&Held>, now: Instant, deadlines: &Deadlines) -> Proof {
    use PaymentStatus as P;
    use Status as S;
    let (status, payment) = (order.status, &order.payment);
    let is_unpaid = matches!(status, S::New | S::ActionRequired);
    let is_before_making = matches!(status, S::Scheduled | S::AwaitingShop | S::Accepted);
    let question = |what: &str| {
        Proof::Question(format!(
            "after a restore: {what}, while the order is `{status}` and its payment `{}`",
            payment.status
        ))
    };
    let Some(held) = held else { return not_held(order, now) };
    let authorized = || {
        Proof::Happened(Event::PaymentAuthorized {
            amount: held.total.amount,
            reference: held.reference.clone(),
            capture_before: held.capture_before,
        })
    };
    match held.status {
        HeldStatus::Prepared if status == S::New => not_held(order, now),
        HeldStatus::ActionRequired if status == S::New => match &held.action {
            Some(action) => Proof::Happened(Event::PaymentActionRequired {
                action: action.clone(),
                reference: held.reference.clone(),
            }),
            None => question("the bank asks something that the gateway does not name"),
        },
        HeldStatus::ActionRequired if status == S::ActionRequired => Proof::Nothing,
        HeldStatus::Prepared | HeldStatus::ActionRequired => question("the gateway holds nothing yet"),
        HeldStatus::Authorized if is_unpaid => authorized(),
        HeldStatus::Authorized if status == S::AwaitingShop => asked_anew(order, now, deadlines),
        HeldStatus::Authorized if matches!(payment.status, P::Authorized | P::CaptureFailed) => Proof::Nothing,
        HeldStatus::Authorized => question("the gateway has not taken what it holds"),
        HeldStatus::Declined if is_unpaid => {
            Proof::Happened(Event::PaymentDeclined { refusal: held.refusal.clone().unwrap_or_default() })
        }
        HeldStatus::Voided if payment.status == P::CaptureFailed => Proof::Happened(Event::PaymentVoided),
        HeldStatus::Voided if payment.status == P::Voided => Proof::Nothing,
        HeldStatus::Declined | HeldStatus::Voided => match payment.status {
            P::Captured | P::PartiallyRefunded | P::Refunded => question("the gateway says that it took nothing"),
            _ => Proof::Happened(Event::FoundUndone),
        },
        // An order that is undone has to know what was held before it learns that it was taken and given back.
        HeldStatus::Captured if is_unpaid => authorized(),
        HeldStatus::Captured if held.refunded >= held.captured && payment.refunded < held.refunded => {
            Proof::Happened(Event::FoundUndone)
        }
        HeldStatus::Captured => {
            let is_long_past = is_long_past(order, now, deadlines);
            let is_told = matches!(payment.status, P::Captured | P::PartiallyRefunded | P::Refunded);
            match dropped_lines(order, held.captured) {
                Some(dropped_lines) if is_long_past => Proof::Happened(Event::FoundSold { dropped_lines }),
                Some(dropped_lines) if is_before_making => Proof::Happened(Event::FoundBegun { dropped_lines }),
                Some(_) if !is_told => Proof::Happened(Event::PaymentCaptured { amount: held.captured }),
                Some(_) if payment.refunded < held.refunded => {
                    Proof::Happened(Event::PaymentRefunded { amount: held.refunded })
                }
                Some(_) if payment.refunded > held.refunded => question("less was given back than is written here"),
                Some(_) => Proof::Nothing,
                None => question("the gateway took an amount that no lines add up to"),
            }
        }
    }
}

/// The gateway holds nothing. What should have been paid for long ago was not: nobody may begin with it now.
fn not_held(order: &Order, now: Instant) -> Proof {
    match order.status {
        Status::New if order.deadline_at.is_some_and(|deadline| deadline <= now) => {
            Proof::Happened(Event::PaymentUnavailable)
        }
        _ => Proof::Nothing,
    }
}

/// What the shop answered since the backup is lost: it is told again, and has as long as ever to answer. What is too late
/// to begin with is left to its deadline.
fn asked_anew(order: &Order, now: Instant, deadlines: &Deadlines) -> Proof {
    if machine::too_late_at(order, deadlines).is_some_and(|too_late| too_late <= now) {
        return Proof::Nothing;
    }
    if order.offered_at.is_some() {
        return Proof::Happened(Event::OfferRepeated);
    }
    let left = order.deadline_at.map_or(Duration::zero(), |deadline| deadline - now);
    if left < deadlines.acceptance / 2 {
        let minutes = u32::try_from(deadlines.acceptance.num_minutes()).unwrap_or(1).max(1);
        return Proof::Happened(Event::DeadlineExtended { minutes });
    }
    Proof::Nothing
}

/// Whether the order would have been handed over by now, had all gone well.
fn is_long_past(order: &Order, now: Instant, deadlines: &Deadlines) -> bool {
    let promised = order.promise_at.or(order.pickup.at).or(order.expected_ready_at).unwrap_or(order.created_at);
    let waits = if order.placed.tracks_steps { deadlines.collection } else { deadlines.untracked_collection };
    now > promised + waits
}

/// The lines that were dropped so that this amount was due; `None` if it is not known which. The acceptance that named
/// them may be lost, and only the amount tells.
fn dropped_lines(order: &Order, captured: i64) -> Option<Vec<usize>> {
    if captured == order.amount_due() {
        return Some(order.dropped_lines.clone());
    }
    let lines = &order.placed.lines;
    if order.placed.on_unavailable != OnUnavailable::RemoveLine || lines.len() > MOST_LINES {
        return None;
    }
    let missing = order.placed.total.amount - captured;
    let of = |set: u32| (0..lines.len()).filter(move |line| set & (1 << line) != 0);
    // All of them cannot be dropped.
    let all = (1_u32 << lines.len()) - 1;
    let mut fitting = (1..all).filter(|set| of(*set).map(|line| lines[line].price()).sum::<i64>() == missing);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(of(only).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::fixtures::{after, at, event, order_in, order_of, placed};
    use crate::lifecycle::{Actor, EventKind, Reason};
    use crate::machine::step;
    use crate::order::{Line, PaymentAction, Pickup};

    const STATUSES: [HeldStatus; 6] = [
        HeldStatus::Prepared,
        HeldStatus::ActionRequired,
        HeldStatus::Authorized,
        HeldStatus::Declined,
        HeldStatus::Voided,
        HeldStatus::Captured,
    ];

    fn held(order: &Order, status: HeldStatus, refunded: i64) -> Held {
        let captured = if status == HeldStatus::Captured { order.placed.total.amount } else { 0 };
        Held {
            order_id: order.id,
            total: order.placed.total,
            reference: order.payment.reference.clone().unwrap_or("ref_1".into()),
            status,
            captured,
            refunded,
            capture_before: None,
            action: Some(PaymentAction::redirect("https://bank.example".into())),
            refusal: None,
        }
    }

    /// Brings an order to where the gateway proves it to be. What is over is told by the hints of callbacks.
    fn compared(mut order: Order, held: Option<&Held>, now: Instant) -> Result<Order, String> {
        for _ in 0..6 {
            if !order.is_ongoing() {
                return Ok(order);
            }
            match proof(&order, held, now, &Deadlines::default()) {
                Proof::Nothing => return Ok(order),
                Proof::Happened(event) => order = after(&order, &event, Actor::Gateway, now),
                Proof::Question(what) => return Err(what),
            }
        }
        panic!("it never ends: {order:?}");
    }

    fn ongoing() -> impl Iterator<Item = Order> {
        Status::VARIANTS.iter().filter(|status| status.is_ongoing()).map(|status| order_in(*status))
    }

    /// For every status here and every state there, soon after the backup and long after it: it ends, and what it says
    /// is possible. `order_in` has the order promised for `at(600)`.
    #[test]
    fn every_status_here_beside_every_state_there_is_decided() {
        for now in [at(700), at(30_000)] {
            for order in ongoing() {
                let total = order.placed.total.amount;
                let with = |status, refunded| Some(held(&order, status, refunded));
                let states = STATUSES.iter().map(|status| with(*status, 0));
                for there in states.chain([None, with(HeldStatus::Captured, total), with(HeldStatus::Captured, 50)]) {
                    let Ok(found) = compared(order.clone(), there.as_ref(), now) else { continue };
                    let what = format!("{} beside {:?}: {}", order.status, there.map(|held| held.status), found.status);
                    assert!(found.version <= order.version + 4, "{what}");
                }
            }
        }
    }

    #[test]
    fn what_was_taken_is_neither_offered_nor_refunded_and_not_made_again_once_it_was_handed_over() {
        for order in ongoing() {
            let there = held(&order, HeldStatus::Captured, 0);
            let soon = compared(order.clone(), Some(&there), at(700)).unwrap();
            assert!(matches!(soon.status, Status::Preparing | Status::Ready), "{}: {}", order.status, soon.status);
            assert_eq!((soon.payment.captured, soon.owed()), (there.captured, 0), "{}", order.status);
            let was_earlier = !matches!(order.status, Status::Preparing | Status::Ready);
            assert_eq!(soon.found_begun_at.is_some(), was_earlier, "the shop is told to look first");
            assert_eq!(machine::pending_stage(&soon), None, "{}", order.status);

            let late = compared(order.clone(), Some(&there), at(30_000)).unwrap();
            assert_eq!((late.status, late.reason), (Status::Completed, Some(Reason::AutoClosed)), "{}", order.status);
            assert_eq!(late.owed(), 0);
        }
    }

    #[test]
    fn what_was_given_back_has_ended() {
        for order in ongoing() {
            let total = order.placed.total.amount;
            let voided = compared(order.clone(), Some(&held(&order, HeldStatus::Voided, 0)), at(700)).unwrap();
            assert_eq!(
                (voided.status, voided.reason),
                (Status::Cancelled, Some(Reason::HistoryLost)),
                "{}",
                order.status
            );
            let refunded = compared(order.clone(), Some(&held(&order, HeldStatus::Captured, total)), at(700)).unwrap();
            assert_eq!(refunded.status, Status::Cancelled, "{}", order.status);
        }
    }

    #[test]
    fn a_hold_proves_nothing_beyond_itself_and_the_shop_is_asked_anew() {
        let offered = after(&order_in(Status::AwaitingShop), &Event::Offered, Actor::Worker, at(1));
        let there = held(&offered, HeldStatus::Authorized, 0);
        let asked = compared(offered.clone(), Some(&there), at(700)).unwrap();
        assert_eq!((asked.status, asked.offered_at), (Status::AwaitingShop, None));
        assert!(asked.deadline_at > Some(at(700) + Duration::minutes(1)), "{:?}", asked.deadline_at);
        assert_eq!(compared(offered.clone(), Some(&there), at(30_000)).unwrap(), offered, "nobody wants it any more");

        let order = order_in(Status::New);
        assert_eq!(compared(order.clone(), None, at(30)).unwrap(), order);
        assert_eq!(compared(order.clone(), None, at(700)).unwrap().status, Status::Failed);
        let found = compared(order.clone(), Some(&held(&order, HeldStatus::Authorized, 0)), at(30)).unwrap();
        assert_eq!(found.status, Status::AwaitingShop);
    }

    #[test]
    fn what_cannot_be_is_a_question() {
        let taken = after(&order_in(Status::Preparing), &event(EventKind::PaymentCaptured), Actor::Worker, at(1));
        for status in [HeldStatus::Authorized, HeldStatus::Voided, HeldStatus::Prepared] {
            let there = held(&taken, status, 0);
            assert!(matches!(proof(&taken, Some(&there), at(2), &Deadlines::default()), Proof::Question(_)));
        }
        let order = order_in(Status::AwaitingShop);
        let there = Held { captured: 1, ..held(&order, HeldStatus::Captured, 0) };
        assert!(matches!(proof(&order, Some(&there), at(2), &Deadlines::default()), Proof::Question(_)));
    }

    #[test]
    fn the_lines_that_were_dropped_are_known_by_the_amount_if_only_some_add_up_to_it() {
        let line = |price| Line { unit_price: price, quantity: 1, ..placed().lines[0].clone() };
        let with = |prices: &[i64]| {
            let mut placed = placed();
            placed.on_unavailable = OnUnavailable::RemoveLine;
            placed.lines = prices.iter().map(|price| line(*price)).collect();
            placed.total.amount = prices.iter().sum();
            order_of(placed, Pickup::default(), None)
        };
        let order = with(&[100, 250, 400]);
        for (captured, dropped) in
            [(750, Some(vec![])), (650, Some(vec![0])), (400, Some(vec![0, 1])), (0, None), (749, None)]
        {
            assert_eq!(dropped_lines(&order, captured), dropped, "{captured}");
        }
        assert_eq!(dropped_lines(&with(&[100, 100, 300]), 400), None, "either of two");
    }

    #[test]
    fn only_the_gateway_brings_such_news() {
        let order = order_in(Status::AwaitingShop);
        for event in [Event::FoundBegun { dropped_lines: vec![] }, Event::FoundUndone] {
            for by in [Actor::Partner, Actor::Worker, Actor::Timer, Actor::Shop, Actor::Operator] {
                assert!(step(&order, &event, by, at(1), &Deadlines::default()).is_err());
            }
        }
    }
}
