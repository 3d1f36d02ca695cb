//! The admin API over a real store.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use chrono::Duration;
use serde_json::{Value, json};
use strum::VariantArray;
use uuid::Uuid;

use crate::catalogue::demo;
use crate::clock::now;
use crate::keys::Owner;
use crate::lifecycle::{Actor, Event, Reason, Stage, Status};
use crate::order::OrderId;
use crate::store::{AuditFilter, Logged, order_subject};
use crate::web::harness::{Answer, House};

impl House {
    async fn read(&self, uri: &str) -> Value {
        let answer = self.get(&self.admin, uri).await;
        assert_eq!(answer.status, 200, "{uri} {answer:?}");
        answer.body
    }

    /// A deed that was decided on the order as it is now.
    async fn order_act(&self, id: OrderId, action: &str, body: Value) -> Answer {
        let version = self.app.store.order(id).await.unwrap().unwrap().0.version;
        self.order_act_on(id, &format!("\"{version}\""), action, body).await
    }

    async fn order_act_on(&self, id: OrderId, tag: &str, action: &str, body: Value) -> Answer {
        let uri = format!("/v1/admin/orders/{id}/{action}");
        self.send(TestRequest::post().uri(&uri).insert_header(("if-match", tag)).set_json(body), &self.admin).await
    }

    /// What the audit log has of an order, the newest first.
    async fn deeds(&self, id: OrderId) -> Vec<Logged> {
        let filter = AuditFilter { subject: Some(order_subject(id)), ..AuditFilter::default() };
        self.app.store.audit(filter, 10).await.unwrap()
    }
}

fn shop() -> Value {
    json!({"partner_id": demo::PARTNER, "name": "Lungo Harbour", "currency": "EUR"})
}

