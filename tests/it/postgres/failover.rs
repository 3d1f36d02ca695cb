//! A primary or a standby dies: what was acknowledged is there, or it is said that it is not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lungo::gateway::HeldStatus;
use lungo::gateway::simulator;
use serde_json::json;

use super::{Cluster, Intent, Node, ask, flags, is_there, list, shown, until_at_last};
use crate::server::{BY_HAND, GatewayProcess, Server, fresh, teas, text, two_lungos, until};

/// The contract's: how long an outage may be felt.
const RECOVERY: Duration = Duration::from_secs(30);

fn start(cluster: &Cluster) -> Server {
    let database = cluster.fresh_database();
    let flags = flags(cluster, &database);
    Server::start(&flags.iter().map(String::as_str).chain(["--pace=zero"]).collect::<Vec<_>>())
}

/// A cursor behind about all that has happened.
fn end_of_feed(server: &Server) -> String {
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/events?limit=1000{cursor}")).expect(200).body;
        if page["events"].as_array().is_some_and(|events| events.len() < 1000) {
            return text(&page["cursor"]);
        }
        cursor = format!("&cursor={}", text(&page["cursor"]));
    }
}

#[test]
fn a_dead_synchronous_standby_leaves_the_outcome_unknown_until_it_is_back() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, true);
    let server = start(&cluster);
    Intent::new().insist(&[&server.partner], Duration::from_secs(10)).expect("all is well");
    cluster.freeze(Node::Replica(0));
    let mut waiting = Intent::new();
    // Longer than the watchdog needs to look into it: the server itself says that it is at work.
    for _ in 0..6 {
        let asked = Instant::now();
        let answer = waiting.call(&server.partner).expect("it answers");
        assert_eq!(answer.status, 503, "nobody has applied it: {}", answer.text);
        assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
        answer.header("retry-after");
    }
    // What is not in doubt goes on: a list of somebody else is an answer or an error, in time.
    let asked = Instant::now();
    let answer = list(&server.partner, &fresh("cus"), None).expect("it answers");
    assert!([200, 503].contains(&answer.status) && asked.elapsed() < Duration::from_secs(10), "{}", answer.text);
    let log = server.log();
    let gave_up = |line: &str| line.contains("store.connection_abandoned") && line.contains("thread=\"lane");
    assert!(!log.lines().any(gave_up), "a commit that waits for its standby is waited for: {log}");
    cluster.thaw(Node::Replica(0));
    let back = Instant::now();
    waiting.insist(&[&server.partner], RECOVERY).expect("it recovers by itself");
    println!("the first order was accepted {:.1?} after the standby was back", back.elapsed());
    let list =
        until("the list has it", || list(&server.partner, &waiting.customer, None).ok().filter(|a| a.status == 200));
    assert_eq!(shown(&list.body).len(), 1, "one intent is one order: {}", list.text);
}

#[test]
fn every_order_that_was_acknowledged_survives_a_synchronous_failover() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(2, true);
    let server = start(&cluster);
    let ordering = AtomicBool::new(true);
    let accepted = Mutex::new(Vec::<(Instant, Intent)>::new());
    let (mut felt, mut told) = (Duration::ZERO, String::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while ordering.load(Ordering::Relaxed) {
                    let mut intent = Intent::new();
                    intent.insist(&[&server.partner], RECOVERY * 2).expect("it goes on after the failover");
                    accepted.lock().unwrap().push((Instant::now(), intent));
                }
            });
        }
        thread::sleep(Duration::from_secs(2));
        told = end_of_feed(&server);
        cluster.kill_primary();
        let killed = Instant::now();
        cluster.promote_the_one_ahead();
        until_at_last("orders are accepted again", || {
            accepted.lock().unwrap().iter().any(|(at, _)| *at > killed + Duration::from_millis(200)).then_some(())
        });
        felt = killed.elapsed();
        thread::sleep(Duration::from_secs(1));
        ordering.store(false, Ordering::Relaxed);
    });
    let accepted = accepted.into_inner().unwrap();
    println!("{} orders; accepted again {felt:.1?} after the primary was killed", accepted.len());
    assert!(felt < RECOVERY, "clients felt it for {felt:?}");
    // It was given in the very last moment before: what it tells of is there, and it goes on.
    server.get(&format!("/v1/events?cursor={told}")).expect(200);
    for (_, intent) in &accepted {
        server.order(intent.id.as_ref().expect("it was accepted"));
        let mut again = Intent { customer: intent.customer.clone(), key: intent.key.clone(), id: intent.id.clone() };
        again.insist(&[&server.partner], RECOVERY).expect("it is known");
    }
}

