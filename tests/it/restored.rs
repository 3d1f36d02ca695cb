//! A backup takes the place of what came after it: of the embedded database, and (`TEST_ENGINE=postgres`) of one on a
//! server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, SecondsFormat, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use lungo::gateway::simulator;
use lungo::gateway::{Held, HeldStatus};
use lungo::store::FILE;
use serde_json::json;

use crate::postgres::{ask, programs, run_file};
use crate::server::{BY_HAND, Server, database, fresh, lungo, reconcile, run, teas, text, until};

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn held(server: &Server) -> String {
    let mut body = teas(&fresh("cus"), 2, "pm_card_visa", None);
    body["shop_id"] = json!(BY_HAND);
    let id = text(&server.created(&body)["order_id"]);
    server.wait_for_payment(&id, "authorized");
    id
}

fn command(server: &Server, arguments: &[&str]) -> (bool, String) {
    let mut command = lungo();
    command.args(arguments).arg("--data").arg(server.data()).envs(database(server.data()));
    let (ended, said) = run(command);
    (ended.success(), said)
}

/// The address of its database, where it is on a server.
fn on_a_server(server: &Server) -> Option<String> {
    database(server.data()).pop().map(|(_, url)| url)
}

/// What an operator has to go back to.
struct Backup {
    file: PathBuf,
    made_at: DateTime<Utc>,
}

/// Has the running service backed up, as an operator does: on a server by PostgreSQL's own means.
fn backup(server: &Server, name: &str) -> Backup {
    let backup = Backup { file: server.data().join(name), made_at: Utc::now() };
    let file = backup.file.display().to_string();
    match on_a_server(server) {
        Some(url) => {
            let mut dump = Command::new(programs().join("pg_dump"));
            let output = dump.args(["--no-owner", "-d", &url, "-f", &file]).output().expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        None => {
            let (is_done, said) = command(server, &["backup", &file]);
            assert!(is_done, "{said}");
            let (is_done, said) = command(server, &["backup", &file]);
            assert!(!is_done && said.contains("overwrites nothing"), "{said}");
        }
    }
    backup
}

/// Stops the service as a power cut would, and starts it on the backup.
fn go_back_to(server: &mut Server, backup: &Backup) {
    let restore = ["restore", &backup.file.display().to_string()];
    let (is_done, said) = command(server, &restore);
    if let Some(url) = on_a_server(server) {
        assert!(!is_done && said.contains("PostgreSQL's own means"), "{said}");
        server.kill_9();
        ask(&url, "DROP SCHEMA public CASCADE").expect("the service is gone");
        ask(&url, "CREATE SCHEMA public").expect("it was dropped");
        run_file(&url, &backup.file, &[]).expect("a whole dump");
        let (is_done, said) = command(server, &["restored", "--since", &stamp(backup.made_at)]);
        assert!(is_done, "{said}");
        return server.restart();
    }
    assert!(!is_done && said.contains("Stop the service that works there"), "{said}");
    server.kill_9();
    let log = server.data().join(format!("{FILE}-wal"));
    assert!(log.metadata().is_ok_and(|log| log.len() > 0), "what a killed service leaves");
    let (is_done, said) = command(server, &restore);
    assert!(is_done, "{said}");
    assert!(!log.exists(), "it would destroy the backup");
    server.restart();
}

#[test]
fn a_cursor_that_stands_behind_a_lost_event_is_refused_however_long_the_log_is_again() {
    let mut server = Server::start(&[]);
    held(&server);
    let feed = |server: &Server, cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        server.get(&format!("/v1/events?limit=1000{cursor}"))
    };
    let kept = text(&feed(&server, None).expect(200).body["cursor"]);
    let made = backup(&server, "a.backup");
    for _ in 0..2 {
        held(&server);
    }
    let lost = text(&feed(&server, Some(&kept)).expect(200).body["cursor"]);
    go_back_to(&mut server, &made);
    feed(&server, Some(&lost)).problem(409, "cursor_invalid");
    // As many events as were lost, and more: the position is there again, the event is not.
    let new: Vec<String> = (0..4).map(|_| held(&server)).collect();
    feed(&server, Some(&lost)).problem(409, "cursor_invalid");
    let told = feed(&server, Some(&kept)).expect(200).body;
    let told: Vec<String> = told["events"].as_array().expect("events").iter().map(|e| text(&e["order_id"])).collect();
    assert!(new.iter().all(|order| told.contains(order)), "{told:?}");
}

fn ledger(server: &Server, order: &str) -> Held {
    let entries = simulator::ledger(&server.data().join("gateway-ledger.jsonl")).expect("it can be read");
    entries.into_iter().find(|entry| entry.held.order_id.to_string() == order).expect("it was paid for").held
}

