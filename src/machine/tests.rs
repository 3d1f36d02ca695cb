//! The tables of the design, row by row, and what holds for every life an order can have.

use chrono::Duration;
use proptest::prelude::*;
use rstest::rstest;
use strum::VariantArray;

use super::*;
use crate::fixtures::{MAKE, TOTAL, after, at, brought_to, event, order, order_in, order_of, placed};
use crate::lifecycle::payment_may_become;

fn try_step(order: &Order, event: &Event, by: Actor, now: Instant) -> Result<Order, Refused> {
    step(order, event, by, now, &Deadlines::default())
}

fn is_refused(order: &Order, event: &Event, by: Actor) -> bool {
    try_step(order, event, by, at(1)).is_err()
}

/// The design's table of transitions, written a second time: from | event | actors | to.
const TRANSITIONS: &str = "
    new action_required | payment_authorized | worker gateway timer | awaiting_shop
    new | payment_action_required | worker gateway timer | action_required
    new action_required | payment_declined | worker gateway timer | failed
    new action_required scheduled awaiting_shop | payment_expired | worker gateway timer | failed
    new action_required scheduled awaiting_shop | payment_unavailable | worker gateway timer | failed
    new action_required scheduled awaiting_shop | payment_unknown | worker gateway timer | failed
    scheduled awaiting_shop accepted | payment_hold_lost | worker gateway timer | failed
    new action_required scheduled awaiting_shop | order_damaged | worker | failed
    scheduled | slot_due | timer | awaiting_shop
    awaiting_shop | shop_accepted | shop worker | accepted
    scheduled awaiting_shop | shop_rejected | shop worker | rejected
    scheduled awaiting_shop | shop_timed_out | timer | rejected
    scheduled awaiting_shop | slot_missed | timer | cancelled
    accepted | preparation_started | shop timer | preparing
    accepted preparing | made | shop timer | ready
    ready | recalled | shop | preparing
    ready | collected | shop timer | completed
    ready | not_collected | timer shop | not_collected
    not_collected | collected | shop timer | completed
    accepted | abandoned | timer | cancelled
    new action_required scheduled awaiting_shop accepted | customer_cancelled | partner | cancelled
    accepted preparing ready | shop_cancelled | shop | cancelled
    preparing ready | force_completed | operator timer | completed
    accepted | force_completed | operator | completed
    new action_required scheduled awaiting_shop accepted preparing ready | operator_cancelled | operator | cancelled
    scheduled awaiting_shop accepted | found_begun | gateway | preparing
    scheduled awaiting_shop accepted preparing ready | found_sold | gateway | completed
    new action_required scheduled awaiting_shop accepted preparing ready | found_undone | gateway | cancelled";

fn documented_target(from: Status, kind: EventKind, by: Actor) -> Option<Status> {
    let names = |words: &str, word: &str| words.split_whitespace().any(|w| w == word);
    TRANSITIONS.lines().map(|line| line.split('|').collect::<Vec<_>>()).find_map(|cells| match cells[..] {
        [froms, event, actors, to]
            if event.trim() == kind.word() && names(froms, from.word()) && names(actors, by.word()) =>
        {
            Some(to.trim().parse().expect("a status"))
        }
        _ => None,
    })
}

#[test]
fn every_status_takes_exactly_the_events_of_the_table_from_exactly_its_actors() {
    let of_the_table = |kind: &&EventKind| lifecycle::RULES.iter().any(|rule| rule.event == **kind);
    for from in Status::VARIANTS {
        let order = order_in(*from);
        for kind in EventKind::VARIANTS.iter().filter(of_the_table) {
            for by in Actor::VARIANTS {
                let found = try_step(&order, &event(*kind), *by, at(1)).map(|after| after.status).ok();
                assert_eq!(found, documented_target(*from, *kind, *by), "{from} + {kind} by {by}");
            }
        }
    }
}

#[test]
fn a_decline_after_the_authorization_contradicts_it_and_is_refused() {
    for status in [Status::Scheduled, Status::AwaitingShop] {
        assert!(is_refused(&order_in(status), &event(EventKind::PaymentDeclined), Actor::Gateway));
    }
}

#[test]
fn an_authorized_order_waits_for_its_slot_only_while_the_slot_is_still_to_come() {
    let later = order_of(placed(), Pickup::default(), Some(at(100)));
    let authorized = event(EventKind::PaymentAuthorized);
    assert_eq!(after(&later, &authorized, Actor::Worker, at(99)).status, Status::Scheduled);
    assert_eq!(after(&later, &authorized, Actor::Worker, at(100)).status, Status::AwaitingShop);
}

#[rstest]
#[case(Status::New, true, Duration::seconds(60), EventKind::PaymentUnavailable, Status::Failed)]
#[case(Status::ActionRequired, true, Duration::minutes(5), EventKind::PaymentExpired, Status::Failed)]
#[case(Status::AwaitingShop, true, Duration::minutes(3), EventKind::ShopTimedOut, Status::Rejected)]
#[case(Status::Accepted, true, Duration::seconds(600) + Duration::hours(2), EventKind::Abandoned, Status::Cancelled)]
#[case(Status::Preparing, true, Duration::seconds(600) + Duration::hours(2), EventKind::ForceCompleted, Status::Completed)]
#[case(Status::Ready, true, Duration::minutes(60), EventKind::NotCollected, Status::NotCollected)]
#[case(Status::Accepted, false, Duration::seconds(600) - MAKE, EventKind::PreparationStarted, Status::Preparing)]
#[case(Status::Preparing, false, Duration::seconds(600), EventKind::Made, Status::Ready)]
#[case(Status::Ready, false, Duration::minutes(30), EventKind::Collected, Status::Completed)]
fn the_deadline_of_each_status_and_what_the_timer_does_then(
    #[case] status: Status,
    #[case] tracks_steps: bool,
    #[case] patience: Duration,
    #[case] then: EventKind,
    #[case] end: Status,
) {
    let order = brought_to(status, order_of(Placed { tracks_steps, ..placed() }, Pickup::default(), None));
    assert_eq!(order.deadline_at, Some(at(0) + patience));
    let event = deadline_event(&order, order.deadline_at.unwrap_or(at(0)), &Deadlines::default()).unwrap();
    assert_eq!(event.kind(), then);
    assert_eq!(after(&order, &event, Actor::Timer, at(0) + patience).status, end);
}

#[test]
fn a_scheduled_order_goes_to_its_shop_when_its_time_has_come() {
    let order = order_in(Status::Scheduled);
    assert_eq!(order.deadline_at, order.offer_at);
    let event = deadline_event(&order, order.deadline_at.unwrap_or(at(0)), &Deadlines::default()).unwrap();
    assert_eq!(after(&order, &event, Actor::Timer, at(3600)).status, Status::AwaitingShop);
}

#[test]
fn what_is_over_has_no_deadline() {
    for status in Status::VARIANTS.iter().filter(|status| status.is_over()) {
        let order = order_in(*status);
        assert_eq!(
            (order.deadline_at, deadline_event(&order, order.deadline_at.unwrap_or(at(0)), &Deadlines::default())),
            (None, None),
            "{status}"
        );
    }
}

#[test]
fn a_shop_may_think_about_a_later_slot_until_it_would_have_to_start() {
    let slot = at(3600);
    let order = order_of(placed(), Pickup { at: Some(slot), ..Pickup::default() }, None);
    assert_eq!(brought_to(Status::AwaitingShop, order).deadline_at, Some(slot - MAKE));
}

