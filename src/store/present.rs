//! A customer's present orders: from a replica where one is proven to be fresh enough, otherwise from the primary, and
//! never older than what the reader has seen.
//!
//! Lists are what is asked for most. Whoever reads takes all that wait for one at that moment, and reads them together:
//! one snapshot, and on PostgreSQL one statement. Nobody waits for others to come.

use std::cmp::{Ordering, Reverse};

use crossbeam_channel::Receiver;
use diesel::connection::DefaultLoadingMode;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use tokio::sync::oneshot;

use super::lists::{age_in_seconds, ongoing_rows};
use super::position::{Place, Position, Shown, here, here_on_primary};
use super::questions::EndsOf;
use super::replicas::{Freshness, Replicas};
use super::rows::{OrderRow, millis, or_log, raw};
use super::schema::orders;
use super::sets::{AskAll, Values, index, set_questions};
use super::shown::{Look, Shows, shown_at};
use super::sql::{At, Conn, Millis, RawId, native};
use super::statements::{Ask, Value};
use super::{Error, Result, Store};
use crate::admission::Revision;
use crate::logs::failing;
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
    /// Nothing that is shown here is newer.
    pub position: Position,
    /// Everything up to there is shown here.
    holds: Place,
    pub as_of: Instant,
    pub source: Source,
}

/// Why an answer cannot be as fresh as its reader has to have it.
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
        let is_foreign = at_least.as_ref().is_some_and(|position| position.cluster != self.cluster);
        let at_least = at_least.filter(|_| !is_foreign);
        let asked = Asked { cluster: self.cluster, partner, customer, closed_since, now };
        let mut door = Door::Primary;
        if !is_foreign {
            let written = self.recent.last(partner, &asked.customer);
            let wanted = Freshness { seen: at_least.as_ref().map(|seen| seen.at), written };
            if let Some(replica) = self.replicas.fresh_enough(&wanted) {
                door = Door::Both;
                match replica.list(asked.clone()).await {
                    Ok(read) if asked.is_as_fresh(&read, at_least.as_ref(), &self.replicas) => {
                        METERS.list_reads.of(Door::Replica).increment(1);
                        METERS.list_staleness.of(()).record(age_in_seconds(read.as_of, now));
                        return Ok(read);
                    }
                    Ok(_) => {}
                    // A replica takes work off the primary; nobody depends on it.
                    Err(fault) => failing!("store.replica_failed", fault),
                }
            }
        }
        let looking = self.looking(at_least.as_ref());
        let listed = loop {
            let look = self.list_at_primary(&asked, at_least.as_ref()).await?;
            match looking.judge(look).await {
                Ok(None) => {}
                Ok(Some(listed)) => break Ok(listed),
                Err(fault) => break Err(fault),
            }
        };
        match &listed {
            Ok(_) => METERS.list_reads.of(door).increment(1),
            Err(Unreadable::HistoryDiverged(_)) => METERS.list_reads.of(Door::Diverged).increment(1),
            Err(Unreadable::Failed(_)) => {}
        }
        listed
    }

    /// Looks once at the primary. What its reader has seen and it does not list may have ended long ago, or may not be
    /// visible yet: that is looked up.
    async fn list_at_primary(&self, asked: &Asked, seen: Option<&Position>) -> Result<Look<Present>> {
        let mut read = self.readers.list(asked.clone()).await?;
        let mut shows = seen.map_or(Shows::All, |seen| asked.revision_shown(&read, seen));
        if let Some(seen) = seen
            && shows == Shows::All
            && !asked.lists_all(&read, seen)
        {
            let (partner, customer, seen) = (asked.partner, asked.customer.clone(), seen.clone());
            shows = self.readers.read(move |conn| shown_at(conn, partner, &customer, &seen)).await?;
            if shows == Shows::All {
                read = self.readers.list(asked.clone()).await?;
            }
        }
        Ok(Look { holds: read.holds, now: read.position.clone(), shows, found: read })
    }
}

/// Whose list is asked for.
#[derive(Clone)]
pub(super) struct Asked {
    cluster: u64,
    partner: PartnerId,
    customer: CustomerId,
    closed_since: Instant,
    now: Instant,
}

impl Asked {
    /// Whether what a replica read is no older than what the reader has seen, both as a place in the log and as a revision.
    fn is_as_fresh(&self, read: &Present, at_least: Option<&Position>, known: &Replicas) -> bool {
        at_least.is_none_or(|seen| {
            known.holds(read.holds, seen.at) == Some(true) && self.revision_shown(read, seen) == Shows::All
        })
    }

    fn revision_shown(&self, read: &Present, seen: &Position) -> Shows {
        let seen = seen.revision_of(self.partner, &self.customer).unwrap_or_default();
        match seen.number.cmp(&read.revision.number) {
            Ordering::Equal if seen != read.revision => Shows::Another,
            Ordering::Greater => Shows::Less,
            _ => Shows::All,
        }
    }

