//! A primary that still answers and takes no writes, or not all: what was acknowledged is there afterwards, and nothing
//! was acknowledged that is not.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Cluster, Intent, Node, is_there, list, shown, until_at_last};
use crate::server::{BY_HAND, Server, fresh, teas, text};

fn start(cluster: &Cluster) -> Server {
    let database = cluster.fresh_database();
    Server::start(&[&format!("--database={}", database.primary), "--pace=zero"])
}

#[test]
fn a_primary_that_has_become_read_only_turns_writes_away_and_serves_lists() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    let server = start(&cluster);
    let (mut before, mut after) = (Intent::new(), Intent::new());
    before.insist(&[&server.partner], Duration::from_secs(10)).expect("all is well");
    cluster.set(Node::Primary, "default_transaction_read_only", "on");
    until_at_last("it is not ready", || (server.get("/readyz").status == 503).then_some(()));
    let refused = after.call(&server.partner).expect("it answers").problem(503, "database_unavailable");
    refused.header("retry-after");
    let listed = list(&server.partner, &before.customer, None).expect("it answers").expect(200);
    assert_eq!(shown(&listed.body), [before.id.clone().expect("it was accepted")]);

    cluster.set(Node::Primary, "default_transaction_read_only", "off");
    after.insist(&[&server.partner], Duration::from_secs(30)).expect("it goes on by itself");
    until_at_last("it is ready", || (server.get("/readyz").status == 200).then_some(()));
    let listed = list(&server.partner, &after.customer, None).expect("it answers").expect(200);
    assert_eq!(shown(&listed.body).len(), 1, "one intent is one order: {}", listed.text);
}

#[test]
fn an_outage_is_a_line_a_second_at_most() {
    const OUTAGE: Duration = Duration::from_secs(12);
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    let server = start(&cluster);
    Intent::new().insist(&[&server.partner], Duration::from_secs(10)).expect("all is well");
    let alarms = || {
        let is_alarm = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        server.log().lines().filter(is_alarm).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = alarms().len();
    cluster.kill_primary();
    // Those who ask meanwhile make no more lines.
    let began = Instant::now();
    while began.elapsed() < OUTAGE {
        let _ = Intent::new().call(&server.partner);
        thread::sleep(Duration::from_millis(400));
    }
    let said = alarms().split_off(before);
    assert!(said.iter().any(|line| line.contains("store.database_unavailable")), "{said:#?}");
    // One that begins it, one that says that it lasts, and one a second for all that fails meanwhile.
    assert!(said.len() as u64 <= began.elapsed().as_secs() + 4, "{} lines: {said:#?}", said.len());
    cluster.start_primary();
    Intent::new().insist(&[&server.partner], Duration::from_secs(30)).expect("it goes on by itself");
    let ended = server.log().lines().filter(|line| line.contains("store.database_available")).count();
    assert_eq!(ended, 1);
}

#[test]
fn a_write_that_finds_its_connection_dead_is_made_on_another_one() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(0, false);
    let server = start(&cluster);
    for _ in 0..5 {
        Intent::new().insist(&[&server.partner], Duration::from_secs(10)).expect("all is well");
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lungo'";
        assert_ne!(cluster.psql(Node::Primary, ended), "0");
        let mut late = Intent::new();
        let answer = late.call(&server.partner).expect("it answers").expect(202);
        late.id = Some(answer.id());
        let listed = until_at_last("it is listed", || {
            list(&server.partner, &late.customer, None).ok().filter(|answer| answer.status == 200)
        });
        assert_eq!(shown(&listed.body), [answer.id()]);
    }
}

/// A file that may not grow is what a server sees of a full disk: nothing can be added to a table, and what has room in
/// it can still be written.
#[test]
fn on_a_full_disk_creates_are_turned_away_cancels_work_where_they_can_and_nothing_is_lost() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start_small();
    let server = start(&cluster);
    let held: Vec<String> = (0..20)
        .map(|_| {
            let mut body = teas(&fresh("cus"), 2, "pm_card_visa", None);
            body["shop_id"] = json!(BY_HAND);
            text(&server.created(&body)["order_id"])
        })
        .collect();
    held.iter().for_each(|id| drop(server.wait_for_status(id, "awaiting_shop")));

    cluster.limit_files(Some(1_200_000));
    let accepted = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut refused = 0;
                // One may still find room that another had no use for.
                while refused < 20 {
                    let mut intent = Intent::new();
                    match intent.call(&server.partner).expect("it answers") {
                        answer if answer.status == 202 => {
                            intent.id = Some(answer.id());
                            accepted.lock().unwrap().push(intent);
                            refused = 0;
                        }
                        answer if answer.body["why"] == "full" => panic!("{}", answer.text),
                        answer => {
                            assert_eq!(answer.status, 503, "{}", answer.text);
                            refused += 1;
                        }
                    }
                    assert!(accepted.lock().unwrap().len() < 20_000, "the disk is never full");
                }
            });
        }
    });
    let mut accepted = accepted.into_inner().unwrap();
    let cancelled: Vec<bool> = held
        .iter()
        .map(|id| match server.cancel(id) {
            answer if answer.status == 200 => true,
            answer => {
                assert_eq!(answer.status, 503, "{}", answer.text);
                false
            }
        })
        .collect();
    let worked = cancelled.iter().filter(|cancelled| **cancelled).count();
    println!("{} orders until it was full; then {worked} of {} cancels worked", accepted.len(), held.len());
    assert!(worked > 0, "where they can");
    server.get("/livez").expect(200);
    assert!(server.log().contains("store.disk_full"), "it is said what is wrong");

    cluster.limit_files(None);
    let mut late = Intent::new();
    late.insist(&[&server.partner], Duration::from_secs(30)).expect("it goes on by itself");
    accepted.push(late);
    for (id, was_cancelled) in held.iter().zip(cancelled) {
        assert!(!was_cancelled || server.order(id)["status"] == "cancelled", "{id}");
        server.cancel(id).expect(200);
        server.wait_for_payment(id, "voided");
    }
    for intent in &accepted {
        server.order(intent.id.as_ref().expect("it was accepted"));
    }
}
