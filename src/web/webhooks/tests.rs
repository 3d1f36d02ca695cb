//! Receivers of webhooks by the partner and the admin API, over a real store.

use actix_web::test::TestRequest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::catalogue::demo::{CORNER_BY_HAND, LUNGO_CENTRAL, PARTNER};
use crate::clock::now;
use crate::store::{MOST_OLD_SECRETS, Receivers};
use crate::web::harness::House;

const URL: &str = "https://hooks.example/lungo";

async fn made(house: &House, key: &str) -> Value {
    let answer = house.post(key, "/v1/webhooks", json!({"url": URL, "types": ["made"]})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers.get("cache-control").unwrap(), "no-store");
    answer.body
}

fn uri(webhook: &Value) -> String {
    format!("/v1/webhooks/{}", webhook["webhook_id"].as_str().unwrap())
}

#[actix_web::test]
async fn a_secret_is_shown_by_the_answers_that_make_it_and_nowhere_else() {
    let house = House::open().await;
    let webhook = made(&house, &house.partner).await;
    let first = webhook["secret"].as_str().unwrap();
    assert!(first.starts_with("whsec_") && first.len() == 50, "{first}");
    let rotate = TestRequest::post().uri(&format!("{}/rotate", uri(&webhook)));
    let rotated = house.send(rotate, &house.partner).await;
    assert_eq!((rotated.status, rotated.headers.get("cache-control").unwrap().to_str().unwrap()), (200, "no-store"));
    assert_ne!(rotated.body["secret"], webhook["secret"]);
    assert!(rotated.body["old_secret_until"].is_string());
    let settings = json!({"url": URL, "types": ["made", "collected"]});
    for answer in [
        house.put(&house.partner, &uri(&webhook), settings).await,
        house.get(&house.partner, &uri(&webhook)).await,
        house.get(&house.partner, "/v1/webhooks").await,
        house.get(&house.admin, "/v1/admin/webhooks").await,
        house.get(&house.partner, &format!("{}/deliveries", uri(&webhook))).await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.body.to_string().contains("whsec_"), "{answer:?}");
    }
}

#[actix_web::test]
async fn a_url_has_to_be_one_that_may_be_spoken_to() {
    let house = House::open().await;
    for url in [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://db.localhost:8443/",
        "https://intranet/",
        "https://metadata.google.internal/",
        "https://user@hooks.example/",
        "https://hooks.example:25/",
    ] {
        let refused = house.post(&house.partner, "/v1/webhooks", json!({ "url": url })).await;
        assert_eq!((refused.status, refused.pointers()), (422, vec!["/url"]), "{url}");
    }
    for url in ["hooks.example", "", "ftp://hooks.example/", "https://hooks.example/a b"] {
        let refused = house.post(&house.partner, "/v1/webhooks", json!({ "url": url })).await;
        assert_eq!((refused.status, refused.pointers()), (400, vec!["/url"]), "{url}");
    }
    let webhook = made(&house, &house.partner).await;
    let moved = house.put(&house.partner, &uri(&webhook), json!({"url": "https://localhost.:22/"})).await;
    assert_eq!(moved.status, 422);
    for body in [
        json!({}),
        json!({"url": 7}),
        json!({"url": URL, "types": []}),
        json!({"url": URL, "types": ["brewed"]}),
        json!({"url": URL, "secret": "mine"}),
        json!({"url": format!("{URL}?{}", "x".repeat(2_000))}),
    ] {
        assert_eq!(house.post(&house.partner, "/v1/webhooks", body).await.status, 400);
    }
}

#[actix_web::test]
async fn nobody_sees_or_changes_the_receivers_of_another() {
    let house = House::open().await;
    let webhook = made(&house, &house.partner).await;
    let (key, own) = (&house.other_partner, uri(&webhook));
    assert_eq!(house.get(key, "/v1/webhooks").await.body, json!({"webhooks": []}));
    let nothing = Value::Null;
    let delivery = format!("/deliveries/{}/resend", Uuid::now_v7());
    let range = json!({"from_at": "2026-01-02T03:04:05Z", "until_at": "2026-01-03T03:04:05Z"});
    for (method, path, body) in [
        ("GET", "", &nothing),
        ("PUT", "", &json!({"url": URL})),
        ("DELETE", "", &nothing),
        ("POST", "/rotate", &json!({})),
        ("GET", "/deliveries", &nothing),
        ("POST", &delivery, &json!({})),
        ("POST", "/resend", &range),
    ] {
        let request = TestRequest::default().method(method.parse().unwrap()).uri(&format!("{own}{path}"));
        let request = if body.is_null() { request } else { request.set_json(body) };
        assert_eq!(house.send(request, key).await.status, 404, "{method} {path}");
    }
    assert_eq!(house.get(&house.partner, &own).await.status, 200);
    let backwards = json!({"from_at": "2026-01-03T03:04:05Z", "until_at": "2026-01-02T03:04:05Z"});
    let refused = house.post(&house.partner, &format!("{own}/resend"), backwards).await;
    assert_eq!((refused.status, refused.pointers()), (422, vec!["/until_at"]));
    for bad in ["?cursor=x", "?limit=0", "?limit=201", "?result=lost", "?x=1"] {
        assert_eq!(house.get(&house.partner, &format!("{own}/deliveries{bad}")).await.status, 400, "{bad}");
    }
}

