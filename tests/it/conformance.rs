//! The store's contract. Every engine has to keep it: the same list runs on each, on a fresh database a test, and
//! after each test the log of every order must replay to its row.

use std::collections::HashSet;
use std::time::Duration as StdDuration;

use chrono::{Duration, NaiveDate};
use futures_util::future::join_all;
use lungo::admission::{Rules, Verdict};
use lungo::catalogue::{Availability, Exception, Refusal, Shop, ShopOption};
use lungo::lifecycle::{Actor, Event, EventKind, PaymentStatus, Reason, Refund, Stage, Status};
use lungo::order::{OrderId, PartnerId};
use lungo::store::{
    Again, Claim, Committed, Haste, Known, Lot, Options, Outcome, Partner, Policy, Position, Received, Recorded,
    Report, Sieve, Source, Strike, Tally, Unreadable, Worked,
};

use crate::support::{Ask, Bench, Customer, PRICE, at, authorized, contract, options};

contract! {
    a_key_answers_its_order_whatever_the_catalogue_says_now
    a_refusal_binds_no_key
    parallel_creates_without_any_header_make_one_order_a_customer
    parallel_creates_with_one_key_make_one_order
    parallel_creates_from_one_revision_make_one_order
    the_numbers_of_a_customer_have_no_gaps
    the_limit_holds_under_parallel_creates
    a_slot_is_never_overfilled
    a_write_that_fails_leaves_its_neighbours_alone
    a_newborn_order_is_leased_to_the_instance_that_has_room_for_it
    the_next_stage_is_handed_over_as_well
    a_claim_given_back_costs_no_attempt
    a_lost_lease_changes_nothing
    a_lost_lease_takes_nothing_with_it_that_is_written_beside_it
    three_deaths_park_the_order_that_was_alone_at_each
    three_kills_park_nobody_and_hold_up_no_other_order
    a_capture_is_never_parked_and_rests_ever_longer
    what_came_back_was_no_death_even_if_it_could_not_be_written
    eight_errors_park_the_row_and_silence_never_does
    a_deadline_decides_what_is_parked
    a_deadline_decides_what_is_leased_and_releases_what_may_be_held
    what_is_not_due_is_left_alone
    a_result_that_contradicts_the_row_is_kept_for_a_person
    a_word_said_again_changes_nothing
    a_word_with_other_content_is_not_the_same_word
    a_draft_that_was_replaced_while_it_was_judged_is_not_ordered
    an_illegal_word_changes_nothing
    what_the_gateway_contradicts_is_kept_and_changes_nothing_else
    a_word_reaches_only_its_senders_orders
    a_deleted_order_is_out_of_its_customers_sight
    what_was_handed_over_cannot_be_deleted
    positions_only_grow
    what_is_not_a_list_is_never_older_than_its_token_either
    nothing_is_inserted_before_a_place_in_the_feed_that_was_seen
    an_order_that_ended_is_told_for_a_while
    what_was_handed_over_a_moment_ago_is_similar
    what_shops_have_of_options_and_say_of_dates_is_replaced
    what_is_read_in_pieces_is_counted_once
    lists_that_are_read_together_are_those_of_one_by_one
    reopening_keeps_everything
    operators_see_what_is_late_astray_and_unknown
    instances_know_of_each_other_until_they_end_or_fall_silent;

    // Of servers they are the tests with real replicas.
    a_lagging_list_is_genuinely_old_and_says_so
    a_list_is_never_older_than_its_token
    a_lagging_list_catches_up
}

/// The partner's events, once there are so many. On servers they come when no older transaction runs any more, of
/// whomever.
async fn feed(bench: &Bench, partner: PartnerId, events: usize) -> Vec<Recorded> {
    let end = std::time::Instant::now() + StdDuration::from_secs(20);
    loop {
        let (_, found, ..) = bench.store.feed(partner, 0, i64::MAX).await.unwrap();
        if found.len() >= events || std::time::Instant::now() > end {
            return found;
        }
        tokio::time::sleep(StdDuration::from_millis(20)).await;
    }
}

fn done(event: Event) -> Outcome {
    Outcome { event: Some(event), again: None }
}

fn failed(strike: Strike) -> Outcome {
    Outcome {
        event: None,
        again: Some(Again { after: Duration::zero(), is_spread: false, why: "a test".into(), strike }),
    }
}

fn with_lease(seconds: i64) -> Options {
    Options { policy: Policy { lease: Duration::seconds(seconds), ..Policy::default() }, ..options() }
}

async fn one_claim(bench: &Bench, stage: Stage, seconds: i64) -> Claim {
    let mut claims = bench.store.claim(stage, 10, at(seconds)).await.unwrap();
    assert_eq!(claims.len(), 1, "{stage} at {seconds} s");
    claims.remove(0)
}

async fn nothing_to_claim(bench: &Bench, stage: Stage, seconds: i64) -> bool {
    bench.store.claim(stage, 10, at(seconds)).await.unwrap().is_empty()
}

async fn commit(bench: &Bench, claim: Claim, outcome: Outcome, seconds: i64) -> Committed {
    bench.store.commit(claim, outcome, at(seconds)).await.unwrap()
}

/// All of these at once, each in a task of its own.
async fn at_once(bench: &Bench, asks: Vec<Ask>) -> Vec<Verdict<Refusal>> {
    let tasks = asks.into_iter().map(|ask| {
        let store = bench.store.clone();
        tokio::spawn(async move { store.accept(ask.into_accept()).await.unwrap().verdict })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

fn accepted(verdicts: &[Verdict<Refusal>]) -> usize {
    verdicts.iter().filter(|verdict| **verdict == Verdict::Accept).count()
}

async fn a_key_answers_its_order_whatever_the_catalogue_says_now(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let order = bench.create(cus.asks(&["lungo"]).key("k")).await;
    let again = Ask { refused: Some(Refusal::UnknownShop), ..cus.asks(&["lungo"]).key("k") };
    let replayed = bench.ask(again).await;
    assert_eq!(replayed.verdict, Verdict::Replay(order.id));
    assert_eq!(replayed.order.unwrap().id, order.id);
    assert_eq!(bench.ask(cus.asks(&["roll"]).key("k")).await.verdict, Verdict::KeyReused);
    let other = Customer { id: Customer::new("other").id, ..cus };
    assert_eq!(
        bench.ask(other.asks(&["roll"]).key("k")).await.verdict,
        Verdict::Accept,
        "keys are each customer's own"
    );
}

async fn a_refusal_binds_no_key(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let refused = bench.ask(Ask { refused: Some(Refusal::UnknownShop), ..cus.asks(&["lungo"]).key("k") }).await;
    assert_eq!(refused.verdict, Verdict::Catalogue(Refusal::UnknownShop));
    assert_eq!((refused.revision.number, bench.all_orders().await.len()), (0, 0));
    assert_eq!(bench.ask(cus.asks(&["roll"]).key("k")).await.verdict, Verdict::Accept);
}

async fn parallel_creates_without_any_header_make_one_order_a_customer(bench: &mut Bench) {
    let customers: Vec<_> = (0..100).map(|i| Customer::new(&format!("cus_{i}"))).collect();
    let asks = (0..20).flat_map(|_| customers.iter().map(|cus| cus.asks(&["lungo"]))).collect();
    let verdicts = at_once(bench, asks).await;
    assert_eq!(accepted(&verdicts), 100);
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Similar(_))).count(), 1900);
    for cus in customers {
        let (history, _) = bench.store.history(cus.partner, &cus.id, i64::MAX, 100, None).await.unwrap();
        assert_eq!(history.len(), 1);
    }
}

