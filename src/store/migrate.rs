//! Moving an embedded database to a PostgreSQL server, table by table.
//!
//! One transaction of the source shows all of it, and keeps everybody else from writing there. The target gets the rows
//! in the order of their keys, in batches that are committed one by one: what it has of a table is always the beginning
//! of it, so that a move which was interrupted goes on where it ended, if the source is still what it was.
//!
//! No order is ever worked off in both. As long as the target is marked with [`MOVING_FROM`] no service starts there.
//! When everything is there the source is marked with [`MOVED_TO`], so that none starts there any more, and only then
//! the mark of the target is taken away.
//!
//! The target keeps the id of its own that tells it from every other database. A place in its log means something else
//! than in the source's: a reader that shows one of the source's is served by the primary, as one of any other database
//! is. The events keep their positions, all of which are below those that the target gives: a cursor into the source's
//! feed stays good ([`MOVED_FROM`]).

mod shape;
mod sum;

use std::path::Path;
use std::sync::Arc;

use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::pg::{PgConnection, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;

use super::engine::{self, Database};
use super::hosts::Hosts;
use super::moved::{MOVED_FROM, MOVED_TO, MOVING_FROM};
use super::schema::{audit, meta, order_events};
use super::{Error, log};
use shape::{Batch, Raw, Shape};
use sum::{Sum, Summing};

/// All that is moved, those first that others refer to.
const TABLES: &[&str] = &[
    "meta",
    "partners",
    "keys",
    "shops",
    "items",
    "shop_items",
    "shop_options",
    "calendars",
    "drafts",
    "orders",
    "order_names",
    "order_events",
    "webhooks",
    "deliveries",
    "users",
    "links",
    "sessions",
    "login_failures",
    "audit",
    "saved_views",
    "tablets",
    "bulk_jobs",
    "bulk_orders",
    "holds",
    "settlements",
];

/// What is not moved: whoever worked on the source works there no more.
const LEFT_BEHIND: &[&str] = &["instances"];

const CLUSTER: &str = "cluster";
/// What `meta` says of a database itself, and is not moved.
const OF_ITSELF: [&str; 5] = [CLUSTER, engine::MIGRATED_BY, MOVING_FROM, MOVED_FROM, MOVED_TO];

/// What the connection to the target needs. Batches need not reach the disk one by one: they do with the last commit,
/// in their order. Rows lie there in the order of their keys, so that reading them so again needs no sorting.
const SESSION: &str = "SET application_name = 'lungo migrate'; SET statement_timeout = 0; SET synchronous_commit = off;
    SET enable_sort = off; SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0";

/// Why not everything was moved. What has been moved is kept, and need not be moved again.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// Nothing was changed.
    #[error("{0}")]
    Refused(String),
    #[error("{what}: {fault}")]
    Failed { what: String, fault: String },
    #[error("{table}: the target does not hold what the source does ({there} instead of {here})")]
    Differs { table: &'static str, here: String, there: String },
    /// What is in the target is not how the source begins.
    #[error("{0}: the source has changed since its move was begun")]
    Changed(&'static str),
}

impl From<Error> for NotMoved {
    fn from(fault: Error) -> Self {
        match fault {
            Error::Unavailable(why) => Self::Refused(why),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<diesel::result::Error> for NotMoved {
    fn from(fault: diesel::result::Error) -> Self {
        Self::Failed { what: "the database".into(), fault: fault.to_string() }
    }
}

/// How far a move has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub table: &'static str,
    /// Rows that were read on either side, of this many on both.
    pub done: u64,
    pub of: u64,
}

/// A table that is in the target as it was in the source.
#[derive(Clone, Debug)]
pub struct MovedTable {
    pub name: &'static str,
    pub rows: u64,
    /// Of those, what an earlier run had moved.
    pub found: u64,
    /// Over all of its rows in the order of their keys, the same on both sides.
    pub hash: String,
}

/// What was moved.
#[derive(Debug)]
pub struct Moved {
    pub tables: Vec<MovedTable>,
    /// An earlier run had moved everything; nothing was done. There are no tables then.
    pub was_done: bool,
    /// The source had changed since an earlier run, whose rows were thrown away.
    pub began_anew: bool,
    /// What tells the target from every other database.
    pub cluster: String,
}

/// Moves everything from the embedded database in a file to the database of a PostgreSQL server. Whoever calls this
/// keeps services from working on the file.
///
/// # Errors
/// [`NotMoved`]. The same call goes on later.
pub fn migrate(from: &Path, to: &str, mut tell: impl FnMut(Progress)) -> std::result::Result<Moved, NotMoved> {
    if !from.is_file() {
        return Err(NotMoved::Refused(format!("there is no database {}", from.display())));
    }
    let source = Database::Sqlite(from.display().to_string());
    source.check_version()?;
    let open = |fault: ConnectionError| NotMoved::Refused(format!("{}: {fault}", source.name()));
    let mut source = SqliteConnection::establish(&from.display().to_string()).map_err(open)?;
    source.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL")?;
    let hosts = Arc::new(Hosts::of_primary(to));
    let server = Database::Postgres(hosts.clone());
    let open = |fault: String| NotMoved::Refused(format!("{}: {fault}", server.name()));
    let mut target = hosts.connect(|_| {}).map_err(open)?;
    prepare(&mut target, &server)?;
    let moved = source.immediate_transaction(|source| move_and_leave(source, &mut target, &server, &mut tell))?;
    if !moved.was_done {
        diesel::update(meta::table.find(MOVING_FROM)).set(meta::name.eq(MOVED_FROM)).execute(&mut target)?;
        // The planner knows nothing of tables that were filled a moment ago.
        target.batch_execute("ANALYZE")?;
    }
    Ok(moved)
}

/// Creates the target's schema, and keeps others from it for as long as the connection is open: a service that starts
/// meanwhile waits for this lock.
fn prepare(target: &mut PgConnection, server: &Database) -> std::result::Result<(), NotMoved> {
    let refused = |why: &str| Err(NotMoved::Refused(format!("{}: {why}", server.name())));
    target.batch_execute(SESSION)?;
    // A process that was killed a moment ago may still hold it.
    let lock =
        format!("SET lock_timeout = '10s'; SELECT pg_advisory_lock({}); SET lock_timeout = 0", engine::MIGRATING);
    if let Err(fault) = target.batch_execute(&lock) {
        return refused(&format!("another process migrates it: {fault}"));
    }
    let others = "(SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'lungo' AND pid <> pg_backend_pid())";
    if diesel::select(diesel::dsl::sql::<BigInt>(others)).get_result::<i64>(target)? > 0
        // Whoever has everything may work; there is nothing to be done then. Without a schema it has nothing.
        && meta_of_target(target, MOVED_FROM).unwrap_or(None).is_none()
    {
        return refused("a service works on it: stop that first");
    }
    engine::migrate_postgres(target).map_err(|fault| fault.of(server.name().as_str()).into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    Now,
    Before,
    Done,
}

/// Marks the target as one that gets the source's rows, if it may. Each of the two has a name.
fn begin(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    shapes: &[Shape],
    (here, there): (&str, &str),
) -> std::result::Result<Begun, NotMoved> {
    let refused = |why: String| Err(NotMoved::Refused(why));
    let left_for = meta_of_source(source, MOVED_TO)?;
    let has_left = left_for.as_deref().is_some_and(|place| place.split(' ').next() == Some(there));
    if let Some(place) = left_for.filter(|_| !has_left) {
        return refused(format!("the orders of the source have moved already, to the database {place}"));
    }
    match (meta_of_target(target, MOVING_FROM)?, meta_of_target(target, MOVED_FROM)?) {
        (None, Some(of)) if of == here && has_left => return Ok(Begun::Done),
        (None, Some(of)) if of == here => {
            return refused("the target has had everything from this source before, and has gone on since".into());
        }
        (Some(of), _) if of == here => return Ok(Begun::Before),
        (Some(_), _) => return refused("the target is half filled, from another source".into()),
        _ => {}
    }
    let last: Option<i64> = order_events::table.select(diesel::dsl::max(order_events::position)).first(source)?;
    let end = log::end_on_postgres(target)?;
    if let Some(last) = last.filter(|last| *last > end) {
        let why = "events that happen there would come before it in the feed";
        return refused(format!("the last event of the source has the position {last}, the target is at {end}: {why}"));
    }
    for shape in shapes {
        let rows = shape.count_in_target(target)?;
        if rows > 0 {
            return refused(format!("the target is not empty: {rows} rows in `{}`", shape.name));
        }
    }
    let mark = (meta::name.eq(MOVING_FROM), meta::value.eq(here));
    diesel::insert_into(meta::table).values(mark).execute(target)?;
    Ok(Begun::Now)
}

/// Moves everything, and marks the source as one whose orders are worked off elsewhere.
fn move_and_leave(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    server: &Database,
    tell: &mut impl FnMut(Progress),
) -> std::result::Result<Moved, NotMoved> {
    let here = meta_of_source(source, CLUSTER)?.unwrap_or_default();
    let there = meta_of_target(target, CLUSTER)?.unwrap_or_default();
    let shapes = shapes(source, target)?;
    let begun = begin(source, target, &shapes, (&here, &there))?;
    if begun == Begun::Done {
        return Ok(Moved { tables: vec![], was_done: true, began_anew: false, cluster: there });
    }
    let (tables, began_anew) = match move_all(&shapes, source, target, tell) {
        Err(NotMoved::Changed(_)) if begun == Begun::Before => {
            target.batch_execute(&format!("TRUNCATE {}", TABLES[1..].join(", ")))?;
            diesel::delete(meta::table.filter(meta::name.ne_all(OF_ITSELF))).execute(target)?;
            (move_all(&shapes, source, target, tell)?, true)
        }
        moved => (moved?, false),
    };
    go_on_counting(source, target)?;
    // Everything is on the target's disk, and on its synchronous standby's, before the source is left.
    target.batch_execute("SET synchronous_commit = remote_apply")?;
    diesel::update(meta::table.find(MOVING_FROM)).set(meta::value.eq(&here)).execute(target)?;
    let place = format!("{there} ({})", server.name());
    diesel::replace_into(meta::table).values((meta::name.eq(MOVED_TO), meta::value.eq(place))).execute(source)?;
    Ok(Moved { tables, was_done: false, began_anew, cluster: there })
}

/// All tables. Nothing is changed by whoever asks.
fn shapes(source: &mut SqliteConnection, target: &mut PgConnection) -> std::result::Result<Vec<Shape>, NotMoved> {
    Shape::check_nothing_is_left(source, &[TABLES, LEFT_BEHIND].concat())?;
    let shape = |name: &&'static str| {
        let shape = Shape::read(target, name)?;
        shape.check_source(source)?;
        Ok(shape)
    };
    TABLES.iter().map(shape).collect()
}

fn move_all(
    shapes: &[Shape],
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    tell: &mut impl FnMut(Progress),
) -> std::result::Result<Vec<MovedTable>, NotMoved> {
    let mut of = 0;
    for shape in shapes {
        of += 2 * shape.count_in_source(source)?;
    }
    let mut done = 0;
    let mut moved = Vec::new();
    for shape in shapes {
        let before = done;
        let mut look = |rows: u64| tell(Progress { table: shape.name, done: before + rows, of });
        let table = move_table(shape, source, target, &mut look)?;
        done += 2 * table.rows;
        moved.push(table);
    }
    Ok(moved)
}

/// Brings the rest of a table to the target, and compares all of it. `look` is told how many rows were read.
fn move_table(
    shape: &Shape,
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    look: &mut impl FnMut(u64),
) -> std::result::Result<MovedTable, NotMoved> {
    let found = read_back(shape, target, &mut |_| {})?;
    let failed = |fault: String| NotMoved::Failed { what: shape.name.into(), fault };
    let mut sum = Summing::default();
    let mut batch = Batch::of(shape);
    let rows = diesel::sql_query(&shape.select).load_iter::<Raw, DefaultLoadingMode>(source)?;
    for row in rows {
        let row = row.map_err(|fault| failed(fault.to_string()))?;
        let row_number = sum.rows() + 1;
        sum.add(&row);
        if sum.rows() <= found.rows {
            if sum.rows() == found.rows && sum.so_far() != found {
                return Err(NotMoved::Changed(shape.name));
            }
        } else {
            batch.push(row).map_err(|fault| failed(format!("row {row_number}: {fault}")))?;
            if batch.is_full() {
                batch.write(shape, target).map_err(|fault| failed(format!("up to row {row_number}: {fault}")))?;
            }
        }
        if row_number % 1000 == 0 {
            look(row_number);
        }
    }
    let sum = sum.so_far();
    if sum.rows < found.rows {
        return Err(NotMoved::Changed(shape.name));
    }
    batch.write(shape, target).map_err(|fault| failed(format!("up to row {}: {fault}", sum.rows)))?;
    if sum.rows > found.rows {
        let there = read_back(shape, target, &mut |rows| look(sum.rows + rows))?;
        if there != sum {
            return Err(NotMoved::Differs { table: shape.name, here: sum.to_string(), there: there.to_string() });
        }
    }
    look(2 * sum.rows);
    Ok(MovedTable { name: shape.name, rows: sum.rows, found: found.rows, hash: sum.hash() })
}

/// What the target holds of a table.
fn read_back(
    shape: &Shape,
    target: &mut PgConnection,
    look: &mut impl FnMut(u64),
) -> std::result::Result<Sum, NotMoved> {
    let failed = |fault: String| NotMoved::Failed { what: format!("{}, in the target", shape.name), fault };
    let mut sum = Summing::default();
    for row in diesel::sql_query(&shape.select).load_iter::<Raw, PgRowByRowLoadingMode>(target)? {
        let row = row.map_err(|fault| failed(fault.to_string()))?;
        sum.add(&row);
        if sum.rows() % 1000 == 0 {
            look(sum.rows());
        }
    }
    Ok(sum.so_far())
}

/// The target numbers what comes after what it got.
fn go_on_counting(source: &mut SqliteConnection, target: &mut PgConnection) -> QueryResult<()> {
    let last: Option<i64> = audit::table.select(diesel::dsl::max(audit::position)).first(source)?;
    let Some(last) = last else { return Ok(()) };
    target.batch_execute(&format!("SELECT setval(pg_get_serial_sequence('audit', 'position'), {last})"))
}

fn meta_of_source(source: &mut SqliteConnection, name: &str) -> QueryResult<Option<String>> {
    meta::table.find(name).select(meta::value).first(source).optional()
}

fn meta_of_target(target: &mut PgConnection, name: &str) -> QueryResult<Option<String>> {
    meta::table.find(name).select(meta::value).first(target).optional()
}
