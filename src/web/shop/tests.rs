//! The shop API over a real store.

use actix_web::test::TestRequest;
use chrono::Duration;
use serde_json::{Value, json};

use crate::catalogue::{Hours, Mode, Opening, Presence, Shop, Timezone, demo};
use crate::clock::now;
use crate::lifecycle::{Actor, Event};
use crate::order::{OrderId, Pickup, PickupType};
use crate::web::harness::{Answer, House, in_minutes};

async fn act(house: &House, id: OrderId, action: &str) -> Answer {
    house.send(TestRequest::post().uri(&format!("/v1/shop/orders/{id}/{action}")), &house.shop).await
}

async fn act_with(house: &House, id: OrderId, action: &str, body: Value) -> Answer {
    house.post(&house.shop, &format!("/v1/shop/orders/{id}/{action}"), body).await
}

#[actix_web::test]
async fn an_order_goes_its_way_and_each_step_may_be_said_again() {
    let house = House::open().await;
    let id = house.awaiting().await;
    for (action, status) in [
        ("accept", "accepted"),
        ("start", "preparing"),
        ("ready", "ready"),
        ("recall", "preparing"),
        ("ready", "ready"),
        ("not-collected", "not_collected"),
        ("collected", "completed"),
    ] {
        for _ in 0..2 {
            let answer = act(&house, id, action).await;
            assert_eq!((answer.status, &answer.body["status"]), (200, &json!(status)), "{action} {answer:?}");
        }
    }
    let late = act(&house, id, "recall").await;
    assert_eq!((late.status, late.code(), &late.body["order_status"]), (409, "not_possible", &json!("completed")));
    assert_eq!(act(&house, id, "accept").await.status, 200, "a replayed queue changes nothing");
}

#[actix_web::test]
async fn an_acceptance_may_say_how_long_and_what_is_missing() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let wrong = act_with(&house, id, "accept", json!({"minutes": 0, "dropped_lines": [-1], "x": 1})).await;
    assert_eq!((wrong.status, wrong.pointers()), (400, vec!["/dropped_lines/0", "/minutes", "/x"]));
    for dropped in [json!([7]), json!([0, 1])] {
        let wrong = act_with(&house, id, "accept", json!({ "dropped_lines": dropped })).await;
        assert_eq!((wrong.status, wrong.code()), (422, "unprocessable"), "{wrong:?}");
    }
    let answer = act_with(&house, id, "accept", json!({"minutes": 8, "dropped_lines": [1]})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["lines"][1]["dropped"], true);
    let promise: crate::order::Instant = answer.body["promise_at"].as_str().unwrap().parse().unwrap();
    assert!((promise - now() - Duration::minutes(8)).abs() < Duration::seconds(30), "{promise}");

    let plain = house.awaiting().await;
    let text = TestRequest::post().uri(&format!("/v1/shop/orders/{plain}/accept"));
    let text = text.insert_header(("content-type", "text/plain")).set_payload("8");
    assert_eq!(house.send(text, &house.shop).await.status, 415);
    assert_eq!(act_with(&house, plain, "accept", json!({})).await.status, 200);
}

