//! The log of all events, as something that is read from front to back.
//!
//! On SQLite one writer numbers the events. On PostgreSQL many transactions write at once, and one that began early may
//! be committed late: an event's position is the number of its transaction, and its own number in there. Nobody reads
//! beyond the oldest transaction that still runs, so that nothing is ever inserted before a position that was given.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::Result;
use super::schema::order_events;
use super::sets::{AskAll, set_questions};
use super::sql::Conn;

/// Events of one transaction have numbers of so many bits.
pub(super) const BITS_IN_TRANSACTION: u32 = 20;

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

/// The columns of new events as they are written on PostgreSQL: positions that are counted within the present transaction
/// become those in the log.
pub(super) fn placed(columns: &str) -> String {
    let rest = columns.strip_prefix("position").unwrap_or_default();
    format!("(SELECT pg_current_xact_id()::text::bigint << {BITS_IN_TRANSACTION}) + position{rest}")
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
