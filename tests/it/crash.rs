//! Starting, stopping, and being killed at any moment.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lungo::lifecycle::status_pairs;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rstest::rstest;
use serde_json::{Value, json};

use crate::gateway::Way;
use crate::server::{
    BY_HAND, CENTRAL, Client, GatewayProcess, IMPATIENT, LOOK, PATIENCE, STATION, Server, database, fresh, ids, lungo,
    reconcile, run, teas, text, two_lungos, until,
};

/// How often the server is killed under load.
const KILLS: usize = 8;
/// Those who order meanwhile.
const PHONES: u64 = 5;

/// What an order may be in the end.
const OVER: [&str; 5] = ["completed", "rejected", "failed", "cancelled", "not_collected"];

/// What a customer wants, and what came of it as far as the phone knows.
struct Intent {
    key: String,
    body: Value,
    /// Every accepted answer; more than one when the phone had to ask again.
    answers: Vec<Value>,
}

/// One phone: it orders and orders, and repeats what it does not know the outcome of under the same key.
fn order_until_told_to_stop(server: &Client, seed: u64, ordering: &AtomicBool) -> Vec<Intent> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut intents = Vec::new();
    while ordering.load(Ordering::Relaxed) {
        let methods = [
            "pm_card_visa",
            "pm_card_visa",
            "pm_card_visa",
            "pm_flaky",
            "pm_declined",
            "pm_timeout_after_charge",
            "pm_error_after_charge",
            "pm_busy",
            "pm_action_required",
            "pm_silent",
        ];
        let wishes = [None, None, None, Some("shop_reject"), Some("sold_out"), Some("shop_silent")];
        let method = methods[chance.random_range(0..methods.len())];
        let wish = wishes[chance.random_range(0..wishes.len())];
        let mut body = teas(&fresh("cus"), chance.random_range(1..=9), method, wish);
        body["shop_id"] = json!([CENTRAL, STATION, BY_HAND][chance.random_range(0..3)]);
        if chance.random_bool(0.3) {
            body["lines"] = json!([{"item_id": "cookie", "quantity": 1}, {"item_id": "croissant", "quantity": 2}]);
            body["total"]["amount"] = json!(780);
            body["on_unavailable"] = json!("remove_line");
        }
        let mut intent = Intent { key: fresh("intent"), body, answers: Vec::new() };
        let wanted = if chance.random_bool(0.2) { 2 } else { 1 };
        let end = Instant::now() + PATIENCE;
        while intent.answers.len() < wanted {
            assert!(Instant::now() < end, "nobody takes {}", intent.body);
            let call = server.call("POST", "/v1/orders").header("Idempotency-Key", &intent.key).json(&intent.body);
            match call.try_send() {
                Ok(answer) if answer.status == 202 => intent.answers.push(answer.body),
                // Too many at once for this shop. A refusal binds no key.
                Ok(answer) if answer.body["why"] == "full" => thread::sleep(LOOK),
                // Unknown, or not now: that is what the key is for.
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text),
                Err(_) => thread::sleep(LOOK),
            }
        }
        if chance.random_bool(0.2) {
            // Whether this is heard or too late or lost in a crash: the order must make sense of it.
            let id = text(&intent.answers[0]["order_id"]);
            let _ = server.call("POST", &format!("/v1/orders/{id}/cancel")).try_send();
        }
        intents.push(intent);
        thread::sleep(Duration::from_millis(chance.random_range(20..250)));
    }
    intents
}

/// What must be true of one order in the end, whatever happened on the way.
fn check(server: &Client, intent: &Intent) {
    let first = &intent.answers[0];
    let id = text(&first["order_id"]);
    assert!(intent.answers.iter().all(|answer| answer["order_id"] == id.as_str()), "two orders for {}", intent.key);
    let order = server.order(&id);
    for member in ["customer_id", "shop_id", "total", "pickup", "on_unavailable", "metadata", "created_at"] {
        assert_eq!(order[member], first[member], "{member} of {id}");
    }
    let bare = |order: &Value| -> Vec<Value> {
        let lines = order["lines"].as_array().unwrap().iter();
        lines.map(|line| json!([line["item_id"], line["quantity"], line["price"]])).collect()
    };
    assert_eq!(bare(&order), bare(first));
    let history = server.get(&format!("/v1/orders?customer_id={}", text(&order["customer_id"]))).expect(200);
    assert_eq!(ids(&history.body["orders"]), [id.as_str()]);
    assert_eq!(order["ongoing"], false, "{order:#}");

    let events = server.events(&id);
    let legal: Vec<(String, String)> =
        status_pairs().into_iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
    assert_eq!((&events[0]["type"], &events[0]["to"]), (&json!("created"), &json!("new")));
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["version"], n + 1, "the log of {id} has a gap: {events:#?}");
        if n > 0 {
            let pair = (text(&event["from"]), text(&event["to"]));
            assert_eq!(event["from"], events[n - 1]["to"], "{events:#?}");
            assert!(pair.0 == pair.1 || legal.contains(&pair), "{pair:?} in {events:#?}");
        }
    }
    let last = &events[events.len() - 1];
    assert_eq!(
        (&last["to"], &last["payment_status"], &last["version"]),
        (&order["status"], &order["payment"]["status"], &order["version"])
    );
    assert!(events.iter().all(|event| event["type"] != "parked"), "no order killed the server: {events:#?}");
    let amount = |member: &str| order["payment"][member]["amount"].as_i64().unwrap();
    let net = if order["status"] == "completed" { order["amount_due"]["amount"].as_i64().unwrap() } else { 0 };
    assert_eq!((amount("captured") - amount("refunded"), amount("owed")), (net, 0), "{order:#}\n{events:#?}");
}