#[actix_web::test]
async fn only_an_operators_key_opens_it() {
    let house = House::open().await;
    let id = Uuid::now_v7();
    let document = crate::web::openapi::document();
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/admin/") {
            continue;
        }
        let uri = path.replace("{item_id}", "lungo");
        let uri = uri.split('/').map(|part| if part.starts_with('{') { id.to_string() } else { part.into() });
        let uri = uri.collect::<Vec<_>>().join("/");
        for method in methods.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let ask = || TestRequest::default().method(method.clone()).uri(&uri).set_json(json!({}));
            assert_eq!(house.send(ask(), "").await.status, 401, "{method} {uri}");
            for key in [&house.partner, &house.shop] {
                assert_eq!(house.send(ask(), key).await.status, 403, "{method} {uri}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 41);
}

#[actix_web::test]
async fn partners_are_made_and_listed() {
    let house = House::open().await;
    let answer = house.post(&house.admin, "/v1/admin/partners", json!({"name": "Bean & Co"})).await;
    assert_eq!((answer.status, &answer.body["name"]), (201, &json!("Bean & Co")));
    let list = house.read("/v1/admin/partners").await;
    assert!(list["partners"].as_array().unwrap().contains(&answer.body), "{list}");
    for body in [json!({"name": " x"}), json!({"name": ""}), json!({"name": "x".repeat(101)}), json!({})] {
        let answer = house.post(&house.admin, "/v1/admin/partners", body).await;
        assert_eq!((answer.status, answer.pointers()), (400, vec!["/name"]));
    }
}

#[actix_web::test]
async fn a_key_is_shown_once_and_works_at_once() {
    let house = House::open().await;
    let url = "/v1/admin/keys";
    let body = json!({"kind": "shop", "shop_id": demo::CORNER_BY_HAND, "label": "tablet"});
    let made = house.post(&house.admin, url, body).await;
    assert_eq!((made.status, made.headers.get("cache-control").unwrap().to_str().unwrap()), (201, "no-store"));
    assert_eq!(made.body["partner_id"], json!(demo::PARTNER));
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    assert_eq!(house.get(&secret, "/v1/shop/orders").await.status, 200);
    let list = house.read(url).await;
    assert_eq!(list["keys"].as_array().unwrap().len(), 6);
    assert!(!list.to_string().contains("lungo_") && !list.to_string().contains("hash"), "{list}");

    let key = format!("{url}/{}", made.body["key_id"].as_str().unwrap());
    let rotated = house.send(TestRequest::post().uri(&format!("{key}/rotate")), &house.admin).await;
    assert_eq!((rotated.status, &rotated.body["label"]), (201, &json!("tablet")));
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    assert_eq!(house.get(&secret, "/v1/shop/orders").await.status, 401);
    assert_eq!(house.get(&new, "/v1/shop/orders").await.status, 200);
    let again = house.send(TestRequest::post().uri(&format!("{key}/rotate")), &house.admin).await;
    assert_eq!((again.status, again.code()), (409, "not_possible"));

    let key = format!("{url}/{}/revoke", rotated.body["key_id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = house.send(TestRequest::post().uri(&key), &house.admin).await;
        assert_eq!((revoked.status, revoked.body["revoked_at"].is_string()), (200, true));
    }
    assert_eq!(house.get(&new, "/v1/shop/orders").await.status, 401);
    for action in ["rotate", "revoke"] {
        let unknown = TestRequest::post().uri(&format!("{url}/{}/{action}", Uuid::now_v7()));
        assert_eq!(house.send(unknown, &house.admin).await.status, 404);
    }
}

#[actix_web::test]
async fn the_last_operator_cannot_lock_everybody_out() {
    let house = House::open().await;
    let list = house.read("/v1/admin/keys").await;
    let own = list["keys"].as_array().unwrap().iter().find(|key| key["kind"] == "admin").unwrap();
    let url = format!("/v1/admin/keys/{}", own["key_id"].as_str().unwrap());
    let refused = house.send(TestRequest::post().uri(&format!("{url}/revoke")), &house.admin).await;
    assert_eq!((refused.status, refused.code()), (409, "not_possible"));
    let rotated = house.send(TestRequest::post().uri(&format!("{url}/rotate")), &house.admin).await;
    assert_eq!(rotated.status, 201);
    assert_eq!(house.get(&house.admin, "/v1/admin/keys").await.status, 401);
    let new = rotated.body["secret"].as_str().unwrap();
    let second = house.post(new, "/v1/admin/keys", json!({"kind": "admin", "label": "second"})).await;
    assert_eq!(second.status, 201);
    let url = format!("/v1/admin/keys/{}/revoke", rotated.body["key_id"].as_str().unwrap());
    assert_eq!(house.send(TestRequest::post().uri(&url), new).await.status, 200, "there is another now");
}

#[actix_web::test]
async fn a_key_belongs_to_somebody_and_all_faults_are_told() {
    let house = House::open().await;
    let (partner, shop, unknown) = (demo::PARTNER, demo::LUNGO_CENTRAL, Uuid::now_v7());
    for (body, pointers) in [
        (json!({"kind": "partner", "label": "x"}), vec!["/partner_id"]),
        (
            json!({"kind": "partner", "label": "x", "partner_id": unknown, "shop_id": shop}),
            vec!["/partner_id", "/shop_id"],
        ),
        (json!({"kind": "shop", "label": "x", "partner_id": partner}), vec!["/shop_id"]),
        (json!({"kind": "shop", "label": "x", "shop_id": unknown}), vec!["/shop_id"]),
        (json!({"kind": "shop", "label": "x", "shop_id": shop, "partner_id": unknown}), vec!["/partner_id"]),
        (
            json!({"kind": "admin", "label": "x", "shop_id": shop, "partner_id": partner}),
            vec!["/partner_id", "/shop_id"],
        ),
    ] {
        let answer = house.post(&house.admin, "/v1/admin/keys", body).await;
        assert_eq!((answer.status, answer.pointers()), (422, pointers), "{answer:?}");
    }
    for (body, pointers) in
        [(json!({"kind": "root"}), vec!["/kind", "/label"]), (json!({"kind": "admin", "label": " "}), vec!["/label"])]
    {
        let answer = house.post(&house.admin, "/v1/admin/keys", body).await;
        assert_eq!((answer.status, answer.pointers()), (400, pointers));
    }
}

#[actix_web::test]
async fn a_shop_is_made_replaced_and_keeps_what_it_says_itself() {
    let house = House::open().await;
    let made = house.post(&house.admin, "/v1/admin/shops", shop()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let url = made.headers.get("location").unwrap().to_str().unwrap().to_owned();
    assert_eq!(house.read(&url).await, made.body);
    assert_eq!((&made.body["hours"], &made.body["stations"]), (&json!("always"), &json!(2)));
    let list = house.read(&format!("/v1/admin/shops?partner_id={}", demo::PARTNER)).await;
    assert_eq!(list["shops"].as_array().unwrap().len(), 4);
    assert_eq!(house.read(&format!("/v1/admin/shops?partner_id={}", Uuid::now_v7())).await, json!({"shops": []}));
    assert_eq!(house.get(&house.admin, "/v1/admin/shops?partner=x").await.status, 400);

    let url = format!("/v1/admin/shops/{}", demo::LUNGO_CENTRAL);
    house.send(TestRequest::post().uri("/v1/shop/heartbeat"), &house.shop).await;
    house.put(&house.shop, "/v1/shop/mode", json!({"mode": "busy", "minutes": 7})).await;
    let mut body = shop();
    body["hours"] = json!({"weekly": {"monday": [{"open": "07:00", "close": "24:00"}]}});
    body["timezone"] = json!("Europe/Lisbon");
    body["auto_accept"] = json!(true);
    let put = house.put(&house.admin, &url, body.clone()).await;
    assert_eq!(put.status, 200, "{put:?}");
    for (member, expected) in [
        ("name", json!("Lungo Harbour")),
        ("timezone", json!("Europe/Lisbon")),
        ("presence", json!("online")),
        ("auto_accept", json!(true)),
        ("simulated", json!(false)),
        ("mode", json!({"mode": "busy", "minutes": 7, "until": null})),
    ] {
        assert_eq!(put.body[member], expected, "{member}");
    }
    assert_eq!(put.body["hours"]["weekly"]["monday"], json!([{"open": "07:00", "close": "24:00"}]));
    assert_eq!(put.body["hours"]["weekly"]["sunday"], json!([]));
    assert_eq!(house.read(&url).await["name"], "Lungo Harbour");
    body["mode"] = json!({"mode": "open"});
    assert_eq!(house.put(&house.admin, &url, body).await.body["mode"]["mode"], "open");
    assert_eq!(house.put(&house.admin, &format!("/v1/admin/shops/{}", Uuid::now_v7()), shop()).await.status, 404);
}

#[actix_web::test]
async fn all_faults_of_a_shop_are_told() {
    let house = House::open().await;
    let mut body = shop();
    for (member, value) in [
        ("partner_id", json!(Uuid::now_v7())),
        ("timezone", json!("Moon/Tycho")),
        ("mode", json!({"mode": "paused"})),
        ("hours", json!({"weekly": {"friday": [{"open": "08:00", "close": "08:00"}]}})),
    ] {
        body[member] = value;
    }
    let mut answer = house.post(&house.admin, "/v1/admin/shops", body.clone()).await;
    let url = format!("/v1/admin/shops/{}", demo::LUNGO_CENTRAL);
    for _ in 0..2 {
        let mut pointers = answer.pointers();
        pointers.sort_unstable();
        assert_eq!(answer.status, 422);
        let expected = ["/hours/weekly/friday/0", "/mode/until", "/partner_id", "/timezone"];
        assert_eq!(pointers, expected);
        answer = house.put(&house.admin, &url, body.clone()).await;
    }
    body["hours"] = json!({"weekly": {"friday": [{"open": "8", "close": 9}]}, "x": 1});
    for (member, value) in [
        ("name", json!("")),
        ("currency", json!("ABC")),
        ("last_order_minutes", json!(241)),
        ("max_in_progress", json!(0)),
        ("stations", json!(101)),
        ("slot_capacity", json!(10_001)),
    ] {
        body[member] = value;
    }
    let answer = house.post(&house.admin, "/v1/admin/shops", body).await;
    assert_eq!(answer.status, 400);
    for member in ["currency", "last_order_minutes", "max_in_progress", "name", "slot_capacity", "stations"] {
        assert!(answer.pointers().contains(&format!("/{member}").as_str()), "{member}: {answer:?}");
    }
}

#[actix_web::test]
async fn a_member_of_hours_that_does_not_exist_is_refused_with_its_pointer() {
    let house = House::open().await;
    for (hours, pointer) in [
        (json!({"weekly": {}, "exceptions": []}), "/hours/exceptions"),
        (json!({"weekly": {"montag": []}}), "/hours/weekly/montag"),
        (
            json!({"weekly": {"monday": [{"open": "07:00", "close": "18:00", "note": "x"}]}}),
            "/hours/weekly/monday/0/note",
        ),
    ] {
        let mut body = shop();
        body["hours"] = hours;
        let answer = house.post(&house.admin, "/v1/admin/shops", body).await;
        assert_eq!((answer.status, answer.pointers()), (400, vec![pointer]), "{answer:?}");
        assert_eq!(answer.body["errors"][0]["code"], "unknown_field");
    }
    for (exception, pointer) in [
        (json!({"date": "2026-12-25", "openings": [], "closed": true}), "/exceptions/0/closed"),
        (json!({"date": "2026-12-25"}), "/exceptions/0/openings"),
        (json!({"date": "25.12.2026", "openings": []}), "/exceptions/0/date"),
        (json!({"date": "2026-02-30", "openings": []}), "/exceptions/0/date"),
        (json!({"date": "2026-12-25", "openings": [{"open": "7", "close": "18:00"}]}), "/exceptions/0/openings/0/open"),
    ] {
        let url = format!("/v1/admin/shops/{}/calendar", demo::LUNGO_CENTRAL);
        let answer = house.put(&house.admin, &url, json!({"exceptions": [exception]})).await;
        assert_eq!((answer.status, answer.pointers()), (400, vec![pointer]), "{answer:?}");
    }
}

#[actix_web::test]
async fn a_shop_closes_on_a_date_of_its_partner_unless_it_says_otherwise() {
    let house = House::open().await;
    // Yesterday to tomorrow, whatever the date is in Berlin when the test runs.
    let dates = (-1..=1).map(|days| (now() + Duration::days(days)).date_naive());
    let every = |openings: Value| json!({"exceptions": dates.clone().map(|date| json!({"date": date, "openings": openings})).collect::<Vec<_>>()});
    let partners = format!("/v1/admin/partners/{}/calendar", demo::PARTNER);
    let own = format!("/v1/admin/shops/{}/calendar", demo::LUNGO_CENTRAL);
    let order = json!({
        "customer_id": "cus", "shop_id": demo::LUNGO_CENTRAL, "total": {"amount": 300, "currency": "EUR"},
        "lines": [{"item_id": "tea", "quantity": 1}], "payment": {"method": "pm_card_visa"},
    });
    let accepting = async || {
        let menu = house.get(&house.partner, &format!("/v1/shops/{}/menu", demo::LUNGO_CENTRAL)).await.body;
        (menu["shop"]["why"].clone(), menu["shop"]["exceptions"].as_array().unwrap().len())
    };
    assert_eq!(house.read(&partners).await, json!({"exceptions": []}));
    assert_eq!(accepting().await, (json!(null), 0));

    let put = house.put(&house.admin, &partners, every(json!([]))).await;
    assert_eq!((put.status, &put.body), (200, &every(json!([]))), "{put:?}");
    assert_eq!(house.read(&partners).await, put.body);
    let (why, shown) = accepting().await;
    assert!(why == "closed" && (1..=3).contains(&shown), "{why} {shown}");
    let refused = house.post(&house.partner, "/v1/orders", order.clone()).await;
    assert_eq!((refused.status, refused.code(), &refused.body["why"]), (409, "shop_not_accepting", &json!("closed")));
    // What the shop says of itself is not lost when the shop does.
    let mode = house.put(&house.shop, "/v1/shop/mode", json!({"mode": "open"})).await;
    assert_eq!(mode.body["why"], "closed");

    let put = house.put(&house.admin, &own, every(json!([{"open": "00:00", "close": "24:00"}]))).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(accepting().await.0, json!(null));
    assert_eq!(house.post(&house.partner, "/v1/orders", order).await.status, 202);

    let twice = json!({"exceptions": [{"date": "2026-12-25", "openings": []}, {"date": "2026-12-25", "openings": []}]});
    let refused = house.put(&house.admin, &own, twice).await;
    assert_eq!((refused.status, refused.pointers()), (422, vec!["/exceptions/1/date"]));
    for url in [&own.replace(&demo::LUNGO_CENTRAL.to_string(), "x"), &partners.replace(&demo::PARTNER.to_string(), "x")]
    {
        assert_eq!(house.get(&house.admin, url).await.status, 404);
        assert_eq!(house.put(&house.admin, url, json!({"exceptions": []})).await.status, 404);
    }
}

#[actix_web::test]
async fn an_option_is_sold_out_at_one_shop_in_all_items() {
    let house = House::open().await;
    let until = (now() + Duration::hours(1)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let said = json!({"available": false, "until": until});
    let options = async |shop| {
        let menu = house.get(&house.partner, &format!("/v1/shops/{shop}/menu")).await.body;
        let items = menu["items"].as_array().unwrap().clone();
        let groups = items.iter().flat_map(|item| item["option_groups"].as_array().unwrap().clone());
        let options = groups.flat_map(|group| group["options"].as_array().unwrap().clone());
        let oat = options.filter(|option| option["option_id"] == "milk_oat");
        oat.map(|option| (option["available"].clone(), option["sold_out_until"].clone())).collect::<Vec<_>>()
    };
    let uri = "/v1/shop/options/milk_oat/availability";
    let put = house.put(&house.shop, uri, said.clone()).await;
    let view = json!({"option_id": "milk_oat", "name": "Oat milk", "available": false, "sold_out_until": until});
    assert_eq!((put.status, &put.body), (200, &view), "{put:?}");
    assert_eq!(options(demo::LUNGO_CENTRAL).await, vec![(json!(false), json!(until)); 4]);
    assert_eq!(options(demo::LUNGO_STATION).await, vec![(json!(true), json!(null)); 4]);
    let listed = house.get(&house.shop, "/v1/shop/options").await.body;
    assert!(listed["options"].as_array().unwrap().contains(&view), "{listed}");

    let order = json!({
        "customer_id": "cus", "shop_id": demo::LUNGO_CENTRAL, "total": {"amount": 410, "currency": "EUR"},
        "lines": [{"item_id": "lungo", "quantity": 1, "options": ["milk_oat"]}], "payment": {"method": "pm_card_visa"},
    });
    let refused = house.post(&house.partner, "/v1/orders", order.clone()).await;
    assert_eq!((refused.status, refused.code()), (409, "item_unavailable"));
    assert_eq!(refused.pointers(), ["/lines/0/options/0"]);

    let admins = format!("/v1/admin/shops/{}/options", demo::LUNGO_CENTRAL);
    let back = house.put(&house.admin, &format!("{admins}/milk_oat/availability"), json!({"available": true})).await;
    assert_eq!((back.status, &back.body["available"]), (200, &json!(true)));
    assert!(house.read(&admins).await["options"].as_array().unwrap().contains(&back.body));
    assert_eq!(house.post(&house.partner, "/v1/orders", order).await.status, 202);
    for uri in ["/v1/shop/options/gold/availability", "/v1/shop/options/lungo/availability"] {
        assert_eq!(house.put(&house.shop, uri, said.clone()).await.status, 404);
    }
    let wrong = json!({"available": true, "until": until});
    assert_eq!(house.put(&house.shop, uri, wrong).await.pointers(), ["/until"]);
}

#[actix_web::test]
async fn an_option_is_wanted_again_and_takes_something_off_the_price() {
    let house = House::open().await;
    let uri = format!("/v1/admin/partners/{}/items/cortado", demo::PARTNER);
    let cortado = json!({"name": "Cortado", "price": 330, "make_seconds": 70, "option_groups": [
        {"group_id": "shots", "name": "Shots", "min": 0, "max": 3, "options": [
            {"option_id": "extra_shot", "name": "Extra shot", "price": 80}]},
        {"group_id": "cup", "name": "Cup", "min": 0, "max": 1, "options": [
            {"option_id": "own_cup", "name": "Own cup", "price": -10}]}]});
    assert_eq!(house.put(&house.admin, &uri, cortado.clone()).await.body["option_groups"], cortado["option_groups"]);
    let order = |options: &[&str], amount: i64| {
        json!({
            "customer_id": "cus", "shop_id": demo::LUNGO_CENTRAL, "total": {"amount": amount, "currency": "EUR"},
            "lines": [{"item_id": "cortado", "quantity": 1, "options": options}], "payment": {"method": "pm_card_visa"},
        })
    };
    let placed = house.post(&house.partner, "/v1/orders", order(&["extra_shot", "extra_shot", "own_cup"], 480)).await;
    assert_eq!(placed.status, 202, "{placed:?}");
    let line = &placed.body["lines"][0];
    assert_eq!((line["options"].as_array().unwrap().len(), &line["unit_price"]["amount"]), (3, &json!(480)));
    assert_eq!(line["options"][2]["price"], json!({"amount": -10, "currency": "EUR"}));
    // Once and twice are different orders, and four times is too often.
    assert_eq!(house.post(&house.partner, "/v1/orders", order(&["extra_shot", "own_cup"], 400)).await.status, 202);
    let refused = house.post(&house.partner, "/v1/orders", order(&["extra_shot"; 4], 650)).await;
    assert_eq!((refused.status, refused.pointers()), (422, vec!["/lines/0/options/3"]));
}

#[actix_web::test]
async fn the_menu_is_changed_for_all_shops_and_for_one() {
    let house = House::open().await;
    let items = format!("/v1/admin/partners/{}/items", demo::PARTNER);
    let cortado = json!({"name": "Cortado", "price": 330, "make_seconds": 70, "option_groups": [
        {"group_id": "milk", "name": "Milk", "min": 1, "max": 1, "options": [
            {"option_id": "milk_oat", "name": "Oat milk", "price": 60}]}]});
    let put = house.put(&house.admin, &format!("{items}/cortado"), cortado.clone()).await;
    assert_eq!((put.status, &put.body["active"]), (200, &json!(true)), "{put:?}");
    assert!(house.read(&items).await["items"].as_array().unwrap().contains(&put.body));

    let own = format!("/v1/admin/shops/{}/items", demo::LUNGO_CENTRAL);
    let put = house.put(&house.admin, &format!("{own}/cortado"), json!({"price": 350, "available": false})).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!((&put.body["price"]["amount"], &put.body["available"]), (&json!(350), &json!(false)));
    assert!(house.read(&own).await["items"].as_array().unwrap().contains(&put.body));
    let menu = house.get(&house.partner, &format!("/v1/shops/{}/menu", demo::LUNGO_CENTRAL)).await.body;
    let seen = menu["items"].as_array().unwrap().iter().find(|item| item["item_id"] == "cortado").unwrap().clone();
    assert_eq!((&seen["price"]["amount"], &seen["available"]), (&json!(350), &json!(false)));
    let put = house.put(&house.admin, &format!("{own}/cortado"), json!({})).await;
    assert_eq!((&put.body["price"]["amount"], &put.body["available"]), (&json!(330), &json!(true)));

    let mut gone = cortado.clone();
    gone["active"] = json!(false);
    assert_eq!(house.put(&house.admin, &format!("{items}/cortado"), gone).await.status, 200);
    let menu = house.get(&house.partner, &format!("/v1/shops/{}/menu", demo::LUNGO_CENTRAL)).await.body;
    assert!(!menu.to_string().contains("cortado"));

    let answer = house.put(&house.admin, &format!("{items}/Cortado"), cortado.clone()).await;
    assert_eq!((answer.status, answer.pointers()), (422, vec!["/item_id"]));
    let mut wrong = cortado;
    wrong["name"] = json!("");
    wrong["price"] = json!(1_000_001);
    wrong["option_groups"][0]["max"] = json!(21);
    let answer = house.put(&house.admin, &format!("{items}/Cortado"), wrong).await;
    assert_eq!((answer.status, answer.pointers()), (400, vec!["/name", "/option_groups/0/max", "/price"]));
    for (wrong, told) in [
        (json!({"until": "2020-01-01T00:00:00Z", "available": false}), (422, vec!["/until"])),
        (json!({"price": 1_000_001}), (400, vec!["/price"])),
    ] {
        let answer = house.put(&house.admin, &format!("{own}/lungo"), wrong).await;
        assert_eq!((answer.status, answer.pointers()), told);
    }
    assert_eq!(house.put(&house.admin, &format!("{own}/mate"), json!({})).await.status, 404);
    assert_eq!(house.get(&house.admin, &format!("/v1/admin/partners/{}/items", Uuid::now_v7())).await.status, 404);
}

#[actix_web::test]
async fn an_order_is_shown_with_its_task_and_its_gateway() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let url = format!("/v1/admin/orders/{id}");
    let answer = house.get(&house.admin, &url).await;
    assert_eq!((answer.status, answer.headers.get("etag").unwrap().to_str().unwrap()), (200, "\"2\""));
    for (pointer, expected) in [
        ("/status", json!("awaiting_shop")),
        ("/partner_id", json!(demo::PARTNER)),
        ("/intact", json!(true)),
        ("/task/stage", json!("offer")),
        ("/task/parked_at", json!(null)),
        ("/gateway/key", json!(format!("{id}/authorize/1"))),
        ("/gateway/reference", json!("ch_1")),
        ("/operator_actions", json!(["cancel", "retry"])),
    ] {
        assert_eq!(answer.body.pointer(pointer), Some(&expected), "{pointer}");
    }
    let events = house.read(&format!("{url}/events")).await;
    assert_eq!(events["events"][1]["type"], "payment_authorized");
    assert_eq!(events["events"][1]["data"]["reference"], "ch_1");
    assert!(!answer.body.to_string().contains("pm_card"));
    for uri in [format!("/v1/admin/orders/{}", Uuid::now_v7()), format!("/v1/admin/orders/{}/events", Uuid::now_v7())] {
        assert_eq!(house.get(&house.admin, &uri).await.status, 404);
    }
}

#[actix_web::test]
async fn orders_are_searched_page_by_page() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(house.awaiting().await);
    }
    house.hear(ids[3], Actor::Worker, Event::Parked { why: "poison".into() }).await;
    house.hear(ids[4], Actor::Partner, Event::CustomerCancelled).await;
    house.hear(ids[4], Actor::Gateway, Event::PaymentVoided).await;
    house.hear(ids[4], Actor::Partner, Event::Deleted).await;
    let house = &house;
    let found = async |query: &str| -> (Vec<Value>, Value) {
        let page = house.read(&format!("/v1/admin/orders?{query}")).await;
        let ids = page["orders"].as_array().unwrap().iter().map(|order| order["order_id"].clone()).collect();
        (ids, page["next_cursor"].clone())
    };
    let json_of = |wanted: &[usize]| wanted.iter().map(|index| json!(ids[*index])).collect::<Vec<_>>();
    for (query, wanted) in [
        ("", &[4, 3, 2, 1, 0][..]),
        ("status=cancelled", &[4]),
        ("parked=true", &[3]),
        ("parked=false", &[4, 2, 1, 0]),
        ("stage=offer", &[3, 2, 1, 0]),
        ("stage=offer&parked=true", &[3]),
        ("stage=offer&parked=false", &[2, 1, 0]),
        ("stage=capture", &[]),
        ("status=awaiting_shop&parked=false", &[2, 1, 0]),
    ] {
        assert_eq!(found(query).await, (json_of(wanted), Value::Null), "{query}");
    }
    assert_eq!(found(&format!("partner_id={}", Uuid::now_v7())).await.0, Vec::<Value>::new());
    for filter in ["", "stage=offer&"] {
        let (all, _) = found(filter).await;
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let (page, next) = found(&format!("{filter}limit=2{cursor}")).await;
            paged.extend(page);
            let Some(next) = next.as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, all);
    }
    for query in ["limit=0", "limit=201", "status=lost", "cursor=x", "colour=red"] {
        assert_eq!(house.get(&house.admin, &format!("/v1/admin/orders?{query}")).await.status, 400, "{query}");
    }
    let stages = house.read("/v1/admin/stages").await;
    assert_eq!(stages["stages"].as_array().unwrap().len(), Stage::VARIANTS.len());
    assert_eq!(stages["stages"][2], json!({"stage": "offer", "orders": 4, "parked": 1}));
}