#[test]
fn a_restored_backup_makes_nothing_twice_refunds_nothing_that_was_handed_over_and_loses_no_money() {
    let mut server = Server::start(&[]);
    let key = json!({"kind": "shop", "shop_id": BY_HAND, "label": "tablet"});
    let admin = server.with_key("LUNGO_ADMIN_KEY");
    let key = text(&admin.call("POST", "/v1/admin/keys").json(&key).send().expect(201).body["secret"]);
    let tablet = server.partner.with_key(Some(&key));
    let step = |order: &str, step: &str| {
        tablet.call("POST", &format!("/v1/shop/orders/{order}/{step}")).json(&json!({})).send().expect(200);
    };
    let simulated = |server: &Server| {
        server.created(&teas(&fresh("cus"), 1, "pm_card_visa", None))["order_id"].as_str().expect("an id").to_owned()
    };
    let by_baristas: Vec<String> = (0..3).map(|_| simulated(&server)).collect();
    let [kept, begun, sold, cancelled, given_back] = [(); 5].map(|()| held(&server));
    step(&sold, "accept");
    let made = backup(&server, "a.backup");

    // What the backup does not know of any more.
    step(&begun, "accept");
    step(&begun, "start");
    for told in ["start", "ready", "collected"] {
        step(&sold, told);
    }
    server.cancel(&cancelled).expect(200);
    step(&given_back, "accept");
    step(&given_back, "start");
    server.wait_for_payment(&given_back, "captured");
    let why = json!({"reason": "equipment_failure"});
    tablet.call("POST", &format!("/v1/shop/orders/{given_back}/cancel")).json(&why).send().expect(200);
    for order in [&begun, &sold] {
        server.wait_for_payment(order, "captured");
    }
    server.wait_for_payment(&cancelled, "voided");
    server.wait_for_payment(&given_back, "refunded");
    for order in &by_baristas {
        server.wait_for_status(order, "completed");
        server.wait_for_payment(order, "captured");
    }
    let (lost, lost_and_taken) = (held(&server), simulated(&server));
    server.wait_for_payment(&lost_and_taken, "captured");
    go_back_to(&mut server, &made);

    let status = |order: &str| text(&server.order(order)["status"]);
    assert_eq!(status(&kept), "awaiting_shop");
    assert_eq!((status(&begun), status(&sold)), ("preparing".into(), "preparing".into()));
    for order in [&begun, &sold] {
        let board = tablet.get(&format!("/v1/shop/orders/{order}")).expect(200).body;
        assert!(board["found_begun_at"].is_string(), "the shop is told to look first: {board}");
    }
    for order in [&cancelled, &given_back] {
        let order = server.order(order);
        assert_eq!(
            (&order["status"], &order["reason"]["code"]),
            (&json!("cancelled"), &json!("history_lost")),
            "{order}"
        );
    }
    for order in &by_baristas {
        assert!(["preparing", "ready", "completed"].contains(&&*status(order)), "{}", server.order(order));
    }
    for lost in [&lost, &lost_and_taken] {
        server.get(&format!("/v1/orders/{lost}")).problem(404, "not_found");
    }
    // The shop goes on where it was.
    step(&sold, "ready");
    step(&sold, "collected");
    until("the lost holds are free, and what was taken goes back", || {
        let (held, taken) = (ledger(&server, &lost), ledger(&server, &lost_and_taken));
        (held.status == HeldStatus::Voided && taken.refunded == taken.captured && taken.captured > 0).then_some(())
    });
    until("a reconciliation ends at zero", || reconcile(server.data()).0.then_some(()));
    for order in by_baristas.iter().chain([&begun, &sold]) {
        let held = ledger(&server, order);
        assert!(held.captured > 0 && held.refunded == 0, "{held:?}");
    }
    assert_eq!(ledger(&server, &kept).status, HeldStatus::Authorized);
    let made = fs::read_to_string(server.data().join("shop-journal.jsonl")).expect("the baristas write it");
    for order in &by_baristas {
        let lines = made.lines().filter(|line| line.contains(order.as_str()));
        let is_made = |line: &&str| line.contains(r#""note":"reported""#) && line.contains(r#"{"type":"made"}"#);
        let times = lines.filter(is_made).count();
        assert!(times <= 1, "the second coffee: {order}\n{made}");
    }
}

#[test]
fn a_copy_made_by_other_means_is_compared_once_an_operator_says_that_it_is_one() {
    let mut server = Server::start(&[]);
    if on_a_server(&server).is_some() {
        // Every backup of a server is such a copy: the tests above restore one.
        return;
    }
    let kept = held(&server);
    let copy = server.data().join("copy.db");
    let mut conn = SqliteConnection::establish(&server.data().join(FILE).display().to_string()).expect("it opens");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("it may be set");
    conn.batch_execute(&format!("VACUUM INTO '{}'", copy.display())).expect("there is room");
    drop(conn);
    let since = Utc::now();
    let lost = held(&server);
    server.terminate();
    assert!(server.wait().success());
    fs::rename(copy, server.data().join(FILE)).expect("it can be replaced");
    for left in ["-wal", "-shm"] {
        let _ = fs::remove_file(server.data().join(format!("{FILE}{left}")));
    }
    server.restart();

    let status = |order: &str| ledger(&server, order).status;
    server.get(&format!("/v1/orders/{lost}")).problem(404, "not_found");
    let late = held(&server);
    assert_eq!(status(&lost), HeldStatus::Authorized, "nothing is guessed");

    let restored = |time: &str| command(&server, &["restored", "--since", time]);
    let (is_done, said) = restored("2999-01-01T00:00:00Z");
    assert!(!is_done && said.contains("not come yet"), "{said}");
    let (is_done, said) = restored(&stamp(since));
    assert!(is_done, "{said}");
    until("the hold is let go of", || (status(&lost) == HeldStatus::Voided).then_some(()));
    assert_eq!((status(&kept), status(&late)), (HeldStatus::Authorized, HeldStatus::Authorized));
}
