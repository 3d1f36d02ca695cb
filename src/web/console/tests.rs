//! Who gets in, without a browser: every route of the table, asked by nobody and by each role.

use actix_web::test::TestRequest;
use chrono::Duration;
use strum::VariantArray;
use uuid::Uuid;

use super::*;
use crate::access::{self, Role, Session, User};
use crate::clock::now;
use crate::command::CommandKind;
use crate::lifecycle::{Actor, Event};
use crate::store::AuditFilter;
use crate::web::harness::{Answer, House};

/// The routes of the console behind the login: method, path, action. They are read from the code of the table, so that
/// a new one is covered when it is written.
fn routes() -> Vec<(&'static str, String, String)> {
    let code = include_str!("../console.rs");
    let table = code.split_once("pub fn configure").expect("the table").1;
    let mut found = Vec::new();
    for service in table.split("resource(").skip(1) {
        let path = service.split('"').nth(1).expect("a path");
        for (call, method) in [("see(", "GET"), ("act(", "POST")] {
            for route in service.split(call).skip(1) {
                let action = route.split("Action::").nth(1).expect("an action");
                let action: String = action.chars().take_while(|c| c.is_alphanumeric()).collect();
                found.push((
                    method,
                    path.replace("{order_id}", &Uuid::nil().to_string()).replace("{id}", &Uuid::nil().to_string()),
                    action,
                ));
            }
        }
    }
    found
}

/// The cookie of somebody with these roles.
async fn enter(house: &House, name: &str, roles: &[Role], created_at: crate::order::Instant) -> String {
    let (store, secret) = (&house.app.store, access::secret());
    let user = User {
        id: Uuid::now_v7(),
        name: name.into(),
        roles: roles.to_vec(),
        created_at: now(),
        disabled_at: None,
        has_password: false,
    };
    store.add_user(user.clone(), access::hash(name)).await.unwrap();
    let session = Session {
        id: Uuid::now_v7(),
        user_id: user.id,
        address: "a".into(),
        agent: "b".into(),
        created_at,
        seen_at: created_at,
    };
    store.open_session(access::hash(&secret), session).await.unwrap();
    format!("lungo_session={secret}")
}

async fn ask(house: &House, method: &str, path: &str, cookie: &str) -> Answer {
    let request = if method == "GET" { TestRequest::get() } else { TestRequest::post() };
    let request = request.uri(path).insert_header(("cookie", cookie)).insert_header(("hx-request", "true"));
    house.send(request, "").await
}

