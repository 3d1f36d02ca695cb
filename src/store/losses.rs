//! Losses: when the database has gone back, so that orders are gone whose money is still held.
//!
//! A failover to a standby that had not received everything starts a new timeline of PostgreSQL. Whoever has the duty
//! notes every minute where the database is, and in which timeline. That note is lost with whatever came after it: on the
//! new primary it says up to when everything is there. So a loss is noticed where the timeline is a later one than the
//! note's, on the same system; and what was lost happened between the note and that moment. A backup that was restored
//! cannot know that it is one: an operator says so (`lungo restored`). Only a restore of PostgreSQL to a point in time is
//! noticed by itself, because that begins a timeline too.

use std::ops::Range;

use chrono::{DateTime, Duration};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::audit::{self, Entry};
use super::restored::{RESTORED, Restored};
use super::rows::{millis, raw, uuid};
use super::schema::{audit as log, drafts, meta, orders};
use super::sql::{Conn, RawId, native};
use super::tx::Urgency;
use super::{Error, Result, Store, position};
use crate::order::{Instant, OrderId};

/// What the audit log calls the return of money whose order was lost.
pub const RELEASE_LOST: &str = "release_lost_payment";

/// In `meta`: when the database was last seen, in which history of which system.
const HISTORY: &str = "history";
/// In `meta`: a loss whose payments are looked for.
const LOST: &str = "lost";

/// How often it is noted where the database is.
const NOTED_EVERY: Duration = Duration::minutes(1);
/// What the clocks of instances and gateway may differ by, and a payment take until it is listed.
const BEFORE: Duration = Duration::minutes(5);
/// Instances that have not noticed a failover may go on for so long with what they hold.
const AFTER: Duration = Duration::minutes(2);
/// A failover is over by then. What was last seen longer ago than that was restored.
const FAILOVER: Duration = Duration::minutes(10);
/// A draft that has expired is confirmed no more by then, whatever clocks say.
const SKEW: Duration = Duration::minutes(5);
/// How often payments of a loss are looked for: soon, and once more long after everything on its way has arrived.
const LOOKS: u8 = 2;

/// Orders may have been lost, and with them whose the payments are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When payments of lost orders were made.
    pub made: Range<Instant>,
    /// When they are looked for next …
    pub look_at: Instant,
    /// … and how often still.
    looks: u8,
}

/// Which orders there are no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub lost: Vec<OrderId>,
    /// Drafts that may yet be confirmed, and then want that very payment.
    pub undecided: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct History {
    seen_at: Instant,
    timeline: u32,
    system: String,
}

impl Store {
    /// Notes where the database is, and gives the loss whose payments have to be looked for. One that is noticed now is to
    /// be looked into after `wait`. Whoever has the duty asks every second or so.
    pub async fn watch_history(&self, now: Instant, wait: Duration) -> Result<Option<Loss>> {
        let (known, here, loss) = self
            .readers
            .read(move |conn| Ok((read(conn, HISTORY, History::parse)?, History::here(conn, now)?, lost(conn)?)))
            .await?;
        if known.is_some_and(|known| known.is_same(&here) && now - known.seen_at < NOTED_EVERY) {
            return Ok(loss);
        }
        self.lane
            .write(Urgency::Control, move |tx| {
                let known = read(tx.conn()?, HISTORY, History::parse)?;
                let here = History::here(tx.conn()?, now)?;
                if let Some(known) = &known
                    && here.went_back_since(known)
                {
                    // Perhaps nothing was lost: the gateway will tell.
                    let is_restored = here.is_far_behind(known);
                    tracing::warn!(timeline = here.timeline, since = %known.seen_at, is_restored, "store.another_history");
                    if is_restored {
                        note_behind(tx.conn()?, known.seen_at, now)?;
                    } else {
                        note(tx.conn()?, known.seen_at - BEFORE..now + AFTER, now + wait)?;
                    }
                }
                if known.is_none_or(|known| !known.is_same(&here) || known.seen_at < here.seen_at) {
                    put(tx.conn()?, HISTORY, here.to_string())?;
                }
                lost(tx.conn()?)
            })
            .await
    }

