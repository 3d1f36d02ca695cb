//! Webhooks from outside: a real server, and receivers that believe nobody, are slow, dead, or lie.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::receiver::{ALLOW_LOOPBACK, Manner, Receiver};
use crate::server::{Client, LOOK, PATIENCE, Server, fresh, teas, text, until};

/// A server that speaks to receivers on this machine, and is not patient with them.
fn server() -> Server {
    Server::start(&[ALLOW_LOOPBACK, "--webhook-timeout=1s"])
}

/// A receiver of the demo partner, as the answer that made it showed it.
fn subscribe(partner: &Client, receiver: &Receiver) -> Value {
    partner.call("POST", "/v1/webhooks").json(&json!({"url": receiver.url})).send().expect(201).body
}

fn path(webhook: &Value) -> String {
    format!("/v1/webhooks/{}", text(&webhook["webhook_id"]))
}

fn deliveries(partner: &Client, webhook: &Value) -> Vec<Value> {
    let answer = partner.get(&format!("{}/deliveries?limit=200", path(webhook))).expect(200);
    answer.body["deliveries"].as_array().unwrap().clone()
}

fn order(partner: &Client) -> String {
    text(&partner.created(&teas(&fresh("cus"), 1, "pm_card_visa", None))["order_id"])
}

/// Waits until the receiver took all that there is of an order.
#[track_caller]
fn until_told(partner: &Client, receiver: &Receiver, order: &str) {
    until("the receiver is told", || (receiver.newest(order) == partner.order(order)["version"]).then_some(()));
}

#[test]
fn a_partner_is_told_of_its_orders_and_can_believe_it() {
    let (server, receiver, picky) =
        (server(), Receiver::start(Manner::Answer(200)), Receiver::start(Manner::Answer(204)));
    let webhook = subscribe(&server, &receiver);
    let wanted = json!({"url": picky.url, "types": ["made", "customer_cancelled"]});
    server.call("POST", "/v1/webhooks").json(&wanted).send().expect(201);
    let order = order(&server);
    server.wait_for_status(&order, "completed");
    until_told(&server, &receiver, &order);

    let (secret, versions) = (text(&webhook["secret"]), server.events(&order).len() as i64);
    let all = receiver.heard();
    for heard in &all {
        assert!(heard.is_signed_with(&secret));
        let body = heard.json();
        let names: HashSet<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 6, "{body}");
        assert_eq!(body["event_id"], heard.header("webhook-id"));
        assert_eq!(heard.header("content-type"), "application/json");
        let (event, shown) = (body["version"].as_i64().unwrap(), body["order"]["version"].as_i64().unwrap());
        assert!(event <= shown && shown <= versions, "the order is never older than its event: {body}");
        let told = &server.events(&order)[event as usize - 1];
        assert_eq!((&body["type"], &body["occurred_at"]), (&told["type"], &told["at"]));
    }
    let ids: HashSet<&str> = all.iter().map(|heard| heard.header("webhook-id")).collect();
    assert_eq!(ids.len(), all.len(), "each event once, when nothing goes wrong");
    let log = deliveries(&server, &webhook);
    let told: i64 = log.iter().map(|one| 1 + one["coalesced"].as_i64().unwrap()).sum();
    assert_eq!(told, versions, "every event is in the log, by itself or in a newer one");
    assert!(log.iter().all(|one| one["result"] == "delivered" && one["status"] == 200), "{log:#?}");
    until("the other one is told of what it wants", || (!picky.took(&order).is_empty()).then_some(()));
    assert!(picky.heard().iter().all(|heard| heard.json()["type"] == "made"));

    let shown = [server.get("/v1/webhooks").text, server.get(&path(&webhook)).text, server.log()].concat();
    assert!(!shown.contains(&secret) && !shown.contains("whsec_"), "a secret is shown once");
}