#[actix_web::test]
async fn a_step_may_say_when_it_happened() {
    let house = House::open().await;
    let id = house.awaiting().await;
    for (at, code) in [
        (json!(in_minutes(2)), "in_the_future"),
        (json!("9999-12-31T23:59:59Z"), "in_the_future"),
        (json!(in_minutes(-24 * 60 - 1)), "too_long_ago"),
        (json!("0000-01-01T00:00:00Z"), "too_long_ago"),
    ] {
        let wrong = act_with(&house, id, "accept", json!({ "occurred_at": at })).await;
        assert_eq!((wrong.status, wrong.pointers()), (422, vec!["/occurred_at"]), "{at}");
        assert_eq!(wrong.body["errors"][0]["code"], code, "{at}");
    }
    for at in [json!("yesterday"), json!(5)] {
        assert_eq!(act_with(&house, id, "accept", json!({ "occurred_at": at })).await.status, 400, "{at}");
    }
    let read = async || house.app.store.order(id).await.unwrap().unwrap().0;
    let awaited_since = read().await.entered_at;
    // No barista can have tapped on an order that the shop had not got: the tablet's clock is behind.
    let answer = act_with(&house, id, "accept", json!({"minutes": 8, "occurred_at": in_minutes(-10)})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(read().await.promise_at, Some(awaited_since + Duration::minutes(8)));
    for (action, at) in [("start", json!(null)), ("ready", json!(in_minutes(0))), ("collected", json!(in_minutes(-1)))]
    {
        for _ in 0..2 {
            let answer = act_with(&house, id, action, json!({ "occurred_at": at })).await;
            assert_eq!(answer.status, 200, "{action} {answer:?}");
        }
    }
}

#[actix_web::test]
async fn refusals_need_a_reason_of_the_shops_own() {
    let house = House::open().await;
    let (refused, broken) = (house.awaiting().await, house.awaiting().await);
    for body in [json!({}), json!({"reason": "operator_request"})] {
        let wrong = act_with(&house, refused, "reject", body).await;
        assert_eq!((wrong.status, wrong.pointers()), (400, vec!["/reason"]));
    }
    assert_eq!(act(&house, refused, "reject").await.status, 415, "a reason is needed");
    let answer = act_with(&house, refused, "reject", json!({"reason": "shop_too_busy"})).await;
    assert_eq!((answer.status, &answer.body["reason"]["code"]), (200, &json!("shop_too_busy")));

    let early = act_with(&house, broken, "cancel", json!({"reason": "equipment_failure"})).await;
    assert_eq!((early.status, &early.body["order_status"]), (409, &json!("awaiting_shop")));
    act(&house, broken, "accept").await;
    let answer = act_with(&house, broken, "cancel", json!({"reason": "equipment_failure"})).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("cancelled")));
}

#[actix_web::test]
async fn a_shop_reaches_its_own_orders_only() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let url = format!("/v1/shop/orders/{id}/accept");
    for (key, status) in [
        ("", 401),
        (house.partner.as_str(), 403),
        (house.admin.as_str(), 403),
        (house.other_shop.as_str(), 404),
        (house.shop.as_str(), 200),
    ] {
        assert_eq!(house.send(TestRequest::post().uri(&url), key).await.status, status);
    }
    let nothing = TestRequest::post().uri("/v1/shop/orders/nothing/start");
    assert_eq!(house.send(nothing, &house.shop).await.status, 404);
    let wrong_method = house.get(&house.shop, &url).await;
    assert_eq!((wrong_method.status, wrong_method.headers.get("allow").unwrap().to_str().unwrap()), (405, "POST"));
}

#[actix_web::test]
async fn the_board_shows_what_is_the_shops_the_urgent_first() {
    let house = House::open().await;
    house.place(house.request(demo::LUNGO_CENTRAL)).await;
    let later = now() + Duration::hours(3);
    let slot = chrono::DateTime::from_timestamp(later.timestamp() / 900 * 900, 0).unwrap();
    let mut request = house.request(demo::LUNGO_CENTRAL);
    request.pickup.at = Some(slot);
    let scheduled = house.place(request).await;
    house.authorize(scheduled).await;

    let [ready, slow, quick] = [house.awaiting().await, house.awaiting().await, house.awaiting().await];
    let mut request = house.request(demo::LUNGO_CENTRAL);
    request.pickup = Pickup { kind: PickupType::Curbside, ..Pickup::default() };
    let curb = house.place(request).await;
    house.authorize(curb).await;
    for (id, minutes) in [(ready, 1), (slow, 60), (quick, 30), (curb, 90)] {
        act_with(&house, id, "accept", json!({ "minutes": minutes })).await;
    }
    act(&house, ready, "ready").await;
    house.hear(curb, Actor::Partner, Event::Arrived).await;
    // Somebody at the counter waits in line like everybody.
    house.hear(slow, Actor::Partner, Event::Arrived).await;

    let answer = house.get(&house.shop, "/v1/shop/orders").await;
    let ids = |list: &str| -> Vec<Value> {
        answer.body[list].as_array().unwrap().iter().map(|order| order["order_id"].clone()).collect()
    };
    assert_eq!(ids("orders"), [curb, quick, slow, ready].map(|id| json!(id)));
    assert_eq!(ids("scheduled"), [json!(scheduled)]);
    assert!(answer.body["as_of"].is_string());
    assert_eq!(house.get(&house.other_shop, "/v1/shop/orders").await.body["orders"], json!([]));
    assert_eq!(house.get(&house.partner, "/v1/shop/orders").await.status, 403);
}

