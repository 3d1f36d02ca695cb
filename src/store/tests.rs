//! What only a hand in the database can try: damage, illegal changes, a newer schema.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use diesel::connection::{CacheSize, InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use tempfile::TempDir;

use super::questions::{EndsOf, NumbersOf, OngoingOf, OrderOfId, OrderOfKey, SucceededSince};
use super::sql::{Conn, Millis, RawId};
use super::statements::{Ask, Question, Value};
use super::*;
use crate::admission::{Revision, Verdict};
use crate::catalogue::Priced;
use crate::fixtures::{at, placed, request};
use crate::lifecycle::{Event, Reason, Stage, Status};
use crate::order::{CustomerId, NewOrder, OrderId, PartnerId, ShopId};
use crate::state::Order;

fn open(dir: &TempDir) -> Result<(Store, Claims)> {
    open_with(dir, None)
}

fn open_with(dir: &TempDir, replica_lag: Option<Duration>) -> Result<(Store, Claims)> {
    Store::open(
        dir.path(),
        Options {
            policy: Policy::default(),
            readers: 1,
            queue: 16,
            local_queue: 1,
            commit_patience: Duration::from_secs(60),
            replica_lag,
            durability: None,
            max_staleness: std::time::Duration::from_millis(100),
            clock: || at(0),
            follow_clock: |_, _| {},
        },
    )
}

fn accept(partner_id: PartnerId, request: NewOrder) -> Accept {
    Accept {
        order_id: OrderId::new(),
        partner_id,
        request,
        idempotency_key: None,
        seen: None,
        catalogue: Ok(Priced { placed: placed(), offer_at: None, expected_ready_at: at(600), slot: None }),
        draft: None,
        now: at(0),
    }
}

/// What a customer has seen who has seen this order.
fn seen(order: &Order) -> Option<Revision> {
    Some(Revision { number: order.number, nonce: order.nonce })
}

/// A database with one order in it.
async fn with_an_order() -> (TempDir, Store, Order) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir).unwrap();
    let order = store.accept(accept(PartnerId::new(), request(ShopId::new()))).await.unwrap().order.unwrap();
    (dir, store, order)
}

