//! A customer's present orders: from a replica where one is proven to be fresh enough, otherwise from the primary, and
//! never older than what the reader has seen.

use std::cmp::Reverse;
use std::time::Duration;

use diesel::connection::DefaultLoadingMode;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::lists::{age_in_seconds, ongoing_rows};
use super::position::{Place, Position};
use super::questions::{EndsOf, ListOf};
use super::replicas::{Freshness, Replicas};
use super::rows::{OrderRow, millis, or_log, raw};
use super::schema::orders;
use super::sql::{Conn, Millis, RawId, native};
use super::statements::{Ask, Value};
use super::{Error, Result, Store};
use crate::admission::Revision;
use crate::meters::{Door, METERS};
use crate::order::{CustomerId, Instant, PartnerId};
use crate::state::Order;

/// From where a list was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Primary,
    Replica,
}

/// A customer's present orders, and how fresh that is.
#[derive(Clone, Debug)]
pub struct Present {
    pub ongoing: Vec<Order>,
    pub recently_closed: Vec<Order>,
    pub revision: Revision,
    pub position: Position,
    pub as_of: Instant,
    pub source: Source,
}

/// Why a list cannot be as fresh as its reader has to have it.
#[derive(Debug)]
pub enum Unreadable {
    /// The reader has seen what this database does not have (any more). Here is where it stands now.
    HistoryDiverged(Position),
    Failed(Error),
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How many of a customer's newest orders are looked at for those that ended a while ago.
const RECENT_ORDERS: usize = 32;
/// How many of them are told.
const MAX_RECENTLY_CLOSED: usize = 10;

/// How long a list waits for the primary to show what its reader has seen already: a standby may show a commit before
/// the primary does, while that waits for another standby.
const CATCHING_UP: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Store {
    /// A customer's ongoing orders, and those that ended after `closed_since`, read at least as fresh as
    /// `at_least`: from a replica where that suffices, otherwise from the primary.
    ///
    /// # Errors
    /// [`Unreadable`]: an error is never an empty list.
    pub async fn present(
        &self,
        partner: PartnerId,
        customer: CustomerId,
        at_least: Option<Position>,
        closed_since: Instant,
        now: Instant,
    ) -> std::result::Result<Present, Unreadable> {
        // Another database's position cannot be compared: only the primary is certainly fresh enough.
        let is_foreign = at_least.is_some_and(|position| position.cluster != self.cluster);
        let at_least = at_least.filter(|_| !is_foreign);
        let asked = Asked { cluster: self.cluster, partner, customer, closed_since };
        let mut door = Door::Primary;
        if !is_foreign {
            let written = self.recent.last(partner, &asked.customer);
            let wanted = Freshness { seen: at_least.map(|seen| seen.at), written };
            if let Some(replica) = self.replicas.fresh_enough(&wanted) {
                door = Door::Both;
                let of = asked.clone();
                match replica.read(move |conn, place, as_of| of.read(conn, place, as_of, Source::Replica)).await {
                    Ok(read) if asked.is_as_fresh(&read, at_least, &self.replicas) => {
                        METERS.list_reads.of(Door::Replica).increment(1);
                        METERS.list_staleness.of(()).record(age_in_seconds(read.as_of, now));
                        return Ok(read);
                    }
                    Ok(_) => {}
                    // A replica takes work off the primary; nobody depends on it.
                    Err(fault) => tracing::warn!(%fault, "store.replica_failed"),
                }
            }
        }
        let until = tokio::time::Instant::now() + CATCHING_UP;
        loop {
            let of = asked.clone();
            let read = self.readers.read_at(move |conn, place| of.read(conn, place, now, Source::Primary)).await?;
            if asked.is_as_fresh(&read, at_least, &self.replicas) {
                METERS.list_reads.of(door).increment(1);
                return Ok(read);
            }
            if self.is_alone || asked.has_diverged(&read, at_least, &self.replicas) {
                METERS.list_reads.of(Door::Diverged).increment(1);
                return Err(Unreadable::HistoryDiverged(read.position));
            }
            if tokio::time::Instant::now() >= until {
                let fault = "the primary does not show yet what this reader has seen";
                return Err(Error::Unavailable(fault.into()).into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whose list is asked for.
#[derive(Clone)]
struct Asked {
    cluster: u64,
    partner: PartnerId,
    customer: CustomerId,
    closed_since: Instant,
}

impl Asked {
    /// Whether what was read is no older than what the reader has seen, both as a place in the log and as a revision.
    fn is_as_fresh(&self, read: &Present, at_least: Option<Position>, known: &Replicas) -> bool {
        at_least.is_none_or(|seen| {
            let revision = seen.revision_of(self.partner, &self.customer).unwrap_or_default();
            let same = revision.number < read.revision.number || revision == read.revision;
            known.holds(read.position.at, seen.at) == Some(true) && (revision.number == 0 || same)
        })
    }

    /// Whether the reader has seen what can never be read here: a place or an order that this history does not have.
    fn has_diverged(&self, read: &Present, at_least: Option<Position>, known: &Replicas) -> bool {
        at_least.is_some_and(|seen| {
            let revision = seen.revision_of(self.partner, &self.customer).unwrap_or_default();
            let another = revision.number == read.revision.number && revision != read.revision;
            // A new history begins with all that the one before it had handed over: what is missing is lost, also where
            // nobody lets us read where that one ended.
            let lost = seen.at.timeline < read.position.at.timeline && revision.number > read.revision.number;
            another
                || lost
                || (seen.at.timeline <= read.position.at.timeline
                    && known.holds(read.position.at, seen.at) == Some(false))
        })
    }

    fn read(self, conn: &mut Conn, place: Place, as_of: Instant, source: Source) -> Result<Present> {
        let Self { cluster, partner, customer, closed_since } = self;
        let Listed { ongoing, closed, revision } = match conn {
            Conn::Sqlite(_) => step_by_step(conn, partner, &customer, closed_since)?,
            Conn::Postgres(conn) => at_once(conn, partner, &customer, closed_since)?,
        };
        let readable = |rows: Vec<OrderRow>| rows.into_iter().filter_map(|row| or_log(row.into_order())).collect();
        Ok(Present {
            ongoing: readable(ongoing),
            recently_closed: readable(closed),
            revision,
            position: Position::of(cluster, place, (partner, &customer), revision),
            as_of,
            source,
        })
    }
}

/// What a list is made of: newest first, and latest end first.
struct Listed {
    ongoing: Vec<OrderRow>,
    closed: Vec<OrderRow>,
    revision: Revision,
}

/// SQLite answers small questions at next to no cost.
fn step_by_step(conn: &mut Conn, partner: PartnerId, customer: &CustomerId, closed_since: Instant) -> Result<Listed> {
    let ongoing = ongoing_rows(conn, partner, customer)?;
    let ends = Ask::<EndsOf, 2>::with([Value::Id(raw(partner)), Value::Text(&customer.0)]);
    let newest = native!(conn, conn => ends
        .load_iter::<(i64, i64, Option<Millis>, RawId), DefaultLoadingMode>(conn)?
        .take(RECENT_ORDERS)
        .collect::<QueryResult<Vec<_>>>())?;
    let revision = newest
        .first()
        .map_or_else(Revision::default, |(number, nonce, ..)| Revision { number: *number, nonce: *nonce });
    let just_now = |at: Option<Millis>| at.is_some_and(|at| at > millis(closed_since));
    let mut just_closed: Vec<_> = newest.into_iter().filter(|(_, _, closed_at, _)| just_now(*closed_at)).collect();
    just_closed.sort_by_key(|(number, _, closed_at, _)| Reverse((*closed_at, *number)));
    let mut closed: Vec<OrderRow> = Vec::new();
    for (.., id) in just_closed {
        closed.extend(orders::table.find(id).filter(orders::deleted_at.is_null()).get_result(conn).optional()?);
        if closed.len() == MAX_RECENTLY_CLOSED {
            break;
        }
    }
    Ok(Listed { ongoing, closed, revision })
}

/// PostgreSQL is a trip away, and one statement sees one snapshot.
fn at_once(
    conn: &mut PgConnection,
    partner: PartnerId,
    customer: &CustomerId,
    closed_since: Instant,
) -> Result<Listed> {
    let (owner, name) = (|| Value::Id(raw(partner)), || Value::Text(&customer.0));
    let values = [owner(), name(), Value::At(millis(closed_since)), owner(), name(), owner(), name()];
    let rows: Vec<(i64, i64, Option<Millis>, Option<OrderRow>)> = Ask::<ListOf, 7>::with(values).load(conn)?;
    let revision =
        rows.first().map_or_else(Revision::default, |(number, nonce, ..)| Revision { number: *number, nonce: *nonce });
    let (mut ongoing, mut closed) = (Vec::new(), Vec::new());
    for (number, _, ended_at, row) in rows {
        match (ended_at, row) {
            (None, Some(row)) => ongoing.push(row),
            (Some(ended_at), Some(row)) => closed.push((ended_at, number, row)),
            (_, None) => {}
        }
    }
    closed.sort_by_key(|(ended_at, number, _)| Reverse((*ended_at, *number)));
    let closed = closed.into_iter().take(MAX_RECENTLY_CLOSED).map(|(.., row)| row).collect();
    Ok(Listed { ongoing, closed, revision })
}