#[actix_web::test]
async fn a_parked_order_is_taken_up_again() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let parked = house.hear(id, Actor::Worker, Event::Parked { why: "poison".into() }).await;
    assert!(parked.task.parked_at.is_some());
    let answer = house.order_act(id, "retry", json!({"note": "the shop is back"})).await;
    assert_eq!((answer.status, &answer.body["task"]["parked_at"]), (200, &Value::Null), "{answer:?}");
    let events = house.read(&format!("/v1/admin/orders/{id}/events")).await;
    assert_eq!(events["events"][3]["data"]["note"], "the shop is back");
    assert_eq!((&events["events"][3]["type"], &events["events"][3]["actor"]), (&json!("retried"), &json!("operator")));

    house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
    let tag = house.get(&house.admin, &format!("/v1/admin/orders/{id}")).await.headers.get("etag").unwrap().clone();
    let empty = TestRequest::post().uri(&format!("/v1/admin/orders/{id}/retry")).insert_header(("if-match", tag));
    let answer = house.send(empty, &house.admin).await;
    assert_eq!((answer.status, answer.code(), &answer.body["order_status"]), (409, "not_possible", &json!("accepted")));
}

#[actix_web::test]
async fn an_operator_completes_and_refunds() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let why = || json!({"note": "the customer has it"});
    let early = house.order_act(id, "force-complete", why()).await;
    assert_eq!((early.status, early.code()), (409, "not_possible"));
    house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
    for body in [json!({}), json!({"note": ""}), json!({"note": " \n"})] {
        let silent = house.order_act(id, "force-complete", body).await;
        assert_eq!((silent.status, silent.pointers()), (400, vec!["/note"]), "an operator says why");
    }
    for _ in 0..2 {
        let done = house.order_act(id, "force-complete", why()).await;
        assert_eq!((done.status, &done.body["status"]), (200, &json!("completed")), "{done:?}");
    }
    let refund = |version: i64, amount: i64| {
        let uri = format!("/v1/admin/orders/{id}/refund");
        let request = TestRequest::post().uri(&uri).insert_header(("if-match", format!("\"{version}\"")));
        request.set_json(json!({"amount": amount, "note": "it was cold"}))
    };
    let inspected = house.get(&house.admin, &format!("/v1/admin/orders/{id}")).await;
    let completed = inspected.body["version"].as_i64().unwrap();
    let nothing = house.send(refund(completed, 100), &house.admin).await;
    assert_eq!((nothing.status, nothing.code()), (422, "unprocessable"), "nothing was taken yet");
    let captured = house.hear(id, Actor::Worker, Event::PaymentCaptured { amount: 570 }).await;
    let answer = house.send(refund(captured.version, 100), &house.admin).await;
    assert_eq!((answer.status, &answer.body["gateway"]["refundable"]), (200, &json!(0)), "{answer:?}");
    assert_eq!(answer.body["task"]["stage"], "release");
    let twice = house.send(refund(captured.version, 100), &house.admin).await;
    assert_eq!((twice.status, twice.code()), (412, "stale_version"));
    let version = answer.body["version"].as_i64().unwrap();
    assert_eq!(house.send(refund(version, 1), &house.admin).await.status, 422, "one refund after the other");
    let given = house.hear(id, Actor::Worker, Event::PaymentRefunded { amount: 100 }).await;
    assert_eq!(given.refundable(), 470);
    assert_eq!(house.send(refund(given.version, 471), &house.admin).await.status, 422);
    let wrong = house.order_act(id, "refund", json!({"amount": 0, "currency": "EUR"})).await;
    assert_eq!((wrong.status, wrong.pointers()), (400, vec!["/amount", "/currency", "/note"]));
}