async fn parallel_creates_with_one_key_make_one_order(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let verdicts = at_once(bench, vec![cus.asks(&["lungo"]).key("k"); 20]).await;
    let order = bench.all_orders().await.remove(0).id;
    assert_eq!(accepted(&verdicts), 1);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Replay(order)).count(), 19);
}

async fn parallel_creates_from_one_revision_make_one_order(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let seen = bench.ask(cus.asks(&["lungo"])).await.revision;
    let asks = (0..20).map(|_| Ask { seen: Some(seen), order_id: OrderId::new(), ..cus.asks(&["lungo"]) });
    let verdicts = at_once(bench, asks.collect()).await;
    assert_eq!(accepted(&verdicts), 1);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::StaleRevision).count(), 19);
}

async fn the_numbers_of_a_customer_have_no_gaps(bench: &mut Bench) {
    let admission = Rules { max_ongoing: 100, ..Rules::default() };
    drop(bench.reopen(Options { policy: Policy { admission, ..Policy::default() }, ..options() }));
    let cus = Customer::new("cus");
    let asks = (0..30).map(|i| cus.asks(&[&format!("item_{}", i / 2)])).collect();
    assert_eq!(accepted(&at_once(bench, asks).await), 15);
    let (history, _) = bench.store.history(cus.partner, &cus.id, i64::MAX, 100, None).await.unwrap();
    let numbers: Vec<_> = history.iter().map(|order| order.number).collect();
    assert_eq!(numbers, (1..=15).rev().collect::<Vec<_>>());
    assert_eq!(history.iter().map(|order| order.nonce).collect::<HashSet<_>>().len(), 15);
}

async fn the_limit_holds_under_parallel_creates(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let asks = (0..20).map(|i| cus.asks(&[&format!("item_{i}")])).collect();
    let verdicts = at_once(bench, asks).await;
    assert_eq!(accepted(&verdicts), 5);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::LimitExceeded).count(), 15);
    let order = bench.all_orders().await.remove(0);
    bench.tell(&order, Actor::Partner, Event::CustomerCancelled, at(1)).await;
    assert_eq!(bench.ask(cus.asks(&["another"])).await.verdict, Verdict::Accept, "a place is free again");
}

async fn a_slot_is_never_overfilled(bench: &mut Bench) {
    let (shop, slot) = (Customer::new("").shop, Some(at(7200)));
    let asks = (0..12).map(|i| {
        let cus = Customer { shop, ..Customer::new(&format!("cus_{i}")) };
        Ask { slot, slot_capacity: Some(3), ..cus.asks(&["lungo"]) }
    });
    let verdicts = at_once(bench, asks.collect()).await;
    assert_eq!(accepted(&verdicts), 3);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::SlotFull).count(), 9);
}

async fn a_write_that_fails_leaves_its_neighbours_alone(bench: &mut Bench) {
    let first = bench.create(Customer::new("first").asks(&["lungo"])).await;
    let tasks = (0..20).map(|i| {
        let mut ask = Customer::new(&format!("cus_{i}")).asks(&["lungo"]);
        if i % 2 == 0 {
            ask.order_id = first.id;
        }
        let store = bench.store.clone();
        tokio::spawn(async move { store.accept(ask.into_accept()).await.is_ok() })
    });
    let results: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let odd: Vec<_> = (0..20).map(|i| i % 2 == 1).collect();
    assert_eq!(results, odd, "an id is given once");
    assert_eq!(bench.all_orders().await.len(), 11);
}

async fn a_newborn_order_is_leased_to_the_instance_that_has_room_for_it(bench: &mut Bench) {
    let mut claims = bench.reopen(options());
    let first = bench.create(Customer::new("first").asks(&["lungo"])).await;
    let second = bench.create(Customer::new("second").asks(&["lungo"])).await;
    let claimed = one_claim(bench, Stage::Authorize, 0).await;
    assert_eq!(claimed.order().id, second.id, "there was room for one");
    let (_, queue) = claims.0.iter_mut().find(|(stage, _)| *stage == Stage::Authorize).unwrap();
    let born = queue.try_recv().unwrap();
    assert_eq!((born.order().id, born.order().task.attempts), (first.id, 1));
    assert!(nothing_to_claim(bench, Stage::Authorize, 29).await);
    let lease = bench.store.policy().lease;
    assert_eq!(bench.store.claim(Stage::Authorize, 10, at(0) + lease).await.unwrap().len(), 1, "both leases lapsed");
}

async fn the_next_stage_is_handed_over_as_well(bench: &mut Bench) {
    let mut claims = bench.reopen(options());
    bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let mut next = |wanted| claims.0.iter_mut().find(|(stage, _)| *stage == wanted).unwrap().1.try_recv();
    let claim = next(Stage::Authorize).unwrap();
    commit(bench, claim, done(authorized(PRICE)), 1).await;
    let offer = next(Stage::Offer).unwrap();
    assert_eq!((offer.order().status, offer.stage()), (Status::AwaitingShop, Stage::Offer));
    assert!(nothing_to_claim(bench, Stage::Offer, 1).await);
}

async fn a_claim_given_back_costs_no_attempt(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let claim = one_claim(bench, Stage::Authorize, 0).await;
    bench.store.give_back(claim, at(1)).await.unwrap();
    let task = bench.order(order.id).await.task;
    assert_eq!((task.attempts, task.blame, task.leased_until), (0, 0, None));
    assert_eq!(one_claim(bench, Stage::Authorize, 1).await.order().task.attempts, 1);
}