#[rstest]
fn a_server_that_is_killed_again_and_again_loses_no_order_and_takes_no_money_twice(
    #[values(Way::InProcess, Way::OverHttp)] way: Way,
) {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let flags = [IMPATIENT, &["--preparation-deadline=6s"]].concat();
    let (mut server, _gateway) = match way {
        Way::InProcess => (Server::start(&flags), None),
        Way::OverHttp => {
            let (server, gateway) = GatewayProcess::start(&flags);
            (server, Some(gateway))
        }
    };
    let client = server.partner.clone();
    let ordering = AtomicBool::new(true);
    let intents: Vec<Intent> = thread::scope(|scope| {
        let phones: Vec<_> = (0..PHONES)
            .map(|n| {
                let (client, ordering) = (&client, &ordering);
                scope.spawn(move || order_until_told_to_stop(client, seed ^ n, ordering))
            })
            .collect();
        for _ in 0..KILLS {
            let moment = Duration::from_millis(chance.random_range(50..1200));
            println!("killed {moment:?} after it was ready");
            // Load for a while: the moment is what is being tried, there is no condition to wait for.
            thread::sleep(moment);
            server.kill_9();
            server.restart();
        }
        ordering.store(false, Ordering::Relaxed);
        phones.into_iter().flat_map(|phone| phone.join().unwrap()).collect()
    });
    println!("{} orders", intents.len());
    assert!(intents.len() > KILLS, "there was no load");

    until("everything is settled", || {
        let (_, findings) = reconcile(server.data());
        let is_settled = |found: &Value| {
            OVER.contains(&found["status"].as_str().unwrap_or_default()) && found["verdict"] != "under_way"
        };
        findings.iter().all(is_settled).then_some(())
    });
    intents.iter().for_each(|intent| check(&client, intent));

    let (is_sound, findings) = reconcile(server.data());
    assert!(is_sound, "{findings:#?}");
    assert_eq!(findings.len(), intents.len(), "there are orders that nobody wanted");
    let mut keys: HashMap<String, BTreeMap<String, usize>> = HashMap::new();
    let ledger = std::fs::read_to_string(server.data().join("gateway-ledger.jsonl")).unwrap();
    for line in ledger.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let of_order = keys.entry(text(&entry["held"]["order_id"])).or_default();
        *of_order.entry(text(&entry["key"])).or_default() += usize::from(entry["operation"] == "capture");
    }
    for (order, keys) in keys {
        assert_eq!(keys.len(), 1, "order {order} was charged under several keys: {keys:?}");
        assert!(keys.values().all(|captures| *captures <= 1), "order {order} was taken twice");
    }
    assert!(server.stop().success());
}