#[actix_web::test]
async fn an_operator_gives_up_a_refund_that_the_gateway_refuses() {
    let house = House::open().await;
    let id = house.awaiting().await;
    house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
    house.hear(id, Actor::Shop, Event::PreparationStarted).await;
    house.hear(id, Actor::Worker, Event::PaymentCaptured { amount: 570 }).await;
    let act = |act: &str, version: i64, amount: i64| {
        let uri = format!("/v1/admin/orders/{id}/{act}");
        let request = TestRequest::post().uri(&uri).insert_header(("if-match", format!("\"{version}\"")));
        request.set_json(json!({"amount": amount, "note": "the charge is disputed"}))
    };
    let reduce = |version, amount| act("reduce-refund", version, amount);
    let captured = house.read(&format!("/v1/admin/orders/{id}")).await["version"].as_i64().unwrap();
    let owing = house.send(act("refund", captured, 220), &house.admin).await.body["version"].as_i64().unwrap();
    assert_eq!(house.send(reduce(owing, 221), &house.admin).await.status, 422);
    let done = house.send(reduce(owing, 220), &house.admin).await;
    assert_eq!((done.status, &done.body["payment"]["owed"]["amount"]), (200, &json!(0)), "{done:?}");
    assert_eq!(done.body["gateway"]["refundable"], 570, "an operator may think better of it");
    let twice = house.send(reduce(owing, 220), &house.admin).await;
    assert_eq!((twice.status, twice.code()), (412, "stale_version"));
}