async fn a_lost_lease_changes_nothing(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let slow = one_claim(bench, Stage::Authorize, 0).await;
    let quick = one_claim(bench, Stage::Authorize, 30).await;
    let before = bench.order(order.id).await;
    let declined = Event::PaymentDeclined { refusal: "late".into() };
    assert!(matches!(commit(bench, slow, done(declined), 31).await, Committed::Lost));
    assert_eq!(bench.order(order.id).await, before);
    assert!(matches!(commit(bench, quick, done(authorized(PRICE)), 32).await, Committed::Done(_)));
    assert_eq!(bench.order(order.id).await.status, Status::AwaitingShop);
}

async fn a_lost_lease_takes_nothing_with_it_that_is_written_beside_it(bench: &mut Bench) {
    for number in 0..30 {
        bench.create(Customer::new(&format!("cus_{number}")).asks(&["lungo"])).await;
    }
    let slow = bench.store.claim(Stage::Authorize, 100, at(0)).await.unwrap();
    let quick = bench.store.claim(Stage::Authorize, 5, at(30)).await.unwrap();
    let overtaken: Vec<_> = quick.iter().map(|claim| claim.order().id).collect();
    let commits = slow.into_iter().map(|claim| {
        let (store, id) = (bench.store.clone(), claim.order().id);
        tokio::spawn(async move { (id, store.commit(claim, done(authorized(PRICE)), at(31)).await.unwrap()) })
    });
    let commits: Vec<_> = join_all(commits).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((commits.len(), overtaken.len()), (30, 1), "suspects are tried alone");
    for (id, committed) in commits {
        let is_lost = matches!(committed, Committed::Lost);
        assert_eq!(is_lost, overtaken.contains(&id), "{committed:?}");
        let status = bench.order(id).await.status;
        assert_eq!(status, if is_lost { Status::New } else { Status::AwaitingShop });
    }
}

async fn three_deaths_park_the_order_that_was_alone_at_each(bench: &mut Bench) {
    drop(bench.reopen(with_lease(5)));
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    for (seconds, blame, lapse, rests_until) in [(0, 0, 5, 5), (5, 1_000, 10, 20), (20, 2_000, 25, 45)] {
        assert_eq!(one_claim(bench, Stage::Authorize, seconds).await.order().task.blame, blame);
        if rests_until > lapse {
            assert!(nothing_to_claim(bench, Stage::Authorize, lapse).await);
            assert!(nothing_to_claim(bench, Stage::Authorize, rests_until - 1).await);
        }
    }
    drop(one_claim(bench, Stage::Authorize, 45).await);
    assert!(nothing_to_claim(bench, Stage::Authorize, 50).await);
    let parked = bench.order(order.id).await.task;
    assert_eq!((parked.parked_at, parked.blame), (Some(at(50)), 3_000));
    assert!(parked.last_error.unwrap().contains("died 3 times"));
    let retried = bench.tell(&order, Actor::Operator, Event::Retried { note: None }, at(51)).await.task;
    assert!(retried.parked_at.is_none() && retried.last_error.is_some(), "nothing is resolved yet");
    let claim = one_claim(bench, Stage::Authorize, 51).await;
    assert!(claim.is_tried(), "it may still kill a process");
    commit(bench, claim, done(authorized(PRICE)), 52).await;
    let resolved = bench.order(order.id).await.task;
    assert_eq!((resolved.blame, resolved.last_error), (0, None));
}

async fn three_kills_park_nobody_and_hold_up_no_other_order(bench: &mut Bench) {
    for number in 0..40 {
        bench.create(Customer::new(&format!("cus_{number}")).asks(&["lungo"])).await;
    }
    let claim = |bench: &Bench, limit, seconds| {
        let store = bench.store.clone();
        async move { store.claim(Stage::Authorize, limit, at(seconds)).await.unwrap() }
    };
    let mut under_way = claim(bench, 100, 0).await;
    assert_eq!(under_way.len(), 40);
    for kill in 1..4 {
        drop((under_way, bench.reopen(options())));
        assert!(bench.store.lapse_leases(at(kill)).await.unwrap() > 30);
        under_way = claim(bench, 100, kill).await;
        assert_eq!(under_way.len(), 1, "who may have killed the process is tried alone");
        assert!(claim(bench, 100, kill).await.is_empty());
    }
    for number in 40..44 {
        bench.create(Customer::new(&format!("cus_{number}")).asks(&["lungo"])).await;
    }
    assert_eq!(claim(bench, 4, 3).await.len(), 4, "suspects that wait do not stand in front of others");
    let (mut rounds, mut seconds) = (0, 3);
    loop {
        for claim in std::mem::take(&mut under_way) {
            commit(bench, claim, done(authorized(PRICE)), seconds).await;
        }
        under_way = claim(bench, 100, seconds).await;
        if under_way.is_empty() && seconds > 3 {
            break;
        }
        // Two were alone at a death: they rest.
        if under_way.is_empty() {
            seconds = 13;
        }
        rounds += 1;
    }
    assert!(rounds <= 8, "{rounds} rounds");
    let orders = bench.all_orders().await;
    assert!(orders.iter().all(|order| order.task.parked_at.is_none() && order.task.blame == 0));
    assert_eq!(orders.iter().filter(|order| order.status == Status::AwaitingShop).count(), 40);
}

async fn a_capture_is_never_parked_and_rests_ever_longer(bench: &mut Bench) {
    drop(bench.reopen(with_lease(5)));
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let claim = one_claim(bench, Stage::Authorize, 0).await;
    commit(bench, claim, done(authorized(PRICE)), 0).await;
    let accepted = Event::ShopAccepted { minutes: None, dropped_lines: vec![] };
    bench.tell(&order, Actor::Shop, accepted, at(0)).await;
    bench.tell(&order, Actor::Shop, Event::PreparationStarted, at(0)).await;
    let (mut seconds, mut rests) = (0, Vec::new());
    while rests.len() < 10 {
        let claims = bench.store.claim(Stage::Capture, 1, at(seconds)).await.unwrap();
        let due = bench.order(order.id).await.task.next_attempt_at.unwrap();
        if claims.is_empty() {
            rests.push((due - at(seconds)).num_seconds());
        }
        seconds = (due - at(0)).num_seconds();
    }
    assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 900, 900, 900]);
    let made = bench.tell(&order, Actor::Shop, Event::Made, at(seconds)).await.task;
    assert!(made.parked_at.is_none() && made.blame == 10_000, "its work has not changed");
    let claim = one_claim(bench, Stage::Capture, seconds + 900).await;
    commit(bench, claim, done(Event::PaymentCaptured { amount: PRICE }), seconds + 900).await;
    assert_eq!(bench.order(order.id).await.payment.captured, PRICE);
}