#[test]
fn slow_and_dead_receivers_hold_up_neither_an_order_nor_another_receiver() {
    let server = server();
    let dead = ["hang", "garbage", "endless", "refuse", "redirect", "nobody"].map(|name| {
        let receiver = Receiver::start(match name {
            "garbage" => Manner::Garbage,
            "endless" => Manner::Endless(500),
            "refuse" => Manner::HangUp,
            "redirect" => Manner::With(302, "location: http://127.0.0.1:9/\r\n"),
            _ => Manner::Hang,
        });
        let receiver = if name == "nobody" { receiver.at("http://127.0.0.1:9/") } else { receiver };
        (subscribe(&server, &receiver), receiver, name)
    });
    let healthy = Receiver::start(Manner::Answer(200));
    subscribe(&server, &healthy);
    let began = Instant::now();
    let orders: Vec<String> = (0..8).map(|_| order(&server)).collect();
    for order in &orders {
        server.wait_for_status(order, "completed");
    }
    let completed = began.elapsed();
    for order in &orders {
        until_told(&server, &healthy, order);
    }
    // Eight simulated orders take a few seconds; waiting for any one of the dead would take much longer.
    assert!(began.elapsed() < Duration::from_secs(25), "{completed:?}, {:?}", began.elapsed());
    for (webhook, _, name) in &dead {
        until("its trouble is told", || {
            let log = deliveries(&server, webhook);
            let tried = log.iter().find(|one| one["attempts"] != 0)?;
            let (status, trouble) = (tried["status"].as_u64(), text(&tried["trouble"]));
            let expected = match *name {
                "endless" => status == Some(500),
                "redirect" => status == Some(302) && trouble.contains("not followed"),
                "hang" => status.is_none() && trouble.contains("no answer within 1s"),
                _ => status.is_none() && trouble.contains("cannot be reached"),
            };
            assert!(expected, "{name}: {tried:#}");
            Some(())
        });
    }
    // One of them comes back: it is told of all of it, an order at a time.
    let (webhook, hanging, _) = &dead[0];
    hanging.becomes(Manner::Answer(200));
    for order in &orders {
        until_told(&server, hanging, order);
        assert!(hanging.took(order).len() < server.events(order).len(), "older events are left out for newer ones");
    }
    assert!(deliveries(&server, webhook).iter().any(|one| one["coalesced"].as_i64() > Some(0)));
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_and_told_later_what_it_missed() {
    let (server, receiver) = (server(), Receiver::start(Manner::Answer(410)));
    let webhook = subscribe(&server, &receiver);
    let missed = order(&server);
    let switched_off = until("it is switched off", || {
        Some(server.get(&path(&webhook)).expect(200).body).filter(|webhook| webhook["enabled"] == false)
    });
    assert_eq!(switched_off["disabled_why"], "it answered 410 Gone");
    server.wait_for_status(&missed, "completed");
    let heard = receiver.heard().len();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(receiver.heard().len(), heard, "it is left alone");

    receiver.becomes(Manner::Answer(200));
    let settings = json!({"url": receiver.url, "enabled": true});
    let again = server.call("PUT", &path(&webhook)).json(&settings).send().expect(200).body;
    assert_eq!((&again["enabled"], &again["disabled_at"]), (&json!(true), &Value::Null));
    until_told(&server, &receiver, &missed);

    let off = json!({"url": receiver.url, "enabled": false});
    server.call("PUT", &path(&webhook)).json(&off).send().expect(200);
    let meanwhile = order(&server);
    server.wait_for_status(&meanwhile, "completed");
    assert_eq!(receiver.newest(&meanwhile), 0);
    server.call("DELETE", &path(&webhook)).send().expect(204);
    server.call("DELETE", &path(&webhook)).send().problem(404, "not_found");
    assert_eq!(server.get("/v1/webhooks").expect(200).body, json!({"webhooks": []}));
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let (server, receiver) = (server(), Receiver::start(Manner::With(429, "retry-after: 3\r\n")));
    subscribe(&server, &receiver);
    let order = order(&server);
    let first = until("it is asked", || receiver.heard().first().cloned());
    server.wait_for_status(&order, "completed");
    until("it is asked again", || {
        receiver.heard().last().filter(|last| last.at > first.at + Duration::from_secs(2)).cloned()
    });
    let too_soon =
        |at: Instant| at > first.at + Duration::from_millis(500) && at < first.at + Duration::from_millis(2_900);
    assert!(!receiver.heard().iter().any(|heard| too_soon(heard.at)), "{:#?}", receiver.heard());
    receiver.becomes(Manner::Answer(200));
    until_told(&server, &receiver, &order);
}

#[test]
fn a_delivery_or_a_range_is_sent_again_and_a_secret_is_replaced_without_a_gap() {
    let (server, receiver) = (server(), Receiver::start(Manner::Answer(200)));
    let webhook = subscribe(&server, &receiver);
    let order = order(&server);
    server.wait_for_status(&order, "completed");
    until_told(&server, &receiver, &order);
    let log = until("all is written down", || {
        let log = deliveries(&server, &webhook);
        log.iter().all(|one| one["result"] == "delivered").then_some(log)
    });

    let rotate = format!("{}/rotate", path(&webhook));
    let rotated = server.call("POST", &rotate).json(&json!({"keep_old_minutes": 60})).send().expect(200).body;
    let (old, new) = (text(&webhook["secret"]), text(&rotated["secret"]));
    assert_ne!(old, new);
    let one = text(&log[0]["delivery_id"]);
    let before = receiver.heard().len();
    let resend = format!("{}/deliveries/{one}/resend", path(&webhook));
    let again = server.call("POST", &resend).send().expect(200).body;
    assert_eq!((&again["result"], &again["event_id"]), (&json!("pending"), &log[0]["event_id"]));
    let heard = until("it is sent again", || receiver.heard().get(before).cloned());
    assert_eq!(heard.header("webhook-id"), text(&log[0]["event_id"]), "under its own id");
    assert!(heard.is_signed_with(&old) && heard.is_signed_with(&new), "{heard:?}");

    until("it is written down", || (deliveries(&server, &webhook)[0]["result"] == "delivered").then_some(()));
    let rotated = server.call("POST", &rotate).json(&json!({"keep_old_minutes": 0})).send().expect(200).body;
    let newest = text(&rotated["secret"]);
    let before = receiver.heard().len();
    let range = json!({"from_at": log.last().unwrap()["occurred_at"], "until_at": "2100-01-01T00:00:00Z"});
    let resent = server.call("POST", &format!("{}/resend", path(&webhook))).json(&range).send().expect(200).body;
    assert_eq!(resent, json!({"deliveries": log.len()}));
    let heard = until("all are sent again", || {
        let heard = receiver.heard().split_off(before);
        (heard.len() >= log.len()).then_some(heard)
    });
    assert!(heard.iter().all(|heard| heard.is_signed_with(&newest) && !heard.is_signed_with(&new)));
}

#[path = "../../examples/verify-webhook/verify.rs"]
mod example;

/// The book's examples believe what Lungo signs, and nothing else; each stands in the book word for word.
#[test]
fn the_examples_of_the_book_verify_signatures() {
    use lungo::signing::{SigningSecret, headers};

    let (old, new, foreign) = (SigningSecret::generate(), SigningSecret::generate(), SigningSecret::generate());
    let now = lungo::clock::now();
    let body = "{\"customer\":\"Zo\u{eb}\"}";
    let signed = |at| -> HashMap<String, String> {
        let signed = headers(&[&new, &old], "evt_1", at, body.as_bytes());
        signed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let with = |name: &str, value: &str| {
        let mut headers = signed(now);
        headers.insert(name.to_owned(), value.to_owned());
        headers
    };
    let minutes = chrono::Duration::minutes;
    let cases = [
        (true, new.expose(), signed(now), body),
        (true, old.expose(), signed(now), body),
        (true, new.expose(), signed(now - minutes(4)), body),
        (false, foreign.expose(), signed(now), body),
        (false, new.expose(), signed(now), "{\"customer\":\"Eve\"}"),
        (false, new.expose(), with("webhook-id", "evt_2"), body),
        (false, new.expose(), with("webhook-timestamp", "now"), body),
        (false, new.expose(), with("webhook-timestamp", &"9".repeat(500)), body),
        (false, new.expose(), with("webhook-signature", "v1,"), body),
        (false, new.expose(), with("webhook-signature", "v1,n\u{f8}pe v2,x"), body),
        (false, new.expose(), signed(now - minutes(6)), body),
        (false, new.expose(), signed(now + minutes(6)), body),
        (false, new.expose(), HashMap::new(), body),
    ];
    let wanted: Vec<bool> = cases.iter().map(|(wanted, ..)| *wanted).collect();
    let header = |headers: &HashMap<String, String>, name: &str| headers.get(name).cloned().unwrap_or_default();
    let in_rust = cases.iter().map(|(_, secret, headers, body)| {
        let [id, at, signatures] =
            ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| header(headers, name));
        example::verify(secret, &id, &at, &signatures, body.as_bytes(), now.timestamp())
    });
    assert_eq!(in_rust.collect::<Vec<_>>(), wanted, "rust");

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify-webhook");
    let cases =
        json!(cases.iter().map(|(_, secret, headers, body)| json!([secret, headers, body])).collect::<Vec<_>>());
    let python = "import json, sys; from verify import verify
print(json.dumps([verify(s, h, b.encode()) for s, h, b in json.loads(sys.stdin.buffer.read())]))";
    let node = "import { verify } from './verify.mjs'; import { readFileSync } from 'node:fs';
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(([s, h, b]) => verify(s, h, Buffer.from(b)))))";
    for (program, flags) in [("python3", vec!["-B", "-c", python]), ("node", vec!["--input-type=module", "-e", node])] {
        let spawned =
            Command::new(program).args(flags).current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            // As for the client: a machine without it is told, and CI fails.
            Err(fault) => {
                assert!(std::env::var_os("CI").is_none(), "{program}: {fault}");
                eprintln!("*** The example in {program} was NOT tested: {fault} ***");
                continue;
            }
        };
        child.stdin.take().expect("piped").write_all(cases.to_string().as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{program}");
        let verdicts: Vec<bool> = serde_json::from_slice(&output.stdout).expect("a list");
        assert_eq!(verdicts, wanted, "{program}");
    }
    let page = fs::read_to_string(folder.join("../../docs/src/integrate/webhooks.md")).expect("the page");
    for (language, file) in [("python", "verify.py"), ("js", "verify.mjs"), ("rust", "verify.rs")] {
        let code = fs::read_to_string(folder.join(file)).expect("an example");
        assert!(page.contains(&format!("```{language}\n{code}```")), "{file} does not stand in the book word for word");
    }
}