#[test]
fn a_lossy_failover_is_noticed() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, false);
    let server = start(&cluster);
    let customer = fresh("cus");
    let create = |body: &serde_json::Value| server.call("POST", "/v1/orders").json(body).send();
    let kept = create(&two_lungos(&customer)).expect(202);
    let before = text(&server.get("/v1/events").expect(200).body["cursor"]);
    cluster.catch_up(0);
    // What is acknowledged now is on the primary only, and dies with it.
    cluster.stop_replica(0, false);
    let mut body = two_lungos(&customer);
    body["lines"][0]["quantity"] = json!(1);
    body["total"]["amount"] = json!(410);
    let lost = create(&body).expect(202);
    let (position, revision) = (lost.header("lungo-position").to_owned(), text(&lost.body["revision"]));
    let feed = |cursor: &str| server.get(&format!("/v1/events?limit=1000{cursor}"));
    let told = until("the feed tells of it", || {
        let page = feed("").expect(200).body;
        let is_told = page["events"].as_array()?.iter().any(|event| event["order_id"] == lost.id());
        is_told.then(|| text(&page["cursor"]))
    });
    assert_ne!(kept.id(), lost.id());
    cluster.kill_primary();
    cluster.start_replica(0);
    cluster.promote(0);
    // Many other transactions later, so that places in the log count as reached by their number alone.
    cluster.psql(Node::Replica(0), "CREATE TABLE noise AS SELECT generate_series(1, 200000) AS number");
    let spend = "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    cluster.psql(Node::Replica(0), spend);

    let answer = until_at_last("it answers again", || {
        list(&server.partner, &customer, Some(&position)).ok().filter(|answer| answer.status != 503)
    });
    let answer = answer.problem(409, "history_diverged");
    let fresh_one = text(&answer.body["position"]);
    let answer = list(&server.partner, &customer, Some(&fresh_one)).expect("it answers").expect(200);
    assert_eq!(shown(&answer.body), [kept.id()]);

    // The first one may meet a connection to the dead: that is unknown, and repeated.
    let order_again = |revision: &str| {
        until_at_last("it is decided", || {
            let call = server.call("POST", "/v1/orders").header("If-Match", &format!("\"{revision}\""));
            Some(call.json(&body).send()).filter(|answer| answer.status != 503)
        })
    };
    order_again(&revision).problem(409, "history_diverged");
    server.get(&format!("/v1/orders/{}", lost.id())).problem(404, "not_found");
    order_again(&text(&answer.body["revision"])).expect(202);

    let decided = |cursor: &str| {
        let page = || Some(feed(&format!("&cursor={cursor}"))).filter(|page| page.status != 503);
        until_at_last("the feed answers", page)
    };
    decided(&told).problem(409, "cursor_invalid");
    let page = decided(&before).expect(200).body;
    let orders: Vec<_> = page["events"].as_array().expect("a page").iter().map(|event| &event["order_id"]).collect();
    assert!(orders.len() > 1 && !orders.iter().any(|order| **order == json!(lost.id())), "{page}");
}

#[test]
fn the_money_of_orders_that_a_failover_lost_is_given_back_and_no_other() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, false);
    let database = cluster.fresh_database();
    let flags = [flags(&cluster, &database), vec!["--release-lost-after=2s".into(), "--last-look=2s".into()]].concat();
    let (server, _gateway) = GatewayProcess::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let held = || {
        let mut body = teas(&fresh("cus"), 2, "pm_card_visa", None);
        body["shop_id"] = json!(BY_HAND);
        let id = text(&server.created(&body)["order_id"]);
        server.wait_for_payment(&id, "authorized");
        id
    };
    let sold = || {
        let id = text(&server.created(&teas(&fresh("cus"), 2, "pm_card_visa", None))["order_id"]);
        server.wait_for_payment(&id, "captured");
        id
    };
    let noted = "SELECT count(*) FROM meta WHERE name = 'history'";
    until("it is noted where the database is", || (database.psql(noted) == "1").then_some(()));
    let kept = [held(), sold()];
    cluster.catch_up(0);
    cluster.stop_replica(0, false);
    let lost = [held(), sold()];
    cluster.kill_primary();
    cluster.start_replica(0);
    cluster.promote(0);

    let ledger = server.data().join("gateway-ledger.jsonl");
    let of = |order: &str| {
        let entries = simulator::ledger(&ledger).expect("it can be read");
        let entry = entries.into_iter().find(|entry| entry.held.order_id.to_string() == order);
        entry.map(|entry| entry.held).expect("it was paid for")
    };
    until_at_last("the hold is let go of", || (of(&lost[0]).status == HeldStatus::Voided).then_some(()));
    until_at_last("what was taken is given back", || (of(&lost[1]).refunded == 600).then_some(()));
    let late = held();
    let url = cluster.url(Node::Replica(0), &database.name);
    let count = |of: &str| ask(&url, &format!("SELECT count(*) FROM {of}")).expect("it answers");
    until_at_last("the last look", || (count("meta WHERE name = 'lost'") == "0").then_some(()));
    for good in [&kept[0], &late] {
        assert_eq!(of(good).status, HeldStatus::Authorized, "{good} is a good payment");
    }
    assert_eq!((of(&kept[1]).status, of(&kept[1]).refunded), (HeldStatus::Captured, 0));
    assert_eq!(count("audit WHERE action = 'release_lost_payment'"), "2");
    server.get(&format!("/v1/orders/{}", lost[0])).problem(404, "not_found");
    assert_eq!(server.order(&kept[0])["status"], "awaiting_shop");
}