#[actix_web::test]
async fn an_operator_cancels_with_a_part_of_the_money() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let partial = |amount: i64| json!({"reason": "equipment_failure", "refund": {"type": "partial", "amount": amount}});
    for (body, status, pointers) in [
        (json!({"reason": "no_show", "refund": {"type": "some"}}), 400, vec!["/reason", "/refund/type"]),
        (json!({"reason": "shop_closed", "refund": {"type": "partial"}}), 422, vec!["/refund/amount"]),
        (json!({"reason": "shop_closed", "refund": {"type": "full", "amount": 5}}), 422, vec!["/refund/amount"]),
        (partial(571), 422, vec![]),
    ] {
        let answer = house.order_act(id, "cancel", body).await;
        assert_eq!((answer.status, answer.pointers()), (status, pointers), "{answer:?}");
    }
    house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
    house.hear(id, Actor::Shop, Event::PreparationStarted).await;
    house.hear(id, Actor::Worker, Event::PaymentCaptured { amount: 570 }).await;
    for _ in 0..2 {
        let answer = house.order_act(id, "cancel", partial(100)).await;
        assert_eq!((answer.status, &answer.body["status"]), (200, &json!("cancelled")), "{answer:?}");
        assert_eq!(answer.body["payment"]["owed"]["amount"], 100);
        assert_eq!(answer.body["reason"]["code"], Reason::EquipmentFailure.word());
    }
    let other = house.awaiting().await;
    let answer = house.order_act(other, "cancel", json!({"reason": "duplicate_order"})).await;
    assert_eq!((answer.status, &answer.body["payment"]["owed"]["amount"]), (200, &json!(570)));
}