async fn what_came_back_was_no_death_even_if_it_could_not_be_written(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let lost = one_claim(bench, Stage::Authorize, 0).await;
    bench.store.came_back(lost.lease(), at(1)).await.unwrap();
    let task = bench.order(order.id).await.task;
    assert_eq!((task.attempts, task.blame, task.leased_until), (1, 0, None));
    bench.store.came_back(lost.lease(), at(9)).await.unwrap();
    assert_eq!(bench.order(order.id).await.task, task, "only its own lease");
    // One that lapsed, and whose trial does not begin, is still a suspect.
    drop(one_claim(bench, Stage::Authorize, 1).await);
    let tried = one_claim(bench, Stage::Authorize, 31).await;
    assert!(tried.is_tried());
    bench.store.give_back(tried, at(32)).await.unwrap();
    assert_eq!(bench.order(order.id).await.task.blame, 1);
    assert!(one_claim(bench, Stage::Authorize, 32).await.is_tried());
}

async fn eight_errors_park_the_row_and_silence_never_does(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    for _ in 0..20 {
        let claim = one_claim(bench, Stage::Authorize, 1).await;
        commit(bench, claim, failed(Strike::None), 1).await;
    }
    for errors in 0..8 {
        assert_eq!(bench.order(order.id).await.task.parked_at, None, "{errors} errors");
        let claim = one_claim(bench, Stage::Authorize, 2).await;
        commit(bench, claim, failed(Strike::Error), 2).await;
    }
    assert_eq!(bench.order(order.id).await.task.parked_at, Some(at(2)));
    assert!(nothing_to_claim(bench, Stage::Authorize, 50).await);
}

async fn a_deadline_decides_what_is_parked(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    for _ in 0..3 {
        let claim = one_claim(bench, Stage::Authorize, 1).await;
        commit(bench, claim, failed(Strike::Panic), 1).await;
    }
    assert!(bench.order(order.id).await.task.parked_at.is_some());
    let decided = bench.store.expire(10, at(60), None).await.unwrap();
    assert_eq!(decided, [(order.id, EventKind::PaymentUnavailable)]);
    let failed = bench.order(order.id).await;
    assert_eq!((failed.status, failed.task.parked_at, failed.owed()), (Status::Failed, None, PRICE));
    one_claim(bench, Stage::Release, 60).await;
}

async fn a_deadline_decides_what_is_leased_and_releases_what_may_be_held(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let under_way = one_claim(bench, Stage::Authorize, 50).await;
    assert_eq!(bench.store.expire(10, at(59), None).await.unwrap(), []);
    assert_eq!(bench.store.expire(10, at(60), None).await.unwrap(), [(order.id, EventKind::PaymentUnknown)]);
    let failed = bench.order(order.id).await;
    assert_eq!((failed.status, failed.reason), (Status::Failed, Some(Reason::PaymentOutcomeUnknown)));
    assert_eq!((failed.payment.status, failed.task.stage), (PaymentStatus::Unknown, Some(Stage::Release)));
    let release = one_claim(bench, Stage::Release, 60).await;
    let later = Outcome { again: Some(Again { after: Duration::minutes(15), ..again() }), event: None };
    commit(bench, release, later, 61).await;
    assert!(nothing_to_claim(bench, Stage::Release, 62).await);
    assert!(matches!(commit(bench, under_way, done(authorized(PRICE)), 63).await, Committed::Lost));
    let release = one_claim(bench, Stage::Release, 63).await;
    assert_eq!(release.order().id, order.id, "the late result woke it");
    commit(bench, release, done(Event::PaymentVoided), 64).await;
    assert_eq!(bench.order(order.id).await.owed(), 0);
}

fn again() -> Again {
    Again { after: Duration::zero(), is_spread: false, why: "a test".into(), strike: Strike::None }
}

async fn what_is_not_due_is_left_alone(bench: &mut Bench) {
    bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let claim = one_claim(bench, Stage::Authorize, 0).await;
    let later = Outcome { event: None, again: Some(Again { after: Duration::seconds(10), ..again() }) };
    commit(bench, claim, later, 1).await;
    assert!(nothing_to_claim(bench, Stage::Authorize, 10).await);
    assert_eq!(bench.store.next_due().await.unwrap(), (vec![(Stage::Authorize, at(11))], Some(at(60))));
    one_claim(bench, Stage::Authorize, 11).await;
}

async fn a_result_that_contradicts_the_row_is_kept_for_a_person(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    let claim = one_claim(bench, Stage::Authorize, 0).await;
    commit(bench, claim, done(authorized(PRICE + 1)), 1).await;
    let parked = bench.order(order.id).await;
    assert_eq!((parked.status, parked.task.parked_at), (Status::New, Some(at(1))));
    assert!(parked.task.last_error.unwrap().contains("authorized 301"));
}

async fn a_word_said_again_changes_nothing(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    for (by, event) in [
        (Actor::Gateway, authorized(PRICE)),
        (Actor::Shop, Event::ShopAccepted { minutes: Some(4), dropped_lines: vec![] }),
        (Actor::Shop, Event::PreparationStarted),
        (Actor::Shop, Event::Made),
        (Actor::Shop, Event::Collected),
    ] {
        let after = bench.tell(&order, by, event.clone(), at(1)).await;
        for _ in 0..3 {
            let again = bench.hear(&order, by, event.clone(), at(2)).await;
            assert!(matches!(again, Received::Already(..)), "{event:?}: {again:?}");
        }
        assert_eq!(bench.order(order.id).await, after);
    }
    let late = bench.hear(&order, Actor::Shop, Event::PreparationStarted, at(3)).await;
    assert!(matches!(late, Received::Already(..)), "{late:?}");
}

async fn a_word_with_other_content_is_not_the_same_word(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo", "tea"])).await;
    bench.tell(&order, Actor::Gateway, authorized(2 * PRICE), at(1)).await;
    let accepted = |minutes, dropped_lines| Event::ShopAccepted { minutes, dropped_lines };
    bench.tell(&order, Actor::Shop, accepted(None, vec![]), at(1)).await;
    let dropping = bench.hear(&order, Actor::Shop, accepted(None, vec![1]), at(2)).await;
    assert!(matches!(dropping, Received::Refused(..)), "a line that is sold out must not be lost: {dropping:?}");
    let plain = bench.hear(&order, Actor::Shop, accepted(None, vec![]), at(2)).await;
    assert!(matches!(plain, Received::Already(..)), "{plain:?}");
}