/// Another connection to the same database, as an operator's shell would be.
fn by_hand(dir: &TempDir, statement: &str) -> QueryResult<()> {
    let mut conn = SqliteConnection::establish(&dir.path().join("lungo.db").display().to_string()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000")?;
    conn.batch_execute(statement)
}

#[tokio::test]
async fn the_database_itself_refuses_a_step_that_the_lifecycle_does_not_have() {
    let (dir, store, order) = with_an_order().await;
    let refused = by_hand(&dir, "UPDATE orders SET status = 'ready'").unwrap_err();
    assert!(refused.to_string().contains("not in the lifecycle"), "{refused}");
    assert_eq!(store.order(order.id).await.unwrap().unwrap().0, order);
    by_hand(&dir, "UPDATE orders SET status = 'awaiting_shop'").unwrap();
}

#[tokio::test]
async fn the_log_is_append_only() {
    let (dir, _store, _) = with_an_order().await;
    let refused = by_hand(&dir, "UPDATE order_events SET to_status = 'ready'").unwrap_err();
    assert!(refused.to_string().contains("never changed"), "{refused}");
}

#[tokio::test]
async fn an_order_that_was_changed_by_hand_is_known_to_be_damaged() {
    for damage in [
        r#"placed = replace(placed, '"amount":850', '"amount":1')"#,
        "total = 1",
        "currency = 'USD'",
        "customer_id = 'somebody else'",
    ] {
        let (dir, store, order) = with_an_order().await;
        assert!(store.order(order.id).await.unwrap().unwrap().0.intact);
        by_hand(&dir, &format!("UPDATE orders SET {damage}")).unwrap();
        assert!(!store.order(order.id).await.unwrap().unwrap().0.intact, "{damage}");
    }
}

#[tokio::test]
async fn impossible_rows_are_refused_by_the_database() {
    let (dir, _store, _) = with_an_order().await;
    for impossible in [
        "payment_status = 'lost'",
        "stage = 'wait'",
        "ongoing = 0",
        "closed_at = 1",
        "deadline_at = NULL",
        "next_attempt_at = NULL",
        "captured = 1",
        "refunded = 1",
        "deleted_at = 1",
    ] {
        let refused = by_hand(&dir, &format!("UPDATE orders SET {impossible}"));
        assert!(refused.is_err_and(|fault| fault.to_string().contains("CHECK")), "{impossible}");
    }
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    by_hand(&dir, "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')").unwrap();
    let refused = open(&dir).err().expect("it must not be opened");
    assert!(matches!(refused, Error::Newer(_)), "{refused:?}");
    let made_by =
        format!("schema 9999 of a newer version of this program, which lungo {} made", env!("CARGO_PKG_VERSION"));
    assert!(refused.to_string().contains(&made_by), "{refused}");
    // Programs before 0.2.0 did not say who they were.
    by_hand(&dir, "DELETE FROM meta WHERE name = 'migrated_by'").unwrap();
    let refused = open(&dir).err().expect("it must not be opened").to_string();
    assert!(refused.contains("schema 9999 of a newer version of this program; this is lungo"), "{refused}");
}

#[tokio::test]
async fn what_waits_is_measured() {
    let (dir, store, order) = with_an_order().await;
    let waiting = |now| store.readers.read(move |conn| gauges::read(conn, now));
    let at_first = waiting(at(0)).await.unwrap();
    assert_eq!(at_first.ongoing, [(Status::New, 1)]);
    assert_eq!(at_first.next_deadline, order.deadline_at);
    let authorize = &at_first.stages[Stage::Authorize as usize];
    assert_eq!((authorize.stage, authorize.depth, authorize.parked), (Stage::Authorize, 1, 0));

    // Nobody comes.
    let later = waiting(at(90)).await.unwrap();
    let authorize = &later.stages[Stage::Authorize as usize];
    assert!((authorize.oldest_seconds - 90.0).abs() < 0.01, "{authorize:?}");
    assert_eq!(authorize.next_attempt, order.task.next_attempt_at);
    assert!(later.stages.iter().skip(1).all(|stage| stage.depth == 0 && stage.oldest_seconds == 0.0), "{later:?}");

    by_hand(&dir, "UPDATE orders SET parked_at = 1").unwrap();
    let parked = waiting(at(90)).await.unwrap();
    let authorize = &parked.stages[Stage::Authorize as usize];
    assert_eq!((authorize.depth, authorize.parked, authorize.oldest_seconds), (0, 1, 0.0));
    by_hand(&dir, "UPDATE orders SET parked_at = NULL").unwrap();

    let hear = async |sender, event, now| {
        let word = Word { order_id: order.id, scope: Scope::Everyone, sender, event, version: None, now };
        assert!(matches!(store.receive(word).await.unwrap(), Received::Changed(..)));
    };
    let amount = order.placed.total.amount;
    let authorized = Event::PaymentAuthorized { amount, reference: "ch_1".into(), capture_before: None };
    hear(Sender::Gateway, authorized, at(100)).await;
    hear(Sender::Shop, Event::ShopRejected { reason: Reason::ShopClosed }, at(110)).await;
    let owing = waiting(at(120)).await.unwrap();
    assert_eq!(owing.owed, [("EUR".to_owned(), amount, 1, Some(at(110)))]);
    assert_eq!((owing.ongoing.len(), owing.next_deadline), (0, None));
    let release = &owing.stages[Stage::Release as usize];
    assert!(release.depth == 1 && (release.oldest_seconds - 10.0).abs() < 0.01, "{release:?}");
    store.measure(at(120)).await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_making_for_too_long_is_measured() {
    let (_dir, store, order) = with_an_order().await;
    let amount = order.placed.total.amount;
    for (sender, event) in [
        (Sender::Gateway, Event::PaymentAuthorized { amount, reference: "ch_1".into(), capture_before: None }),
        (Sender::Shop, Event::ShopAccepted { minutes: None, dropped_lines: Vec::new() }),
        (Sender::Shop, Event::PreparationStarted),
    ] {
        let word = Word { order_id: order.id, scope: Scope::Everyone, sender, event, version: None, now: at(10) };
        assert!(matches!(store.receive(word).await.unwrap(), Received::Changed(..)));
    }
    let makes = i64::from(order.placed.make_seconds);
    assert!(makes > 0);
    for (elapsed, late) in [(makes, 0), (makes * 3 / 2, 0), (makes * 3 / 2 + 1, 1)] {
        let now = at(10 + elapsed);
        let waiting = store.readers.read(move |conn| gauges::read(conn, now)).await.unwrap();
        assert_eq!(waiting.made_late, late, "after {elapsed} of {makes} s");
    }
}

#[test]
fn what_is_measured_or_asked_on_the_hot_paths_reads_no_history() {
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }
    fn text<'a, Q: Question, const N: usize>(values: [Value<'a>; N]) -> String {
        let asked = diesel::debug_query::<Sqlite, _>(&Ask::<Q, N>::with(values)).to_string();
        asked.split(" -- ").next().unwrap().to_owned()
    }
    let (id, name) = (|| Value::Id(RawId(vec![0; 16])), || Value::Text("ada"));
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    let mut conn = SqliteConnection::establish(&dir.path().join("lungo.db").display().to_string()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    for (question, index) in [
        (gauges::OWED, "orders_owed"),
        (gauges::OLDEST_IN_STAGE.sqlite, "orders_due"),
        (gauges::MADE_LATE.sqlite, "orders_deadline"),
        ("SELECT COUNT(*) FROM orders WHERE stage = 'offer' AND parked_at IS NULL", "orders_due"),
        ("SELECT status, COUNT(*) FROM orders WHERE ongoing GROUP BY status", "orders_o"),
        ("SELECT stage FROM orders WHERE parked_at IS NOT NULL", "orders_parked"),
        (
            "SELECT deadline_at FROM orders WHERE deadline_at IS NOT NULL ORDER BY deadline_at LIMIT 1",
            "orders_deadline",
        ),
        (&text::<OrderOfId, _>([id()]), "(id=?)"),
        (&text::<OngoingOf, _>([id(), name()]), "orders_ongoing"),
        (&text::<OrderOfKey, _>([id(), name(), name()]), "(id=?)"),
        (
            &text::<OrderOfKey, _>([id(), name(), name()]),
            "(partner_id=? AND customer_id=? AND number=? AND idempotency_key=?)",
        ),
        (&text::<NumbersOf, _>([id(), name()]), "(partner_id=? AND customer_id=? AND number>?)"),
        (
            &text::<SucceededSince, _>([id(), name(), Value::At(Millis(1))]),
            "order_names_ends (partner_id=? AND customer_id=? AND closed_at>?)",
        ),
        (&text::<SucceededSince, _>([id(), name(), Value::At(Millis(1))]), "(id=?)"),
        (&text::<EndsOf, _>([id(), name()]), "(partner_id=? AND customer_id=? AND number>?)"),
    ] {
        let plan: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {question}")).load(&mut conn).unwrap();
        let plan: Vec<&str> = plan.iter().map(|step| step.detail.as_str()).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{question}: {plan:?}");
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN orders") && !step.contains("USING")),
            "{question}: {plan:?}"
        );
    }
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    required: bool,
}

