//! What the store plans for receivers of webhooks, and what becomes of it.

use chrono::Duration;
use lungo::lifecycle::{Actor, Event, EventKind, Reason};
use lungo::order::{PartnerId, ShopId};
use lungo::signing::SigningSecret;
use lungo::state::Order;
use lungo::store::{
    Added, Attempted, Delivery, DeliveryResult, Disabled, MOST_OF_A_PARTNER, Partner, Range, Receivers, Store, Then,
    Webhook,
};
use uuid::Uuid;

use crate::support::{Bench, Customer, PRICE, at, authorized};

const PATIENCE: Duration = Duration::days(3);
const AN_OFFER: Duration = Duration::seconds(30);

/// A customer of a partner that the database knows, and its shop.
async fn customer(bench: &Bench) -> Customer {
    let customer = Customer::new("cus");
    let partner = Partner { partner_id: customer.partner, name: "P".into(), created_at: at(0) };
    bench.store.put_partner(partner).await.unwrap();
    let mut shop = lungo::catalogue::Shop::new(customer.partner, "S", "EUR".parse().unwrap());
    shop.shop_id = customer.shop;
    bench.store.put_shop(shop).await.unwrap();
    customer
}

fn webhook(partner_id: PartnerId, shop_id: Option<ShopId>) -> Webhook {
    Webhook {
        webhook_id: Uuid::now_v7(),
        partner_id,
        shop_id,
        url: "https://hooks.example/".into(),
        kinds: None,
        secret: SigningSecret::generate(),
        old_secrets: Vec::new(),
        created_at: at(0),
        disabled: None,
    }
}

async fn add(store: &Store, webhook: &Webhook) -> Uuid {
    assert_eq!(store.add_webhook(webhook.clone()).await.unwrap(), Added::Done);
    webhook.webhook_id
}

async fn all(store: &Store, id: Uuid) -> Vec<Delivery> {
    store.deliveries(Receivers::All, id, None, None, 100).await.unwrap().expect("a receiver")
}

async fn plan(store: &Store, id: Uuid) {
    store.plan_deliveries(id, PATIENCE, at(100)).await.unwrap();
}

/// Records one outcome for everything that is due.
async fn attempt_all(store: &Store, id: Uuid, then: Then) -> Vec<(Delivery, Option<Order>)> {
    let due = store.due_deliveries(id, 100, at(100)).await.unwrap();
    let made = due.iter().map(|(delivery, _)| Attempted {
        delivery_id: delivery.delivery_id,
        at: at(100),
        status: Some(200),
        trouble: None,
        then,
    });
    store.record_attempts(id, made.collect(), None).await.unwrap();
    due
}

#[tokio::test]
async fn what_happens_is_planned_once_from_the_receivers_beginning_and_coalesced_while_it_waits() {
    let mut bench = Bench::new(Store::open);
    let customer = customer(&bench).await;
    let before = bench.create(customer.asks(&["tea"])).await;
    let id = add(&bench.store, &webhook(customer.partner, None)).await;
    assert!(bench.store.receivers_to_serve(at(100)).await.unwrap().is_empty());
    let order = bench.create(customer.asks(&["lungo"])).await;
    bench.tell(&order, Actor::Gateway, authorized(PRICE), at(1)).await;
    assert_eq!(bench.store.receivers_to_serve(at(100)).await.unwrap(), [id]);

    plan(&bench.store, id).await;
    plan(&bench.store, id).await;
    let [planned] = &all(&bench.store, id).await[..] else { panic!("one order, one delivery") };
    assert_eq!((planned.order_id, planned.version, planned.coalesced), (order.id, 2, 1));
    assert_eq!((planned.kind, planned.result), (EventKind::PaymentAuthorized, DeliveryResult::Pending));
    assert_eq!(planned.event_id(), format!("evt_{}_2_{:x}", order.id.0.simple(), at(1).timestamp_millis()));

    // The process is gone, and the next one knows it all.
    let _claims = bench.reopen(crate::support::options());
    bench.tell(&order, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }, at(2)).await;
    plan(&bench.store, id).await;
    let [planned] = &all(&bench.store, id).await[..] else { panic!("the newer took its place") };
    assert_eq!((planned.version, planned.coalesced, planned.kind), (3, 2, EventKind::ShopAccepted));

    let sent = attempt_all(&bench.store, id, Then::Delivered).await;
    let read = sent[0].1.as_ref().unwrap();
    assert!(read.version >= sent[0].0.version, "read at or past the event");
    assert!(attempt_all(&bench.store, id, Then::Delivered).await.is_empty());
    bench.tell(&order, Actor::Shop, Event::PreparationStarted, at(3)).await;
    bench.tell(&before, Actor::Partner, Event::CustomerCancelled, at(3)).await;
    plan(&bench.store, id).await;
    let versions: Vec<_> = all(&bench.store, id).await.iter().map(|d| (d.order_id, d.version, d.result)).collect();
    assert_eq!(versions.len(), 3);
    assert!(versions.contains(&(order.id, 3, DeliveryResult::Delivered)), "what was sent stays in the log");
    assert!(versions.contains(&(order.id, 4, DeliveryResult::Pending)));
    assert!(versions.contains(&(before.id, 2, DeliveryResult::Pending)));
}