async fn a_draft_that_was_replaced_while_it_was_judged_is_not_ordered(bench: &mut Bench) {
    use lungo::store::{Draft, Replaced};
    let cus = Customer::new("cus");
    let draft = |accept: &lungo::store::Accept| Draft {
        order_id: accept.order_id,
        partner_id: accept.partner_id,
        request: accept.request.clone(),
        placed: accept.catalogue.as_ref().unwrap().placed.clone(),
        valid_until: at(600),
        created_at: at(0),
        deleted_at: None,
        is_confirmed: false,
    };
    let (mut judged, other) = (cus.asks(&["lungo"]).into_accept(), cus.asks(&["tea"]).into_accept());
    bench.store.put_draft(draft(&judged)).await.unwrap();
    judged.draft = Some(draft(&judged));
    let replacement = Draft { order_id: judged.order_id, ..draft(&other) };
    assert!(matches!(bench.store.replace_draft(replacement.clone(), at(1)).await.unwrap(), Replaced::Done(_)));
    let refused = bench.store.accept(judged).await.unwrap();
    assert_eq!(refused.verdict, Verdict::Catalogue(Refusal::DraftReplaced));

    let again = lungo::store::Accept { order_id: replacement.order_id, draft: Some(replacement.clone()), ..other };
    let ordered = bench.store.accept(again).await.unwrap().order.unwrap();
    assert_eq!(ordered.placed, replacement.placed);
}

async fn an_illegal_word_changes_nothing(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    for (by, event) in [
        (Actor::Shop, Event::Made),
        (Actor::Partner, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }),
        (Actor::Shop, Event::Collected),
    ] {
        let refused = bench.hear(&order, by, event, at(1)).await;
        assert!(matches!(&refused, Received::Refused(unchanged, _) if **unchanged == order), "{refused:?}");
    }
    assert_eq!(bench.order(order.id).await, order);
    assert_eq!(bench.store.events_of(order.id).await.unwrap().len(), 1);
}

async fn what_the_gateway_contradicts_is_kept_and_changes_nothing_else(bench: &mut Bench) {
    let order = bench.create(Customer::new("cus").asks(&["lungo"])).await;
    for (i, event) in
        [authorized(PRICE + 1), Event::PaymentCaptured { amount: PRICE }, Event::PaymentRefunded { amount: PRICE }]
            .into_iter()
            .enumerate()
    {
        let kept = bench.hear(&order, Actor::Gateway, event, at(1)).await;
        let Received::Changed(after, _) = &kept else { panic!("{kept:?}") };
        assert_eq!((after.status, &after.payment), (order.status, &order.payment));
        let events = bench.store.events_of(order.id).await.unwrap();
        assert_eq!(events.len(), i + 2);
        assert!(matches!(events.last().unwrap().event().unwrap(), Event::Contradicted { .. }));
    }
}

async fn a_word_reaches_only_its_senders_orders(bench: &mut Bench) {
    use lungo::store::{Scope, Sender, Word};
    let cus = Customer::new("cus");
    let order = bench.create(cus.asks(&["lungo"])).await;
    let stranger = Customer::new("cus");
    let word = |scope, version| Word {
        order_id: order.id,
        scope,
        sender: Sender::Partner,
        event: Event::CustomerCancelled,
        version,
        now: at(1),
    };
    for scope in [Scope::Partner(stranger.partner), Scope::Shop(stranger.shop)] {
        assert!(matches!(bench.store.receive(word(scope, None)).await.unwrap(), Received::Unknown), "{scope:?}");
    }
    let seen_another = bench.store.receive(word(Scope::Partner(cus.partner), Some(2))).await.unwrap();
    assert!(matches!(seen_another, Received::Stale(_)));
    assert_eq!(bench.order(order.id).await, order);
    let seen = bench.store.receive(word(Scope::Partner(cus.partner), Some(1))).await.unwrap();
    assert!(matches!(seen, Received::Changed(..)));
}

async fn a_deleted_order_is_out_of_its_customers_sight(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let order = bench.create(cus.asks(&["lungo"]).key("k")).await;
    let foreign = bench.store.delete(order.id, PartnerId::new(), at(1)).await.unwrap();
    assert!(matches!(foreign, Received::Unknown));
    let deleted = bench.store.delete(order.id, cus.partner, at(1)).await.unwrap();
    assert!(matches!(deleted, Received::Changed(..)), "{deleted:?}");
    let row = bench.order(order.id).await;
    assert_eq!((row.status, row.deleted_at), (Status::Cancelled, Some(at(1))));
    let again = bench.store.delete(order.id, cus.partner, at(2)).await.unwrap();
    assert!(matches!(again, Received::Already(..)), "{again:?}");
    assert_eq!(bench.ask(cus.asks(&["lungo"]).key("k")).await.verdict, Verdict::Deleted(order.id));
    assert!(bench.store.history(cus.partner, &cus.id, i64::MAX, 10, None).await.unwrap().0.is_empty());
    let present = bench.store.present(cus.partner, cus.id.clone(), None, at(0), at(2)).await.unwrap();
    assert!(present.ongoing.is_empty() && present.recently_closed.is_empty());
    assert_eq!(present.revision.number, 1, "it was created all the same");
    assert_eq!(feed(bench, cus.partner, 3).await.len(), 3);
}

async fn what_was_handed_over_cannot_be_deleted(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let order = bench.create(cus.asks(&["lungo"])).await;
    bring_to_ready(bench, &order).await;
    let too_late = bench.store.delete(order.id, cus.partner, at(2)).await.unwrap();
    assert!(matches!(too_late, Received::Refused(..)), "{too_late:?}");
    bench.tell(&order, Actor::Shop, Event::Collected, at(3)).await;
    let too_late = bench.store.delete(order.id, cus.partner, at(4)).await.unwrap();
    assert!(matches!(too_late, Received::Refused(..)), "{too_late:?}");
    assert_eq!(bench.order(order.id).await.deleted_at, None);
}

async fn bring_to_ready(bench: &Bench, order: &lungo::state::Order) {
    for (by, event) in [
        (Actor::Gateway, authorized(PRICE)),
        (Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }),
        (Actor::Shop, Event::Made),
    ] {
        bench.tell(order, by, event, at(1)).await;
    }
}

async fn positions_only_grow(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let admitted = bench.ask(cus.asks(&["lungo"])).await;
    let order = admitted.order.unwrap();
    let mut places = vec![admitted.position.at.place];
    for (by, event) in [
        (Actor::Gateway, authorized(PRICE)),
        (Actor::Partner, Event::Arrived),
        (
            Actor::Operator,
            Event::OperatorCancelled { reason: Reason::OperatorRequest, refund: Refund::Full, note: None },
        ),
    ] {
        match bench.hear(&order, by, event, at(1)).await {
            Received::Changed(_, position) => places.push(position.at.place),
            other => panic!("{other:?}"),
        }
    }
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    let read = bench.store.present(cus.partner, cus.id, None, at(0), at(2)).await.unwrap();
    assert!(places.last().is_some_and(|last| read.position.at.place >= *last), "{read:?} after {places:?}");
}