/// As [`rearmed`] makes it, changed or not.
fn machine_rearmed(order: &Order, now: Instant) -> Order {
    let (lease, skew) = (Duration::seconds(30), Duration::seconds(2));
    rearmed(order, now, lease, skew, &Deadlines::default()).unwrap_or_else(|| order.clone())
}

#[test]
fn an_hour_that_never_was_leaves_nothing_waiting_for_it() {
    let (hour, now) = (Duration::hours(1), at(10));
    let unknown = after(&order(), &Event::PaymentUnanswered, Actor::Worker, at(5) + hour);
    let again = machine_rearmed(&unknown, now);
    assert_eq!((again.task.next_attempt_at, again.deadline_at), (Some(now), Some(at(120))));
    let awaiting = after(&order(), &event(EventKind::PaymentAuthorized), Actor::Worker, at(5) + hour);
    assert_eq!(machine_rearmed(&awaiting, now).deadline_at, Some(now + Duration::minutes(3)));
    // A slot is no clock's: it stands.
    let scheduled = after(&for_a_slot(), &event(EventKind::PaymentAuthorized), Actor::Worker, at(1000));
    assert_eq!(machine_rearmed(&scheduled, now), scheduled);
    // What is as it should be is left alone, however far away it is.
    let preparing = order_in(Status::Preparing);
    assert_eq!(rearmed(&preparing, at(0), Duration::seconds(30), Duration::seconds(2), &Deadlines::default()), None);
    let mut over = order_in(Status::Cancelled);
    (over.task.stage, over.task.next_attempt_at) = (Some(Stage::LookUp), Some(at(0) + Duration::hours(24)));
    assert_eq!(machine_rearmed(&over, at(0)), over);
}

#[test]
fn a_step_that_was_kept_counts_from_when_it_was_taken() {
    let kept = |occurred, now| When { now: at(now), occurred: at(occurred) };
    let waiting = brought_to(Status::AwaitingShop, order());
    let minutes = Event::ShopAccepted { minutes: Some(8), dropped_lines: Vec::new() };
    let take = |order: &Order, event: &Event, when| {
        step(order, event, Actor::Shop, when, &Deadlines::default()).expect("it is possible")
    };
    let accepted = take(&waiting, &minutes, kept(100, 1000));
    assert_eq!((accepted.promise_at, accepted.entered_at), (Some(at(100 + 480)), at(100)));
    assert_eq!(accepted.updated_at, at(1000), "the log goes on in the order in which things are said");
    let ready = take(&accepted, &Event::Made, kept(700, 1001));
    assert_eq!((ready.ready_at, ready.entered_at), (Some(at(700)), at(700)));
    assert_eq!(ready.deadline_at, Some(at(1001) + Duration::minutes(60)), "what else was kept is still to be said");
    let too_early = take(&ready, &Event::Collected, kept(50, 1002));
    assert_eq!((too_early.entered_at, too_early.closed_at), (at(700), Some(at(1002))));
    let in_the_future = take(&ready, &Event::Collected, kept(5000, 1002));
    assert_eq!(in_the_future.entered_at, at(1002));
}

/// A plain order for a slot at `at(3600)` that is offered to its shop at `at(2000)`.
fn for_a_slot() -> Order {
    order_of(placed(), Pickup { at: Some(at(3600)), ..Pickup::default() }, Some(at(2000)))
}

#[rstest]
#[case::in_time(2000, EventKind::SlotDue)]
#[case::late_but_not_too_late(3600 + 1799, EventKind::SlotDue)]
#[case::too_late(3600 + 1800, EventKind::SlotMissed)]
fn a_slot_that_comes_due_too_late_is_missed(#[case] now: i64, #[case] then: EventKind) {
    let scheduled = brought_to(Status::Scheduled, for_a_slot());
    assert_eq!(deadline_event(&scheduled, at(now), &Deadlines::default()).map(|event| event.kind()), Some(then));
    let ended = after(&scheduled, &event(then), Actor::Timer, at(now));
    if then == EventKind::SlotMissed {
        assert_eq!((ended.status, ended.reason), (Status::Cancelled, Some(Reason::SlotMissed)));
        assert_eq!((ended.task.stage, ended.owed()), (Some(Stage::Release), TOTAL));
    } else {
        assert!(ended.deadline_at <= Some(at(3600 + 1800)), "no fresh patience beyond that");
    }
}

#[test]
fn what_nobody_began_in_time_is_not_begun_hours_later() {
    let (hours_later, deadlines) = (at(3 * 3600), Deadlines::default());
    // As soon as possible, too: its customer was told `at(600)`.
    let found = after(&order(), &event(EventKind::PaymentAuthorized), Actor::Gateway, hours_later);
    assert_eq!((found.status, found.task.stage), (Status::AwaitingShop, Some(Stage::Offer)));
    assert!(found.deadline_at < Some(hours_later) && is_too_late(&found, hours_later, &deadlines));
    assert_eq!(deadline_event(&found, hours_later, &deadlines), Some(Event::ShopTimedOut));
    assert!(!is_too_late(&found, at(600 + 1799), &deadlines));
    let extended = after(&found, &Event::DeadlineExtended { minutes: 10 }, Actor::Operator, hours_later);
    assert!(!is_too_late(&extended, hours_later, &deadlines), "an operator wants it all the same");
}

#[test]
fn an_unknown_outcome_gets_two_minutes_and_then_fails_as_unknown() {
    let order = after(&order(), &Event::PaymentUnanswered, Actor::Worker, at(10));
    assert_eq!((order.payment.status, order.deadline_at), (PaymentStatus::Unknown, Some(at(120))));
    assert_eq!(
        deadline_event(&order, order.deadline_at.unwrap_or(at(0)), &Deadlines::default()),
        Some(Event::PaymentUnknown)
    );
    let failed = after(&order, &Event::PaymentUnknown, Actor::Timer, at(120));
    assert_eq!((failed.reason, failed.task.stage), (Some(Reason::PaymentOutcomeUnknown), Some(Stage::Release)));
    assert_eq!(failed.owed(), TOTAL);
}

#[test]
fn a_deadline_that_meets_a_request_under_way_calls_its_outcome_unknown() {
    let mut order = order();
    order.task.leased_until = Some(at(70));
    assert_eq!(
        deadline_event(&order, order.deadline_at.unwrap_or(at(0)), &Deadlines::default()),
        Some(Event::PaymentUnknown)
    );
}

#[test]
fn each_end_has_its_reason() {
    let ready_after = |event: &Event, by| after(&order_in(Status::Preparing), event, by, at(1)).reason;
    let offered = after(&order_in(Status::AwaitingShop), &Event::Offered, Actor::Worker, at(1));
    let timed_out = |order: &Order| after(order, &Event::ShopTimedOut, Actor::Timer, at(180)).reason;
    assert_eq!(timed_out(&order_in(Status::AwaitingShop)), Some(Reason::ShopUnreachable));
    assert_eq!(timed_out(&offered), Some(Reason::AcceptanceTimeout));
    assert_eq!(order_in(Status::Rejected).reason, Some(Reason::ShopTooBusy));
    assert_eq!(order_in(Status::Failed).reason, Some(Reason::PaymentDeclined));
    assert_eq!(order_in(Status::Cancelled).reason, Some(Reason::CustomerRequest));
    assert_eq!(order_in(Status::NotCollected).reason, Some(Reason::NoShow));
    assert_eq!(order_in(Status::Completed).reason, None);
    let forced = Event::ForceCompleted { note: None };
    assert_eq!(ready_after(&forced, Actor::Timer), Some(Reason::AutoClosed));
    assert_eq!(ready_after(&forced, Actor::Operator), None);
}