/// The tables of `schema.rs`, as text: name, and its columns as (name, type).
fn tables_in_code() -> Vec<(String, Vec<(String, String)>)> {
    let text = include_str!("schema.rs");
    let tables = text.split("diesel::table! {").skip(1);
    tables
        .map(|table| {
            let (_, table) = table.split_once("\n\n").unwrap();
            let (name, rest) = table.trim().split_once(' ').unwrap();
            let (_, columns) = rest.split_once('{').unwrap();
            let mut sql_name = None;
            let mut found = Vec::new();
            for line in columns.lines().map(str::trim).take_while(|line| *line != "}") {
                if let Some(rest) = line.strip_prefix("#[sql_name = \"") {
                    sql_name = Some(rest.trim_end_matches("\"]").to_owned());
                } else if let Some((name, kind)) = line.trim_end_matches(',').split_once(" -> ") {
                    found.push((sql_name.take().unwrap_or_else(|| name.to_owned()), kind.to_owned()));
                }
            }
            (name.to_owned(), found)
        })
        .collect()
}

#[test]
fn the_schema_in_the_code_is_the_schema_of_the_migrated_database() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir).unwrap());
    let mut conn = SqliteConnection::establish(&dir.path().join("lungo.db").display().to_string()).unwrap();
    // The threads of the store are still on their way out.
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    let tables = tables_in_code();
    assert!(tables.iter().any(|(name, _)| name == "orders"), "the text is read");
    for (table, in_code) in tables {
        let columns: Vec<Column> = diesel::sql_query(format!(
            "SELECT name, type AS kind, \"notnull\" AS required FROM pragma_table_info('{table}')"
        ))
        .load(&mut conn)
        .unwrap();
        // What is one type in the code may be two here.
        let is = |name: &str, kind: &str| in_code.iter().any(|(of, is)| of == name && is.contains(kind));
        let in_database: Vec<_> = columns
            .into_iter()
            .map(|column| {
                let kind = match column.kind.as_str() {
                    "BLOB" if is(&column.name, "Id") => "Id",
                    "BLOB" => "Binary",
                    "TEXT" if is(&column.name, "Document") => "Document",
                    "TEXT" => "Text",
                    // A key of this kind is SQLite's own row number, which has 64 bits.
                    "INTEGER" if column.name == "position" => "BigInt",
                    "INTEGER" => "Integer",
                    "BIGINT" if is(&column.name, "At") => "At",
                    "BIGINT" => "BigInt",
                    "BOOLEAN" => "Bool",
                    other => panic!("`{other}` has no counterpart"),
                };
                let kind = if column.required { kind.to_owned() } else { format!("Nullable<{kind}>") };
                (column.name, kind)
            })
            .collect();
        assert_eq!(in_code, in_database, "{table}");
    }
}