/// Opens the database so that lists come from a snapshot that is renewed only after `lag`, and waits for the first.
async fn lagging(bench: &mut Bench, lag: StdDuration) {
    drop(bench.reopen(Options { replica_lag: Some(lag), ..options() }));
    let nobody = Customer::new("nobody");
    loop {
        let now = lungo::clock::now();
        let list = bench.store.present(nobody.partner, nobody.id.clone(), None, now, now).await.unwrap();
        if list.source == Source::Replica {
            return;
        }
        tokio::task::yield_now().await;
    }
}

const FOR_EVER: StdDuration = StdDuration::from_secs(3600);

async fn a_lagging_list_is_genuinely_old_and_says_so(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let old = bench.create(cus.asks(&["lungo"])).await;
    let before_snapshot = lungo::clock::now();
    lagging(bench, FOR_EVER).await;
    let after_snapshot = lungo::clock::now();
    let new = bench.create(cus.asks(&["roll"])).await;
    let list = bench.store.present(cus.partner, cus.id.clone(), None, at(0), at(0)).await.unwrap();
    assert_eq!(list.source, Source::Replica);
    assert_eq!(list.ongoing, [old], "{} came after the snapshot", new.id);
    assert_eq!(list.revision.number, 1);
    assert!(before_snapshot <= list.as_of && list.as_of <= after_snapshot);
}

async fn a_list_is_never_older_than_its_token(bench: &mut Bench) {
    lagging(bench, FOR_EVER).await;
    let cus = Customer::new("cus");
    let written = bench.ask(cus.asks(&["lungo"])).await;
    let position = written.position;
    let read = async |at_least| bench.store.present(cus.partner, cus.id.clone(), at_least, at(0), at(9)).await;
    let list = read(Some(position.clone())).await.unwrap();
    assert_eq!((list.source, list.ongoing.len(), list.as_of), (Source::Primary, 1, at(9)));
    assert!(list.position.at.place >= position.at.place);
    let without = read(None).await.unwrap();
    assert_eq!((without.source, without.ongoing.len()), (Source::Replica, 0));

    let mut foreign = position.clone();
    foreign.cluster ^= 1;
    let list = read(Some(foreign)).await.unwrap();
    assert_eq!((list.source, list.ongoing.len()), (Source::Primary, 1), "only the primary is certainly fresh enough");
    let mut beyond = position;
    beyond.at.place += 1;
    assert!(matches!(read(Some(beyond)).await, Err(Unreadable::HistoryDiverged(present)) if present == list.position));
}