    /// An operator says that the database is a backup from that time, and that it is the one that goes on. What it lacks
    /// is looked for at the gateway, and what is in it is withheld until it was compared: see `restored`.
    pub async fn note_restored(&self, since: Instant, now: Instant) -> Result<()> {
        self.lane.write(Urgency::Control, move |tx| note_behind(tx.conn()?, since, now)).await
    }

    /// Which of these orders are lost, each with what the audit log says of it, once. What is judged is committed on the
    /// primary that has noticed the loss: on no other, and on none that has been left behind by another failover where
    /// commits wait for a standby.
    pub async fn judge_lost(&self, suspects: Vec<(OrderId, Entry)>, now: Instant) -> Result<Judged> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let known = read(tx.conn()?, HISTORY, History::parse)?;
                let here = History::here(tx.conn()?, now)?;
                if known.is_none_or(|known| !known.is_same(&here)) {
                    return Err(Error::Unavailable("the database is in another history than a moment ago".into()));
                }
                let ids: Vec<RawId> = suspects.iter().map(|(id, _)| raw(*id)).collect();
                let ordered: Vec<RawId> =
                    orders::table.filter(orders::id.eq_any(&ids)).select(orders::id).load(tx.conn()?)?;
                let open: Vec<RawId> = drafts::table
                    .filter(drafts::id.eq_any(&ids))
                    .filter(drafts::deleted_at.is_null())
                    .filter(drafts::valid_until.gt(millis(now - SKEW)))
                    .select(drafts::id)
                    .load(tx.conn()?)?;
                let of = |ids: Vec<RawId>| ids.iter().map(|id| uuid(id).map(OrderId)).collect::<Result<Vec<_>>>();
                let (ordered, open) = (of(ordered)?, of(open)?);
                let subjects: Vec<&str> = suspects.iter().map(|(_, entry)| entry.subject.as_str()).collect();
                let logged: Vec<String> = log::table
                    .filter(log::action.eq(RELEASE_LOST))
                    .filter(log::subject.eq_any(subjects))
                    .select(log::subject)
                    .load(tx.conn()?)?;
                let mut judged = Judged::default();
                for (id, entry) in suspects.iter().filter(|(id, _)| !ordered.contains(id)) {
                    if open.contains(id) {
                        judged.undecided += 1;
                        continue;
                    }
                    if !logged.contains(&entry.subject) {
                        audit::insert(tx, entry, true)?;
                    }
                    judged.lost.push(*id);
                }
                Ok(judged)
            })
            .await
    }

    /// All payments of a loss were looked at. What was not settled is looked at again then; what was, for the last time
    /// much later.
    pub async fn looked_for_lost(&self, loss: Loss, is_settled: bool, next: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                // Another one may have come, and this one is part of it.
                if lost(tx.conn()?)?.as_ref() != Some(&loss) {
                    return Ok(());
                }
                let looks = loss.looks - u8::from(is_settled);
                if looks > 0 {
                    return put(tx.conn()?, LOST, Loss { look_at: next, looks, ..loss.clone() }.to_string());
                }
                diesel::delete(meta::table.find(LOST)).execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }

    /// The loss whose payments are looked for.
    pub async fn loss(&self) -> Result<Option<Loss>> {
        self.readers.read(lost).await
    }
}

impl Loss {
    /// Whether the next look is the last one.
    pub fn is_last(&self) -> bool {
        self.looks == 1
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut instant = || DateTime::from_timestamp_millis(words.next()?.parse().ok()?);
        let (from, to, look_at) = (instant()?, instant()?, instant()?);
        Some(Self { made: from..to, look_at, looks: words.next()?.parse().ok().filter(|looks| *looks > 0)? })
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [from, to, look_at] = [self.made.start, self.made.end, self.look_at].map(|at| at.timestamp_millis());
        write!(f, "{from} {to} {look_at} {}", self.looks)
    }
}