#[rstest]
#[case(Status::New, Some(Stage::Authorize))]
#[case(Status::ActionRequired, Some(Stage::LookUp))]
#[case(Status::Scheduled, None)]
#[case(Status::AwaitingShop, Some(Stage::Offer))]
#[case(Status::Accepted, None)]
#[case(Status::Preparing, Some(Stage::Capture))]
#[case(Status::Ready, Some(Stage::Capture))]
#[case(Status::Completed, Some(Stage::Capture))]
#[case(Status::NotCollected, Some(Stage::Capture))]
#[case(Status::Rejected, Some(Stage::Release))]
#[case(Status::Failed, None)]
#[case(Status::Cancelled, None)]
fn the_queue_in_which_each_status_stands(#[case] status: Status, #[case] stage: Option<Stage>) {
    assert_eq!(order_in(status).task.stage, stage);
}

#[test]
fn an_offer_that_reached_the_shop_is_not_made_again() {
    let offered = after(&order_in(Status::AwaitingShop), &Event::Offered, Actor::Worker, at(1));
    assert_eq!((offered.offered_at, offered.task.stage), (Some(at(1)), None));
}

#[test]
fn the_look_ups_follow_their_schedule() {
    let unknown = after(&order(), &Event::PaymentUnanswered, Actor::Worker, at(0));
    let asked = order_in(Status::ActionRequired);
    let after_start = |order: &Order, count| {
        (0..count)
            .scan(0, |sum, attempts| {
                *sum += look_up_after(order, attempts).num_seconds();
                Some(*sum)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(after_start(&unknown, 4), [2, 5, 15, 45]);
    assert_eq!(after_start(&asked, 3), [15, 60, 150]);
    assert_eq!(unknown.task.next_attempt_at, Some(at(2)));
    assert_eq!(asked.task.next_attempt_at, Some(at(15)));
}

fn captured(status: Status) -> Order {
    after(&order_in(status), &event(EventKind::PaymentCaptured), Actor::Worker, at(1))
}

#[test]
fn a_mismatched_amount_is_never_believed() {
    let authorized = |amount| Event::PaymentAuthorized { amount, reference: "ref".into(), capture_before: None };
    assert!(is_refused(&order(), &authorized(TOTAL - 1), Actor::Gateway));
    for amount in [-1, TOTAL + 1] {
        let event = Event::PaymentCaptured { amount };
        assert!(is_refused(&order_in(Status::Preparing), &event, Actor::Gateway), "captured {amount}");
        let event = Event::PaymentRefunded { amount };
        assert!(is_refused(&captured(Status::Preparing), &event, Actor::Gateway), "refunded {amount}");
    }
    let unknown = after(&order(), &Event::PaymentUnanswered, Actor::Worker, at(1));
    assert!(is_refused(&unknown, &event(EventKind::PaymentCaptured), Actor::Gateway), "nothing was authorized");
    assert!(is_refused(&unknown, &event(EventKind::PaymentRefunded), Actor::Gateway), "nothing was captured");
}

#[test]
fn an_older_word_about_refunds_does_not_take_a_newer_one_back() {
    let refunded = |order: &Order, amount| after(order, &Event::PaymentRefunded { amount }, Actor::Gateway, at(2));
    let order = refunded(&refunded(&captured(Status::Completed), 300), 200);
    assert_eq!((order.payment.status, order.payment.refunded), (PaymentStatus::PartiallyRefunded, 300));
}

#[test]
fn cancelling_before_capture_lets_all_of_it_go_whatever_refund_was_named() {
    for refund in [Refund::Full, Refund::None, Refund::Partial(100)] {
        let event = Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None };
        let order = after(&order_in(Status::Preparing), &event, Actor::Operator, at(1));
        assert_eq!((order.task.stage, order.owed()), (Some(Stage::Release), TOTAL), "{refund:?}");
        let voided = after(&order, &Event::PaymentVoided, Actor::Worker, at(2));
        assert_eq!((voided.task.stage, voided.owed()), (None, 0), "{refund:?}");
    }
}

#[rstest]
#[case(Refund::Full, TOTAL)]
#[case(Refund::Partial(100), 100)]
#[case(Refund::Partial(0), 0)]
#[case(Refund::None, 0)]
fn an_operator_decides_what_goes_back_of_what_was_taken(#[case] refund: Refund, #[case] owed: i64) {
    let event = Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None };
    let order = after(&captured(Status::Preparing), &event, Actor::Operator, at(2));
    assert_eq!((order.owed(), order.task.stage), (owed, (owed > 0).then_some(Stage::Release)));
    if owed > 0 {
        let paid = after(&order, &Event::PaymentRefunded { amount: owed }, Actor::Worker, at(3));
        let end = if owed == TOTAL { PaymentStatus::Refunded } else { PaymentStatus::PartiallyRefunded };
        assert_eq!((paid.payment.status, paid.owed(), paid.task.stage), (end, 0, None));
    }
}

#[test]
fn an_operator_cannot_give_back_more_than_was_due() {
    for amount in [-1, TOTAL + 1] {
        let refund = Refund::Partial(amount);
        let event = Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None };
        assert!(is_refused(&captured(Status::Preparing), &event, Actor::Operator), "{amount}");
    }
}

#[test]
fn everybody_else_who_cancels_gives_all_of_it_back() {
    for status in [Status::Preparing, Status::Ready] {
        let order = after(&captured(status), &event(EventKind::ShopCancelled), Actor::Shop, at(2));
        assert_eq!((order.owed(), order.task.stage), (TOTAL, Some(Stage::Release)));
    }
}

#[test]
fn refunds_of_a_sale_come_one_by_one_and_add_up_to_what_was_taken_and_no_more() {
    let refund = |amount| Event::RefundRequested { amount, note: None };
    let first = after(&captured(Status::Completed), &refund(500), Actor::Operator, at(2));
    assert_eq!((first.owed(), first.task.stage), (500, Some(Stage::Release)));
    assert!(is_refused(&first, &refund(1), Actor::Operator), "the first may be on its way");
    let given = after(&first, &Event::PaymentRefunded { amount: 500 }, Actor::Worker, at(3));
    assert!(is_refused(&given, &refund(TOTAL - 500 + 1), Actor::Operator));
    let all = after(&given, &refund(TOTAL - 500), Actor::Operator, at(4));
    assert_eq!(all.owed(), TOTAL - 500);
    assert!(is_refused(&order_in(Status::Completed), &refund(1), Actor::Operator), "nothing was taken yet");
}

#[test]
fn dropped_lines_need_consent_and_leave_something_and_are_not_charged() {
    let accepted = |dropped_lines: &[usize]| Event::ShopAccepted { minutes: None, dropped_lines: dropped_lines.into() };
    let order = order_in(Status::AwaitingShop);
    let dropped = after(&order, &accepted(&[1, 1]), Actor::Shop, at(1));
    assert_eq!((&dropped.dropped_lines[..], dropped.amount_due()), (&[1][..], TOTAL - 250));
    assert!(is_refused(&order, &accepted(&[0, 1]), Actor::Shop), "all of them");
    assert!(is_refused(&order, &accepted(&[2]), Actor::Shop), "no such line");
    let unwilling = Placed { on_unavailable: OnUnavailable::Cancel, ..placed() };
    let order = brought_to(Status::AwaitingShop, order_of(unwilling, Pickup::default(), None));
    assert!(is_refused(&order, &accepted(&[1]), Actor::Shop), "no consent");
}