/// The issue's own case: decided while nothing was taken, sent when the coffee was ready and paid for.
#[actix_web::test]
async fn a_deed_is_refused_when_its_order_has_moved_and_says_what_changed() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let cancel = || json!({"reason": "operator_request", "note": "no money was taken"});
    let note = || json!({"note": "it was cold"});
    let refund = || json!({"amount": 100, "note": "it was cold"});
    let deeds = [("cancel", cancel()), ("retry", note()), ("force-complete", note()), ("refund", refund())];
    let tag = house.get(&house.admin, &format!("/v1/admin/orders/{id}")).await.headers.get("etag").unwrap().clone();
    let tag = tag.to_str().unwrap();
    house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
    house.hear(id, Actor::Shop, Event::PreparationStarted).await;
    let captured = house.hear(id, Actor::Worker, Event::PaymentCaptured { amount: 570 }).await;
    let ready = house.hear(id, Actor::Shop, Event::Made).await;
    for (action, body) in &deeds {
        let bare = house.post(&house.admin, &format!("/v1/admin/orders/{id}/{action}"), body.clone()).await;
        assert_eq!((bare.status, bare.code()), (428, "version_required"), "{action}: {bare:?}");
        let stale = house.order_act_on(id, tag, action, body.clone()).await;
        assert_eq!((stale.status, stale.code()), (412, "stale_version"), "{action}: {stale:?}");
        let changes = json!(["shop_accepted", "preparation_started", "payment_captured", "made"]);
        let told = ["order_status", "payment_status", "version", "changes"].map(|member| &stale.body[member]);
        assert_eq!(told, [&json!("ready"), &json!("captured"), &json!(ready.version), &changes], "{action}");
    }
    let (order, _) = house.app.store.order(id).await.unwrap().unwrap();
    assert_eq!(order, ready, "no deed touched it");
    assert_eq!((order.payment.captured, order.owed()), (captured.payment.captured, 0));

    let deeds = house.deeds(id).await;
    assert_eq!(deeds.len(), 4, "each refused deed is logged, and none that says no version");
    assert!(deeds.iter().all(|deed| !deed.done), "{deeds:?}");
    for (tag, status) in [("W/\"6\"", 200), ("6", 400), ("\"x\"", 400), ("*", 400)] {
        let answer = house.order_act_on(id, tag, "cancel", cancel()).await;
        assert_eq!(answer.status, status, "{tag}: a proxy that compresses makes a tag weak: {answer:?}");
    }
}