#[test]
fn whatever_kills_the_server_every_change_is_told_in_the_end() {
    let mut server = Server::start(&[ALLOW_LOOPBACK, "--webhook-timeout=1s", "--lease=3s", "--call-timeout=1s"]);
    let receiver = Receiver::start(Manner::Answer(200));
    let mut calls = 0;
    receiver.behaves(move |_| {
        calls += 1;
        [Manner::Answer(200), Manner::Answer(200), Manner::HangUp, Manner::Answer(500)][calls % 4]
    });
    let webhook = subscribe(&server, &receiver);
    let mut orders = Vec::new();
    for round in 0..6 {
        orders.extend((0..6).map(|_| order(&server)));
        thread::sleep(Duration::from_millis(150 + 170 * round));
        server.kill_9();
        server.restart();
    }
    receiver.becomes(Manner::Answer(200));
    for order in &orders {
        server.wait_for(order, "over", |order| order["ongoing"] == false);
    }
    let end = Instant::now() + PATIENCE;
    let missing = || orders.iter().filter(|order| receiver.newest(order) != server.order(order)["version"]);
    while let Some(order) = missing().next() {
        let about = |one: &Value| one["order_id"] == *order;
        let log: Vec<Value> = deliveries(&server, &webhook).into_iter().filter(about).collect();
        assert!(Instant::now() < end, "not told of {:#}\n{log:#?}", server.order(order));
        thread::sleep(LOOK);
    }
}