#[test]
fn a_shop_promises_its_own_time_or_what_was_told_but_nothing_impossible() {
    let promise = |minutes, now: Instant| {
        let event = Event::ShopAccepted { minutes, dropped_lines: Vec::new() };
        after(&order_in(Status::AwaitingShop), &event, Actor::Shop, now).promise_at
    };
    assert_eq!(promise(Some(4), at(10)), Some(at(250)));
    assert_eq!(promise(None, at(10)), Some(at(600)));
    assert_eq!(promise(None, at(500)), Some(at(500) + MAKE));
}

#[test]
fn a_recalled_order_is_being_made_again_and_remembers_it() {
    let recalled = after(&order_in(Status::Ready), &Event::Recalled, Actor::Shop, at(5));
    assert_eq!((recalled.status, recalled.recalled, recalled.ready_at), (Status::Preparing, true, None));
    let ready = after(&recalled, &Event::Made, Actor::Shop, at(9));
    assert_eq!((ready.ready_at, ready.recalled), (Some(at(9)), true));
}

#[test]
fn a_late_customer_still_gets_the_order_within_the_day() {
    let order = order_in(Status::NotCollected);
    let patience = Deadlines::default().late_collection;
    let on_time = after(&order, &Event::Collected, Actor::Shop, at(0) + patience);
    assert_eq!((on_time.status, on_time.reason), (Status::Completed, None));
    assert!(try_step(&order, &Event::Collected, Actor::Shop, at(1) + patience).is_err());
}

#[test]
fn a_released_order_that_was_once_unknown_is_looked_at_a_last_time_a_day_later() {
    let unknown = after(&order(), &Event::PaymentUnanswered, Actor::Worker, at(1));
    let failed = after(&unknown, &Event::PaymentUnknown, Actor::Timer, at(120));
    let voided = after(&failed, &Event::PaymentVoided, Actor::Worker, at(130));
    assert_eq!((voided.task.stage, voided.owed()), (Some(Stage::LookUp), 0));
    assert_eq!(voided.task.next_attempt_at, Some(at(120) + Duration::hours(24)));
    let proven = after(&voided, &Event::PaymentProven, Actor::Worker, at(90_000));
    assert_eq!((proven.task.stage, proven.payment.last_look), (None, false));
    assert!(is_refused(&proven, &Event::PaymentProven, Actor::Worker));
}

#[test]
fn an_order_whose_payment_was_always_known_needs_no_last_look() {
    let cancelled = after(&order_in(Status::Accepted), &Event::CustomerCancelled, Actor::Partner, at(1));
    assert_eq!(after(&cancelled, &Event::PaymentVoided, Actor::Worker, at(2)).task.stage, None);
}

#[test]
fn cancelling_while_a_request_may_be_under_way_owes_until_it_is_proven() {
    let mut claimed = order();
    claimed.task.attempts = 1;
    let cancelled = after(&claimed, &Event::CustomerCancelled, Actor::Partner, at(1));
    assert_eq!(cancelled.payment.status, PaymentStatus::Unknown);
    assert_eq!((cancelled.task.stage, cancelled.owed()), (Some(Stage::Release), TOTAL));
    let untouched = after(&order(), &Event::CustomerCancelled, Actor::Partner, at(1));
    assert_eq!((untouched.task.stage, untouched.owed()), (None, 0));
}

#[test]
fn an_operators_retry_does_not_forget_that_the_gateway_may_have_been_asked() {
    let mut claimed = order();
    claimed.task.attempts = 3;
    let retried = after(&claimed, &Event::Retried { note: None }, Actor::Operator, at(1));
    let cancelled = after(&retried, &Event::CustomerCancelled, Actor::Partner, at(2));
    assert_eq!(cancelled.task.stage, Some(Stage::Release));
}

#[test]
fn a_retry_is_refused_where_nothing_can_be_tried() {
    let mut waiting = order_in(Status::AwaitingShop);
    waiting.offered_at = Some(at(0));
    waiting.payment.status = PaymentStatus::CaptureFailed;
    waiting.task = Task::default();
    assert!(try_step(&waiting, &Event::Retried { note: None }, Actor::Operator, at(1)).is_err());
}

#[test]
fn money_that_surfaces_on_an_order_that_is_over_wakes_its_release() {
    let over = order_in(Status::Cancelled);
    let surfaced = as_found(&over, event(EventKind::PaymentAuthorized));
    let after = after(&over, &surfaced, Actor::Gateway, at(5));
    assert_eq!((after.status, after.task.stage, after.owed()), (Status::Cancelled, Some(Stage::Release), TOTAL));
}

#[test]
fn money_that_surfaces_after_its_release_was_proven_is_released_again() {
    let over = order_in(Status::Cancelled);
    let held = after(&over, &as_found(&over, event(EventKind::PaymentAuthorized)), Actor::Gateway, at(1));
    let voided = after(&held, &Event::PaymentVoided, Actor::Worker, at(2));
    assert_eq!((voided.task.stage, voided.owed()), (None, 0));
    let surfaced = as_found(&voided, event(EventKind::PaymentAuthorized));
    let held_again = after(&voided, &surfaced, Actor::Gateway, at(3));
    assert_eq!((held_again.task.stage, held_again.owed()), (Some(Stage::Release), TOTAL));
}

#[test]
fn what_was_taken_beyond_what_is_due_goes_back() {
    let making = Order { dropped_lines: vec![0], ..order_in(Status::Preparing) };
    let excess = TOTAL - making.amount_due();
    assert!(excess > 0);
    let taken = after(&making, &Event::PaymentCaptured { amount: TOTAL }, Actor::Worker, at(1));
    assert_eq!((taken.task.stage, taken.owed()), (Some(Stage::Release), excess));
    let settled = after(&taken, &Event::PaymentRefunded { amount: excess }, Actor::Worker, at(2));
    assert_eq!((settled.payment.status, settled.task.stage), (PaymentStatus::PartiallyRefunded, None));
}

#[test]
fn what_is_taken_beyond_what_is_due_is_owed_whichever_event_comes_last() {
    let dropping = Event::ShopAccepted { minutes: None, dropped_lines: vec![1] };
    let taken = Event::PaymentCaptured { amount: TOTAL };
    let waiting = order_in(Status::AwaitingShop);
    let taken_first = after(&after(&waiting, &taken, Actor::Gateway, at(1)), &dropping, Actor::Shop, at(2));
    let dropped_first = after(&after(&waiting, &dropping, Actor::Shop, at(1)), &taken, Actor::Gateway, at(2));
    for order in [taken_first, dropped_first] {
        assert_eq!((order.status, order.owed(), order.task.stage), (Status::Accepted, 250, Some(Stage::Release)));
        let settled = after(&order, &Event::PaymentRefunded { amount: 250 }, Actor::Worker, at(3));
        assert_eq!((settled.owed(), settled.refundable(), settled.task.stage), (0, TOTAL - 250, None));
    }
}

#[rstest]
#[case(Status::Scheduled)]
#[case(Status::AwaitingShop)]
#[case(Status::Accepted)]
fn a_hold_that_is_lost_ends_the_order_before_anything_is_made(#[case] status: Status) {
    let failed = after(&order_in(status), &Event::PaymentHoldLost, Actor::Gateway, at(1));
    assert_eq!((failed.status, failed.reason), (Status::Failed, Some(Reason::PaymentHoldLost)));
    assert_eq!(failed.task.stage, Some(Stage::Release), "until the gateway proves that nothing is held");
    let taken = after(&order_in(status), &event(EventKind::PaymentCaptured), Actor::Gateway, at(1));
    assert!(is_refused(&taken, &Event::PaymentHoldLost, Actor::Gateway), "what was taken is no hold");
}

