use std::time::Duration;

use super::*;
use crate::catalogue::demo::PARTNER;
use crate::foreign::{Rules, SystemResolver};
use crate::signing::SigningSecret;
use crate::store::{Added, DeliveryResult};
use crate::web::harness::House;

struct Plain;

impl Letters for Plain {
    fn write(&self, _: &Webhook, delivery: &Delivery, order: Option<&Order>, _: Instant) -> Letter {
        assert!(order.is_some_and(|order| order.version >= delivery.version), "read at or past the event");
        Letter { id: delivery.event_id(), body: b"{}".to_vec() }
    }
}

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";

async fn notifier(house: &House, allowed: &[&str], patience: chrono::Duration) -> (Notifier, Uuid) {
    let webhook = Webhook {
        webhook_id: Uuid::now_v7(),
        partner_id: PARTNER,
        shop_id: None,
        url: NOWHERE.into(),
        kinds: None,
        secret: SigningSecret::generate(),
        old_secrets: Vec::new(),
        created_at: now(),
        disabled: None,
    };
    assert_eq!(house.app.store.add_webhook(webhook.clone()).await.unwrap(), Added::Done);
    let caller = Caller::new(Rules::allowing(allowed), Arc::new(SystemResolver), Duration::from_secs(2)).unwrap();
    let store = house.app.store.clone();
    let an_offer_takes = chrono::Duration::zero();
    (Notifier { store, caller, letters: Arc::new(Plain), patience, an_offer_takes }, webhook.webhook_id)
}

async fn log(house: &House, id: Uuid) -> Vec<Delivery> {
    house.app.store.deliveries(Receivers::All, id, None, None, 100).await.unwrap().unwrap()
}

#[actix_web::test]
async fn what_is_in_vain_for_too_long_is_given_up() {
    let house = House::open().await;
    let (notifier, id) = notifier(&house, &["127.0.0.1"], chrono::Duration::milliseconds(700)).await;
    house.awaiting().await;
    let (_going_on, stop) = watch::channel(false);
    let mut standing = Standing::default();
    assert!(notifier.round(id, &mut standing, &stop).await.unwrap());
    let tried = &log(&house, id).await[0];
    assert_eq!((tried.result, tried.attempts, tried.status), (DeliveryResult::Pending, 1, None));
    assert_eq!(tried.trouble.as_deref(), Some("it cannot be reached"), "and not why: {tried:?}");
    assert_eq!(tried.next_attempt_at, Some(tried.give_up_at), "the last attempt is at the very end");
    assert!(!notifier.round(id, &mut standing, &stop).await.unwrap(), "nothing is due before");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(notifier.round(id, &mut standing, &stop).await.unwrap());
    let ended = &log(&house, id).await[0];
    assert_eq!((ended.result, ended.attempts), (DeliveryResult::GivenUp, 2));
}

#[actix_web::test]
async fn a_failing_receiver_rests_and_the_rest_of_its_batch_is_not_tried() {
    let house = House::open().await;
    let (notifier, id) = notifier(&house, &["127.0.0.1"], chrono::Duration::days(3)).await;
    for _ in 0..60 {
        house.place(house.request(crate::catalogue::demo::CORNER_BY_HAND)).await;
    }
    let (_going_on, stop) = watch::channel(false);
    let mut standing = Standing::default();
    notifier.round(id, &mut standing, &stop).await.unwrap();
    assert!(standing.rests_until.is_some() && standing.failures >= FAILING);
    let tried = log(&house, id).await.iter().filter(|delivery| delivery.attempts > 0).count();
    assert!((FAILING as usize..=FAILING as usize + AT_ONCE).contains(&tried), "{tried}");
    notifier.round(id, &mut standing, &stop).await.unwrap();
    let again: i32 = log(&house, id).await.iter().map(|delivery| delivery.attempts).sum();
    assert_eq!(again as usize, tried + 1, "one at a time");
}

#[actix_web::test]
async fn a_url_that_the_rules_no_longer_allow_is_not_spoken_to() {
    let house = House::open().await;
    let (notifier, id) = notifier(&house, &[], chrono::Duration::days(3)).await;
    house.awaiting().await;
    let (_going_on, stop) = watch::channel(false);
    notifier.round(id, &mut Standing::default(), &stop).await.unwrap();
    let trouble = log(&house, id).await[0].trouble.clone().unwrap();
    assert_eq!(trouble, "the URL may not be spoken to: it must begin with https://");
}