#[test]
fn captures_under_way_at_three_kills_are_captured_once_the_gateway_answers_again() {
    const ORDERS: usize = 20;
    let flags = ["--call-timeout=5s", "--lease=15s", "--breaker-pause=500ms", "--acceptance-deadline=60s"];
    let (mut server, gateway) = GatewayProcess::start(&flags);
    let orders: Vec<String> = (0..ORDERS)
        .map(|_| {
            let mut body = teas(&fresh("cus"), 1, "pm_card_visa", None);
            body["shop_id"] = json!(BY_HAND);
            text(&server.created(&body)["order_id"])
        })
        .collect();
    orders.iter().for_each(|id| drop(server.wait_for_status(id, "awaiting_shop")));
    let admin = server.with_key("LUNGO_ADMIN_KEY");
    let key = json!({"kind": "shop", "shop_id": BY_HAND, "label": "till"});
    let key = text(&admin.call("POST", "/v1/admin/keys").json(&key).send().expect(201).body["secret"]);
    let shop = server.partner.with_key(Some(&key));
    gateway.signal("-STOP");
    for id in &orders {
        for action in ["accept", "start", "ready"] {
            shop.call("POST", &format!("/v1/shop/orders/{id}/{action}")).send().expect(200);
        }
    }
    let is_leased =
        |id: &String| !admin.get(&format!("/v1/admin/orders/{id}")).expect(200).body["task"]["leased_until"].is_null();
    for _ in 0..3 {
        until("a capture is under way", || orders.iter().any(is_leased).then_some(()));
        server.kill_9();
        server.restart();
    }
    gateway.signal("-CONT");
    for id in &orders {
        let captured = server.wait_for_payment(id, "captured");
        assert_eq!(captured["payment"]["captured"], captured["amount_due"], "{captured:#}");
        assert_eq!(server.story(id).iter().filter(|event| *event == "parked").count(), 0);
    }
}

#[test]
fn what_a_killed_server_left_is_carried_on_by_the_next() {
    let mut server = Server::start(IMPATIENT);
    let customer = fresh("cus");
    let order = |key: &str, server: &Server| {
        server.call("POST", "/v1/orders").header("Idempotency-Key", key).json(&two_lungos(&customer)).send()
    };
    let id = order("first", &server).expect(202).id();
    let feed = server.get("/v1/events").expect(200).body;
    let position = server.ongoing(&customer).header("lungo-position").to_owned();
    server.kill_9();
    server.restart();
    assert_eq!(order("first", &server).expect(202).id(), id);
    order("second", &server).problem(409, "similar_order_ongoing");
    // Positions and cursors outlive the process.
    let list = server.call("GET", &format!("/v1/orders/ongoing?customer_id={customer}"));
    assert_eq!(ids(&list.header("Lungo-Position", &position).send().expect(200).body["orders"]), [id.as_str()]);
    server.get(&format!("/v1/events?cursor={}", text(&feed["cursor"]))).expect(200);
    server.wait_for_status(&id, "completed");
    assert_eq!(server.wait_for_payment(&id, "captured")["payment"]["captured"]["amount"], 820);
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_it_was_asked_before() {
    let mut server = Server::start(IMPATIENT);
    // Something is under way at a gateway that never answers.
    let silent_customer = fresh("cus");
    let silent = text(&server.created(&teas(&silent_customer, 1, "pm_silent", None))["order_id"]);
    let body = two_lungos(&fresh("cus")).to_string();
    let (early, late) = body.split_at(20);
    let key = server.partner.key.clone().unwrap();
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nidempotency-key: last\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{early}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Its handler must have begun before the signal comes: a later request on another connection was answered.
    server.order(&silent);

    let told = Instant::now();
    server.terminate();
    until("it heard", || server.log().contains("serve.stopping").then_some(()));
    stream.write_all(late.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(server.wait().success());
    // The bound is the contract's: orchestrators kill after 30 s.
    assert!(told.elapsed() < Duration::from_secs(25), "{:?}", told.elapsed());

    server.restart();
    let again = server.call("POST", "/v1/orders").header("Idempotency-Key", "last").body("application/json", body);
    assert!(answer.contains(&again.send().expect(202).id()));
    assert_eq!(server.order(&silent)["customer_id"], silent_customer);
}

#[test]
fn a_directory_belongs_to_one_server() {
    let server = Server::start(&[]);
    let env = || std::fs::read_to_string(server.data().join("demo.env")).unwrap();
    let before = env();
    for pace in ["real", "zero"] {
        let mut second = lungo();
        second.args(["--listen", "127.0.0.1:0", "--pace", pace, "--data"]).arg(server.data());
        let (status, log) = run(second);
        assert!(!status.success());
        assert!(log.contains("another process") && log.contains(&server.data().display().to_string()), "{log}");
    }
    assert_eq!(env(), before, "the keys' file must go on naming the server that runs");

    let mut elsewhere = lungo();
    let directory = tempfile::tempdir().unwrap();
    elsewhere.args(["--listen", server.url.strip_prefix("http://").unwrap(), "--data"]).arg(directory.path());
    let (status, log) = run(elsewhere);
    assert!(!status.success());
    assert!(log.contains("cannot listen on") && log.contains("in use"), "{log}");
    server.created(&two_lungos(&fresh("cus")));
}

#[test]
fn a_damaged_directory_is_named() {
    let is_named = |file: &str, damage: &str| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(file), damage).unwrap();
        let mut damaged = lungo();
        damaged.args(["--listen", "127.0.0.1:0", "--data"]).arg(directory.path());
        let (status, log) = run(damaged);
        assert!(!status.success(), "{file}: {log}");
        assert!(log.contains(&directory.path().display().to_string()), "{file}: {log}");
        assert!(!log.contains("panicked"), "{file}: {log}");
    };
    thread::scope(|scope| {
        let nonsense = "this is not a database, but it is long enough to look like one: ".repeat(100);
        scope.spawn(move || is_named("lungo.db", &nonsense));
        scope.spawn(move || is_named("gateway-ledger.jsonl", "{\"nonsense\": 1}\n{}\n"));
        scope.spawn(move || is_named("shop-journal.jsonl", "nonsense\nnonsense\n"));
    });
    let mut nowhere = lungo();
    nowhere.args(["--listen", "127.0.0.1:0", "--data", "/dev/null/data"]);
    let (status, log) = run(nowhere);
    assert!(!status.success() && log.contains("/dev/null/data"), "{log}");
}

