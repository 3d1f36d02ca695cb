//! Time that was lost: what stood still comes too late, what a clock that was wrong has written, and who speaks first
//! afterwards.

use std::sync::Mutex;
use std::thread::{self, ThreadId};

use chrono::Duration;
use lungo::lifecycle::{Actor, Event, EventKind, Reason, Stage, Status};
use lungo::machine;
use lungo::order::Instant;
use lungo::state::Order;
use lungo::store::{Duty, Options, Outcome, Received, Scope, Sender, Store, Word};
use serde_json::json;

use crate::server::{BY_HAND, Server, fresh, teas, text};
use crate::support::{Bench, Customer, PRICE, at, authorized, contract, options};

contract! {
    a_slot_that_was_slept_through_is_cancelled_and_never_offered
    a_slot_that_came_due_late_is_offered_with_no_more_time_than_it_has
    after_a_gap_only_what_came_after_it_is_decided
    a_step_that_was_kept_is_told_with_both_times_and_may_be_said_again
    nothing_waits_for_an_hour_that_never_was
    a_duty_that_a_wrong_clock_gave_for_an_hour_is_free;
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
    assert_eq!(bench.store.expire(10, three_hours_late, None).await.unwrap(), [(order.id, EventKind::SlotMissed)]);
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
    assert_eq!(bench.store.expire(10, late, None).await.unwrap(), [(order.id, EventKind::SlotDue)]);
    let offered = bench.order(order.id).await;
    assert_eq!((offered.status, offered.deadline_at), (Status::AwaitingShop, Some(too_late)));
    bench.tell(&offered, Actor::Worker, Event::Offered, late).await;
    assert_eq!(bench.store.expire(10, too_late, None).await.unwrap(), [(order.id, EventKind::SlotMissed)]);
    let ended = bench.order(order.id).await;
    assert_eq!((ended.status, ended.reason), (Status::Cancelled, Some(Reason::SlotMissed)));
}

async fn after_a_gap_only_what_came_after_it_is_decided(bench: &mut Bench) {
    let before = bench.create(Customer::new("before").asks(&["lungo"])).await;
    let gap_ended = at(600);
    let mut ask = Customer::new("after").asks(&["lungo"]);
    ask.now = gap_ended;
    let after = bench.create(ask).await;
    let (store, in_the_grace) = (&bench.store, at(660));
    let decided = store.expire(10, in_the_grace, Some(gap_ended)).await.unwrap();
    assert_eq!(decided, [(after.id, EventKind::PaymentUnavailable)]);
    // What was kept is heard, although its time has come long ago.
    let authorized = bench.tell(&before, Actor::Gateway, authorized(PRICE), in_the_grace).await;
    assert_eq!(authorized.status, Status::AwaitingShop);
    assert_eq!(bench.store.expire(10, at(661), None).await.unwrap(), []);
}

async fn a_step_that_was_kept_is_told_with_both_times_and_may_be_said_again(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    bench.tell(&order, Actor::Worker, authorized(PRICE), at(1)).await;
    let accept = Event::ShopAccepted { minutes: Some(5), dropped_lines: vec![] };
    let say = |now: Instant, occurred: Instant| {
        let (order_id, event) = (order.id, accept.clone());
        let word = Word { order_id, scope: Scope::Everyone, sender: Sender::Shop, event, version: None, now };
        bench.store.receive_kept(word, occurred)
    };
    assert!(matches!(say(at(900), at(60)).await.unwrap(), Received::Changed(..)));
    // The tablet reckons anew each time, and is not told off for a millisecond.
    assert!(matches!(say(at(905), at(61)).await.unwrap(), Received::Already(..)));
    let accepted = bench.order(order.id).await;
    assert_eq!((accepted.promise_at, accepted.entered_at), (Some(at(360)), at(60)));
    let events = bench.store.events_of(order.id).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.at, last.event().unwrap()), (at(900), accept));
}