impl History {
    fn here(conn: &mut Conn, now: Instant) -> Result<Self> {
        let Conn::Postgres(postgres) = conn else {
            return Ok(Self { seen_at: now, timeline: 0, system: "embedded".into() });
        };
        let (place, is_standby) = position::ask(postgres)?;
        if is_standby {
            return Err(Error::Unavailable("the server is not the primary any more".into()));
        }
        let system = "(SELECT system_identifier::text || ' ' || current_database() FROM pg_control_system())";
        let system = diesel::select(sql::<Text>(system)).get_result(postgres)?;
        Ok(Self { seen_at: now, timeline: place.timeline, system })
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.timeline, &self.system) == (other.timeline, &other.system)
    }

    /// A copy on another system has lost nothing: whatever it does not know belongs to somebody else. Neither has a primary
    /// that was left behind by a failover: its timeline is the old one.
    fn went_back_since(&self, known: &Self) -> bool {
        self.system == known.system && self.timeline > known.timeline
    }

    /// A server that went back to a point in time begins a new timeline as well. It is told from a failover by how long
    /// ago it was seen; a failover after a long outage is only compared in vain.
    fn is_far_behind(&self, known: &Self) -> bool {
        self.seen_at - known.seen_at > FAILOVER
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let seen_at = DateTime::from_timestamp_millis(words.next()?.parse().ok()?)?;
        Some(Self { seen_at, timeline: words.next()?.parse().ok()?, system: words.next()?.to_owned() })
    }
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.seen_at.timestamp_millis(), self.timeline, self.system)
    }
}

/// Writes down that the database is a backup from that time.
pub(super) fn note_behind(conn: &mut Conn, since: Instant, now: Instant) -> Result<()> {
    let known = read(conn, RESTORED, Restored::parse)?;
    let since = known.map_or(since, |known| known.since.min(since));
    put(conn, RESTORED, Restored { since, noted_at: now }.to_string())?;
    note(conn, since - BEFORE..now + AFTER, now)
}

/// Adds a loss to the one that may be known already.
fn note(conn: &mut Conn, made: Range<Instant>, look_at: Instant) -> Result<()> {
    let made = match lost(conn)? {
        Some(known) => known.made.start.min(made.start)..known.made.end.max(made.end),
        None => made,
    };
    put(conn, LOST, Loss { made, look_at, looks: LOOKS }.to_string())
}

fn lost(conn: &mut Conn) -> Result<Option<Loss>> {
    read(conn, LOST, Loss::parse)
}

pub(super) fn read<T>(conn: &mut Conn, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
    let text: Option<String> = meta::table.find(name).select(meta::value).first(conn).optional()?;
    text.map(|text| parse(&text).ok_or_else(|| Error::Damaged(format!("{name} `{text}`")))).transpose()
}

pub(super) fn put(conn: &mut Conn, name: &'static str, value: String) -> Result<()> {
    let put = diesel::insert_into(meta::table)
        .values((meta::name.eq(name), meta::value.eq(&value)))
        .on_conflict(meta::name)
        .do_update()
        .set(meta::value.eq(&value));
    native!(conn, conn => put.execute(conn))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn only_a_later_history_of_the_same_system_has_lost_something() {
        let history = |timeline, system: &str| History { seen_at: at(1), timeline, system: system.into() };
        let known = history(3, "71");
        for (here, went_back) in [
            (history(3, "71"), false),
            (history(4, "71"), true),
            // A primary that others have left behind, and a copy somewhere else.
            (history(2, "71"), false),
            (history(4, "72"), false),
        ] {
            assert_eq!(here.went_back_since(&known), went_back, "{here}");
        }
        assert_eq!(History::parse(&known.to_string()).as_ref(), Some(&known));
        for (seconds, is_restored) in [(120, false), (3_600, true)] {
            let here = History { seen_at: at(1 + seconds), ..history(4, "71") };
            assert_eq!(here.is_far_behind(&known), is_restored);
        }
        let loss = Loss { made: at(1)..at(2), look_at: at(3), looks: 2 };
        assert_eq!(Loss::parse(&loss.to_string()), Some(loss));
        for garbage in ["", "1 2 3", "1 2 3 0", "a b c d"] {
            assert_eq!(Loss::parse(garbage), None, "{garbage}");
        }
    }
}