#[actix_web::test]
async fn every_route_is_shut_to_strangers_and_to_those_whose_session_is_over() {
    let house = House::open().await;
    let old = enter(&house, "old", &[Role::Admin], now() - Duration::hours(25)).await;
    let all = routes();
    assert!(all.len() > 20, "{all:?}");
    for (method, path, _) in all {
        for cookie in ["", "lungo_session=guessed", &old] {
            let answer = ask(&house, method, &path, cookie).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.headers.contains_key("hx-redirect"), "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn every_route_is_open_to_the_roles_of_its_action_only_and_no_deed_comes_without_its_token() {
    let house = House::open().await;
    for role in [Role::Support, Role::Finance, Role::ShopOps, Role::Admin] {
        let cookie = enter(&house, role.word(), &[role], now()).await;
        for (method, path, action) in routes() {
            // It never ends.
            if path.ends_with("/stream") {
                continue;
            }
            let rule = actions::TABLE.iter().find(|rule| format!("{:?}", rule.action) == action).expect("an action");
            let allowed = role == Role::Admin || rule.roles.contains(&role);
            let answer = ask(&house, method, &path, &cookie).await;
            // A form without a token is refused even to those who may.
            let wanted = allowed && method == "GET";
            assert_eq!(answer.status != 403, wanted, "{role} {method} {path}: {answer:?}");
        }
    }
    let log = house.app.store.audit(Default::default(), 500).await.unwrap();
    assert!(
        !log.is_empty() && log.iter().all(|logged| !logged.done),
        "what was refused was written down, nothing was done"
    );
}

#[actix_web::test]
async fn a_page_is_sent_with_a_policy_that_allows_nothing_inline() {
    let house = House::open().await;
    let cookie = enter(&house, "ada", &[Role::Admin], now()).await;
    for path in ["/console", "/console/orders", "/console/nothing", "/console/login"] {
        let request = TestRequest::get().uri(path).insert_header(("cookie", cookie.clone()));
        let answer = house.send(request, "").await;
        let policy = answer.headers.get("content-security-policy").unwrap().to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(answer.headers.get("content-type").unwrap().to_str().unwrap().starts_with("text/html"), "{path}");
        assert_eq!(answer.headers.get("cache-control").unwrap(), "no-store");
    }
}

#[actix_web::test]
async fn operators_see_what_an_accepted_order_survives_and_what_was_given_back_of_those_that_were_lost() {
    let house = House::open().await;
    let cookie = enter(&house, "ada", &[Role::Admin], now()).await;
    let see = async |path: &str| {
        let page = house.send(TestRequest::get().uri(path).insert_header(("cookie", cookie.clone())), "").await;
        page.body.as_str().unwrap_or_else(|| panic!("{path}: {page:?}")).to_owned()
    };
    assert!(see("/console").await.contains("Durability is local"));
    assert!(!see("/console/money").await.contains("Charges without an order"));

    let (store, lost) = (&house.app.store, crate::order::OrderId::new());
    let entry = crate::store::Entry {
        at: now(),
        user_id: None,
        user_name: "lungo".into(),
        action: crate::store::RELEASE_LOST.into(),
        subject: "payment:<pi_1>".into(),
        reason: None,
        detail: serde_json::json!({"amount": 820, "currency": "EUR"}),
        request_id: String::new(),
    };
    store.note_restored(now(), now()).await.unwrap();
    store.watch_history(now(), Duration::zero()).await.unwrap();
    assert_eq!(store.judge_lost(vec![(lost, entry)], now()).await.unwrap().lost, [lost]);
    let page = see("/console/money").await;
    for shown in ["Charges without an order", "are looked through, next at", "&#60;pi_1&#62;", "8.20 EUR"] {
        assert!(page.contains(shown), "no `{shown}`: {page}");
    }
}

#[actix_web::test]
async fn while_the_database_cannot_be_read_pages_keep_their_navigation_and_try_again() {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;

    let house = House::open().await;
    let cookie = enter(&house, "ada", &[Role::Support], now()).await;
    let see =
        async |path: &str| house.send(TestRequest::get().uri(path).insert_header(("cookie", cookie.clone())), "").await;
    let path = house.directory.path().join(crate::store::FILE);
    let mut database = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    // Whoever is known keeps what is open to its roles; of whom nothing is known keeps the way to everything.
    for (broken, path, has_users) in [("holds", "/console/stages", false), ("sessions", "/console/orders", true)] {
        database.batch_execute(&format!("ALTER TABLE {broken} RENAME TO away")).unwrap();
        let answer = see(path).await;
        assert_eq!(answer.status, 503, "{path}");
        let page = answer.body.as_str().unwrap().to_owned();
        for wanted in ["href=\"/console/money\"", "tries again by itself", "again.js"] {
            assert!(page.contains(wanted), "{path}: no {wanted} in {page}");
        }
        assert_eq!(page.contains("href=\"/console/users\""), has_users, "{page}");
        database.batch_execute(&format!("ALTER TABLE away RENAME TO {broken}")).unwrap();
        assert_eq!(see(path).await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn whom_another_instance_leaves_alone_is_seen_here_too_and_asked_again_there() {
    use diesel::Connection;
    use diesel::connection::SimpleConnection;

    let house = House::open().await;
    let cookie = enter(&house, "ada", &[Role::Admin], now()).await;
    let see = async || {
        let request = TestRequest::get().uri("/console/stages").insert_header(("cookie", cookie.clone()));
        house.send(request, "").await.body.as_str().unwrap().to_owned()
    };
    assert!(see().await.contains("all breakers are closed"));
    let path = house.directory.path().join(crate::store::FILE);
    let mut database = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let report = r#"{"silent": [{"subject": "method:pm_card_visa", "failures": 12, "is_pausing": true}], "more": 1}"#;
    let at = now().timestamp_millis();
    let row = format!("INSERT INTO instances VALUES (randomblob(16), 'b:2', '1', {at}, {at}, '{report}')");
    database.batch_execute(&row).unwrap();
    let page = see().await;
    assert!(page.contains("pm_card_visa does not answer b:2: 12 failures in a row."), "{page}");
    assert!(!page.contains("Ask again") && page.contains("badge bad\">open"), "{page}");

    let peer = crate::turns::Peer::Method("pm_card_visa".into());
    let (pause, asked) = (std::time::Duration::from_secs(60), std::time::Instant::now());
    (0..10).for_each(|_| house.app.controls.tell(&peer, false, asked, pause));
    let page = see().await;
    assert!(page.contains("Ask again: payment method pm_card_visa"), "{page}");
    assert_eq!(page.matches("pm_card_visa does not answer ").count(), 2, "{page}");
}

/// What a form of this session carries, besides its own fields.
fn form(cookie: &str, version: i64, fields: &[(&str, &str)]) -> String {
    let token = access::form_token(cookie.trim_start_matches("lungo_session="));
    let version = version.to_string();
    let common = [("csrf", token.as_str()), ("version", version.as_str())];
    form_urlencoded::Serializer::new(String::new()).extend_pairs(common).extend_pairs(fields).finish()
}

async fn send_form(house: &House, cookie: &str, path: &str, form: String) -> Answer {
    let request = TestRequest::post().uri(path).insert_header(("cookie", cookie.to_owned()));
    let request = request.insert_header(("sec-fetch-site", "same-origin")).set_payload(form);
    house.send(request.insert_header(("content-type", "application/x-www-form-urlencoded")), "").await
}

/// A cancel form that was opened while nothing was taken, and is sent when the order is ready and paid for.
#[actix_web::test]
async fn a_form_whose_order_has_moved_does_nothing_tells_what_changed_and_keeps_what_was_typed() {
    let house = House::open().await;
    let cookie = enter(&house, "ada", &[Role::Admin], now()).await;
    let id = house.awaiting().await;
    let path = format!("/console/orders/{id}");
    let page = house.send(TestRequest::get().uri(&path).insert_header(("cookie", cookie.clone())), "").await;
    assert!(page.body.as_str().unwrap().contains("No money was taken"));
    house.hear(id, Actor::Shop, Event::ShopAccepted { minutes: None, dropped_lines: vec![] }).await;
    house.hear(id, Actor::Shop, Event::PreparationStarted).await;
    house.hear(id, Actor::Worker, Event::PaymentCaptured { amount: 570 }).await;
    let ready = house.hear(id, Actor::Shop, Event::Made).await;

    let fields = [("why", "equipment_failure"), ("reason", "it <broke>")];
    let refused = send_form(&house, &cookie, &format!("{path}/cancel"), form(&cookie, 2, &fields)).await;
    assert_eq!(refused.status, 412, "{refused:?}");
    assert_eq!(refused.headers.get("hx-push-url").unwrap(), "false");
    let page = refused.body.as_str().unwrap();
    for told in [
        "the order has changed since you opened this form",
        "shop accepted, by shop",
        "payment captured, by worker: 5.70 EUR taken",
        "It is ready now. Its payment is captured: 5.70 EUR taken, 0.00 EUR given back.",
        "value=\"it &#60;broke&#62;\"",
        "<option value=\"equipment_failure\" selected>",
        "value=\"full\" required>",
        &format!("name=\"version\" value=\"{}\"", ready.version),
    ] {
        assert!(page.contains(told), "no `{told}` in {page}");
    }
    let (order, _) = house.app.store.order(id).await.unwrap().unwrap();
    assert_eq!(order, ready, "no money moved");

    // The form that came back asks what is to become of the money, and is judged by the order as it is now.
    let silent = send_form(&house, &cookie, &format!("{path}/cancel"), form(&cookie, ready.version, &fields)).await;
    assert_eq!(silent.status, 422, "{silent:?}");
    let chosen = [&fields[..], &[("refund", "none")]].concat();
    let done = send_form(&house, &cookie, &format!("{path}/cancel"), form(&cookie, ready.version, &chosen)).await;
    assert_eq!(done.status, 303, "{done:?}");
    let filter = AuditFilter { subject: Some(format!("order:{id}")), ..AuditFilter::default() };
    let log = house.app.store.audit(filter, 10).await.unwrap();
    let outcomes: Vec<_> = log.iter().map(|logged| (logged.entry.action.as_str(), logged.done)).collect();
    assert_eq!(outcomes, [("cancel_order", true), ("cancel_order", false)]);
    let page = house.send(TestRequest::get().uri(&path).insert_header(("cookie", cookie.clone())), "").await;
    assert!(page.body.as_str().unwrap().contains("operator: ada"), "the timeline says which operator");
    // What can no longer be done is not offered again, and its reason is not lost.
    let late = send_form(&house, &cookie, &format!("{path}/cancel"), form(&cookie, ready.version, &chosen)).await;
    let page = late.body.as_str().unwrap();
    assert!(
        late.status == 412 && page.contains("not possible any more") && page.contains("it &#60;broke&#62;"),
        "{page}"
    );
}

/// Whatever a page offers to do to an order is refused on another version than the page showed, and is logged.
#[actix_web::test]
async fn no_form_of_an_order_does_anything_to_a_version_that_its_page_did_not_show() {
    let house = House::open().await;
    let cookie = enter(&house, "ada", &[Role::Admin], now()).await;
    let id = house.awaiting().await;
    let posts = routes().into_iter().filter(|(method, path, _)| {
        let is_order = path.contains(&Uuid::nil().to_string())
            && (path.starts_with("/console/orders/") || path.starts_with("/console/money/0"));
        *method == "POST" && is_order
    });
    // These decide nothing about the order: they show, ask and note.
    let asking = ["SeePersonalData", "NoteOrder", "LookUpPayment"];
    let mut tried = 0;
    for (_, path, action) in posts.filter(|(.., action)| !asking.contains(&action.as_str())) {
        let path = path.replace(&Uuid::nil().to_string(), &id.to_string());
        let before = house.app.store.order(id).await.unwrap().unwrap().0;
        let fields = [("why", "operator_request"), ("reason", "why not"), ("minutes", "5"), ("what", "all")];
        let missing = send_form(&house, &cookie, &path, form(&cookie, 1, &fields).replace("version=1", "v=1")).await;
        assert_eq!(missing.status, 428, "{action}: {missing:?}");
        let stale = send_form(&house, &cookie, &path, form(&cookie, before.version - 1, &fields)).await;
        let can_ask = action != "VoidPayment" || house.app.payment.books.is_some();
        assert_eq!(stale.status, if can_ask { 412 } else { 409 }, "{action}: {stale:?}");
        assert_eq!(house.app.store.order(id).await.unwrap().unwrap().0, before, "{action}");
        tried += 1;
    }
    assert_eq!(tried, 9);
}

#[test]
fn a_command_has_the_name_of_its_action_and_no_page_asks_for_less_of_a_reason() {
    for kind in CommandKind::VARIANTS {
        let word: &str = kind.into();
        let rule = actions::TABLE.iter().find(|rule| rule.action.word() == word).unwrap_or_else(|| panic!("no {word}"));
        assert!(rule.needs_reason || !kind.needs_reason(), "{word}");
    }
}

const PASSWORD: &str = "correct horse battery";

/// Adds a user who has chosen [`PASSWORD`].
async fn add_user(house: &House, name: &str) {
    let (store, link) = (&house.app.store, access::hash(name));
    let (id, roles, created_at) = (Uuid::now_v7(), vec![Role::Admin], now());
    let user = User { id, name: name.into(), roles, created_at, disabled_at: None, has_password: false };
    store.add_user(user, link).await.unwrap();
    store.follow_link(link, access::hash_password(PASSWORD), now()).await.unwrap().unwrap();
}

/// Posts the form of the login, as a browser with these cookies does that a proxy at this address forwards.
async fn log_in(house: &House, forwarded: &[String], cookies: &str, name: &str, password: &str) -> Answer {
    let door = access::secret();
    let form = [("csrf", access::form_token(&door)), ("name", name.into()), ("password", password.into())];
    let mut request = TestRequest::post()
        .uri("/console/login")
        .peer_addr("10.0.0.1:9".parse().unwrap())
        .insert_header(("sec-fetch-site", "same-origin"))
        .insert_header(("cookie", format!("lungo_door={door}; {cookies}")))
        .set_form(form);
    for line in forwarded {
        request = request.append_header(("x-forwarded-for", line.as_str()));
    }
    house.send(request, "").await
}

#[actix_web::test]
async fn a_forged_address_neither_escapes_the_lock_out_nor_stands_in_the_audit_log() {
    let house = House::open_with(&["--trusted-proxies=10.0.0.0/8"]).await;
    for n in 0..30 {
        let forged = [format!("198.51.100.{n}"), "203.0.113.9".into()];
        let answer = log_in(&house, &forged, "", &format!("user{n}"), "wrong").await;
        assert_eq!(answer.status, if n < 21 { 422 } else { 429 }, "{n}: {answer:?}");
    }
    let elsewhere = log_in(&house, &["203.0.113.9, 203.0.113.10".into()], "", "user", "wrong").await;
    assert_eq!(elsewhere.status, 422, "others are not barred");
    let log = house.app.store.audit(Default::default(), 500).await.unwrap();
    let addresses: Vec<&str> = log.iter().filter_map(|logged| logged.entry.detail["address"].as_str()).collect();
    assert_eq!(addresses.len(), 31);
    assert!(addresses.iter().all(|address| address.starts_with("203.0.113.")), "{addresses:?}");
}

#[actix_web::test]
async fn a_user_logs_in_while_others_guess_at_the_name_from_a_browser_that_is_known() {
    let house = House::open().await;
    add_user(&house, "ada").await;
    let first = log_in(&house, &[], "", "ada", PASSWORD).await;
    assert_eq!(first.status, 303, "{first:?}");
    let set: Vec<&str> = first.headers.get_all("set-cookie").map(|value| value.to_str().unwrap()).collect();
    let device = set.iter().find(|cookie| cookie.starts_with("lungo_device=")).expect("what shows the browser later");
    assert!(device.contains("HttpOnly") && device.contains("SameSite=Lax") && device.contains("Max-Age=2592000"));
    let device = device.split(';').next().unwrap();
    for _ in 0..8 {
        log_in(&house, &[], "", "ada", "guessed").await;
    }
    assert_eq!(log_in(&house, &[], "", "ada", PASSWORD).await.status, 429, "a strange browser waits");
    let made_up = format!("lungo_device={}", access::device("made up"));
    assert_eq!(log_in(&house, &[], &made_up, "ada", PASSWORD).await.status, 429);
    let known = log_in(&house, &[], device, "ada", PASSWORD).await;
    assert_eq!(known.status, 303, "{known:?}");
    let shows_session = set.iter().find(|cookie| cookie.starts_with("lungo_session=")).unwrap();
    let session = shows_session.split(';').next().unwrap();
    assert_eq!(log_in(&house, &[], session, "ada", PASSWORD).await.status, 303, "an open session shows it too");
    let opened =
        house.app.store.session(access::shown_device(&device["lungo_device=".len()..]).unwrap()).await.unwrap();
    assert!(opened.is_some());
    let as_secret = format!("lungo_session={}", &device["lungo_device=".len()..]);
    assert_eq!(ask(&house, "GET", "/console", &as_secret).await.status, 401, "it opens nothing");
}
