//! Time that was lost: what stood still comes too late, what a clock that was wrong has written, and who speaks first
//! afterwards.

use chrono::Duration;
use lungo::lifecycle::{Actor, Event, EventKind, Reason, Stage, Status};
use lungo::machine;
use lungo::state::Order;

use crate::support::{Bench, Customer, PRICE, at, authorized, contract, options};

contract! {
    a_slot_that_was_slept_through_is_cancelled_and_never_offered
    a_slot_that_came_due_late_is_offered_with_no_more_time_than_it_has;
}

/// An order for a slot an hour after `at(0)` that is paid for.
async fn for_a_slot(bench: &Bench) -> Order {
    let mut ask = Customer::new("cus").asks(&["lungo"]);
    ask.slot = Some(at(3600));
    let order = bench.create(ask).await;
    bench.tell(&order, Actor::Worker, authorized(PRICE), at(1)).await
}

async fn a_slot_that_was_slept_through_is_cancelled_and_never_offered(bench: &mut Bench) {
    let order = for_a_slot(bench).await;
    assert_eq!(order.status, Status::Scheduled);
    let three_hours_late = at(3600) + Duration::hours(3);
    assert_eq!(bench.store.expire(10, three_hours_late).await.unwrap(), [(order.id, EventKind::SlotMissed)]);
    let ended = bench.order(order.id).await;
    assert_eq!((ended.status, ended.reason), (Status::Cancelled, Some(Reason::SlotMissed)));
    assert_eq!((ended.task.stage, ended.owed()), (Some(Stage::Release), PRICE));
    assert!(bench.store.claim(Stage::Offer, 10, three_hours_late).await.unwrap().is_empty());
}

async fn a_slot_that_came_due_late_is_offered_with_no_more_time_than_it_has(bench: &mut Bench) {
    let order = for_a_slot(bench).await;
    let deadlines = options().policy.deadlines;
    let too_late = machine::too_late_at(&order, &deadlines).unwrap();
    let late = too_late - Duration::seconds(20);
    assert_eq!(bench.store.expire(10, late).await.unwrap(), [(order.id, EventKind::SlotDue)]);
    let offered = bench.order(order.id).await;
    assert_eq!((offered.status, offered.deadline_at), (Status::AwaitingShop, Some(too_late)));
    bench.tell(&offered, Actor::Worker, Event::Offered, late).await;
    assert_eq!(bench.store.expire(10, too_late).await.unwrap(), [(order.id, EventKind::SlotMissed)]);
    let ended = bench.order(order.id).await;
    assert_eq!((ended.status, ended.reason), (Status::Cancelled, Some(Reason::SlotMissed)));
}