#[tokio::test]
async fn a_receiver_gets_the_kinds_it_wants_of_its_own_partner_and_nobody_else_sees_it() {
    let bench = Bench::new(Store::open);
    let (ours, theirs) = (customer(&bench).await, customer(&bench).await);
    let mut picky = webhook(ours.partner, None);
    picky.kinds = Some(vec![EventKind::CustomerCancelled]);
    let id = add(&bench.store, &picky).await;
    for customer in [&ours, &theirs] {
        let order = bench.create(customer.asks(&["tea"])).await;
        bench.tell(&order, Actor::Partner, Event::CustomerCancelled, at(1)).await;
    }
    plan(&bench.store, id).await;
    let kinds: Vec<_> = all(&bench.store, id).await.iter().map(|delivery| delivery.kind).collect();
    assert_eq!(kinds, [EventKind::CustomerCancelled]);
    assert!(bench.store.receivers_to_serve(at(0)).await.unwrap().is_empty(), "all of the log was looked at");

    let foreign = Receivers::Of(theirs.partner);
    let delivery = all(&bench.store, id).await[0].delivery_id;
    let store = &bench.store;
    assert_eq!(store.webhooks(foreign).await.unwrap(), []);
    assert_eq!(store.webhook(foreign, id).await.unwrap(), None);
    assert!(store.deliveries(foreign, id, None, None, 9).await.unwrap().is_none());
    assert_eq!(store.resend(foreign, id, delivery, PATIENCE, at(5)).await.unwrap(), None);
    let range = Range { from: at(0), until: at(9), only_failed: false };
    assert_eq!(store.resend_range(foreign, id, range, PATIENCE, at(5)).await.unwrap(), None);
    assert_eq!(store.enable_webhook(foreign, id).await.unwrap(), None);
    assert!(!store.delete_webhook(foreign, id).await.unwrap());
    assert_eq!(store.webhook(Receivers::Of(ours.partner), id).await.unwrap(), Some(picky));
}

#[tokio::test]
async fn a_full_line_leaves_the_rest_in_the_log_and_a_disabled_receiver_loses_nothing() {
    let bench = Bench::new(Store::open);
    let customer = customer(&bench).await;
    let id = add(&bench.store, &webhook(customer.partner, None)).await;
    let orders = 1_200;
    for number in 0..orders {
        let one = Customer { id: lungo::order::CustomerId(format!("cus_{number}")), ..customer.clone() };
        bench.create(one.asks(&["tea"])).await;
    }
    for _ in 0..9 {
        plan(&bench.store, id).await;
    }
    let pending = |wanted| bench.store.deliveries(Receivers::All, id, wanted, None, 5_000);
    assert_eq!(pending(Some(DeliveryResult::Pending)).await.unwrap().unwrap().len(), 1_000);
    let disabled = Disabled { at: at(50), why: "it answered 410 Gone".into() };
    bench.store.record_attempts(id, vec![], Some(disabled.clone())).await.unwrap();
    assert!(bench.store.receivers_to_serve(at(100)).await.unwrap().is_empty());
    let known = bench.store.webhook(Receivers::All, id).await.unwrap().unwrap();
    assert_eq!(known.disabled, Some(disabled));
    bench.store.enable_webhook(Receivers::All, id).await.unwrap();
    let mut sent = 0;
    for _ in 0..20 {
        sent += attempt_all(&bench.store, id, Then::Delivered).await.len();
        plan(&bench.store, id).await;
    }
    assert_eq!(sent, orders);
    bench.store.trim_deliveries(id).await.unwrap();
    assert_eq!(pending(None).await.unwrap().unwrap().len(), orders, "so many are kept");
}

#[tokio::test]
async fn one_delivery_or_a_range_is_sent_again() {
    let bench = Bench::new(Store::open);
    let customer = customer(&bench).await;
    let id = add(&bench.store, &webhook(customer.partner, None)).await;
    for second in 0..3 {
        let ask = customer.asks(&[["tea", "lungo", "roll"][second as usize]]);
        bench.create(lungo_ask_at(ask, second)).await;
    }
    plan(&bench.store, id).await;
    let failed = attempt_all(&bench.store, id, Then::GivenUp).await;
    assert_eq!(failed.len(), 3);
    let one = failed[0].0.delivery_id;
    let again = bench.store.resend(Receivers::All, id, one, PATIENCE, at(90)).await.unwrap().unwrap();
    assert_eq!((again.result, again.attempts, again.next_attempt_at), (DeliveryResult::Pending, 0, Some(at(90))));
    assert_eq!(again.give_up_at, at(90) + PATIENCE);
    assert_eq!(attempt_all(&bench.store, id, Then::Delivered).await.len(), 1);

    let resend = async |from, until, only_failed| {
        let range = Range { from: at(from), until: at(until), only_failed };
        bench.store.resend_range(Receivers::All, id, range, PATIENCE, at(90)).await.unwrap().unwrap()
    };
    assert_eq!(resend(1, 2, false).await, 1);
    assert_eq!(resend(0, 9, true).await, 1, "one is delivered, one is on its way already");
    assert_eq!(resend(0, 9, false).await, 1);
    assert_eq!(attempt_all(&bench.store, id, Then::Delivered).await.len(), 3);
    assert_eq!(bench.store.resend(Receivers::All, id, Uuid::now_v7(), PATIENCE, at(90)).await.unwrap(), None);
}