fn held_until(lapses: Instant) -> Event {
    Event::PaymentAuthorized { amount: TOTAL, reference: "ref_1".into(), capture_before: Some(lapses) }
}

#[test]
fn an_order_that_waits_ends_before_its_hold_lapses() {
    let margin = Deadlines::default().hold_margin;
    let lapses = at(60) + margin;
    let waiting = after(&order(), &held_until(lapses), Actor::Worker, at(1));
    assert_eq!((waiting.status, waiting.deadline_at), (Status::AwaitingShop, Some(at(60))));
    let more = after(&waiting, &Event::DeadlineExtended { minutes: 9 }, Actor::Operator, at(2));
    assert_eq!(more.deadline_at, Some(at(60)), "no operator can lengthen a hold");
    let accepted = after(&waiting, &event(EventKind::ShopAccepted), Actor::Shop, at(2));
    for order in [waiting, accepted.clone()] {
        assert_eq!(order.deadline_at, Some(at(60)));
        assert_eq!(deadline_event(&order, at(60), &Deadlines::default()), Some(Event::PaymentHoldLost));
    }
    let making = after(&accepted, &Event::PreparationStarted, Actor::Shop, at(3));
    assert!(making.deadline_at > Some(at(60)), "its money is taken now");
    let taken = after(&accepted, &event(EventKind::PaymentCaptured), Actor::Gateway, at(3));
    assert!(taken.deadline_at > Some(at(60)), "taken money does not lapse");
    assert_eq!(deadline_event(&taken, at(60), &Deadlines::default()), Some(Event::Abandoned));
}

#[test]
fn a_hold_that_lapses_before_the_order_can_be_made_is_refused_beforehand() {
    let (slot, margin) = (at(4800), Deadlines::default().hold_margin);
    let later = order_of(placed(), Pickup { at: Some(slot), ..Pickup::default() }, Some(at(3600)));
    let too_short = after(&later, &held_until(slot - MAKE + margin), Actor::Worker, at(1));
    assert_eq!((too_short.status, too_short.reason), (Status::Failed, Some(Reason::PaymentHoldLost)));
    assert_eq!((too_short.owed(), too_short.task.stage), (TOTAL, Some(Stage::Release)), "it is held, and goes back");
    let long_enough = after(&later, &held_until(slot - MAKE + margin + Duration::seconds(1)), Actor::Worker, at(1));
    assert_eq!((long_enough.status, long_enough.reason), (Status::Scheduled, None));
    let moved = Event::PickupChanged {
        pickup: Pickup { at: Some(slot + Duration::hours(1)), ..Pickup::default() },
        offer_at: Some(at(7200)),
    };
    assert!(is_refused(&long_enough, &moved, Actor::Partner), "the money is not held for so long");
}

#[test]
fn a_refund_that_fails_is_owed_again() {
    let cancelled = after(&captured(Status::Preparing), &event(EventKind::ShopCancelled), Actor::Shop, at(2));
    let refunded = after(&cancelled, &Event::PaymentRefunded { amount: TOTAL }, Actor::Worker, at(3));
    assert_eq!((refunded.payment.status, refunded.owed(), refunded.task.stage), (PaymentStatus::Refunded, 0, None));
    let failed = after(&refunded, &Event::RefundFailed { amount: 100 }, Actor::Gateway, at(90_000));
    assert_eq!((failed.payment.status, failed.owed()), (PaymentStatus::PartiallyRefunded, TOTAL - 100));
    assert_eq!(failed.task.stage, Some(Stage::Release));
    let retried = after(&failed, &Event::Retried { note: None }, Actor::Operator, at(90_001));
    assert_eq!(retried.task.stage, Some(Stage::Release), "an operator can act");
    let at_once = after(&cancelled, &Event::RefundFailed { amount: 0 }, Actor::Worker, at(3));
    assert_eq!((at_once.payment.status, at_once.owed()), (PaymentStatus::Captured, TOTAL));
    assert_eq!(at_once.task.stage, Some(Stage::Release));
    assert!(is_refused(&order_in(Status::Preparing), &Event::RefundFailed { amount: 0 }, Actor::Gateway));
}

#[test]
fn what_is_wrong_stays_visible_until_it_is_resolved() {
    let failed = after(&captured(Status::Preparing), &event(EventKind::ShopCancelled), Actor::Shop, at(2));
    let failed = after(&failed, &Event::RefundFailed { amount: 0 }, Actor::Worker, at(3));
    let wrong = failed.task.last_error.clone();
    assert!(wrong.as_ref().is_some_and(|wrong| wrong.contains("failed")), "{wrong:?}");
    let unanswered = Event::OperationUnanswered { operation: "refund".into(), amount: TOTAL };
    let still = after(&failed, &unanswered, Actor::Worker, at(4));
    assert_eq!(still.task.last_error, wrong);
    let part = after(&still, &Event::PaymentRefunded { amount: 100 }, Actor::Gateway, at(5));
    assert_eq!(part.task.last_error, wrong, "the rest is still owed");
    let all = after(&part, &Event::PaymentRefunded { amount: TOTAL }, Actor::Worker, at(6));
    assert_eq!((all.task.last_error, all.task.unresolved), (None, false));

    let parked = after(&order_in(Status::AwaitingShop), &event(EventKind::Parked), Actor::Worker, at(1));
    let rejected = after(&parked, &Event::ShopTimedOut, Actor::Timer, at(180));
    assert_eq!(rejected.task.last_error.as_deref(), Some("a test"), "another stage resolves nothing");
    let voided = after(&rejected, &Event::PaymentVoided, Actor::Worker, at(181));
    assert_eq!(voided.task.last_error, None);

    let settled = after(&captured(Status::Completed), &event(EventKind::Contradicted), Actor::Gateway, at(2));
    assert_eq!(settled.task.last_error.as_deref(), Some("a test"));
    let seen = after(&settled, &Event::Retried { note: None }, Actor::Operator, at(3));
    assert_eq!((seen.task.last_error, seen.task.stage), (None, None), "an operator has seen it");
    assert!(is_refused(&captured(Status::Completed), &Event::Retried { note: None }, Actor::Operator));
}

#[test]
fn an_operator_lowers_a_debt_that_cannot_be_paid_and_may_think_better_of_it() {
    let asked = Event::RefundRequested { amount: 220, note: None };
    let owing = after(&captured(Status::Completed), &asked, Actor::Operator, at(2));
    let reduced = |amount| Event::RefundReduced { amount, note: None };
    for amount in [0, -1, 221] {
        assert!(is_refused(&owing, &reduced(amount), Actor::Operator), "{amount}");
    }
    let less = after(&owing, &reduced(100), Actor::Operator, at(3));
    assert_eq!((less.owed(), less.task.stage), (120, Some(Stage::Release)));
    let none = after(&less, &reduced(120), Actor::Operator, at(4));
    assert_eq!((none.owed(), none.task.stage, none.refundable()), (0, None, TOTAL));
    let again = after(&none, &Event::RefundRequested { amount: 50, note: None }, Actor::Operator, at(5));
    assert_eq!(again.owed(), 50, "what was given up does not come back by itself");

    let cancelled = after(&captured(Status::Preparing), &event(EventKind::ShopCancelled), Actor::Shop, at(2));
    let closed = after(&cancelled, &reduced(TOTAL), Actor::Operator, at(3));
    assert_eq!((closed.owed(), closed.task.stage, closed.refundable()), (0, None, TOTAL));
    let again = after(&closed, &Event::RefundRequested { amount: 50, note: None }, Actor::Operator, at(4));
    assert_eq!((again.owed(), again.task.stage), (50, Some(Stage::Release)));
    assert!(is_refused(&order_in(Status::Cancelled), &reduced(1), Actor::Operator), "nothing was taken");
}