    /// Whether each order that the reader has seen is in the list, no older than it was.
    fn lists_all(&self, read: &Present, seen: &Position) -> bool {
        let is_of_theirs = seen.revision_of(self.partner, &self.customer).is_some();
        let is_listed = |seen: &Shown| {
            let mut listed = read.ongoing.iter().chain(&read.recently_closed);
            listed.any(|order| order.number == seen.number && order.version >= seen.version)
        };
        !is_of_theirs || seen.shown().iter().all(is_listed)
    }

    /// Errors: [`Error::Unavailable`] if a replica shows more orders than a position can name.
    fn present(&self, listed: Listed, places: Places, as_of: Instant, source: Source) -> Result<Present> {
        let Listed { ongoing, closed, revision } = listed;
        let readable = |rows: Vec<OrderRow>| -> Vec<Order> {
            rows.into_iter().filter_map(|row| or_log(row.into_order())).collect()
        };
        let (ongoing, recently_closed) = (readable(ongoing), readable(closed));
        let mut position = Position::of(self.cluster, places.after, (self.partner, &self.customer), revision);
        if source == Source::Replica {
            let too_many = || Error::Unavailable("a position cannot name so many orders".into());
            position = position.having_shown(ongoing.iter().chain(&recently_closed)).ok_or_else(too_many)?;
        }
        Ok(Present { ongoing, recently_closed, revision, position, holds: places.before, as_of, source })
    }

    /// Reads the list on a snapshot of SQLite that is open already.
    pub fn read_on_snapshot(&self, conn: &mut Conn, as_of: Instant) -> Result<Present> {
        let places = Places::of_snapshot(here(conn)?);
        self.present(step_by_step(conn, self)?, places, as_of, Source::Replica)
    }
}

/// Somebody who waits for a list.
pub(super) struct Waiting {
    asked: Asked,
    answer: oneshot::Sender<Result<Present>>,
}

impl Waiting {
    pub fn for_list(asked: Asked) -> (Self, oneshot::Receiver<Result<Present>>) {
        let (answer, answered) = oneshot::channel();
        (Self { asked, answer }, answered)
    }

    /// The first one, and whoever else waits by now.
    pub fn with_others(self, others: &Receiver<Self>) -> Vec<Self> {
        [self].into_iter().chain(others.try_iter().take(MOST_TOGETHER - 1)).collect()
    }
}

/// Lists that are read together at most: enough to share a trip, few enough that another thread gets its share.
const MOST_TOGETHER: usize = 32;

/// Reads lists and answers those who wait for them, from a replica if it is known how far that has come and as of when it
/// holds everything. Whether the database answered.
pub(super) fn read_together(conn: &mut Conn, mut waiting: Vec<Waiting>, replica: Option<(Place, Instant)>) -> bool {
    // Whoever asked may have gone: then the work is not worth doing.
    waiting.retain(|one| !one.answer.is_closed());
    if waiting.is_empty() {
        return true;
    }
    let asked: Vec<&Asked> = waiting.iter().map(|one| &one.asked).collect();
    match read(conn, &asked, replica.map(|(place, _)| place)) {
        Ok((places, listed)) => {
            for (Waiting { asked, answer }, listed) in waiting.into_iter().zip(listed) {
                let (as_of, source) = match replica {
                    Some((_, as_of)) => (as_of, Source::Replica),
                    None => (asked.now, Source::Primary),
                };
                let _ = answer.send(asked.present(listed, places, as_of, source));
            }
            true
        }
        // What one of them asks for may be what the database does not take (a name with a NUL, say). The others are not to
        // suffer from it.
        Err(_) if waiting.len() > 1 => {
            let mut has_answered = true;
            for one in waiting {
                has_answered &= read_together(conn, vec![one], replica);
            }
            has_answered
        }
        Err(fault) => {
            let has_answered = !matches!(fault, Error::Unavailable(_));
            waiting.into_iter().for_each(|Waiting { answer, .. }| drop(answer.send(Err(fault.clone()))));
            has_answered
        }
    }
}

/// How far a database had come before something was read, all of which was read, and afterwards, beyond which nothing was.
#[derive(Clone, Copy)]
struct Places {
    before: Place,
    after: Place,
}

impl Places {
    /// A snapshot of SQLite knows its own place.
    fn of_snapshot(place: Place) -> Self {
        Self { before: place, after: place }
    }
}

/// Lists, and how far the database had come; before that at least as far as is `known`.
fn read(conn: &mut Conn, asked: &[&Asked], known: Option<Place>) -> Result<(Places, Vec<Listed>)> {
    if conn.is_postgres() {
        let before = known.map_or_else(|| here_on_primary(conn), Ok)?;
        if let Conn::Postgres(conn) = conn {
            let (place, timeline, listed) = at_once(conn, asked)?;
            // It was promoted a moment ago, and who follows the old primary may never have what it writes from now on.
            if timeline.is_some_and(|timeline| timeline != i64::from(before.timeline)) {
                return Err(Error::Unavailable("its history has just changed".into()));
            }
            return Ok((Places { before, after: Place { place, ..before } }, listed));
        }
    }
    conn.read(|conn| {
        let place = here(conn)?;
        let listed = asked.iter().map(|asked| step_by_step(conn, asked)).collect::<Result<_>>()?;
        Ok((Places::of_snapshot(place), listed))
    })
}

