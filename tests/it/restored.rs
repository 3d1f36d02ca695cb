//! A backup of the embedded database takes the place of what came after it.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use lungo::gateway::HeldStatus;
use lungo::gateway::simulator;
use lungo::store::FILE;
use serde_json::json;

use crate::server::{BY_HAND, Server, fresh, lungo, run, teas, text, until};

fn held(server: &Server) -> String {
    let mut body = teas(&fresh("cus"), 2, "pm_card_visa", None);
    body["shop_id"] = json!(BY_HAND);
    let id = text(&server.created(&body)["order_id"]);
    server.wait_for_payment(&id, "authorized");
    id
}

/// Copies the database of a running service, as an operator does.
fn copy(server: &Server, to: &str) -> PathBuf {
    let backup = server.data().join(to);
    let file = server.data().join(FILE);
    let mut conn = SqliteConnection::establish(&file.display().to_string()).expect("it opens");
    conn.batch_execute("PRAGMA busy_timeout = 5000").expect("it may be set");
    conn.batch_execute(&format!("VACUUM INTO '{}'", backup.display())).expect("there is room");
    backup
}

/// Stops the service, and starts it on the copy.
fn go_back_to(server: &mut Server, backup: &Path) {
    server.terminate();
    assert!(server.wait().success());
    let file = server.data().join(FILE);
    fs::rename(backup, &file).expect("it can be replaced");
    for left in ["-wal", "-shm"] {
        let _ = fs::remove_file(server.data().join(format!("{FILE}{left}")));
    }
    server.restart();
}

#[test]
fn a_cursor_that_stands_behind_a_lost_event_is_refused_however_long_the_log_is_again() {
    let mut server = Server::start(&[]);
    if !server.data().join(FILE).exists() {
        return;
    }
    held(&server);
    let feed = |server: &Server, cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        server.get(&format!("/v1/events?limit=1000{cursor}"))
    };
    let kept = text(&feed(&server, None).expect(200).body["cursor"]);
    let backup = copy(&server, "backup.db");
    for _ in 0..2 {
        held(&server);
    }
    let lost = text(&feed(&server, Some(&kept)).expect(200).body["cursor"]);
    go_back_to(&mut server, &backup);
    feed(&server, Some(&lost)).problem(409, "cursor_invalid");
    // As many events as were lost, and more: the position is there again, the event is not.
    let new: Vec<String> = (0..4).map(|_| held(&server)).collect();
    feed(&server, Some(&lost)).problem(409, "cursor_invalid");
    let told = feed(&server, Some(&kept)).expect(200).body;
    let told: Vec<String> = told["events"].as_array().expect("events").iter().map(|e| text(&e["order_id"])).collect();
    assert!(new.iter().all(|order| told.contains(order)), "{told:?}");
}

#[test]
fn the_money_of_orders_that_are_not_in_a_backup_is_given_back_once_somebody_says_that_it_is_one() {
    let mut server = Server::start(&[]);
    if !server.data().join(FILE).exists() {
        // On the servers it is a failover that goes back.
        return;
    }
    let kept = held(&server);
    let backup = copy(&server, "backup.db");
    let since = Utc::now();
    let lost = held(&server);
    go_back_to(&mut server, &backup);

    let ledger = server.data().join("gateway-ledger.jsonl");
    let status = |order: &str| {
        let entries = simulator::ledger(&ledger).expect("it can be read");
        entries.into_iter().find(|entry| entry.held.order_id.to_string() == order).expect("it was paid for").held.status
    };
    server.get(&format!("/v1/orders/{lost}")).problem(404, "not_found");
    let late = held(&server);
    assert_eq!(status(&lost), HeldStatus::Authorized, "nothing is guessed");

    let restored = |time: &str| {
        let mut command = lungo();
        command.args(["restored", "--since", time, "--data"]).arg(server.data());
        run(command)
    };
    let (ended, said) = restored("2999-01-01T00:00:00Z");
    assert!(!ended.success() && said.contains("not come yet"), "{said}");
    let (ended, said) = restored(&since.to_rfc3339_opts(SecondsFormat::Millis, true));
    assert!(ended.success(), "{said}");
    until("the hold is let go of", || (status(&lost) == HeldStatus::Voided).then_some(()));
    assert_eq!((status(&kept), status(&late)), (HeldStatus::Authorized, HeldStatus::Authorized));
}
