//! `lungo migrate`: an embedded database becomes one of a real PostgreSQL server, whatever comes between.

use std::path::Path;
use std::process::Command;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use lungo::lifecycle::{Actor, Event, Status};
use lungo::store::{self, NotMoved, Recorded, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::{self, Cluster, Node};
use crate::server::{LOOK, Server, fresh, lungo, run, teas, text, two_lungos, until};
use crate::support::{Bench, Customer, at, authorized, options};

/// One order after another, none of which anybody works on.
async fn source(orders: usize) -> Bench {
    let bench = Bench::new(Store::open);
    for number in 0..orders {
        let ask = Customer::new(&format!("cus-{number}")).asks(&["lungo", "ünï \"quoted\" \\ roll"]);
        let order = bench.create(ask.key(&format!("key-{number}"))).await;
        if number % 2 == 1 {
            bench.tell(&order, Actor::Gateway, authorized(order.placed.total.amount), at(1)).await;
        }
        if number % 4 == 3 {
            bench.tell(&order, Actor::Partner, Event::CustomerCancelled, at(2)).await;
        }
    }
    bench
}

fn change(directory: &Path, sql: &str) {
    let path = directory.join(store::FILE).display().to_string();
    let mut conn = SqliteConnection::establish(&path).expect("it is there");
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON").expect("it opens");
    conn.batch_execute(sql).unwrap_or_else(|fault| panic!("{sql}: {fault}"));
}

fn command(from: &Path, to: &str) -> Command {
    let mut command = lungo();
    command.arg("migrate").arg("--from").arg(format!("sqlite://{}", from.display())).args(["--to", to]);
    command
}

#[track_caller]
fn moves(from: &Path, to: &str) -> String {
    let (ended, said) = run(command(from, to));
    assert!(ended.success(), "{said}");
    said
}

#[track_caller]
fn refuses(from: &Path, to: &str, why: &str) {
    let (ended, said) = run(command(from, to));
    assert!(!ended.success() && said.contains(why), "not `{why}`: {said}");
}

/// The numbers of a line of what was moved: rows, and those that were there.
#[track_caller]
fn line(said: &str, table: &str) -> (u64, u64) {
    let words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let words = words.filter(|words| words.len() == 4).find(|words| words[0] == table);
    let words = words.unwrap_or_else(|| panic!("no `{table}`: {said}"));
    (words[1].parse().expect("rows"), words[2].parse().expect("rows"))
}

fn shared() -> Option<(&'static Cluster, postgres::Database)> {
    let cluster = postgres::shared()?;
    Some((cluster, cluster.fresh_database()))
}

/// A row of every table that orders alone do not fill, and an order in every status, each with what is stored oddly.
const EVERYTHING: &str = r#"
INSERT INTO meta VALUES ('shops_told', '7');
INSERT INTO partners VALUES (x'00000000000000000000000000000001', 'Lungo & Co', 1);
INSERT INTO keys VALUES (x'00000000000000000000000000000002', 'shop', x'00000000000000000000000000000001',
    x'00000000000000000000000000000003', x'ff00', 'a key', -1, NULL);
INSERT INTO shops VALUES (x'00000000000000000000000000000003', x'00000000000000000000000000000001', '{"z":1e3,"a":[1.50,"\u00e9"],"a b":null}');
INSERT INTO items VALUES (x'00000000000000000000000000000001', 'Z', '{"n":1}'), (x'00000000000000000000000000000001', 'a', '{"n":-0.0}'),
    (x'00000000000000000000000000000001', 'é', '[]');
INSERT INTO shop_items VALUES (x'00000000000000000000000000000003', 'a', '{}');
INSERT INTO shop_options VALUES (x'00000000000000000000000000000003', 'oat', '{}');
INSERT INTO calendars VALUES (x'00000000000000000000000000000001', '[]');
INSERT INTO drafts VALUES (x'00000000000000000000000000000004', x'00000000000000000000000000000001', '', '{}', 5, 6, NULL);
INSERT INTO webhooks VALUES (x'00000000000000000000000000000005', x'00000000000000000000000000000001', NULL, 'https://h', '["made"]',
    's', NULL, NULL, 3, 1700000000001, NULL, NULL, '[{"secret":"t","until":5}]');
INSERT INTO deliveries VALUES (x'00000000000000000000000000000006', x'00000000000000000000000000000005',
    x'00000000000000000000000000000007', 1, 'made', 1, 0, 1, 'pending', 2, 3, 4, NULL, NULL, 'no answer');
INSERT INTO users VALUES (x'00000000000000000000000000000008', 'Ünal', 'hash', 'admin', 1, NULL);
INSERT INTO links VALUES (x'aa', x'00000000000000000000000000000008', 1, 2, NULL);
INSERT INTO sessions VALUES (x'bb', x'00000000000000000000000000000009', x'00000000000000000000000000000008', '::1', 'a', 1, 2, 3);
INSERT INTO login_failures VALUES ('user:x', 3, 4, NULL);
INSERT INTO audit VALUES (41, 1, NULL, 'Ünal', 'park', 'order:1', NULL, 'done', '{"b":1,"a":2}', 'req');
INSERT INTO saved_views VALUES (x'00000000000000000000000000000008', 'mine', 'q=1', 1);
INSERT INTO tablets VALUES (x'cc', x'00000000000000000000000000000002', '::1', 'a', 1);
INSERT INTO bulk_jobs VALUES (x'0000000000000000000000000000000a', 'running', '{}', 'lot', 'q', '[]', '{}', 9, 2, 1, 1, '[]',
    x'00000000000000000000000000000008', 'Ünal', NULL, 'req', 1, 2, NULL, NULL);
INSERT INTO bulk_orders VALUES (x'0000000000000000000000000000000a', 0, x'0001', x'02'), (x'0000000000000000000000000000000a', 9, x'', NULL);
INSERT INTO holds VALUES ('stage:capture', 1, 2, 'Ünal', NULL);
INSERT INTO settlements VALUES (x'0000000000000000000000000000000b', x'00000000000000000000000000000007', 1, '{"type":"x"}', 5, 'EUR',
    'seen', 'waiting', x'00000000000000000000000000000008', 'Ünal', 1, NULL, NULL);
"#;

/// Statements that copy the orders of the database, with this status.
fn copies(status: Status) -> String {
    let ongoing = [Status::Rejected, Status::Failed, Status::Cancelled, Status::NotCollected, Status::Completed];
    let closed = if ongoing.contains(&status) {
        "ongoing = 0, deadline_at = NULL, closed_at = 5, stage = NULL, next_attempt_at = NULL"
    } else {
        "ongoing = 1, deadline_at = 6, closed_at = NULL, deleted_at = NULL"
    };
    format!(
        "CREATE TEMP TABLE copy AS SELECT * FROM orders LIMIT 2;
         UPDATE copy SET id = randomblob(16), status = '{}', {closed};
         INSERT INTO orders SELECT * FROM copy; DROP TABLE copy;",
        status.word()
    )
}

const STATUSES: [Status; 12] = [
    Status::New,
    Status::ActionRequired,
    Status::Scheduled,
    Status::AwaitingShop,
    Status::Accepted,
    Status::Preparing,
    Status::Ready,
    Status::Completed,
    Status::Rejected,
    Status::Failed,
    Status::Cancelled,
    Status::NotCollected,
];

/// Makes many orders of few, and as many names and events.
fn multiply(directory: &Path, times: usize) {
    let double = "
        CREATE TEMP TABLE copy AS SELECT * FROM orders; UPDATE copy SET id = randomblob(16);
        INSERT INTO orders SELECT * FROM copy; DROP TABLE copy;
        CREATE TEMP TABLE copy AS SELECT * FROM order_names; UPDATE copy SET partner_id = randomblob(16);
        INSERT INTO order_names SELECT * FROM copy; DROP TABLE copy;
        CREATE TEMP TABLE copy AS SELECT * FROM order_events;
        UPDATE copy SET order_id = randomblob(16), position = position + (SELECT max(position) FROM order_events);
        INSERT INTO order_events SELECT * FROM copy; DROP TABLE copy;";
    change(directory, &format!("BEGIN; {} COMMIT;", double.repeat(times)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_moved_and_reads_the_same_there() {
    let Some((_, database)) = shared() else { return };
    let bench = source(8).await;
    change(bench.dir.path(), EVERYTHING);
    change(bench.dir.path(), &STATUSES.map(copies).concat());
    // A row larger than a batch.
    change(bench.dir.path(), "UPDATE partners SET name = printf('%.6000000c', 'ö')");
    let before = bench.all_orders().await;
    assert!(STATUSES.iter().all(|status| before.iter().any(|order| order.status == *status)));
    let ended = store::migrate(&bench.dir.path().join(store::FILE), &database.primary, |progress| {
        assert!(progress.done <= progress.of, "{progress:?}");
    });
    let moved = ended.unwrap();
    assert!(!moved.was_done && !moved.began_anew);
    for table in &moved.tables {
        assert!(table.rows > 0 && table.found == 0, "{table:?} is tried out");
        if table.name != "meta" {
            assert_eq!(database.psql(&format!("SELECT count(*) FROM {}", table.name)), table.rows.to_string());
        }
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('__diesel_schema_migrations', 'instances')";
    assert_eq!(database.psql(tables), moved.tables.len().to_string(), "every table is moved");
    assert_eq!(database.psql("SELECT value FROM meta WHERE name = 'shops_told'"), "7");

    let target = database.primary.clone();
    let there = Bench::new(move |_, options| Store::connect(&target, &[], options));
    assert_eq!(format!("{:?}", there.all_orders().await), format!("{before:?}"));
    assert_ne!(there.store.cluster(), bench.store.cluster());
    assert!(there.store.has_log_of(bench.store.cluster()), "cursors into the feed stay good");
    let mut last = 0;
    for order in before {
        let (events, here) =
            (there.store.events_of(order.id).await.unwrap(), bench.store.events_of(order.id).await.unwrap());
        // A document says the same, in other letters.
        let said = |events: &[Recorded]| format!("{events:?}").replace(' ', "");
        assert_eq!(said(&events), said(&here));
        last = events.iter().map(|event| event.position).chain([last]).max().unwrap();
    }
    // What happens from now on is behind all that was moved.
    let order = there.create(Customer::new("later").asks(&["lungo"])).await;
    assert!(there.store.events_of(order.id).await.unwrap()[0].position > last);
    assert_eq!(
        database.psql(
            "INSERT INTO audit (at, user_name, action, subject, outcome, detail, request_id)
        VALUES (now(), '', '', '', 'done', '{}', '') RETURNING position"
        ),
        "42"
    );

    // The source is at rest: its orders are worked off in one place only.
    let fault = Store::open(bench.dir.path(), options()).err().expect("it is left").to_string();
    assert!(fault.contains("moved to the database") && fault.contains(&moved.cluster), "{fault}");
    let again = store::migrate(&bench.dir.path().join(store::FILE), &database.primary, |_| {}).unwrap();
    assert!(again.was_done && again.tables.is_empty());
    let elsewhere = shared().expect("it was there").1;
    refuses(bench.dir.path(), &elsewhere.primary, "have moved already");
    change(bench.dir.path(), "DELETE FROM meta WHERE name = 'moved_to'");
    refuses(bench.dir.path(), &database.primary, "has gone on since");
    Store::open(bench.dir.path(), options()).expect("there is a way back");
}

#[test]
fn the_service_goes_on_there() {
    let Some((_, database)) = shared() else { return };
    let mut server = Server::start(&[]);
    if !crate::server::database(server.data()).is_empty() {
        // It is there already: so is every server of this run.
        return;
    }
    let customer = fresh("cus");
    let completed = text(&server.created(&two_lungos(&customer))["order_id"]);
    let declined = text(&server.created(&teas(&fresh("cus"), 1, "pm_card_declined", None))["order_id"]);
    server.wait_for_status(&completed, "completed");
    server.wait_for_payment(&completed, "captured");
    server.wait_for_status(&declined, "failed");
    server.call("POST", "/v1/webhooks").json(&json!({"url": "https://example.com/hook"})).send().expect(201);
    let position = server.ongoing(&customer).header("lungo-position").to_owned();
    let feed = server.get("/v1/events?limit=3").expect(200).body;
    let look = |server: &Server| -> Vec<Value> {
        let paths = [
            format!("/v1/orders/{completed}"),
            format!("/v1/orders/{declined}"),
            format!("/v1/orders/{completed}/events"),
            format!("/v1/orders?customer_id={customer}"),
            "/v1/webhooks".into(),
            "/v1/shops".into(),
        ];
        let feed = format!("/v1/events?cursor={}", text(&feed["cursor"]));
        let mut seen: Vec<_> = paths.iter().map(|path| server.get(path).expect(200).body).collect();
        // How long an order would take depends on what the shop was last counted to have in hand.
        for shop in seen.last_mut().and_then(|shops| shops["shops"].as_array_mut()).expect("shops") {
            shop["expected_wait_seconds"] = Value::Null;
        }
        seen.push(server.get(&feed).expect(200).body["events"].clone());
        seen
    };
    let before = look(&server);
    refuses(server.data(), &database.primary, "another process works there");
    server.stop();
    let said = moves(server.data(), &database.primary);
    assert_eq!(line(&said, "orders"), (2, 0), "{said}");
    assert!(said.contains("an id of its own"), "{said}");
    let (ended, said) = run({
        let mut again = lungo();
        again.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(server.data());
        again
    });
    assert!(!ended.success() && said.contains("have moved"), "{said}");

    server.add_flag(format!("--database={}", database.primary));
    server.restart();
    assert_eq!(look(&server), before);
    // Whoever has seen what the source showed is served, and an order goes its way to the end.
    let listing = server.call("GET", &format!("/v1/orders/ongoing?customer_id={customer}"));
    listing.header("Lungo-Position", &position).send().expect(200);
    let order = text(&server.created(&teas(&customer, 2, "pm_card_visa", None))["order_id"]);
    server.wait_for_status(&order, "completed");
    let more = server.get(&format!("/v1/events?cursor={}", text(&feed["cursor"]))).expect(200).body;
    assert!(more["events"].as_array().unwrap().iter().any(|event| event["order_id"] == order));
    refuses(&TempDir::new().unwrap().path().join("lungo.db"), &database.primary, "there is no database");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_killed_goes_on_where_it_was() {
    let Some((_, database)) = shared() else { return };
    let bench = source(4).await;
    let dir = bench.dir.path();
    multiply(dir, 13);
    let count = |table: &str| -> u64 {
        // Before it is created there is nothing in it.
        postgres::ask(&database.primary, &format!("SELECT count(*) FROM {table}"))
            .map_or(0, |rows| rows.parse().unwrap())
    };
    for table in ["orders", "order_events"] {
        let mut process = command(dir, &database.primary).spawn().unwrap();
        until("something is moved", || (count(table) > 2000).then_some(()));
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(count(table) < 4 << 13, "too late: {table}");
        // Nobody works on half of the orders, and the source is still whole.
        let fault = Store::connect(&database.primary, &[], options()).err().expect("it is half filled").to_string();
        assert!(fault.contains("lungo migrate"), "{fault}");
        // The server may still be at the last batch.
        thread::sleep(LOOK);
    }
    let said = moves(dir, &database.primary);
    let (rows, found) = line(&said, "orders");
    assert!(rows == 4 << 13 && found == rows, "{said}");
    let (rows, found) = line(&said, "order_events");
    assert!(found > 0 && found < rows, "{said}");
    Store::connect(&database.primary, &[], options()).expect("now everything is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_went_on_meanwhile_is_moved_anew() {
    let Some((_, database)) = shared() else { return };
    let bench = source(4).await;
    let dir = bench.dir.path();
    let file = dir.join(store::FILE);
    // It cannot be moved to its end: the database knows no such text.
    change(dir, "INSERT INTO holds VALUES ('stage:capture', 1, 2, 'a' || char(0) || 'b', NULL)");
    match store::migrate(&file, &database.primary, |_| {}) {
        Err(NotMoved::Failed { what, .. }) => assert_eq!(what, "holds"),
        other => panic!("{other:?}"),
    }
    change(dir, "DELETE FROM holds");
    let order = bench.create(Customer::new("meanwhile").asks(&["lungo"])).await;
    bench.tell(&order, Actor::Gateway, authorized(600), at(3)).await;
    let first = bench.all_orders().await.into_iter().find(|order| order.status == Status::New).unwrap();
    bench.tell(&first, Actor::Partner, Event::CustomerCancelled, at(4)).await;
    let moved = store::migrate(&file, &database.primary, |_| {}).unwrap();
    assert!(moved.began_anew);
    let target = database.primary.clone();
    let there = Bench::new(move |_, options| Store::connect(&target, &[], options));
    assert_eq!(format!("{:?}", there.all_orders().await), format!("{:?}", bench.all_orders().await));
    there.assert_log_replays().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_moved_is_refused_and_nothing_is_changed() {
    let Some((cluster, database)) = shared() else { return };
    let (bench, to) = (source(1).await, database.primary.as_str());
    let dir = bench.dir.path();
    for (from, to, why) in [
        ("postgres://h/d", to, "sqlite://"),
        ("lungo-data", to, "sqlite://"),
        ("sqlite://", to, "sqlite://"),
        ("sqlite:///nowhere", to, "there is no database"),
        ("sqlite://Cargo.toml", "mysql://h/d", "postgres://"),
    ] {
        let (ended, said) = run({
            let mut command = lungo();
            command.args(["migrate", "--from", from, "--to", to]);
            command
        });
        assert!(!ended.success() && said.contains(why), "{from} {to}: {said}");
    }
    refuses(dir, "postgres://nobody:hunter2@127.0.0.1:9/x", "refused");
    let (_, said) = run(command(dir, "postgres://nobody:hunter2@127.0.0.1:9/x"));
    assert!(!said.contains("hunter2"), "{said}");
    refuses(dir, &cluster.url(Node::Primary, "no_such_database"), "does not exist");
    refuses(dir, &cluster.url(Node::Replica(0), &database.name), "standby");

    let garbage = TempDir::new().unwrap();
    std::fs::write(garbage.path().join(store::FILE), "not a database, but longer than the head of one".repeat(99))
        .unwrap();
    refuses(garbage.path(), to, "not a database");
    std::fs::write(garbage.path().join(store::FILE), "").unwrap();
    refuses(garbage.path(), to, "older version");
    let newer = source(1).await;
    change(newer.dir.path(), "INSERT INTO __diesel_schema_migrations VALUES ('9999', '2026-01-01')");
    refuses(newer.dir.path(), to, "newer version");
    let beyond = source(1).await;
    change(beyond.dir.path(), "UPDATE orders SET version = version; INSERT INTO order_events
        SELECT 1 << 60, partner_id, shop_id, randomblob(16), version, kind, from_status, to_status, payment_status, actor,
            reason, at, elapsed_ms, data FROM order_events LIMIT 1");
    refuses(beyond.dir.path(), to, "would come before it in the feed");
    let more = source(1).await;
    change(more.dir.path(), "CREATE TABLE vouchers (id BLOB PRIMARY KEY)");
    refuses(more.dir.path(), to, "`vouchers`");

    // Somebody works there; somebody worked there; somebody else's orders are on their way there.
    let other = cluster.fresh_database();
    let store = Store::connect(&other.primary, &[], options()).unwrap();
    refuses(dir, &other.primary, "a service works on it");
    drop(store);
    other.psql("INSERT INTO partners VALUES (gen_random_uuid(), 'demo', now())");
    until("the service is gone", || {
        let (ended, said) = run(command(dir, &other.primary));
        assert!(!ended.success());
        said.contains("not empty: 1 rows in `partners`").then_some(())
    });
    let half = cluster.fresh_database();
    drop(Store::connect(&half.primary, &[], options()).unwrap());
    half.psql("INSERT INTO meta VALUES ('moving_from', 'ffffffffffffffff')");
    until("the service is gone", || run(command(dir, &half.primary)).1.contains("from another source").then_some(()));

    assert_eq!(bench.all_orders().await.len(), 1);
    Store::open(dir, options()).expect("the source was left alone");
    assert_eq!(database.psql("SELECT count(*) FROM orders"), "0", "and so was the target");
    moves(dir, to);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_source_moves_too() {
    let Some((_, database)) = shared() else { return };
    let bench = source(0).await;
    let said = moves(&bench.dir.path().join(store::FILE), &database.primary);
    assert_eq!(line(&said, "orders"), (0, 0));
    assert!(moves(bench.dir.path(), &database.primary).contains("Nothing was done"));
    Store::connect(&database.primary, &[], options()).expect("a database like any other");
}