/// What a list is made of: newest first, and latest end first.
#[derive(Default)]
struct Listed {
    ongoing: Vec<OrderRow>,
    closed: Vec<OrderRow>,
    revision: Revision,
}

/// SQLite answers small questions at next to no cost.
fn step_by_step(conn: &mut Conn, asked: &Asked) -> Result<Listed> {
    let Asked { partner, customer, closed_since, .. } = asked;
    let ongoing = ongoing_rows(conn, *partner, customer)?;
    let ends = Ask::<EndsOf, 2>::with([Value::Id(raw(*partner)), Value::Text(&customer.0)]);
    let newest = native!(conn, conn => ends
        .load_iter::<(i64, i64, Option<Millis>, RawId), DefaultLoadingMode>(conn)?
        .take(RECENT_ORDERS)
        .collect::<QueryResult<Vec<_>>>())?;
    let revision = newest
        .first()
        .map_or_else(Revision::default, |(number, nonce, ..)| Revision { number: *number, nonce: *nonce });
    let just_now = |at: Option<Millis>| at.is_some_and(|at| at > millis(*closed_since));
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

set_questions! {
    /// Of customers (partners, names, and since when what ended is told): number, nonce and end of the newest order, and of
    /// those after it that are ongoing or ended since, each with the order itself if that is to be told; and all others that
    /// are ongoing. Each with the place of the customer in the question. Behind all of them, as number 0, how far the server
    /// has come, which is no less than what the snapshot shows, and a primary its timeline.
    ListsOfAll: (BigInt, BigInt, BigInt, Nullable<At>, Nullable<orders::SqlType>),
        "SELECT c.place, listed.* FROM unnest(?, ?, ?) WITH ORDINALITY AS c (partner, name, since, place)
         CROSS JOIN LATERAL (
             SELECT newest.number, newest.nonce, newest.closed_at, told.* FROM (
                 SELECT number, nonce, closed_at, order_id, row_number() OVER (ORDER BY number DESC) AS rank
                 FROM order_names
                 WHERE partner_id = c.partner AND customer_id = c.name AND number > 0 ORDER BY number DESC LIMIT 32
             ) AS newest LEFT JOIN LATERAL (
                 SELECT * FROM orders WHERE id = newest.order_id
                     AND (newest.closed_at IS NULL OR newest.closed_at > c.since) AND deleted_at IS NULL LIMIT 1
             ) AS told ON TRUE
             WHERE rank = 1 OR newest.closed_at IS NULL OR newest.closed_at > c.since
             UNION ALL
             SELECT number, 0, NULL, orders.* FROM orders
             WHERE partner_id = c.partner AND customer_id = c.name AND ongoing AND number <= (
                 SELECT number FROM order_names WHERE partner_id = c.partner AND customer_id = c.name AND number > 0
                 ORDER BY number DESC OFFSET 32 LIMIT 1)
         ) AS listed
         UNION ALL
         SELECT 0::bigint,
             (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END
                 - '0/0'::pg_lsn)::bigint,
             CASE WHEN pg_is_in_recovery() THEN 0
                 ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint END,
             NULL, (NULL::orders).*";
}

/// A row of [`ListsOfAll`].
type Found = (i64, i64, i64, Option<Millis>, Option<OrderRow>);

/// PostgreSQL is a trip away, and one statement sees one snapshot. Gives how far the server has come as well, and of a
/// primary the timeline.
fn at_once(conn: &mut PgConnection, asked: &[&Asked]) -> Result<(i64, Option<i64>, Vec<Listed>)> {
    let values = [
        Values::Ids(asked.iter().map(|asked| raw(asked.partner)).collect()),
        Values::Texts(asked.iter().map(|asked| asked.customer.0.clone()).collect()),
        Values::Ats(asked.iter().map(|asked| millis(asked.closed_since)).collect()),
    ];
    let mut found: Vec<Found> = AskAll::<ListsOfAll, 3>::with(values).load(conn)?;
    found.sort_unstable_by_key(|(place, number, ..)| Reverse((*place, *number)));
    let Some((0, here, timeline, ..)) = found.pop() else {
        return Err(Error::Damaged("a server does not say how far it has come".into()));
    };
    let mut lists: Vec<Listed> = asked.iter().map(|_| Listed::default()).collect();
    for (place, number, nonce, ended_at, row) in found {
        let list = &mut lists[index(place)];
        if list.revision.number == 0 {
            list.revision = Revision { number, nonce };
        }
        match ended_at {
            None => list.ongoing.extend(row),
            Some(_) => list.closed.extend(row),
        }
    }
    for list in &mut lists {
        list.closed.sort_by_key(|row| Reverse((row.closed_at, row.number)));
        list.closed.truncate(MAX_RECENTLY_CLOSED);
    }
    Ok((here, (timeline > 0).then_some(timeline), lists))
}