#[test]
fn what_reached_the_customer_elsewhere_is_not_taken_back_by_the_gateway() {
    let cancelled = after(&captured(Status::Preparing), &event(EventKind::ShopCancelled), Actor::Shop, at(2));
    let in_cash = after(&cancelled, &Event::PaymentRefunded { amount: 300 }, Actor::Operator, at(3));
    assert_eq!((in_cash.owed(), in_cash.payment.refunded_elsewhere), (TOTAL - 300, 300));
    let rest = after(&in_cash, &Event::PaymentRefunded { amount: TOTAL }, Actor::Worker, at(4));
    assert_eq!((rest.owed(), rest.payment.refunded_elsewhere), (0, 300));
}

#[rstest]
#[case(Refund::None, 0)]
#[case(Refund::Partial(100), 100)]
#[case(Refund::Full, TOTAL)]
fn an_operators_choice_is_kept_until_the_outcome_of_a_capture_is_known(#[case] refund: Refund, #[case] owed: i64) {
    let unanswered = after(&order_in(Status::Ready), &event(EventKind::OperationUnanswered), Actor::Worker, at(1));
    let cancel = Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None };
    let cancelled = after(&unanswered, &cancel, Actor::Operator, at(2));
    assert_eq!(cancelled.task.stage, Some(Stage::Release), "it is found out");
    let taken = after(&cancelled, &event(EventKind::PaymentCaptured), Actor::Worker, at(3));
    assert_eq!((taken.owed(), taken.task.stage), (owed, (owed > 0).then_some(Stage::Release)));
    let free = after(&cancelled, &Event::PaymentVoided, Actor::Worker, at(3));
    assert_eq!((free.owed(), free.task.stage), (0, None), "nothing was taken");
}

#[test]
fn a_refused_capture_is_shown_and_tried_again_only_when_an_operator_says_so() {
    let refused = event(EventKind::CaptureRefused);
    let failed = after(&order_in(Status::Completed), &refused, Actor::Worker, at(1));
    assert_eq!((failed.payment.status, failed.task.stage), (PaymentStatus::CaptureFailed, None));
    let retried = after(&failed, &Event::Retried { note: None }, Actor::Operator, at(2));
    assert_eq!(retried.task.stage, Some(Stage::Capture));
    let again = after(&retried, &refused, Actor::Worker, at(3));
    assert_eq!((again.payment.status, again.task.stage), (PaymentStatus::CaptureFailed, None));
    assert!(is_refused(&again, &refused, Actor::Gateway), "said again it is no news");
    let captured = after(&retried, &event(EventKind::PaymentCaptured), Actor::Worker, at(3));
    assert_eq!((captured.payment.status, captured.task.stage), (PaymentStatus::Captured, None));
}

#[test]
fn the_pickup_time_moves_only_while_scheduled_and_the_rest_while_ongoing() {
    let with_note = |order: &Order| Event::PickupChanged {
        pickup: Pickup { note: Some("blue car".into()), ..order.pickup.clone() },
        offer_at: None,
    };
    for status in Status::VARIANTS {
        let order = order_in(*status);
        let changed = try_step(&order, &with_note(&order), Actor::Partner, at(1));
        assert_eq!(changed.is_ok(), order.is_ongoing(), "{status}");
        let later = Event::PickupChanged {
            pickup: Pickup { at: Some(at(9000)), ..Pickup::default() },
            offer_at: Some(at(8000)),
        };
        let moved = try_step(&order, &later, Actor::Partner, at(1)).map(|order| order.deadline_at);
        assert_eq!(moved.ok(), (*status == Status::Scheduled).then_some(Some(at(8000))), "{status}");
    }
}

#[test]
fn a_scheduled_order_that_is_wanted_now_after_all_goes_to_its_shop_now() {
    let now = Event::PickupChanged { pickup: Pickup::default(), offer_at: None };
    let order = after(&order_in(Status::Scheduled), &now, Actor::Partner, at(9));
    assert_eq!(order.deadline_at, Some(at(9)));
}

#[test]
fn parking_ends_with_the_stage_it_was_for() {
    let parked = after(&order_in(Status::AwaitingShop), &event(EventKind::Parked), Actor::Worker, at(1));
    let rejected = after(&parked, &Event::ShopTimedOut, Actor::Timer, at(180));
    assert_eq!((rejected.task.parked_at, rejected.task.stage), (None, Some(Stage::Release)));
    assert_eq!(rejected.task.last_error.as_deref(), Some("a test"), "its money is not back yet");
    let voided = after(&rejected, &Event::PaymentVoided, Actor::Worker, at(181));
    assert_eq!(voided.task.last_error, None, "now it is resolved");
    let retried = after(&parked, &Event::Retried { note: None }, Actor::Operator, at(2)).task;
    assert_eq!((retried.parked_at, retried.next_attempt_at), (None, Some(at(2))));
    assert_eq!(retried.last_error.as_deref(), Some("a test"), "a retry resolves nothing");
}

#[test]
fn what_is_wrong_with_a_capture_is_known_until_it_is_captured_and_it_is_never_parked() {
    let mut order = order_in(Status::Preparing);
    (order.task.blame, order.task.errors) = (1_500, 2);
    for by in [Actor::Worker, Actor::Gateway] {
        order = after(&order, &event(EventKind::Contradicted), by, at(1));
        assert_eq!(order.task.parked_at, None, "money is owed to the shop");
    }
    let parked = step(&order, &event(EventKind::Parked), Actor::Worker, at(1), &Deadlines::default());
    assert!(matches!(parked, Err(Refused::Illegal { .. })));
    for (word, by) in [(Event::Made, Actor::Shop), (Event::Collected, Actor::Shop)] {
        order = after(&order, &word, by, at(2));
        let task = &order.task;
        assert_eq!((task.blame, task.errors, task.last_error.as_deref()), (1_500, 2, Some("a test")));
    }
    order = after(&order, &event(EventKind::PaymentCaptured), Actor::Worker, at(3));
    assert_eq!((order.task.stage, order.task.last_error), (None, None));
}

/// Something that happens to an order in its life.
#[derive(Clone, Debug)]
enum Move {
    /// Anything at all, by anybody.
    Word(EventKind, Actor, i64),
    /// The n-th of what is possible just now: otherwise most lives would end at their beginning.
    Possible(usize, i64),
    Deadline,
    Claim,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let amount = -1..=TOTAL + 1;
    let word =
        (proptest::sample::select(EventKind::VARIANTS), proptest::sample::select(Actor::VARIANTS), amount.clone());
    let a_move = prop_oneof![
        3 => word.prop_map(|(kind, by, amount)| Move::Word(kind, by, amount)),
        6 => (any::<prop::sample::Index>(), amount).prop_map(|(n, amount)| Move::Possible(n.index(1000), amount)),
        1 => Just(Move::Deadline),
        2 => Just(Move::Claim),
    ];
    proptest::collection::vec(a_move, 1..40)
}