#[test]
fn settings_come_from_flags_the_environment_and_a_file_in_that_order() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lungo.toml");
    std::fs::write(&file, "max_ongoing_orders = 1\ndraft_valid_for = \"3m\"\nsimilar_order_within = \"1h\"\n").unwrap();
    let config = format!("--config={}", file.display());
    let server = Server::start_with(&[&config], &[("LUNGO_MAX_ONGOING_ORDERS", "2"), ("LUNGO_DRAFT_VALID_FOR", "4m")]);
    let customer = fresh("cus");
    for n in 1..=2 {
        server.created(&teas(&customer, n, "pm_silent", None));
    }
    server.create(&teas(&customer, 3, "pm_silent", None)).problem(409, "order_limit_exceeded");
    let draft = server.call("POST", "/v1/drafts").json(&two_lungos(&fresh("cus"))).send().expect(201).body;
    let instant = |member: &str| text(&draft[member]).parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(instant("valid_until") - instant("created_at"), chrono::Duration::minutes(4));
    drop(server);

    let server = Server::start_with(&[&config, "--max-ongoing-orders=3"], &[("LUNGO_MAX_ONGOING_ORDERS", "2")]);
    for n in 1..=3 {
        server.created(&teas(&customer, n, "pm_silent", None));
    }
    server.create(&teas(&customer, 4, "pm_silent", None)).problem(409, "order_limit_exceeded");

    std::fs::write(&file, "max_ongoing_odors = 1\n").unwrap();
    thread::scope(|scope| {
        for (flag, word) in [
            (config.as_str(), "max_ongoing_odors"),
            ("--lease=soon", "soon"),
            ("--lease=5s", "lease"),
            ("--max-ongoing-orders=0", "max-ongoing-orders"),
            ("--log=[[[", "log"),
            ("--config=/nowhere/lungo.toml", "/nowhere/lungo.toml"),
        ] {
            scope.spawn(move || {
                let directory = tempfile::tempdir().unwrap();
                let mut wrong = lungo();
                wrong.arg(flag).args(["--listen", "127.0.0.1:0", "--data"]).arg(directory.path());
                let (status, log) = run(wrong);
                assert!(!status.success() && log.contains(word), "{flag}: {log}");
            });
        }
    });
}

#[test]
fn keys_are_made_listed_and_revoked_beside_a_server() {
    let mut server = Server::start(&[]);
    let restart = |server: &mut Server| {
        server.kill_9();
        server.restart();
    };
    let keys = |server: &Server, args: &[&str]| {
        let mut command = lungo();
        command.arg("keys").args(args).arg("--data").arg(server.data()).envs(database(server.data()));
        let (status, log) = run(command);
        assert!(status.success(), "{log}");
        log
    };
    let partner = "01970000-0000-7000-8000-000000000001";
    let secret = keys(&server, &["create", "--kind=partner", "--partner", partner, "--label=till"]).trim().to_owned();
    let list = keys(&server, &["list"]);
    assert!(!list.contains(&secret) && list.contains("till"), "{list}");
    let key_id = list.lines().find(|line| line.ends_with("till")).unwrap().split(' ').next().unwrap().to_owned();
    let other = server.partner.with_key(Some(&secret));
    // A running server would notice by itself, within a quarter of a minute.
    restart(&mut server);
    other.get("/v1/events").expect(200);
    keys(&server, &["revoke", &key_id]);
    restart(&mut server);
    other.get("/v1/events").problem(401, "unauthenticated");
    server.get("/v1/events").expect(200);
}
