//! The log of all events, as something that is read from front to back.
//!
//! Two rules hold on both engines. **Nothing is ever inserted before a position that a reader was given**, and **the log
//! tells the versions of an order in their order**: an event stands behind the event before it of the same order.
//!
//! On SQLite one writer numbers the events. On PostgreSQL many transactions write at once, and one that began early may
//! be committed late. An event's position there is made of the number of its transaction and its own number in it, and
//! readers stop before the oldest transaction that still runs. PostgreSQL numbers a transaction at its first write, which
//! may be before it waits for an order that a later one is changing. Its event would then stand before that of the
//! version it builds on, so it takes a place of its own directly behind that event instead: the later position is still
//! behind everything that a reader was given.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::Result;
use super::schema::order_events;
use super::sets::{AskAll, set_questions};
use super::sql::Conn;

/// The positions of one transaction differ in their last 20 bits.
pub(super) const BITS_IN_TRANSACTION: u32 = 20;
/// Of those, the last 5 are 0 in an event of its own place. They number the events that had to go behind it: of one order,
/// by transactions that began earlier. Should that ever be more than 31, the database refuses the 32nd as a duplicate, and
/// the lane repeats the batch under a new number.
const BITS_BEHIND_EVENT: u32 = 5;
/// So many events fit into one transaction.
pub(super) const MOST_IN_TRANSACTION: i64 = (1 << (BITS_IN_TRANSACTION - BITS_BEHIND_EVENT)) - 1;

set_questions! {
    /// The oldest transaction that still runs.
    Oldest: BigInt, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
    /// Whether all events are of transactions that this server has had.
    AreItsOwn: Bool, "SELECT COALESCE(max(position), 0) >> 20 < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        FROM order_events";
}

/// The last position that may be read up to.
pub(super) fn end(conn: &mut Conn) -> Result<i64> {
    match conn {
        Conn::Sqlite(conn) => {
            let last = order_events::table.select(diesel::dsl::max(order_events::position));
            Ok(last.get_result::<Option<i64>>(conn)?.unwrap_or(0))
        }
        Conn::Postgres(conn) => Ok(end_on_postgres(conn)?),
    }
}

/// Everything that a transaction of this server's writes from now on is behind it.
pub(super) fn end_on_postgres(conn: &mut PgConnection) -> QueryResult<i64> {
    let oldest: i64 = AskAll::<Oldest, 0>::with([]).get_result(conn)?;
    Ok((oldest << BITS_IN_TRANSACTION) - 1)
}

/// The columns of the rows `new` as they are written on PostgreSQL: positions that are counted within the present
/// transaction become those in the log. The event before is looked up only where a transaction of a later number has
/// ended already: otherwise none can have written it.
pub(super) fn placed(columns: &str) -> String {
    let rest = columns.strip_prefix("position").unwrap_or_default();
    format!(
        "GREATEST(
            (SELECT pg_current_xact_id()::text::bigint << {BITS_IN_TRANSACTION}) + (position << {BITS_BEHIND_EVENT}),
            (SELECT before.position + 1 FROM order_events AS before
                WHERE before.order_id = new.order_id AND before.version < new.version
                    AND pg_current_xact_id()::text::bigint < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                ORDER BY before.version DESC LIMIT 1)){rest}"
    )
}

/// Whether what is written from now on comes behind all that is there. A copy that was made row by row, on a server with
/// fewer transactions behind it, would put new events before old ones.
pub(super) fn goes_on(conn: &mut PgConnection) -> QueryResult<bool> {
    AskAll::<AreItsOwn, 0>::with([]).get_result(conn)
}

/// The position up to which there are so many events after another one; the end, if there are fewer.
pub(super) fn reach(conn: &mut Conn, after: i64, events: i64) -> Result<i64> {
    let end = end(conn)?;
    let last: Option<i64> = order_events::table
        .filter(order_events::position.gt(after))
        .filter(order_events::position.le(end))
        .order(order_events::position)
        .offset(events - 1)
        .select(order_events::position)
        .first(conn)
        .optional()?;
    Ok(last.unwrap_or(end))
}

/// The position after which there are so many events; 0, if there are fewer.
pub(super) fn back(conn: &mut Conn, events: i64) -> Result<i64> {
    let last: Option<i64> = order_events::table
        .order(order_events::position.desc())
        .offset(events)
        .select(order_events::position)
        .first(conn)
        .optional()?;
    Ok(last.unwrap_or(0))
}

#[cfg(test)]
mod tests;