async fn a_lagging_list_catches_up(bench: &mut Bench) {
    lagging(bench, StdDuration::from_millis(20)).await;
    let cus = Customer::new("cus");
    let position = bench.ask(cus.asks(&["lungo"])).await.position;
    loop {
        let list =
            bench.store.present(cus.partner, cus.id.clone(), Some(position.clone()), at(0), at(0)).await.unwrap();
        assert_eq!(list.ongoing.len(), 1);
        if list.source == Source::Replica {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn what_is_not_a_list_is_never_older_than_its_token_either(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let written = bench.ask(cus.asks(&["lungo"])).await;
    let (id, position) = (written.order.expect("it was admitted").id, written.position);
    let known = async |at_least: &Position| bench.store.known(id, Some(at_least)).await;
    let history = async |at_least: &Position| {
        let history = bench.store.history(cus.partner, &cus.id, i64::MAX, 10, Some(at_least)).await;
        history.map(|(orders, _)| orders.len())
    };
    assert!(matches!(known(&position).await, Ok(Some(Known::Order(order, _))) if order.id == id));
    assert_eq!(history(&position).await.unwrap(), 1);
    let mut beyond = position.clone();
    beyond.at.place += 1 << 40;
    assert!(matches!(known(&beyond).await, Err(Unreadable::HistoryDiverged(now)) if now.at.place < beyond.at.place));
    assert!(matches!(history(&beyond).await, Err(Unreadable::HistoryDiverged(now)) if now.at.place < beyond.at.place));
    beyond.cluster ^= 1;
    assert!(known(&beyond).await.is_ok_and(|known| known.is_some()), "another database's place says nothing here");
    assert_eq!(history(&beyond).await.unwrap(), 1);
    // The customer has seen an order that this history does not have.
    let other = Customer { partner: cus.partner, ..Customer::new("other") };
    let of_other = bench.ask(other.asks(&["lungo"])).await.position;
    assert_eq!(history(&of_other).await.unwrap(), 1, "it says nothing of this customer's orders");
}

async fn nothing_is_inserted_before_a_place_in_the_feed_that_was_seen(bench: &mut Bench) {
    let partner = PartnerId::new();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = bench.store.clone();
            tokio::spawn(async move {
                for i in 0..40 {
                    let cus = Customer { partner, ..Customer::new(&format!("cus_{writer}_{i}")) };
                    store.accept(cus.asks(&["lungo"]).into_accept()).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while seen.len() < 320 {
        let after = seen.last().copied().unwrap_or(0);
        let (_, events, ..) = bench.store.feed(partner, after, 7).await.unwrap();
        seen.extend(events.iter().map(|event| event.position));
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all: Vec<_> = bench.store.feed(partner, 0, i64::MAX).await.unwrap().1.iter().map(|e| e.position).collect();
    assert_eq!(seen, all);
    assert_eq!(all.len(), 320);
    assert!(all.is_sorted_by(|one, next| one < next), "{all:?}");
}

async fn an_order_that_ended_is_told_for_a_while(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let order = bench.create(cus.asks(&["lungo"])).await;
    bench.tell(&order, Actor::Partner, Event::CustomerCancelled, at(100)).await;
    let told = async |since| {
        let list = bench.store.present(cus.partner, cus.id.clone(), None, at(since), at(200)).await.unwrap();
        assert!(list.ongoing.is_empty());
        list.recently_closed.len()
    };
    assert_eq!((told(99).await, told(100).await), (1, 0));
}

async fn what_was_handed_over_a_moment_ago_is_similar(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let ask = |item, seconds| Ask { now: at(seconds), ..cus.asks(&[item]) };
    let lungo = bench.create(ask("lungo", 0)).await;
    let roll = bench.create(ask("roll", 500)).await;
    for (order, end) in [(&lungo, 4_000), (&roll, 4_100)] {
        bring_to_ready(bench, order).await;
        bench.tell(order, Actor::Shop, Event::Collected, at(end)).await;
    }
    // Newer ones in between, some of them over, and none of them similar.
    let teas: Vec<String> = (0..40).map(|number| format!("tea_{number}")).collect();
    for item in &teas {
        let other = bench.create(ask(item, 4_150)).await;
        bench.tell(&other, Actor::Partner, Event::CustomerCancelled, at(4_160)).await;
    }
    let verdict = async |item, seconds| bench.ask(ask(item, seconds)).await.verdict;
    assert_eq!(verdict("lungo", 4_200).await, Verdict::Similar(lungo.id), "long after it was created");
    assert_eq!(verdict("lungo", 4_599).await, Verdict::Similar(lungo.id));
    assert_eq!(verdict("roll", 4_600).await, Verdict::Similar(roll.id));
    assert_eq!(verdict("tea_39", 4_600).await, Verdict::Accept, "it was cancelled");
    assert_eq!(verdict("lungo", 4_600).await, Verdict::Accept, "that ended ten minutes ago");
    // Of another partner's customer of this name nothing counts.
    let namesake = Customer { partner: PartnerId::new(), ..cus.clone() };
    assert_eq!(bench.ask(Ask { now: at(4_601), ..namesake.asks(&["roll"]) }).await.verdict, Verdict::Accept);
}

async fn what_shops_have_of_options_and_say_of_dates_is_replaced(bench: &mut Bench) {
    let partner = Partner { partner_id: PartnerId::new(), name: "A partner".into(), created_at: at(0) };
    let shop = Shop::new(partner.partner_id, "A shop", "EUR".parse().unwrap());
    bench.store.put_partner(partner.clone()).await.unwrap();
    bench.store.put_shop(shop.clone()).await.unwrap();
    let oat = |until| ShopOption {
        shop_id: shop.shop_id,
        option_id: "oat".into(),
        availability: Availability::SoldOut { until },
    };
    let closed = |day: u32| Exception { date: NaiveDate::from_ymd_opt(2026, 12, day).unwrap(), openings: Vec::new() };
    for (until, days) in [(None, vec![24, 25]), (Some(at(60)), vec![26])] {
        let exceptions: Vec<_> = days.into_iter().map(closed).collect();
        bench.store.put_shop_option(oat(until)).await.unwrap();
        for owner in [shop.shop_id.0, partner.partner_id.0] {
            bench.store.put_calendar(owner, exceptions.clone()).await.unwrap();
        }
        let mut rows = bench.store.catalogue().await.unwrap();
        assert_eq!(rows.shop_options, [oat(until)]);
        rows.calendars.sort_by_key(|(owner, _)| *owner != shop.shop_id.0);
        assert_eq!(rows.calendars, [(shop.shop_id.0, exceptions.clone()), (partner.partner_id.0, exceptions)]);
    }
}

async fn what_is_read_in_pieces_is_counted_once(bench: &mut Bench) {
    assert!(bench.store.tally(Haste::Awaited).await.unwrap().loads.is_empty());
    let (partners, shop) = ([PartnerId::new(), PartnerId::new()], Customer::new("").shop);
    // A piece is of five hundred.
    let customers = (0..1_050).map(|number| {
        let partner = partners[number % 2];
        Customer { partner, shop, ..Customer::new(&format!("cus_{number}")) }
    });
    // Many of one customer's are in one piece, wherever they come.
    let asks = customers.flat_map(|cus| {
        let items = if cus.id.0.ends_with("00") { vec!["lungo", "roll", "tea", "cake"] } else { vec!["lungo"] };
        items.into_iter().map(|item| cus.asks(&[item])).collect::<Vec<_>>()
    });
    let orders = accepted(&at_once(bench, asks.collect()).await);
    assert_eq!(orders, 1_050 + 10 * 3);
    let claims = bench.store.claim(Stage::Authorize, 5_000, at(0)).await.unwrap();
    let commits = claims.into_iter().skip(1).map(|claim| bench.store.commit(claim, done(authorized(PRICE)), at(1)));
    assert_eq!(join_all(commits).await.len(), orders - 1);
    let seen = bench.store.tally(Haste::Awaited).await.unwrap();
    let in_hand = i64::try_from(orders).unwrap() - 1;
    assert_eq!(seen.by_status[&Status::New], (1, Some(at(0))));
    assert_eq!(seen.by_status[&Status::AwaitingShop], (in_hand, Some(at(1))));
    assert_eq!(seen.held_and_taken, [("EUR".to_owned(), in_hand * PRICE, 0)]);
    // Of events as well, on servers once no older transaction runs any more, of whomever.
    let end = std::time::Instant::now() + StdDuration::from_secs(20);
    let happened = loop {
        let happened = bench.store.look(seen.clone(), Some(0), at(2)).await.unwrap().happened;
        if happened.get(&EventKind::PaymentAuthorized) == Some(&in_hand) || std::time::Instant::now() > end {
            break happened;
        }
        tokio::time::sleep(StdDuration::from_millis(20)).await;
    };
    assert_eq!((happened[&EventKind::Created], happened[&EventKind::PaymentAuthorized]), (in_hand + 1, in_hand));
    assert_eq!(seen.loads.into_iter().collect::<Vec<_>>(), [(shop, u32::try_from(in_hand).unwrap())]);
}

async fn lists_that_are_read_together_are_those_of_one_by_one(bench: &mut Bench) {
    let partner = PartnerId::new();
    let customers: Vec<_> =
        (0..70).map(|number| Customer { partner, ..Customer::new(&format!("cus_{number}")) }).collect();
    for (number, cus) in customers.iter().enumerate() {
        if number % 3 > 0 {
            bench.create(cus.asks(&["lungo"])).await;
        }
        if number % 3 > 1 {
            let ended = bench.create(cus.asks(&["roll"])).await;
            bench.tell(&ended, Actor::Partner, Event::CustomerCancelled, at(number as i64)).await;
        }
    }
    // One whose oldest order is still ongoing when many newer ones have ended.
    for _ in 0..35 {
        let ended = bench.create(customers[1].asks(&["roll"])).await;
        bench.tell(&ended, Actor::Partner, Event::CustomerCancelled, at(1)).await;
    }
    let list = |cus: &Customer, since| {
        let (store, cus) = (bench.store.clone(), cus.clone());
        async move {
            let list = store.present(cus.partner, cus.id, None, at(since), at(100)).await.unwrap();
            (list.ongoing, list.recently_closed, list.revision)
        }
    };
    let mut one_by_one = Vec::new();
    for (number, cus) in customers.iter().enumerate() {
        one_by_one.push(list(cus, number as i64 % 2 * 50).await);
    }
    let together = customers.iter().enumerate().map(|(number, cus)| tokio::spawn(list(cus, number as i64 % 2 * 50)));
    // Beside them some whom PostgreSQL refuses to look for: it knows no NUL in a text.
    let impossible: Vec<_> = (0..9).map(|_| Customer { partner, ..Customer::new("nobody\0") }).collect();
    let refused = impossible.iter().map(|cus| bench.store.present(cus.partner, cus.id.clone(), None, at(0), at(100)));
    let (together, refused) = tokio::join!(join_all(together), join_all(refused));
    assert!(refused.iter().all(|list| list.as_ref().map_or(true, |list| list.ongoing.is_empty())), "{refused:?}");
    let together: Vec<_> = together.into_iter().map(Result::unwrap).collect();
    assert_eq!(together, one_by_one);
    let counts = |number: usize| (together[number].0.len(), together[number].1.len(), together[number].2.number);
    assert_eq!([0, 1, 2, 5, 53].map(counts), [(0, 0, 0), (1, 0, 36), (1, 1, 2), (1, 0, 2), (1, 1, 2)]);
}

async fn reopening_keeps_everything(bench: &mut Bench) {
    let cus = Customer::new("cus");
    let order = bench.create(Ask { slot: Some(at(9000)), ..cus.asks(&["lungo", "roll"]).key("k") }).await;
    bench.tell(&order, Actor::Gateway, authorized(2 * PRICE), at(1)).await;
    let all = bench.all_orders().await;
    let (cluster, before) = (bench.store.cluster(), feed(bench, cus.partner, 2).await);
    drop(bench.reopen(options()));
    assert_eq!(bench.all_orders().await, all);
    assert_eq!((all[0].status, all[0].intact), (Status::Scheduled, true));
    assert_eq!(bench.store.cluster(), cluster);
    let again = feed(bench, cus.partner, 2).await;
    assert_eq!(format!("{again:?}"), format!("{before:?}"));
    let replay = Ask { slot: Some(at(9000)), ..cus.asks(&["lungo", "roll"]).key("k") };
    assert_eq!(bench.ask(replay).await.verdict, Verdict::Replay(order.id));
}

async fn operators_see_what_is_late_astray_and_unknown(bench: &mut Bench) {
    let [unsaid, owed, late] = ["unsaid", "owed", "late"].map(|name| Customer::new(name).asks(&["lungo"]));
    let (unsaid, owed) = (bench.create(unsaid).await, bench.create(owed).await);
    bench.tell(&unsaid, Actor::Worker, Event::PaymentUnanswered, at(1)).await;
    let accepted = Event::ShopAccepted { minutes: None, dropped_lines: vec![] };
    bench.tell(&owed, Actor::Gateway, authorized(PRICE), at(2)).await;
    bench.tell(&owed, Actor::Shop, accepted.clone(), at(3)).await;
    bench.tell(&owed, Actor::Shop, Event::PreparationStarted, at(4)).await;
    bench.tell(&owed, Actor::Gateway, Event::PaymentCaptured { amount: PRICE }, at(5)).await;
    bench.tell(&owed, Actor::Shop, Event::ShopCancelled { reason: Reason::ShopClosed }, at(6)).await;
    let late = bench.create(late).await;
    bench.tell(&late, Actor::Gateway, authorized(PRICE), at(7)).await;
    bench.tell(&late, Actor::Shop, accepted, at(8)).await;

    let found = bench.store.astray(10, at(9)).await.unwrap();
    assert_eq!((found.unknown.count, found.unknown.orders[0].id), (1, unsaid.id));
    assert_eq!((found.owed.count, found.owed.orders[0].id), (1, owed.id));
    let debts = async |seconds| bench.store.astray(10, at(seconds)).await.unwrap().debts;
    let told = |debts: Vec<lungo::store::Debt>| (debts[0].age, debts[0].orders, debts[0].amount, debts.len());
    assert_eq!((told(debts(9).await), told(debts(100_000).await)), ((0, 1, PRICE, 1), (3, 1, PRICE, 1)));
    let look = bench.store.look(Tally::default(), None, at(9)).await.unwrap();
    assert_eq!((look.unknown, look.instances.len()), ((1, Some(unsaid.created_at)), 0));

    let list = |lot, seconds| {
        let listed = bench.store.browse(lot, Sieve::default(), 0, None, 10, at(seconds));
        async move { listed.await.unwrap().orders.into_iter().map(|order| order.id).collect::<Vec<_>>() }
    };
    assert_eq!(list(Lot::Late, 9).await, []);
    assert!(list(Lot::Late, 100_000).await.contains(&late.id));
    assert_eq!(list(Lot::Unknown, 9).await, [unsaid.id]);
    assert_eq!(list(Lot::Done, 9).await, [owed.id]);
    assert_eq!(list(Lot::Parked, 9).await, []);
    assert_eq!(list(Lot::InFlight, 9).await.len(), 2);
    assert!(list(Lot::Struggling, 9).await.len() <= 3);
}

async fn instances_know_of_each_other_until_they_end_or_fall_silent(bench: &mut Bench) {
    let first = bench.store.clone();
    let worked = Worked { stage: Stage::Offer, is_at_work: true, under_way: 2, limit: 8, waiting: 1 };
    let order = OrderId::new();
    let report = Report { stages: vec![worked], asking: vec![order], ..Report::default() };
    first.say_instance("a:1".into(), Report::default(), at(0)).await.unwrap();
    first.say_instance("a:1".into(), report.clone(), at(2)).await.unwrap();
    let known = first.instances().await.unwrap();
    assert_eq!((known.len(), known[0].id, &known[0].report), (1, first.instance(), &report));
    assert_eq!((known[0].started_at, known[0].seen_at), (at(0), at(2)));
    assert_eq!([at(12), at(13)].map(|now| known[0].is_silent(now)), [false, true]);

    drop(bench.reopen(options()));
    let second = bench.store.clone();
    second.say_instance("b:2".into(), Report::default(), at(13)).await.unwrap();
    let names = async || -> Vec<String> {
        let known = second.instances().await.unwrap();
        known.into_iter().map(|instance| instance.name).collect()
    };
    // Nobody else can work where one has the database to itself: whoever was there before is dead.
    let both: &[&str] = if second.is_alone() { &["b:2"] } else { &["a:1", "b:2"] };
    assert_eq!(names().await, both);
    second.say_instance("b:2".into(), Report::default(), at(303)).await.unwrap();
    assert_eq!(names().await, ["b:2"], "who is silent for long is forgotten");
    second.sign_off().await.unwrap();
    assert_eq!(names().await, [""; 0]);
}