fn lungo_ask_at(ask: crate::support::Ask, second: i64) -> crate::support::Ask {
    crate::support::Ask { now: at(second), ..ask }
}

#[tokio::test]
async fn a_partner_has_a_bounded_number_and_a_shop_one() {
    let bench = Bench::new(Store::open);
    let customer = customer(&bench).await;
    for _ in 0..MOST_OF_A_PARTNER {
        add(&bench.store, &webhook(customer.partner, None)).await;
    }
    assert_eq!(bench.store.add_webhook(webhook(customer.partner, None)).await.unwrap(), Added::TooMany);
    let of_shop = add(&bench.store, &webhook(customer.partner, Some(customer.shop))).await;
    let second = webhook(customer.partner, Some(customer.shop));
    assert_eq!(bench.store.add_webhook(second).await.unwrap(), Added::ShopHasOne);
    assert_eq!(bench.store.webhook(Receivers::Of(customer.partner), of_shop).await.unwrap(), None);
    assert_eq!(bench.store.webhooks(Receivers::All).await.unwrap().len() as i64, MOST_OF_A_PARTNER + 1);
}

#[tokio::test]
async fn a_shop_is_told_of_every_end_that_was_not_its_own_and_never_before_its_offer_can_come() {
    let bench = Bench::new(Store::open);
    let customer = customer(&bench).await;
    let id = add(&bench.store, &webhook(customer.partner, Some(customer.shop))).await;
    let elsewhere = Customer { shop: ShopId::new(), ..customer.clone() };
    let accept = || Event::ShopAccepted { minutes: None, dropped_lines: vec![] };
    let reject = || Event::ShopRejected { reason: Reason::ShopClosed };
    let cancel = || Event::CustomerCancelled;
    let paid = async |ask| {
        let order = bench.create(ask).await;
        bench.tell(&order, Actor::Gateway, authorized(PRICE), at(1)).await
    };
    let unpaid = bench.create(customer.asks(&["a"])).await;
    bench.tell(&unpaid, Actor::Partner, cancel(), at(2)).await;
    let in_flight = paid(customer.asks(&["b"])).await;
    bench.tell(&in_flight, Actor::Partner, cancel(), at(2)).await;
    let offered = paid(customer.asks(&["c"])).await;
    bench.tell(&offered, Actor::Worker, Event::Offered, at(2)).await;
    bench.tell(&offered, Actor::Timer, Event::ShopTimedOut, at(3)).await;
    let accepted = paid(customer.asks(&["d"])).await;
    bench.tell(&accepted, Actor::Shop, accept(), at(2)).await;
    bench.tell(&accepted, Actor::Partner, cancel(), at(4)).await;
    let rejected = paid(customer.asks(&["e"])).await;
    bench.tell(&rejected, Actor::Shop, reject(), at(2)).await;
    let foreign = paid(elsewhere.asks(&["f"])).await;
    bench.tell(&foreign, Actor::Partner, cancel(), at(2)).await;

    for _ in 0..2 {
        bench.store.plan_cancellations(AN_OFFER, PATIENCE).await.unwrap();
    }
    let mut told: Vec<_> = all(&bench.store, id).await.iter().map(|d| (d.order_id, d.next_attempt_at)).collect();
    told.sort();
    let mut expected =
        vec![(in_flight.id, Some(at(2) + AN_OFFER)), (offered.id, Some(at(3))), (accepted.id, Some(at(4)))];
    expected.sort();
    assert_eq!(told, expected);

    // It accepts all the same: it is told again, once what it was told is out.
    attempt_all(&bench.store, id, Then::Delivered).await;
    for _ in 0..2 {
        bench.store.owe_cancellation(customer.shop, offered.id, PATIENCE, at(60)).await.unwrap();
    }
    bench.store.owe_cancellation(elsewhere.shop, foreign.id, PATIENCE, at(60)).await.unwrap();
    bench.store.owe_cancellation(customer.shop, foreign.id, PATIENCE, at(60)).await.unwrap();
    let again = bench.store.deliveries(Receivers::All, id, Some(DeliveryResult::Pending), None, 9).await.unwrap();
    let again: Vec<_> = again.unwrap().iter().map(|delivery| delivery.order_id).collect();
    assert_eq!(again, [offered.id]);
}