#[actix_web::test]
async fn what_a_key_does_to_an_order_is_in_the_audit_log_and_partners_are_not_told_who_did_it() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let refused = house.order_act(id, "refund", json!({"amount": 100, "note": "too early"})).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let answer = house.order_act(id, "cancel", json!({"reason": "duplicate_order", "note": "  twice "})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let key = house.app.store.keys().await.unwrap().into_iter().find(|key| key.owner == Owner::Admin).unwrap();
    let deeds = house.deeds(id).await;
    let [cancelled, refund] = deeds.as_slice() else { panic!("{deeds:?}") };
    assert_eq!((cancelled.done, refund.done), (true, false));
    assert!(refund.entry.detail["refused"].as_str().unwrap().contains("can be refunded"), "{refund:?}");
    let entry = &cancelled.entry;
    assert_eq!((entry.action.as_str(), entry.user_name.as_str(), entry.user_id), ("cancel_order", "key admin", None));
    assert_eq!(entry.reason.as_deref(), Some("twice"));
    assert!(!entry.request_id.is_empty());
    let detail =
        json!({"key_id": key.key_id, "reason": "duplicate_order", "refund": "full", "currency": "EUR", "version": 2});
    assert_eq!(entry.detail, detail);

    let events = house.read(&format!("/v1/admin/orders/{id}/events")).await;
    let by: Vec<&Value> = events["events"].as_array().unwrap().iter().map(|event| &event["by"]).collect();
    assert_eq!(by, [&Value::Null, &Value::Null, &json!("key admin")], "{events}");
    let partners = house.get(&house.partner, &format!("/v1/orders/{id}/events")).await;
    assert_eq!((partners.status, &partners.body["events"][2]["actor"]), (200, &json!("operator")));
    assert!(!partners.body.to_string().contains("key admin"), "{partners:?}");
}