#[tokio::test]
async fn a_write_that_fails_is_undone_and_leaves_its_batch_alone() {
    let (_dir, store, _) = with_an_order().await;
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let mut begin = Some(begin);
    let held = store.lane.write(tx::Urgency::Control, move |_| {
        begin.take().map(|begin| begin.send(()));
        let _ = opened.recv();
        Ok(())
    });
    let runs = Arc::new(Mutex::new(Vec::new()));
    let write = |name: &'static str| {
        let runs = runs.clone();
        store.lane.write(tx::Urgency::Control, move |tx| {
            runs.lock().unwrap().push(name);
            tx.conn()?.batch_execute(&format!("INSERT INTO meta VALUES ('{name}', '')"))?;
            if name.starts_with("bad") { Err(Error::Damaged(name.into())) } else { Ok(()) }
        })
    };
    // All of them are waiting by the time the lane may go on, and none was taken together with what holds it.
    let batch = async {
        begun.await.unwrap();
        let opening = async { drop(open) };
        tokio::join!(write("good"), write("bad"), write("better"), write("bad too"), write("best"), opening)
    };
    let (_, (good, bad, better, bad_too, best, ())) = tokio::join!(held, batch);
    assert!(good.is_ok() && better.is_ok() && best.is_ok());
    assert!(matches!(bad, Err(Error::Damaged(name)) if name == "bad"));
    assert!(matches!(bad_too, Err(Error::Damaged(name)) if name == "bad too"));
    let names = |conn: &mut Conn| Ok(schema::meta::table.select(schema::meta::name).load(conn)?);
    let kept: Vec<String> = store.readers.read(names).await.unwrap();
    assert_eq!(kept, ["best", "better", "cluster", "good", "migrated_by"]);
    assert_eq!(runs.lock().unwrap().len(), 2 + 3 + 3 + 2, "once to the first bad one, … and those two by themselves");
}