/// An event of that kind, with an amount that may be wrong.
fn event_over(kind: EventKind, amount: i64) -> Event {
    match (kind, event(kind)) {
        (EventKind::OperatorCancelled, _) => {
            let refund = match amount % 3 {
                0 => Refund::Full,
                1 => Refund::None,
                _ => Refund::Partial(amount),
            };
            Event::OperatorCancelled { reason: Reason::OperatorRequest, refund, note: None }
        }
        (EventKind::ShopAccepted, _) => {
            let dropped_lines = if amount % 3 == 0 { vec![1] } else { Vec::new() };
            Event::ShopAccepted { minutes: None, dropped_lines }
        }
        (EventKind::PaymentCaptured, _) => Event::PaymentCaptured { amount },
        (EventKind::PaymentRefunded, _) => Event::PaymentRefunded { amount },
        (EventKind::RefundFailed, _) => Event::RefundFailed { amount },
        (EventKind::RefundReduced, _) => Event::RefundReduced { amount, note: None },
        (EventKind::RefundRequested, _) => Event::RefundRequested { amount, note: None },
        (_, plain) => plain,
    }
}

fn someone_who_may(kind: EventKind) -> Actor {
    lifecycle::RULES.iter().find(|rule| rule.event == kind).map_or(Actor::Worker, |rule| rule.by[0])
}

fn chosen(a_move: &Move, order: &Order, now: Instant) -> Option<(Event, Actor)> {
    match a_move {
        Move::Word(kind, by, amount) => Some((event_over(*kind, *amount), *by)),
        Move::Possible(n, amount) => {
            let possible: Vec<_> = EventKind::VARIANTS
                .iter()
                .map(|kind| (event_over(*kind, *amount), someone_who_may(*kind)))
                .filter(|(event, by)| try_step(order, &as_found(order, event.clone()), *by, now).is_ok())
                .collect();
            Some(possible[n % possible.len()].clone())
        }
        Move::Deadline => deadline_event(order, now, &Deadlines::default()).map(|event| (event, Actor::Timer)),
        Move::Claim => None,
    }
}

fn claim(order: &mut Order, now: Instant) {
    if order.task.stage.is_some() {
        order.task.attempts += 1;
        order.task.fence += 1;
        order.task.leased_until = Some(now + Duration::seconds(30));
        order.task.next_attempt_at = order.task.leased_until;
    }
}

/// What holds for every order at every moment.
fn assert_sound(order: &Order, gateway_asked: bool) {
    use PaymentStatus as P;
    let payment = &order.payment;
    assert_eq!(order.is_ongoing(), order.closed_at.is_none());
    assert_eq!(order.is_ongoing(), order.deadline_at.is_some());
    assert_eq!(order.task.stage.is_some(), order.task.next_attempt_at.is_some());
    let amounts = [0, payment.refunded, payment.captured, payment.authorized];
    assert!(amounts.is_sorted(), "{payment:?}");
    assert!(order.owed() >= 0);
    if order.is_taken() && !payment.release {
        let kept = payment.captured - payment.refunded;
        assert!(kept <= order.amount_due() + payment.waived || order.owed() > 0, "more is kept than is due");
    }
    if matches!(payment.status, P::None | P::Declined | P::Voided | P::Refunded) {
        assert_eq!(order.owed(), 0);
    }
    if order.owed() > 0 {
        assert_eq!(order.task.stage, Some(Stage::Release));
    }
    let may_have_moved =
        matches!(payment.status, P::Authorizing | P::ActionRequired | P::Authorized | P::Unknown | P::CaptureFailed);
    if order.status.is_undone() && may_have_moved {
        assert_eq!(order.task.stage, Some(Stage::Release));
    }
    if order.status.is_undone() && gateway_asked {
        assert_ne!(payment.status, P::None, "the gateway was asked, and nobody finds out");
    }
    assert!(!(order.deleted_at.is_some() && order.is_ongoing()));
    let must_say_why = order.status.is_undone() || order.status == Status::NotCollected;
    assert!(!must_say_why || order.reason.is_some());
}

/// What holds for every step.
fn assert_legal(before: &Order, event: &Event, after: &Order) {
    assert_eq!(after.version, before.version + 1);
    let from_to = (before.payment.status, after.payment.status);
    assert!(from_to.0 == from_to.1 || payment_may_become(from_to.0, from_to.1), "{from_to:?}");
    assert!(after.task.fence >= before.task.fence);
    if after.status != before.status {
        assert!(after.task.fence > before.task.fence, "whoever worked on the old status must notice");
        assert!(lifecycle::status_pairs().contains(&(before.status, after.status)));
    }
    let may_fall = matches!(event, Event::RefundFailed { .. });
    assert!(after.payment.refunded >= before.payment.refunded || may_fall, "a refund is taken back only by a failure");
    let untouched = |order: &Order| (order.id, order.placed.clone(), order.number, order.created_at);
    assert_eq!(untouched(after), untouched(before));
}

/// One of the shapes an order can have at its birth.
fn any_birth() -> impl Strategy<Value = Order> {
    (any::<bool>(), any::<bool>()).prop_map(|(tracks_steps, is_later)| {
        let offer_at = is_later.then(|| at(3600));
        let pickup = Pickup { at: is_later.then(|| at(4800)), ..Pickup::default() };
        order_of(Placed { tracks_steps, ..placed() }, pickup, offer_at)
    })
}

