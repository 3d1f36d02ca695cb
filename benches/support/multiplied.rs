//! A history on PostgreSQL that the server makes of some orders whose lives the store has carried.
//!
//! Each row is one of theirs with an id, a customer, a number, names, a nonce, a hash and times of its own, and each
//! position in the log is given as the store gives it. So every index has the entries that it would have, in the order
//! in which they would have come. Left out is all that is never found again: of an order's six or so events there are the
//! first and the last (the three indexes of the log are as deep as with all of them), no row has dead versions, and of the
//! times in a document only the first and the last belong to its order.

use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use eyre::{Result, eyre};
use indicatif::ProgressBar;

use crate::servers::{Cluster, Database, Node, ask};
use crate::{CUSTOMER, History, SPREAD};

/// Orders that are made in one transaction. Their events must have numbers in there.
const AT_ONCE: usize = 50_000;

/// What they are made of: the orders of this database, and the part of their names and events that is wanted.
const TEMPLATES: &str = "
    CREATE SCHEMA made;
    CREATE TABLE made.orders AS
        SELECT *, row_number() OVER (PARTITION BY ongoing ORDER BY id) - 1 AS place, created_at AS born FROM orders;
    CREATE TABLE made.order_names AS
        SELECT name.*, place, ongoing, born FROM order_names AS name JOIN made.orders ON order_id = id;
    CREATE TABLE made.order_events AS
        SELECT event.*, place, ongoing, born FROM order_events AS event JOIN made.orders AS told ON order_id = id
        WHERE event.version IN (1, told.version);
    CREATE FUNCTION made.id(k bigint, ms bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(md5(k::text), 1, 3) || 'a' || substr(md5(k::text), 4, 15))::uuid
    $$;
    ANALYZE made.orders, made.order_names, made.order_events;";

/// A table, and what is another value in a new row: of `new`, where that is of the order, or of the template.
type Table = (&'static str, &'static [(&'static str, &'static str)]);
const TABLES: [Table; 3] = [
    (
        "orders",
        &[
            ("id", "new.id"),
            ("customer_id", "new.customer"),
            ("number", "new.number"),
            (
                "placed_hash",
                r"sha256(uuid_send(new.id) || '\x00' || new.customer::bytea || '\x00' || uuid_send(template.shop_id) || '\x00'
                    || convert_to(template.placed, 'UTF8'))",
            ),
            ("created_at", "new.at"),
            ("closed_at", "template.closed_at - born + new.at"),
            ("next_attempt_at", "template.next_attempt_at + later"),
            ("deadline_at", "template.deadline_at + later"),
            (
                "details",
                "template.details::jsonb || jsonb_build_object('nonce', new.nonce, 'entered_at', ms, 'updated_at', ms)",
            ),
        ],
    ),
    (
        "order_names",
        &[
            ("customer_id", "new.customer"),
            ("number", "CASE template.number WHEN 0 THEN 0 ELSE new.number END"),
            ("idempotency_key", "CASE template.number WHEN 0 THEN new.customer || '-' || new.ms ELSE '' END"),
            ("order_id", "new.id"),
            ("nonce", "new.nonce"),
            ("created_at", "new.at"),
            ("closed_at", "template.closed_at - born + new.at"),
        ],
    ),
    (
        "order_events",
        &[
            (
                "position",
                "(pg_current_xact_id()::text::bigint << 20) + row_number() OVER (ORDER BY new.k, template.version)",
            ),
            ("order_id", "new.id"),
            ("at", "template.at - born + new.at"),
        ],
    ),
];

/// Makes the history of the orders that the database has, whose customers must not be of the history themselves. In the
/// end the database is as it would be had it grown: vacuumed, analysed and on the disk.
pub fn multiply(cluster: &Cluster, database: &Database, history: &History) -> Result<()> {
    let run = |sql: &str| ask(&database.primary, sql).map_err(|fault| eyre!("{sql}: {fault}"));
    run(TEMPLATES)?;
    // Nothing has to survive a crash until all of it is there.
    let safety = ["fsync", "full_page_writes", "autovacuum"];
    safety.iter().for_each(|setting| cluster.set(Node::Primary, setting, "off"));
    let bar = ProgressBar::new(history.orders() * TABLES.len() as u64);
    let has_failed = AtomicBool::new(false);
    let fill = |table: &Table| -> Result<()> {
        let columns = run(&format!(
            "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name = '{}'",
            table.0
        ))?;
        for orders in history.batches(AT_ONCE) {
            if has_failed.load(Ordering::Relaxed) {
                break;
            }
            run(&insert(table, &columns, history, &orders))?;
            bar.inc(orders.end - orders.start);
        }
        run(&format!("VACUUM (ANALYZE) {}", table.0)).map(drop)
    };
    let fill = |table| fill(table).inspect_err(|_| has_failed.store(true, Ordering::Relaxed));
    thread::scope(|scope| {
        let filling = TABLES.each_ref().map(|table| scope.spawn(move || fill(table)));
        filling.into_iter().try_for_each(|one| one.join().map_err(|_| eyre!("it panicked"))?)
    })?;
    bar.finish_and_clear();
    run("DROP SCHEMA made CASCADE")?;
    safety.iter().for_each(|setting| cluster.set(Node::Primary, setting, "on"));
    run("CHECKPOINT; CREATE EXTENSION pg_prewarm;
        SELECT pg_prewarm(oid) FROM pg_class WHERE relkind = 'i' AND relname ~ '^order'; DROP EXTENSION pg_prewarm")?;
    Command::new("sync").status()?;
    Ok(())
}

/// Rows of a table for these orders, all finished or all ongoing, which were born one after the other.
fn insert((table, changed): &Table, columns: &str, history: &History, orders: &Range<u64>) -> String {
    let columns: Vec<&str> = columns.split(' ').collect();
    let values = columns.iter().map(|column| match changed.iter().find(|(name, _)| name == column) {
        Some((_, value)) => (*value).to_owned(),
        None => format!("template.{column}"),
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let columns = columns.join(", ");
    let (from, until, customers) = (orders.start, orders.end, history.customers);
    let [first, last] = [from, until].map(|order| history.born(order).timestamp_millis());
    let is_ongoing = history.is_ongoing(from);
    format!(
        "SET work_mem = '256MB';
         INSERT INTO {table} ({columns}) SELECT {values} FROM (
             SELECT k, ms, made.id(k, ms) AS id, to_timestamp(ms / 1000.0) AS at,
                 '{CUSTOMER}' || (k * {SPREAD} % {customers}) AS customer, k / {customers} + 1 AS number,
                 hashint8extended(k, 0) AS nonce,
                 k % (SELECT count(*) FROM made.orders WHERE ongoing = {is_ongoing}) AS place,
                 k % 3600 * interval '1 second' + interval '1 hour' AS later
             FROM (SELECT k, {first} + (k - {from}) * ({last} - {first}) / {count} AS ms
                   FROM generate_series({from}::bigint, {until}::bigint - 1) AS k) AS born
         ) AS new JOIN made.{table} AS template USING (place) WHERE ongoing = {is_ongoing} ORDER BY k",
        count = until - from,
    )
}