#[actix_web::test]
async fn an_operator_makes_receivers_for_partners_and_shops() {
    let house = House::open().await;
    let make = |body: Value| house.post(&house.admin, "/v1/admin/webhooks", body);
    let nobody = Uuid::now_v7();
    for (body, pointer) in [
        (json!({"url": URL}), "/partner_id"),
        (json!({"url": URL, "partner_id": nobody}), "/partner_id"),
        (json!({"url": URL, "shop_id": nobody}), "/shop_id"),
        (json!({"url": URL, "shop_id": LUNGO_CENTRAL}), "/shop_id"),
        (json!({"url": URL, "shop_id": CORNER_BY_HAND, "partner_id": nobody}), "/partner_id"),
        (json!({"url": URL, "shop_id": CORNER_BY_HAND, "types": ["made"]}), "/types"),
    ] {
        let refused = make(body).await;
        assert_eq!((refused.status, refused.pointers()), (422, vec![pointer]));
    }
    let of_partner = make(json!({"url": URL, "partner_id": PARTNER})).await;
    let of_shop = make(json!({"url": URL, "shop_id": CORNER_BY_HAND})).await;
    assert_eq!((of_partner.status, of_shop.status), (201, 201));
    let shown = house.get(&house.partner, "/v1/webhooks").await.body;
    assert_eq!(shown["webhooks"].as_array().unwrap().len(), 1, "a shop's is the operators'");
    let filtered = house.get(&house.admin, &format!("/v1/admin/webhooks?shop_id={CORNER_BY_HAND}")).await.body;
    assert_eq!(filtered["webhooks"][0]["webhook_id"], of_shop.body["webhook_id"]);
    assert!(house.app.shop_webhook(CORNER_BY_HAND).is_some(), "it takes effect at once");
    let own = format!("/v1/admin/webhooks/{}", of_shop.body["webhook_id"].as_str().unwrap());
    let types = house.put(&house.admin, &own, json!({"url": URL, "types": ["made"]})).await;
    assert_eq!((types.status, types.pointers()), (422, vec!["/types"]));
    let off = house.put(&house.admin, &own, json!({"url": URL, "enabled": false})).await;
    assert_eq!((off.status, &off.body["disabled_why"]), (200, &json!("it was switched off")));
    assert!(house.app.shop_webhook(CORNER_BY_HAND).is_none());
}

/// An answer that was lost forces a second rotation: the receiver still knows only the first secret.
#[actix_web::test]
async fn a_secret_signs_until_its_time_is_over_however_often_one_rotates() {
    let house = House::open().await;
    let made = house.post(&house.partner, "/v1/webhooks", json!({"url": URL})).await.body;
    let id: Uuid = serde_json::from_value(made["webhook_id"].clone()).unwrap();
    let rotate = async |minutes: u32| {
        let body = json!({"keep_old_minutes": minutes});
        house.post(&house.partner, &format!("{}/rotate", uri(&made)), body).await
    };
    let signing = async |later: i64| -> Vec<String> {
        let webhook = house.app.store.webhook(Receivers::All, id).await.unwrap().unwrap();
        let at = now() + chrono::Duration::minutes(later);
        webhook.secrets(at).into_iter().map(|secret| secret.expose().to_owned()).collect()
    };
    let secret = |answer: &Value| answer["secret"].as_str().unwrap().to_owned();
    let first = secret(&made);
    let second = secret(&rotate(60).await.body);
    let third = rotate(30).await.body;
    assert_eq!(signing(0).await, [secret(&third), second.clone(), first.clone()]);
    assert_eq!(signing(45).await, [secret(&third), first], "each has its own time");
    assert_eq!(signing(61).await, [secret(&third)]);
    let until = chrono::DateTime::parse_from_rfc3339(third["old_secret_until"].as_str().unwrap()).unwrap();
    assert!(until > now() + chrono::Duration::minutes(55), "until the last of them is over: {until}");

    for _ in 2..MOST_OLD_SECRETS {
        assert_eq!(rotate(60).await.status, 200);
    }
    let before = signing(0).await;
    let refused = rotate(60).await;
    assert_eq!((refused.status, refused.code()), (409, "not_possible"), "none is ended to make room");
    assert_eq!(signing(0).await, before);
    let at_once = rotate(0).await;
    assert_eq!(at_once.status, 200, "what has leaked is ended at once");
    let after = signing(0).await;
    assert_eq!((after[0].clone(), &after[1..]), (secret(&at_once.body), &before[1..]));
}
