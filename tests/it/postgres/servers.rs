//! The tests' own servers do what the tests rely on, and the migrations do what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Cluster, Database, Node, ask, is_there, run_file, shared};
use crate::server::until;

/// Makes all migrations, or undoes them.
fn migrate(database: &Database, file: &str) {
    let all = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres")).unwrap();
    let mut all: Vec<PathBuf> = all.map(|entry| entry.unwrap().path().join(file)).collect();
    all.sort();
    if file == "down.sql" {
        all.reverse();
    }
    all.iter().for_each(|migration| run_file(&database.primary, migration, &[]).unwrap());
}

#[test]
fn a_row_comes_to_both_replicas_and_a_pause_holds_it_back() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(2, false);
    let replicas = [Node::Replica(0), Node::Replica(1)];
    cluster.psql(Node::Primary, "CREATE TABLE rows (row int); INSERT INTO rows VALUES (1)");
    let count = "SELECT count(*) FROM rows";
    let sees = |node: Node, rows: &str| {
        // Before it has the table it has an error.
        until("the row arrives", || ask(&cluster.url(node, "postgres"), count).ok().filter(|seen| seen == rows));
    };
    replicas.iter().for_each(|node| sees(*node, "1"));

    cluster.pause_replay(0);
    cluster.psql(Node::Primary, "INSERT INTO rows VALUES (2)");
    sees(replicas[1], "2");
    thread::sleep(Duration::from_millis(200));
    assert_eq!(cluster.psql(replicas[0], count), "1");
    cluster.resume_replay(0);
    sees(replicas[0], "2");

    cluster.stop_replica(1, true);
    assert!(ask(&cluster.replica_url(1), "SELECT 1").is_err());
    cluster.psql(Node::Primary, "INSERT INTO rows VALUES (3)");
    cluster.start_replica(1);
    sees(replicas[1], "3");

    cluster.kill_primary();
    assert!(ask(&cluster.primary_url(), "SELECT 1").is_err());
    cluster.start_primary();
    assert_eq!(cluster.psql(Node::Primary, count), "3");
    cluster.psql(Node::Primary, "INSERT INTO rows VALUES (4)");
    replicas.iter().for_each(|node| sees(*node, "4"));

    cluster.kill_primary();
    cluster.promote(0);
    cluster.psql(replicas[0], "INSERT INTO rows VALUES (5)");
    sees(replicas[1], "5");
}

#[test]
fn a_synchronous_commit_waits_for_a_standby_that_is_away() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, true);
    cluster.psql(Node::Primary, "CREATE TABLE rows (row int)");
    assert_eq!(cluster.psql(Node::Replica(0), "SELECT count(*) FROM rows"), "0", "applied before it is told");
    cluster.freeze(Node::Replica(0));
    let url = cluster.primary_url();
    let insert = thread::spawn(move || ask(&url, "INSERT INTO rows VALUES (1)"));
    thread::sleep(Duration::from_millis(500));
    assert!(!insert.is_finished(), "nobody has applied it");
    cluster.thaw(Node::Replica(0));
    insert.join().unwrap().unwrap();
    assert_eq!(cluster.psql(Node::Replica(0), "SELECT count(*) FROM rows"), "1");
}

#[test]
fn databases_are_their_tests_own() {
    let Some(cluster) = shared() else { return };
    let (one, other) = (cluster.fresh_database(), cluster.fresh_database());
    one.psql("CREATE TABLE rows (row int)");
    other.psql("CREATE TABLE rows (row int)");
    assert_ne!(one.name, other.name);
    until("it is on a replica", || ask(&one.replicas[1], "SELECT count(*) FROM rows").ok());
}