/// What the lane meets when the disk is full, or somebody ends its transaction: the batch is lost, the lane is not.
#[tokio::test]
async fn the_lane_goes_on_after_a_commit_that_failed() {
    for (trouble, statements) in [
        ("the COMMIT is refused", "PRAGMA defer_foreign_keys = ON; INSERT INTO shops VALUES (x'00', x'00', '{}')"),
        ("the transaction has ended", "ROLLBACK"),
        ("the disk is full", "PRAGMA max_page_count = 1; INSERT INTO meta VALUES ('x', hex(zeroblob(100000)))"),
    ] {
        let (_dir, store, order) = with_an_order().await;
        let failed = store.lane.write(tx::Urgency::Control, |tx| Ok(tx.conn()?.batch_execute(statements)?)).await;
        assert!(matches!(failed, Err(Error::OutcomeUnknown(_))), "{trouble}: {failed:?}");
        // More than the pages that are free: a connection that remembers a full disk could not write it.
        let large = "INSERT INTO meta VALUES ('y', hex(zeroblob(100000)))";
        let written = store.lane.write(tx::Urgency::Control, |tx| Ok(tx.conn()?.batch_execute(large)?)).await;
        assert!(written.is_ok(), "{trouble}: {written:?}");
        assert_eq!(store.order(order.id).await.unwrap().unwrap().0, order, "{trouble}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn everybody_goes_before_what_nobody_waits_for() {
    let niceness = || rustix::process::getpriority_process(None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (store, _claims) = open(&dir).unwrap();
    let ordinary = store.readers.read(move |_| Ok(niceness())).await.unwrap();
    let unhurried = store.readers.read_in(readers::Haste::None, move |_| Ok(niceness())).await.unwrap();
    assert!(ordinary < unhurried && ordinary == niceness(), "{ordinary} {unhurried}");
}

#[tokio::test]
async fn a_lagging_reader_that_fails_is_stood_in_for_by_the_primary() {
    let dir = tempfile::tempdir().unwrap();
    let lag = Duration::from_millis(50);
    let (store, _) = open_with(&dir, Some(lag)).unwrap();
    let list = || store.present(PartnerId::new(), CustomerId("cus".into()), None, at(0), at(0));
    let until_replica = async || while list().await.unwrap().source != Source::Replica {};
    until_replica().await;

    let lagging = store.lagging().unwrap();
    let asked = lagging.read(|_| -> Result<()> { panic!("a read that panics") }).await;
    assert!(matches!(asked, Err(Error::Unavailable(_))));
    // Whichever answers meanwhile, it does answer, and the replica comes back.
    list().await.unwrap();
    until_replica().await;
    let asked = lagging.read(|conn| Ok(conn.batch_execute("ROLLBACK")?)).await;
    assert!(asked.is_ok());
    list().await.unwrap();
    until_replica().await;
}

#[tokio::test]
async fn an_order_that_cannot_be_read_hides_no_other() {
    let (dir, store, damaged) = with_an_order().await;
    let (partner, customer) = (damaged.partner_id, damaged.customer_id.clone());
    let by = |customer: &str, shop| {
        let customer_id = CustomerId(customer.into());
        accept(partner, NewOrder { customer_id, ..request(shop) })
    };
    let other = store.accept(Accept { seen: seen(&damaged), ..by(&customer.0, damaged.shop_id) }).await.unwrap();
    let other = other.order.unwrap();
    by_hand(&dir, "UPDATE orders SET details = '{}' WHERE number = 1").unwrap();

    assert_eq!(store.board(damaged.shop_id).await.unwrap(), std::slice::from_ref(&other));
    let list = store.present(partner, customer.clone(), None, at(0), at(0)).await.unwrap();
    assert_eq!(list.ongoing, std::slice::from_ref(&other));
    let (first_page, _) = store.history(partner, &customer, i64::MAX, 1, None).await.unwrap();
    let (last_page, _) = store.history(partner, &customer, 2, 1, None).await.unwrap();
    assert_eq!((first_page, last_page), (vec![other.clone()], vec![]));
    for wanted in [Wanted::default(), Wanted { stage: Some(Stage::Authorize), ..Wanted::default() }] {
        let mut found = Vec::new();
        let mut below = None;
        loop {
            let page = store.search(wanted, below, 1).await.unwrap();
            found.extend(page.orders);
            below = page.below;
            if below.is_none() {
                break;
            }
        }
        assert_eq!(found, std::slice::from_ref(&other));
    }

    // It may be the same coffee: nothing is decided for this customer, but for every other.
    let single = store.order(damaged.id).await.unwrap_err();
    let again = store.accept(by(&customer.0, damaged.shop_id)).await.err().unwrap();
    for fault in [single, again] {
        assert!(matches!(&fault, Error::Damaged(what) if what.contains(&damaged.id.to_string())), "{fault}");
    }
    assert!(store.accept(by("somebody else", damaged.shop_id)).await.unwrap().order.is_some());
}

#[tokio::test]
async fn only_what_can_be_similar_is_read_for_admission() {
    let (dir, store, order) = with_an_order().await;
    let decide = async |seen, now| {
        let again = accept(order.partner_id, request(order.shop_id));
        store.accept(Accept { seen, now, ..again }).await.unwrap().verdict
    };
    let end = |status: &str| {
        by_hand(
            &dir,
            &format!(
                "DROP TRIGGER IF EXISTS orders_follow_the_lifecycle;
                 UPDATE orders SET status = '{status}', ongoing = 0, deadline_at = NULL, closed_at = {0} WHERE number = 1;
                 UPDATE order_names SET closed_at = {0} WHERE number = 1",
                at(0).timestamp_millis(),
            ),
        )
        .unwrap();
    };
    for status in ["completed", "not_collected"] {
        end(status);
        assert_eq!(decide(None, at(599)).await, Verdict::Similar(order.id), "{status}");
    }
    // What is too old, was not made, or was seen may even be damaged.
    by_hand(&dir, "UPDATE orders SET details = '{}'").unwrap();
    let accepted = async |seen, now| {
        assert_eq!(decide(seen, now).await, Verdict::Accept);
        by_hand(&dir, "DELETE FROM orders WHERE number > 1; DELETE FROM order_names WHERE number > 1").unwrap();
    };
    accepted(None, at(600)).await;
    accepted(seen(&order), at(1)).await;
    end("cancelled");
    accepted(None, at(1)).await;
}

/// What diesel does not cache, and whatever SQLite plans anew, costs the one writing thread more than the write.
#[tokio::test]
async fn the_lane_prepares_its_statements_once() {
    let (_dir, store, order) = with_an_order().await;
    let seen_here = Arc::new(Mutex::new((BTreeSet::new(), BTreeSet::new())));
    let sink = seen_here.clone();
    let listen = move |event: InstrumentationEvent<'_>| {
        let (run, cached) = &mut *sink.lock().unwrap();
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                run.insert(query.to_string().split(" -- binds").next().unwrap().to_owned())
            }
            InstrumentationEvent::CacheQuery { sql, .. } => cached.insert(sql.to_owned()),
            _ => false,
        };
    };
    let listening = store.lane.write(tx::Urgency::Control, move |tx| {
        tx.conn()?.set_prepared_statement_cache_size(CacheSize::Disabled);
        tx.conn()?.set_prepared_statement_cache_size(CacheSize::Unbounded);
        tx.conn()?.set_instrumentation(listen.clone());
        Ok(())
    });
    listening.await.unwrap();

    for name in ["cus", "somebody else"] {
        let request = NewOrder { customer_id: CustomerId(name.into()), ..request(order.shop_id) };
        let key = Some(format!("key of {name}"));
        store.accept(Accept { idempotency_key: key, ..accept(order.partner_id, request) }).await.unwrap();
    }
    let mut claims = store.claim(Stage::Authorize, 2, at(1)).await.unwrap();
    let (one, other) = (claims.pop().unwrap(), claims.pop().unwrap());
    let amount = order.placed.total.amount;
    let event = Event::PaymentAuthorized { amount, reference: "ch_1".into(), capture_before: None };
    let word = Word {
        order_id: one.order().id,
        scope: Scope::Everyone,
        sender: Sender::Shop,
        event: Event::ShopRejected { reason: Reason::ShopClosed },
        version: None,
        now: at(3),
    };
    store.commit(one, Outcome { event: Some(event), again: None }, at(2)).await.unwrap();
    assert!(matches!(store.receive(word).await.unwrap(), Received::Changed(..)));
    store.give_back(other, at(2)).await.unwrap();

    let (run, cached) = &*seen_here.lock().unwrap();
    let anew: Vec<_> =
        run.difference(cached).filter(|sql| !["BEGIN IMMEDIATE", "COMMIT"].contains(&sql.as_str())).collect();
    assert!(run.len() > 12 && anew.is_empty(), "{anew:#?} of {} are prepared each time", run.len());
    assert!(run.iter().all(|sql| !sql.contains("LIMIT")), "{run:#?}");
}