/// Whatever changes something by an operator's key is in the audit log, with whose key it was.
#[actix_web::test]
async fn every_operation_that_changes_something_is_in_the_audit_log() {
    let house = House::open().await;
    let id = house.awaiting().await;
    let url = "https://hooks.example/lungo";
    let send = async |method: &str, uri: &str, body: Value| {
        let request =
            TestRequest::default().method(method.parse().unwrap()).uri(uri).insert_header(("if-match", "\"2\""));
        let answer = house.send(request.set_json(body), &house.admin).await;
        assert!(answer.status < 300 || uri.contains("/orders/"), "{method} {uri}: {answer:?}");
        answer.body
    };
    let partner = send("POST", "/v1/admin/partners", json!({"name": "Tea"})).await["partner_id"].clone();
    let partner = partner.as_str().unwrap();
    let key = send("POST", "/v1/admin/keys", json!({"kind": "partner", "partner_id": partner, "label": "x"})).await;
    let key = key["key_id"].as_str().unwrap().to_owned();
    let rotated = send("POST", &format!("/v1/admin/keys/{key}/rotate"), json!({})).await;
    send("POST", &format!("/v1/admin/keys/{}/revoke", rotated["key_id"].as_str().unwrap()), json!({})).await;
    let item = json!({"name": "Tea", "price": 300, "make_seconds": 60});
    send("PUT", &format!("/v1/admin/partners/{}/items/tea", demo::PARTNER), item).await;
    let made = send("POST", "/v1/admin/shops", shop()).await;
    let shop_uri = format!("/v1/admin/shops/{}", made["shop_id"].as_str().unwrap());
    send("PUT", &shop_uri, shop()).await;
    send("DELETE", &format!("{shop_uri}/heartbeat"), json!({})).await;
    send("PUT", &format!("{shop_uri}/items/tea"), json!({"price": 310})).await;
    send("PUT", &format!("{shop_uri}/calendar"), json!({"exceptions": []})).await;
    send("PUT", &format!("/v1/admin/partners/{}/calendar", demo::PARTNER), json!({"exceptions": []})).await;
    let option = format!("{shop_uri}/options/milk_oat/availability");
    send("PUT", &option, json!({"available": false})).await;
    let webhook = send("POST", "/v1/admin/webhooks", json!({"partner_id": partner, "url": url})).await;
    let webhook = format!("/v1/admin/webhooks/{}", webhook["webhook_id"].as_str().unwrap());
    send("PUT", &webhook, json!({"url": url})).await;
    send("POST", &format!("{webhook}/rotate"), json!({})).await;
    let range = json!({"from_at": "2026-01-02T03:04:05Z", "until_at": "2026-01-03T03:04:05Z"});
    send("POST", &format!("{webhook}/resend"), range).await;
    let delivery = format!("{webhook}/deliveries/{}/resend", Uuid::now_v7());
    assert_eq!(house.post(&house.admin, &delivery, json!({})).await.status, 404, "there is none yet");
    send("DELETE", &webhook, json!({})).await;
    for (action, body) in [
        ("retry", json!({})),
        ("cancel", json!({"reason": "operator_request"})),
        ("force-complete", json!({"note": "x"})),
        ("refund", json!({"amount": 1, "note": "x"})),
        ("reduce-refund", json!({"amount": 1, "note": "x"})),
    ] {
        send("POST", &format!("/v1/admin/orders/{id}/{action}"), body).await;
    }

    let log = house.app.store.audit(AuditFilter::default(), 100).await.unwrap();
    let actions: Vec<&str> = log.iter().rev().map(|logged| logged.entry.action.as_str()).collect();
    let wanted = [
        "make_partner",
        "make_key",
        "rotate_key",
        "revoke_key",
        "edit_item",
        "make_shop",
        "edit_shop",
        "end_shop_watch",
        "set_shop_item",
        "edit_calendar",
        "edit_calendar",
        "set_shop_item",
        "make_webhook",
        "edit_webhook",
        "rotate_webhook",
        "resend_deliveries",
        "resend_delivery",
        "remove_webhook",
        "retry_order",
        "cancel_order",
        "force_complete",
        "refund_order",
        "reduce_refund",
    ];
    assert_eq!(actions, wanted);
    let mine = house.app.store.keys().await.unwrap().into_iter().find(|key| key.owner == Owner::Admin).unwrap();
    for logged in &log {
        assert_eq!((logged.entry.user_name.as_str(), logged.entry.user_id), ("key admin", None));
        assert_eq!(logged.entry.detail["key_id"], json!(mine.key_id), "{logged:?}");
        assert!(!logged.entry.detail.to_string().contains("whsec_"), "{logged:?}");
    }
    let document = crate::web::openapi::document();
    let changing = document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/admin/"));
    let changing = changing.flat_map(|(_, methods)| methods.as_object().unwrap().keys());
    assert_eq!(
        changing.filter(|method| *method != "get").count(),
        wanted.len(),
        "a new operation belongs in this test"
    );
}

#[actix_web::test]
async fn the_service_describes_itself() {
    let house = House::open().await;
    let settings = house.read("/v1/admin/settings").await;
    let built_in = crate::catalogue::timezone::BUILT_IN;
    assert_eq!(
        settings["time_zones"],
        json!({"source": "built_in", "directory": null, "version": built_in, "built_in_version": built_in})
    );
    let lease = settings["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == "lease").unwrap();
    assert_eq!((&lease["default"], &lease["environment"]), (&json!("30s"), &json!("LUNGO_LEASE")));
    let lifecycle = house.read("/v1/admin/lifecycle").await;
    assert_eq!(lifecycle["statuses"].as_array().unwrap().len(), Status::VARIANTS.len());
    assert_eq!(lifecycle["rules"].as_array().unwrap().len(), crate::lifecycle::RULES.len());
    assert_eq!(lifecycle["rules"][0], json!({"from": [], "event": "created", "by": ["partner"], "to": ["new"]}));
    assert_eq!(lifecycle["diagram"], crate::lifecycle::diagram());
}