#[test]
fn nothing_is_left_of_servers_whose_test_was_killed() {
    if !is_there() {
        return;
    }
    let before = homes();
    // This test's own binary, with the one test that starts servers and waits to be killed.
    let mut child = Command::new(std::env::current_exe().expect("a name"))
        .args(["postgres::servers::waits_to_be_killed", "--exact", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it runs again");
    let started = |path: &PathBuf| {
        !before.contains(path)
            && fs::read_to_string(path.join("started_by")).is_ok_and(|pid| pid == child.id().to_string())
    };
    let home = until("the servers start", || homes().into_iter().find(started));
    let postmaster = fs::read_to_string(home.join("primary/data/postmaster.pid")).expect("it runs");
    let postmaster = postmaster.lines().next().expect("its number").to_owned();
    assert!(Path::new("/proc").join(&postmaster).exists());
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    until("its servers end", || (!Path::new("/proc").join(&postmaster).exists()).then_some(()));
    until("its files are gone", || (!home.exists()).then_some(()));
}

#[test]
#[ignore = "it is run, and killed, by another test"]
fn waits_to_be_killed() {
    let cluster = Cluster::start(1, false);
    cluster.psql(Node::Primary, "CREATE TABLE rows (row int)");
    cluster.mark("started_by", &std::process::id().to_string());
    thread::sleep(Duration::from_secs(60));
}

fn homes() -> Vec<PathBuf> {
    let all = fs::read_dir(std::env::temp_dir()).expect("readable").filter_map(Result::ok).map(|entry| entry.path());
    all.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lungo-pg-"))).collect()
}

#[test]
fn the_migrations_leave_nothing_behind_when_they_are_undone() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    for _ in 0..2 {
        migrate(&database, "up.sql");
        let id = database.psql("SELECT value FROM meta WHERE name = 'cluster'");
        assert!(id.len() == 16 && u64::from_str_radix(&id, 16).is_ok(), "{id}");
        migrate(&database, "down.sql");
        let left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
            UNION ALL SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
        assert_eq!(database.psql(left), "0\n0");
    }
}

#[test]
fn events_of_long_ago_are_moved_to_a_file_and_others_stay() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    migrate(&database, "up.sql");
    let order = |number: i64, ended: &str, owed: i64| {
        let id = format!("'01970000-0000-7000-8000-0000000000{number:02}'");
        database.psql(&format!(
            "INSERT INTO orders VALUES ({id}, {id}, 'cus', {id}, {number}, '{{}}', '', 820, 'EUR', NULL, 'cancelled',
                NULL, 'none', 0, 0, 0, {owed}, NULL, NULL, 0, 0, 0, 0, NULL, NULL, NULL, false, 2, now(), {ended}, NULL,
                '{{}}');
             INSERT INTO order_events
                SELECT {number} * 10 + version, {id}, {id}, {id}, version, 'x', NULL, 'new', 'none', 'partner',
                    'she said \"no\",' || chr(10) || 'twice', now(), NULL, '{{\"a\": [1]}}'
                FROM generate_series(1, 2) AS version"
        ));
    };
    order(1, "now() - interval '50 days'", 0);
    order(2, "now() - interval '50 days'", 100);
    order(3, "now()", 0);
    let log = || database.psql("SELECT md5(string_agg(order_events::text, '' ORDER BY position)) FROM order_events");
    let before = log();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.csv");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/postgres/archive.sql");
    let move_to =
        |file: &Path| run_file(&database.primary, &script, &[("days", "30"), ("file", &file.display().to_string())]);

    for unwritable in ["/nowhere/events.csv", "/dev/full"] {
        move_to(Path::new(unwritable)).expect_err("it cannot be written");
    }
    assert_eq!(log(), before, "nothing is deleted that was not written");
    move_to(&file).unwrap();
    assert_eq!(
        database.psql("SELECT string_agg(position::text, ' ' ORDER BY position) FROM order_events"),
        "21 22 31 32"
    );
    // What was moved can be brought back as it was.
    database.psql(&format!("\\copy order_events FROM '{}' (FORMAT csv, HEADER)", file.display()));
    assert_eq!(log(), before);
}

#[test]
fn the_database_refuses_what_the_lifecycle_does_not_have() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    migrate(&database, "up.sql");
    let some = "'01970000-0000-7000-8000-000000000001'";
    database.psql(&format!(
        "INSERT INTO orders VALUES ({some}, {some}, 'cus', {some}, 1, '{{}}', '', 820, 'EUR', NULL, 'new', NULL, 'none',
            0, 0, 0, 0, 'authorize', now(), 0, 0, 0, 0, NULL, NULL, now(), true, 1, now(), NULL, NULL, '{{}}');
         INSERT INTO order_events VALUES (1, {some}, {some}, {some}, 1, 'placed', NULL, 'new', 'none', 'partner', NULL,
            now(), NULL, '{{}}');
         INSERT INTO audit (at, user_name, action, subject, outcome, detail, request_id)
            VALUES (now(), 'ann', 'look', 'order', 'done', '{{}}', 'r')"
    ));
    for (refused, why) in [
        ("UPDATE orders SET status = 'ready'", "this change of status is not in the lifecycle"),
        ("UPDATE orders SET status = 'brewing'", "orders_status_check"),
        ("UPDATE orders SET payment_status = 'maybe'", "orders_payment_status_check"),
        ("UPDATE orders SET captured = 1", "orders_check"),
        ("UPDATE orders SET stage = NULL", "orders_check"),
        ("UPDATE orders SET ongoing = false", "orders_check"),
        ("UPDATE order_events SET reason = 'x'", "events are never changed"),
        (
            "INSERT INTO order_events SELECT 2, partner_id, shop_id, order_id, version, kind, from_status, to_status,
            payment_status, actor, reason, at, elapsed_ms, data FROM order_events",
            "order_events_of_order",
        ),
        ("UPDATE audit SET reason = 'x'", "the audit log is never changed"),
        ("DELETE FROM audit", "the audit log is never shortened"),
    ] {
        let fault = ask(&database.primary, refused).expect_err(refused);
        assert!(fault.contains(why), "{refused}: {fault}");
    }
    database.psql("UPDATE orders SET status = 'awaiting_shop'");
}

#[test]
fn a_copy_whose_log_would_go_backwards_is_refused() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    let open = || lungo::store::Store::connect(&database.primary, &[], crate::support::options()).map(drop);
    open().expect("an empty database opens");
    // As a dump of a server that has had more transactions brings it.
    let some = "'01970000-0000-7000-8000-000000000001'";
    database.psql(&format!(
        "INSERT INTO order_events VALUES (1::bigint << 60, {some}, {some}, {some}, 1, 'created', NULL, 'new', 'none',
            'partner', NULL, now(), NULL, '{{}}')"
    ));
    let fault = open().expect_err("new events would come before old ones").to_string();
    assert!(fault.contains("pg_resetwal"), "{fault}");
}