proptest! {
    #[test]
    fn no_life_breaks_an_invariant(mut order in any_birth(), life in moves()) {
        let mut asked = false;
        for (i, a_move) in life.iter().enumerate() {
            let now = at(i as i64 * 10);
            let Some((event, by)) = chosen(a_move, &order, now) else {
                asked |= matches!(a_move, Move::Claim) && order.task.stage == Some(Stage::Authorize);
                if matches!(a_move, Move::Claim) {
                    claim(&mut order, now);
                }
                continue;
            };
            let event = as_found(&order, event);
            if let Ok(after) = try_step(&order, &event, by, now) {
                assert_legal(&order, &event, &after);
                assert_sound(&after, asked);
                order = after;
            }
        }
    }

    #[test]
    fn the_timer_alone_ends_every_order(mut order in any_birth(), life in moves()) {
        for (i, a_move) in life.iter().enumerate() {
            let now = at(i as i64 * 10);
            if let Some((event, by)) = chosen(a_move, &order, now)
                && let Ok(after) = try_step(&order, &as_found(&order, event), by, now)
            {
                order = after;
            }
        }
        let mut steps = 0;
        while let Some(deadline) = order.deadline_at {
            let event = deadline_event(&order, order.deadline_at.unwrap_or(at(0)), &Deadlines::default()).expect("whatever has a deadline has something to do then");
            order = after(&order, &event, Actor::Timer, deadline);
            steps += 1;
            prop_assert!(steps <= 6, "it goes round in circles");
        }
        prop_assert!(order.status.is_over());
    }

    /// A clock that was ahead for a while, in which the whole life of the order may lie.
    #[test]
    fn what_a_clock_ahead_has_written_waits_no_longer_than_if_it_had_been_right(
        mut order in any_birth(),
        life in moves(),
        ahead in 0..100_000_i64,
        ahead_from in 0..40_usize,
    ) {
        let (deadlines, lease, skew) = (Deadlines::default(), Duration::seconds(30), Duration::seconds(2));
        let mut right = at(0);
        for (i, a_move) in life.iter().enumerate() {
            right = at(i as i64 * 10);
            let now = if i >= ahead_from { right + Duration::seconds(ahead) } else { right };
            let Some((event, by)) = chosen(a_move, &order, now) else {
                claim(&mut order, now);
                continue;
            };
            if !matches!(event, Event::DeadlineExtended { .. })
                && let Ok(after) = try_step(&order, &as_found(&order, event), by, now)
            {
                order = after;
            }
        }
        let rearmed = machine_rearmed(&order, right);
        prop_assert_eq!(machine_rearmed(&rearmed, right), rearmed.clone(), "once more changes nothing");
        prop_assert!(rearmed.deadline_at <= order.deadline_at && rearmed.task.leased_until <= order.task.leased_until);
        prop_assert!(rearmed.task.next_attempt_at <= order.task.next_attempt_at);
        prop_assert_eq!(rearmed.deadline_at.is_some(), order.deadline_at.is_some());
        prop_assert_eq!((rearmed.version, rearmed.status, rearmed.task.fence), (order.version, order.status, order.task.fence));
        prop_assert!(rearmed.task.leased_until.is_none_or(|until| until <= right + lease + skew));
        if let (None, Some(stage), Some(next)) =
            (rearmed.task.leased_until, rearmed.task.stage, rearmed.task.next_attempt_at)
        {
            prop_assert!(next <= right + longest_wait(stage, order.status.is_over(), &deadlines) + skew);
        }
        use Status::{ActionRequired, AwaitingShop, New};
        if matches!(rearmed.status, New | ActionRequired | AwaitingShop) && rearmed.pickup.at.is_none() {
            prop_assert!(rearmed.deadline_at <= Some(right + deadlines.payment_action + skew), "{rearmed:?}");
        }
    }

    /// Whatever stood still for however long in between.
    #[test]
    fn before_a_shop_has_accepted_nothing_waits_beyond_too_late(
        mut order in any_birth(),
        life in moves(),
        gaps in proptest::collection::vec(0..4000_i64, 40),
    ) {
        let (deadlines, mut now) = (Deadlines::default(), at(0));
        for (a_move, gap) in life.iter().zip(gaps) {
            now += Duration::seconds(gap);
            let Some((event, by)) = chosen(a_move, &order, now) else { continue };
            // What an operator gives is given.
            if event.kind() == EventKind::DeadlineExtended {
                continue;
            }
            if let Ok(after) = try_step(&order, &as_found(&order, event), by, now) {
                order = after;
            }
            use Status::{ActionRequired, AwaitingShop, New, Scheduled};
            if matches!(order.status, New | ActionRequired | Scheduled | AwaitingShop) {
                prop_assert!(order.deadline_at <= too_late_at(&order, &deadlines), "{order:?}");
            }
        }
    }

    /// A recall takes a step back, so what came before it may well come again.
    #[test]
    fn a_step_that_was_taken_is_refused_when_it_is_said_again(mut order in any_birth(), life in moves()) {
        let mut taken: Vec<(Event, Actor)> = Vec::new();
        for (i, a_move) in life.iter().enumerate() {
            let now = at(i as i64 * 10);
            let Some((event, by)) = chosen(a_move, &order, now) else { continue };
            let is_step = lifecycle::RULES.iter().any(|rule| rule.event == event.kind());
            if !is_step || event.kind() == EventKind::Recalled || order.status.is_undone() {
                continue;
            }
            if let Ok(after) = try_step(&order, &event, by, now) {
                order = after;
                taken.push((event, by));
            }
            for (event, by) in &taken {
                prop_assert!(try_step(&order, event, *by, now).is_err(), "{event:?} again in {}", order.status);
            }
        }
    }

    /// The gateway's callbacks about one charge come in any order and more than once; the customer may cancel
    /// among them. Whoever decides first decides the status; where the money is, the gateway alone decides.
    #[test]
    fn permuted_and_repeated_callbacks_give_the_same_end(
        approves in any::<bool>(),
        cancels in any::<bool>(),
        order_of_words in proptest::collection::vec(0..3_usize, 0..12),
        last_words in Just(vec![0, 1, 2]).prop_shuffle(),
    ) {
        let verdict = if approves { EventKind::PaymentAuthorized } else { EventKind::PaymentDeclined };
        let words = [
            Some((event(EventKind::PaymentActionRequired), Actor::Gateway)),
            Some((event(verdict), Actor::Gateway)),
            cancels.then_some((Event::CustomerCancelled, Actor::Partner)),
        ];
        let mut order = order();
        claim(&mut order, at(0));
        let mut decided_by = None;
        for n in order_of_words.into_iter().chain(last_words) {
            let Some((event, by)) = &words[n] else { continue };
            if let Ok(after) = try_step(&order, &as_found(&order, event.clone()), *by, at(1)) {
                if order.is_ongoing() && !after.is_ongoing() {
                    decided_by = Some(event.kind());
                }
                order = after;
            }
        }
        let status = match decided_by {
            None => Status::AwaitingShop,
            Some(EventKind::CustomerCancelled) => Status::Cancelled,
            Some(_) => Status::Failed,
        };
        prop_assert_eq!(order.status, status);
        prop_assert!(decided_by.is_some() || (approves && !cancels));
        let (money, owed) = match (approves, decided_by) {
            (false, _) => (PaymentStatus::Declined, 0),
            (true, None) => (PaymentStatus::Authorized, 0),
            (true, Some(_)) => (PaymentStatus::Authorized, TOTAL),
        };
        prop_assert_eq!((order.payment.status, order.owed()), (money, owed));
    }

    /// A tablet repeats its queue, in whatever order, until everything in it was taken or refused for good.
    #[test]
    fn a_tablet_that_repeats_its_queue_in_any_order_gets_its_order_done(
        queue in Just(vec![
            EventKind::ShopAccepted, EventKind::PreparationStarted, EventKind::Made, EventKind::Collected,
        ]).prop_shuffle(),
    ) {
        let mut order = order_in(Status::AwaitingShop);
        for _ in 0..queue.len() {
            for kind in &queue {
                order = try_step(&order, &event(*kind), Actor::Shop, at(1)).unwrap_or(order);
            }
        }
        prop_assert_eq!((order.status, order.task.stage), (Status::Completed, Some(Stage::Capture)));
    }
}

#[test]
fn an_operator_gives_time_to_what_the_clock_would_end_and_has_a_shop_told_again() {
    let waiting = brought_to(Status::AwaitingShop, order());
    let offered = after(&waiting, &Event::Offered, Actor::Worker, at(10));
    let deadline = offered.deadline_at.unwrap();
    let extended = after(&offered, &Event::DeadlineExtended { minutes: 30 }, Actor::Operator, at(20));
    assert_eq!(extended.deadline_at, Some(deadline + Duration::minutes(30)));
    assert_eq!((extended.status, extended.task.stage), (offered.status, None));
    let late = after(&offered, &Event::DeadlineExtended { minutes: 1 }, Actor::Operator, deadline + Duration::hours(1));
    assert_eq!(late.deadline_at, Some(deadline + Duration::minutes(61)), "from now, not from what has passed");

    let again = after(&offered, &Event::OfferRepeated, Actor::Operator, at(20));
    assert_eq!((again.task.stage, again.task.next_attempt_at), (Some(Stage::Offer), Some(at(20))));
    assert_eq!(again.deadline_at, offered.deadline_at, "the shop has no more time for it");
    assert!(try_step(&again, &Event::OfferRepeated, Actor::Operator, at(21)).is_err(), "it is under way");
    for status in [Status::Scheduled, Status::Completed, Status::Cancelled] {
        let order = order_in(status);
        assert!(try_step(&order, &Event::DeadlineExtended { minutes: 1 }, Actor::Operator, at(0)).is_err(), "{status}");
    }
}