async fn nothing_waits_for_an_hour_that_never_was(bench: &mut Bench) {
    let (wrong, right) = (at(3600), at(10));
    let ask = |name: &str| {
        let mut ask = Customer::new(name).asks(&["lungo"]);
        ask.now = wrong;
        ask
    };
    let unknown = bench.create(ask("unknown")).await;
    let mut claims = bench.store.claim(Stage::Authorize, 10, wrong).await.unwrap();
    let unanswered = Outcome { event: Some(Event::PaymentUnanswered), again: None };
    bench.store.commit(claims.remove(0), unanswered, wrong).await.unwrap();
    let leased = bench.create(ask("leased")).await;
    assert_eq!(bench.store.claim(Stage::Authorize, 10, wrong).await.unwrap().len(), 1);
    let awaiting = bench.create(ask("awaiting")).await;
    bench.tell(&awaiting, Actor::Worker, authorized(PRICE), wrong).await;
    let mut slot = ask("slot");
    slot.slot = Some(at(7200));
    let slot = bench.create(slot).await;
    let scheduled = bench.tell(&slot, Actor::Worker, authorized(PRICE), wrong).await;
    let fine = bench.create(Customer::new("fine").asks(&["lungo"])).await;

    assert_eq!(bench.store.rearm(right).await.unwrap(), 3);
    assert_eq!(bench.store.rearm(right).await.unwrap(), 0, "once more changes nothing");
    let unknown = bench.order(unknown.id).await;
    assert_eq!((unknown.task.next_attempt_at, unknown.deadline_at), (Some(right), Some(at(130))));
    let leased = bench.order(leased.id).await;
    assert_eq!((leased.task.leased_until, leased.deadline_at), (Some(at(40)), Some(at(70))));
    assert_eq!(bench.order(awaiting.id).await.deadline_at, Some(at(190)));
    assert_eq!(bench.order(slot.id).await.deadline_at, scheduled.deadline_at);
    assert_eq!(bench.order(fine.id).await, fine);
}

async fn a_duty_that_a_wrong_clock_gave_for_an_hour_is_free(bench: &mut Bench) {
    let ahead = bench.store.clone();
    assert!(ahead.on_duty(Duty::Reconcile, at(3600)).await.unwrap());
    bench.reopen(options());
    let other = &bench.store;
    assert!(other.on_duty(Duty::Reconcile, at(10)).await.unwrap());
    // Those who have a database to themselves have all duties.
    assert_eq!(ahead.on_duty(Duty::Reconcile, at(10)).await.unwrap(), other.is_alone());
}

#[test]
fn no_instance_does_anything_before_it_knows_the_databases_clock() {
    static FIRST_BY: Mutex<Option<ThreadId>> = Mutex::new(None);
    let Some(cluster) = crate::postgres::shared() else { return };
    let database = cluster.fresh_database();
    let follow_clock = |_, _| {
        FIRST_BY.lock().unwrap().get_or_insert(thread::current().id());
    };
    let opened = Store::connect(&database.primary, &[], Options { follow_clock, ..options() });
    // Opening the database reads its clock before it gives a store.
    assert_eq!(*FIRST_BY.lock().unwrap(), Some(thread::current().id()));
    drop(opened);
}

#[test]
fn after_an_outage_what_a_tablet_kept_is_heard_before_the_timer_decides() {
    let mut server = Server::start(&["--acceptance-deadline=2s", "--deadline-grace=10m"]);
    let key = json!({"kind": "shop", "shop_id": BY_HAND, "label": "tablet"});
    let admin = server.with_key("LUNGO_ADMIN_KEY");
    let key = text(&admin.call("POST", "/v1/admin/keys").json(&key).send().expect(201).body["secret"]);
    let shop = server.partner.with_key(Some(&key));
    let order = |name: &str| {
        let mut body = teas(&fresh(name), 1, "pm_card_visa", None);
        body["shop_id"] = json!(BY_HAND);
        let id = text(&server.created(&body)["order_id"]);
        server.wait_for_status(&id, "awaiting_shop");
        id
    };
    let before = order("before");
    let deadline = server.get(&format!("/v1/orders/{before}/why")).expect(200).body["deadline_at"].clone();
    let deadline: Instant = text(&deadline).parse().unwrap();
    server.kill_9();
    let tapped = deadline - Duration::seconds(1);
    while lungo::clock::now() <= deadline {
        thread::sleep(crate::server::LOOK);
    }
    server.restart();
    // The timer is at work: it decides what came after the outage.
    let body = {
        let mut body = teas(&fresh("after"), 1, "pm_card_visa", None);
        body["shop_id"] = json!(BY_HAND);
        body
    };
    let after = text(&server.created(&body)["order_id"]);
    assert_eq!(server.wait_for_status(&after, "rejected")["reason"]["code"], "acceptance_timeout");
    let accept = format!("/v1/shop/orders/{before}/accept");
    let kept = json!({"minutes": 30, "occurred_at": tapped});
    let accepted = shop.call("POST", &accept).json(&kept).send().expect(200).body;
    assert_eq!(accepted["status"], "accepted");
    let promise: Instant = text(&accepted["promise_at"]).parse().unwrap();
    assert!((promise - tapped - Duration::minutes(30)).abs() < Duration::seconds(1), "{accepted:#}");
}