#[tokio::test]
async fn a_shop_is_busy_with_what_it_has_in_its_hands() {
    let (dir, store, order) = with_an_order().await;
    by_hand(&dir, "DROP TRIGGER orders_follow_the_lifecycle").unwrap();
    let in_half_an_hour = at(1800).timestamp_millis();
    for (status, slot_at, count) in [
        ("new", None, 0),
        ("action_required", None, 0),
        ("scheduled", Some(in_half_an_hour), 0),
        ("awaiting_shop", None, 1),
        ("accepted", Some(in_half_an_hour), 1),
        ("accepted", Some(in_half_an_hour + 1), 0),
        ("preparing", Some(0), 1),
        ("ready", None, 0),
    ] {
        let slot = slot_at.map_or("NULL".to_owned(), |at| at.to_string());
        by_hand(&dir, &format!("UPDATE orders SET status = '{status}', slot_at = {slot}")).unwrap();
        let loads = store.tally(readers::Haste::Awaited).await.unwrap().loads;
        assert_eq!(loads.get(&order.shop_id), (count > 0).then_some(&count), "{status} for {slot}");
    }
}

#[tokio::test]
async fn a_damaged_document_keeps_nobody_from_counting() {
    let (dir, store, _) = with_an_order().await;
    by_hand(&dir, "UPDATE orders SET details = '{'").unwrap();
    let tally = store.tally(readers::Haste::Awaited).await.unwrap();
    assert_eq!(tally.by_status[&Status::New], (1, None));
}