#[actix_web::test]
async fn an_unchanged_board_is_a_304() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let tag = |answer: &Answer| answer.headers.get("etag").unwrap().to_str().unwrap().to_owned();
    let first = tag(&house.get(&house.shop, "/v1/shop/orders").await);
    let ask = || TestRequest::get().uri("/v1/shop/orders").insert_header(("if-none-match", first.as_str()));
    // An order that is not the shop's yet changes nothing for it.
    house.place(house.request(demo::LUNGO_CENTRAL)).await;
    let same = house.send(ask(), &house.shop).await;
    assert_eq!((same.status, &same.body, tag(&same)), (304, &Value::Null, first.clone()));
    act(&house, id, "accept").await;
    let other = house.send(ask(), &house.shop).await;
    assert_eq!(other.status, 200);
    assert_ne!(tag(&other), first);
}

#[actix_web::test]
async fn a_mode_takes_effect_at_once() {
    let house = House::open().await;
    let until = in_minutes(30);
    for (body, why, minutes) in [
        (json!({"mode": "paused", "until": until}), json!("paused"), json!(null)),
        (json!({"mode": "busy", "minutes": 5, "until": null}), json!(null), json!(5)),
        (json!({"mode": "open"}), json!(null), json!(null)),
    ] {
        let answer = house.put(&house.shop, "/v1/shop/mode", body.clone()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((&answer.body["why"], &answer.body["mode"]["minutes"]), (&why, &minutes));
        assert_eq!(answer.body["mode"]["mode"], body["mode"]);
        let seen = house.get(&house.partner, &format!("/v1/shops/{}/menu", demo::LUNGO_CENTRAL)).await;
        assert_eq!(seen.body["shop"], answer.body);
    }
    for (body, status, pointers) in [
        (json!({}), 400, vec!["/mode"]),
        (json!({"mode": "shut", "minutes": 241}), 400, vec!["/minutes", "/mode"]),
        (json!({"mode": "busy"}), 422, vec!["/minutes"]),
        (json!({"mode": "paused", "minutes": 5}), 422, vec!["/minutes", "/until"]),
        (json!({"mode": "paused", "until": in_minutes(-1)}), 422, vec!["/until"]),
        (json!({"mode": "paused", "until": in_minutes(7 * 24 * 60 + 1)}), 422, vec!["/until"]),
        (json!({"mode": "open", "minutes": 5, "until": until}), 422, vec!["/minutes", "/until"]),
    ] {
        let answer = house.put(&house.shop, "/v1/shop/mode", body).await;
        assert_eq!((answer.status, answer.pointers()), (status, pointers), "{answer:?}");
    }
    let other = house.app.catalogue().find_shop(demo::LUNGO_STATION).unwrap().mode;
    assert_eq!(other, Mode::Open);
    assert_eq!(house.put(&house.partner, "/v1/shop/mode", json!({"mode": "open"})).await.status, 403);
}

#[actix_web::test]
async fn how_long_a_shop_takes_is_learned_while_the_service_runs() {
    let house = House::open().await;
    let known = || house.app.pace().until_ready(demo::LUNGO_CENTRAL, Duration::zero(), now());
    let make = async || {
        let id = house.awaiting().await;
        for action in ["accept", "start", "ready", "collected"] {
            assert_eq!(act(&house, id, action).await.status, 200);
        }
        house.app.learn().await.unwrap();
    };
    make().await;
    assert_eq!(known(), None, "one is not enough");
    for _ in 0..20 {
        make().await;
    }
    assert!(known().is_some());
}

#[actix_web::test]
async fn a_heartbeat_is_kept_and_known() {
    let house = House::open().await;
    let presence = || house.app.catalogue().find_shop(demo::LUNGO_CENTRAL).unwrap().presence(now());
    assert_eq!(presence(), Presence::Unknown);
    let answer = house.send(TestRequest::post().uri("/v1/shop/heartbeat"), &house.shop).await;
    assert_eq!((answer.status, answer.body), (200, json!({"next_heartbeat_within_seconds": 20})));
    assert_eq!(presence(), Presence::Online);
    house.app.refresh().await.unwrap();
    assert_eq!(presence(), Presence::Online);
    assert_eq!(house.send(TestRequest::post().uri("/v1/shop/heartbeat"), &house.partner).await.status, 403);
}

#[actix_web::test]
async fn a_silent_shop_is_open_again_once_no_tablet_is_expected() {
    let house = House::open().await;
    let presence = || house.app.catalogue().find_shop(demo::LUNGO_CENTRAL).unwrap().presence(now());
    let fall_silent = async || {
        let silent = |shop: &mut Shop| {
            (shop.simulated, shop.last_heartbeat_at) = (false, Some(now() - Duration::hours(1)));
            shop.watch_ended_at = None;
        };
        house.app.store.change_shop(demo::LUNGO_CENTRAL, silent).await.unwrap();
        house.app.refresh().await.unwrap();
        assert_eq!(presence(), Presence::Offline);
    };
    fall_silent().await;
    let answer = house.send(TestRequest::delete().uri("/v1/shop/heartbeat"), &house.shop).await;
    assert_eq!((answer.status, &answer.body["presence"]), (200, &json!("unknown")));
    assert_eq!(presence(), Presence::Unknown);
    fall_silent().await;
    let answer = house.put(&house.shop, "/v1/shop/mode", json!({"mode": "open"})).await;
    assert_eq!((answer.status, &answer.body["accepting"]), (200, &json!(true)));
    fall_silent().await;
    let url = format!("/v1/admin/shops/{}/heartbeat", demo::LUNGO_CENTRAL);
    assert_eq!(house.send(TestRequest::delete().uri(&url), &house.shop).await.status, 403);
    assert_eq!(house.send(TestRequest::delete().uri(&url), &house.admin).await.status, 200);
    assert_eq!(presence(), Presence::Unknown);
    let answer = house.send(TestRequest::post().uri("/v1/shop/heartbeat"), &house.shop).await;
    assert_eq!((answer.status, presence()), (200, Presence::Online), "a tablet that comes back is expected again");
}

#[actix_web::test]
async fn what_is_sold_out_is_seen_at_once_and_only_there() {
    let house = House::open().await;
    let url = "/v1/shop/items/lungo/availability";
    let menu = |shop| format!("/v1/shops/{shop}/menu");
    for (body, available) in [
        (json!({"available": false, "until": in_minutes(10)}), false),
        (json!({"available": false, "until": null}), false),
        (json!({"available": true}), true),
    ] {
        let answer = house.put(&house.shop, url, body.clone()).await;
        assert_eq!((answer.status, &answer.body["available"]), (200, &json!(available)), "{answer:?}");
        assert_eq!(answer.body["sold_out_until"].is_null(), body["until"].is_null());
        for (shop, expected) in [(demo::LUNGO_CENTRAL, available), (demo::LUNGO_STATION, true)] {
            let seen = house.get(&house.partner, &menu(shop)).await;
            let lungo = seen.body["items"].as_array().unwrap().iter().find(|item| item["item_id"] == "lungo").unwrap();
            assert_eq!(lungo["available"], expected);
        }
    }
    for (body, status) in [
        (json!({}), 400),
        (json!({"available": true, "until": in_minutes(1)}), 422),
        (json!({"available": false, "until": in_minutes(-1)}), 422),
    ] {
        assert_eq!(house.put(&house.shop, url, body).await.status, status);
    }
    let unknown = house.put(&house.shop, "/v1/shop/items/mate/availability", json!({"available": true})).await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"));
    assert_eq!(house.put(&house.admin, url, json!({"available": true})).await.status, 403);
}

#[actix_web::test]
async fn an_order_that_is_over_tells_its_status() {
    let house = House::open().await;
    let id = house.awaiting().await;
    house.hear(id, Actor::Partner, Event::CustomerCancelled).await;
    let answer = act(&house, id, "accept").await;
    assert_eq!((answer.status, &answer.body["order_status"]), (409, &json!("cancelled")));
}

#[actix_web::test]
async fn a_shop_that_fell_silent_or_is_closed_is_told_to_the_customer_before_any_charge() {
    let house = House::open().await;
    let order = json!({"customer_id": "cus_1", "shop_id": demo::LUNGO_CENTRAL, "payment": {"method": "pm_card_visa"},
        "lines": [{"item_id": "tea", "quantity": 1}], "total": {"amount": 300, "currency": "EUR"}});
    let set = async |change: fn(&mut Shop)| {
        house.app.store.change_shop(demo::LUNGO_CENTRAL, change).await.unwrap();
        house.app.refresh().await.unwrap();
    };
    let promised = async || {
        let menu = house.get(&house.partner, &format!("/v1/shops/{}/menu", demo::LUNGO_CENTRAL)).await.body;
        let shops = house.get(&house.partner, "/v1/shops").await.body;
        let shop = shops["shops"].as_array().unwrap().iter().find(|shop| shop["shop_id"] == menu["shop"]["shop_id"]);
        assert_eq!(shop.unwrap()["accepting"], menu["shop"]["accepting"]);
        menu["shop"].clone()
    };
    set(|shop| {
        (shop.simulated, shop.last_heartbeat_at) = (false, Some(now() - Duration::seconds(181)));
    })
    .await;
    let shop = promised().await;
    assert_eq!((&shop["presence"], &shop["why"]), (&json!("offline"), &json!("offline")));
    let refused = house.post(&house.partner, "/v1/orders", order.clone()).await;
    assert_eq!((refused.status, refused.code(), &refused.body["why"]), (409, "shop_not_accepting", &json!("offline")));
    assert!(refused.body["resume_at"].is_null(), "nobody knows when it is back");
    // A minute of silence is worth a warning, and no more than that.
    set(|shop| shop.last_heartbeat_at = Some(now() - Duration::seconds(70))).await;
    let shop = promised().await;
    assert_eq!((&shop["presence"], &shop["accepting"]), (&json!("late"), &json!(true)));

    set(|shop| {
        let tomorrow = (now() + Duration::hours(12)).format("%H:%M").to_string();
        let later = (now() + Duration::hours(13)).format("%H:%M").to_string();
        shop.timezone = Timezone::utc();
        shop.hours = Hours::every_day(Opening::new(tomorrow.parse().unwrap(), later.parse().unwrap()));
    })
    .await;
    let refused = house.post(&house.partner, "/v1/orders", order).await;
    assert_eq!((refused.status, refused.code(), &refused.body["why"]), (409, "shop_not_accepting", &json!("closed")));
    let resumes: crate::order::Instant = refused.body["resume_at"].as_str().unwrap().parse().unwrap();
    assert!(resumes > now() + Duration::hours(11) && resumes < now() + Duration::hours(13), "{resumes}");
    assert_eq!(promised().await["resume_at"], refused.body["resume_at"]);
    assert!(house.app.store.all_orders(None, 9).await.unwrap().is_empty(), "nothing was ordered, nothing is charged");
}
