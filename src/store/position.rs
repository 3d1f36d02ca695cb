//! How far a client has seen: which database, which place in its log, which of the customer's revisions, which versions.
//!
//! **A position proves visibility, not a place in the log.** A replica shows a commit as soon as it has replayed it, so a
//! place in the log is a proof there. On the primary it is none: its log has a commit that waits for a synchronous
//! standby, and its snapshots show that commit only afterwards. A list from a replica may therefore be ahead of the primary,
//! and its position also names the orders that it shows, each with its version. The primary answers such a position only
//! once it shows each of them in that version or a later one. What the primary has shown it shows for ever, so positions
//! that it gives name no orders.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::rows::instant;
use super::sets::{AskAll, set_questions};
use super::sql::{At, Conn, Millis};
use super::{Error, Result, log};
use crate::admission::{Revision, owner};
use crate::order::{CustomerId, Instant, OrderId, PartnerId};
use crate::state::Order;

/// A `Lungo-Position`: an answer to a request that carries one is at least that fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The database that gave it.
    pub cluster: u64,
    /// How far it had come.
    pub at: Place,
    owner: [u8; 6],
    revision: Revision,
    /// What a replica showed, and the primary may not show yet.
    shown: Vec<Shown>,
}

/// An order of the position's customer, in the version that a reader has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The last bytes of its id, which are random: who knows only the id finds it by them.
    tag: [u8; 4],
    /// Its number among the customer's orders.
    pub number: i64,
    pub version: i64,
}

/// Without the orders that were shown.
const BYTES: usize = 42;
/// A token has at most 512 characters: clients and proxies bound the length of a header.
const MOST_BYTES: usize = 384;

impl Position {
    pub(super) fn of(cluster: u64, at: Place, of: (PartnerId, &CustomerId), revision: Revision) -> Self {
        Self { cluster, at, owner: owner(of.0, of.1), revision, shown: Vec::new() }
    }

    /// Everything up to there, of no customer in particular.
    pub fn of_log(cluster: u64, at: Place) -> Self {
        Self { cluster, at, owner: [0; 6], revision: Revision::default(), shown: Vec::new() }
    }

    /// The same, of one who has seen these orders of the customer's, which the primary may not show yet. `None` if they are
    /// too many for a token.
    pub(super) fn having_shown<'o>(self, orders: impl Iterator<Item = &'o Order>) -> Option<Self> {
        let shown = |order: &Order| Shown { tag: tag(order.id), number: order.number, version: order.version };
        let position = Self { shown: orders.map(shown).collect(), ..self };
        (position.bytes().len() <= MOST_BYTES).then_some(position)
    }

    /// The orders that were shown where the primary may not show them yet.
    pub(super) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// The version of an order that was shown where the primary may not show it yet.
    pub(super) fn version_of(&self, id: OrderId) -> Option<i64> {
        self.shown.iter().find(|shown| shown.tag == tag(id)).map(|shown| shown.version)
    }

    /// The revision that was seen, if it was this customer's.
    pub fn revision_of(&self, partner: PartnerId, customer: &CustomerId) -> Option<Revision> {
        (self.owner == owner(partner, customer)).then_some(self.revision)
    }

    /// The opaque form.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES + 8 * self.shown.len());
        bytes.extend(self.cluster.to_be_bytes());
        bytes.extend(self.at.timeline.to_be_bytes());
        bytes.extend(self.at.place.to_be_bytes());
        bytes.extend(self.owner);
        bytes.extend(self.revision.number.to_be_bytes());
        bytes.extend(self.revision.nonce.to_be_bytes());
        for Shown { tag, number, version } in &self.shown {
            bytes.extend(tag);
            push_small(&mut bytes, *number);
            push_small(&mut bytes, *version);
        }
        bytes
    }

    /// Reads a token back; `None` for garbage. One of an earlier build names no orders.
    pub fn parse(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() <= MOST_BYTES)?;
        let (bytes, mut rest): (&[u8; BYTES], &[u8]) = bytes.split_first_chunk()?;
        let mut shown = Vec::new();
        while !rest.is_empty() {
            let (tag, behind) = rest.split_first_chunk()?;
            rest = behind;
            shown.push(Shown { tag: *tag, number: take_small(&mut rest)?, version: take_small(&mut rest)? });
        }
        let position = Self {
            cluster: u64::from_be_bytes(bytes[..8].try_into().ok()?),
            at: Place {
                timeline: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
                place: i64::from_be_bytes(bytes[12..20].try_into().ok()?),
            },
            owner: bytes[20..26].try_into().ok()?,
            revision: Revision {
                number: i64::from_be_bytes(bytes[26..34].try_into().ok()?),
                nonce: i64::from_be_bytes(bytes[34..].try_into().ok()?),
            },
            shown,
        };
        (position.at.place >= 0 && position.revision.number >= 0).then_some(position)
    }
}

fn tag(OrderId(id): OrderId) -> [u8; 4] {
    id.as_bytes()[12..].try_into().expect("an id has 16 bytes")
}

/// Writes a number in as few bytes as it needs, 7 bits in each, the low ones first.
fn push_small(bytes: &mut Vec<u8>, number: i64) {
    let mut left = number.cast_unsigned();
    while left > 0x7f {
        bytes.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
}

/// Reads such a number off the front; `None` if there is none that is positive.
fn take_small(bytes: &mut &[u8]) -> Option<i64> {
    let length = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    let number = number.iter().rev().fold(0, |high, byte| high << 7 | i64::from(byte & 0x7f));
    (number > 0).then_some(number)
}

/// How far a database has come, by its own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The history of that database: raised by every failover. The embedded database has one.
    pub timeline: u32,
    /// How far along that history: of SQLite the last event in the log, of PostgreSQL the place in its write-ahead log.
    pub place: i64,
}

set_questions! {
    /// Timeline and place of a server, and whether it is a standby. That one does not say of which timeline it is: it is
    /// asked of the receiver of its log.
    Here: (BigInt, BigInt, Bool), "
        SELECT CASE WHEN pg_is_in_recovery()
                THEN COALESCE((SELECT received_tli FROM pg_stat_wal_receiver), 0)::bigint
                ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint END,
            (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END
                - '0/0'::pg_lsn)::bigint, pg_is_in_recovery()";
}

/// How far this database has come. On PostgreSQL that and what a snapshot shows are two things, one after the other. What
/// a replica is asked AFTER the question holds everything up to there, and what either server was asked BEFORE it holds
/// nothing beyond. A replica is chosen by the former; the latter is told to readers, so that they are not shown less again.
pub(super) fn here(conn: &mut Conn) -> Result<Place> {
    match conn {
        Conn::Sqlite(_) => Ok(Place { timeline: 1, place: log::end(conn)? }),
        Conn::Postgres(conn) => Ok(ask(conn)?.0),
    }
}

/// As [`here`], of a server that must not have become a standby: what it shows would be old.
pub(super) fn here_on_primary(conn: &mut Conn) -> Result<Place> {
    match conn {
        Conn::Sqlite(_) => here(conn),
        Conn::Postgres(postgres) => match ask(postgres)? {
            (place, false) => Ok(place),
            (_, true) => {
                conn.give_up();
                Err(Error::Unavailable("the server is not the primary any more".into()))
            }
        },
    }
}

/// How far a server has come, and whether it is a standby.
pub(super) fn ask(conn: &mut PgConnection) -> Result<(Place, bool)> {
    let (timeline, place, is_standby): (i64, i64, bool) = AskAll::<Here, 0>::with([]).get_result(conn)?;
    Ok((Place { timeline: u32::try_from(timeline).unwrap_or_default(), place }, is_standby))
}

/// Whether whatever is written now is refused.
pub(super) fn is_read_only(conn: &mut PgConnection) -> Result<bool> {
    let ask = sql::<Bool>("(current_setting('transaction_read_only') = 'on')");
    Ok(diesel::select(ask).get_result(conn)?)
}

/// The server's clock, and then how far it has come: that place holds all that was acknowledged before the instant. The
/// other way round it would lack what was acknowledged between the two.
pub(super) fn now_and_here(conn: &mut Conn) -> Result<(Instant, Place)> {
    Ok((now_there(conn)?, here_on_primary(conn)?))
}

/// What the clock of a server shows.
pub(super) fn now_there(conn: &mut Conn) -> Result<Instant> {
    let Conn::Postgres(postgres) = conn else { return Err(Error::Damaged("an embedded database has no clock".into())) };
    let clock: Millis = diesel::select(sql::<At>("clock_timestamp()")).get_result(postgres)?;
    Ok(instant(clock))
}

/// Where histories of a database ended, so that another began: at a failover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forks {
    /// The history that led here.
    of: u32,
    ends: Vec<Place>,
}

impl Forks {
    /// Reads them from a primary, where it lets us: without, a history that ended is taken to have gone on.
    pub fn read(conn: &mut Conn, timeline: u32) -> Result<Self> {
        let Conn::Postgres(conn) = conn else { return Ok(Self::default()) };
        if timeline < 2 {
            return Ok(Self { of: timeline, ends: Vec::new() });
        }
        let file = format!("SELECT pg_read_file('pg_wal/{timeline:08X}.history', 0, 1048576, true)");
        let text = diesel::select(sql::<Nullable<Text>>(file.trim_start_matches("SELECT "))).get_result(conn);
        let text: Option<String> = text.unwrap_or_else(|fault| {
            tracing::warn!(%fault, "store.timeline_history_unreadable");
            None
        });
        Ok(Self::parse(timeline, &text.unwrap_or_default()))
    }

    /// Each line has a timeline, where it ended, and why.
    fn parse(of: u32, history: &str) -> Self {
        let fork = |line: &str| {
            let mut words = line.split_whitespace();
            let timeline = words.next()?.parse().ok()?;
            let (high, low) = words.next()?.split_once('/')?;
            let place = i64::from_str_radix(high, 16).ok()? << 32 | i64::from_str_radix(low, 16).ok()?;
            Some(Place { timeline, place })
        };
        Self { of, ends: history.lines().filter_map(fork).collect() }
    }

    /// Whether who has come as far as `here` has all of what was there at `seen`; `None` where that history is so new that
    /// it is not known yet what it goes on from.
    pub fn holds(&self, here: Place, seen: Place) -> Option<bool> {
        if seen.timeline >= here.timeline {
            return Some(seen.timeline == here.timeline && seen.place <= here.place);
        }
        let end = self.ends.iter().find(|fork| fork.timeline == seen.timeline);
        (self.of >= here.timeline).then(|| seen.place <= end.map_or(here.place, |end| end.place.min(here.place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_beyond_the_end_of_its_history_is_held_by_nobody() {
        let forks = Forks::parse(3, "1\t0/5000000\tno recovery target specified\n\n2\t1/10\twhy\n");
        let at = |timeline, place| Place { timeline, place };
        assert_eq!(forks.ends, [at(1, 0x500_0000), at(2, 0x1_0000_0010)]);
        for (here, seen, holds) in [
            (at(1, 10), at(1, 10), true),
            (at(1, 10), at(1, 11), false),
            (at(2, 0x600_0000), at(1, 0x500_0000), true),
            (at(2, 0x600_0000), at(1, 0x500_0001), false),
            (at(2, 0x400_0000), at(1, 0x500_0000), false),
            (at(3, 0x2_0000_0000), at(2, 0x1_0000_0011), false),
            (at(1, 0x900_0000), at(2, 1), false),
        ] {
            assert_eq!(forks.holds(here, seen), Some(holds), "{here:?} {seen:?}");
        }
        let unreadable = Forks::parse(2, "");
        assert_eq!(unreadable.holds(at(2, 5), at(1, 5)), Some(true), "where nothing is known of the end");
        assert_eq!(Forks::default().holds(at(2, 5), at(1, 5)), None, "where it has not been looked yet");
        assert_eq!(Forks::default().holds(at(2, 5), at(2, 5)), Some(true));
    }

    #[test]
    fn a_token_reads_back_and_knows_its_customer() {
        let (partner, customer) = (PartnerId::new(), CustomerId("cus".into()));
        let revision = Revision { number: 3, nonce: -9 };
        let position = Position::of(7, Place { timeline: 2, place: 12 }, (partner, &customer), revision);
        assert_eq!(Position::parse(&position.token()).as_ref(), Some(&position));
        assert_eq!(position.revision_of(partner, &customer), Some(revision));
        assert_eq!(position.revision_of(partner, &CustomerId("other".into())), None);
        for garbage in ["", "x", "!!!!", &position.token()[1..]] {
            assert_eq!(Position::parse(garbage), None);
        }
    }

    #[test]
    fn a_token_names_orders_in_their_versions_as_long_as_it_is_short() {
        let mut order = crate::fixtures::order();
        let owner = (order.partner_id, order.customer_id.clone());
        let of = |orders: &[Order]| {
            let position = Position::of(7, Place::default(), (owner.0, &owner.1), Revision::default());
            position.having_shown(orders.iter())
        };
        for (number, version) in
            [(1, 1), (127, 128), (128, 127), (16_384, 300), (1 << 40, 1 << 50), (i64::MAX, i64::MAX)]
        {
            (order.number, order.version) = (number, version);
            let position = of(&[order.clone(), crate::fixtures::order()]).expect("they are few");
            assert_eq!(Position::parse(&position.token()).as_ref(), Some(&position));
            assert_eq!(position.version_of(order.id), Some(version));
            assert_eq!(position.version_of(OrderId::new()), None);
        }
        (order.number, order.version) = (100, 20);
        let many = vec![order.clone(); 57];
        assert_eq!(of(&many).expect("as many as there is room for").token().len(), 512);
        assert_eq!(of(&vec![order; 58]), None);
    }

    #[test]
    fn a_token_of_an_earlier_build_is_read_and_one_cut_short_is_not() {
        let early = Position::of_log(7, Place { timeline: 1, place: 9 });
        assert_eq!(Position::parse(&URL_SAFE_NO_PAD.encode(&early.bytes()[..BYTES])), Some(early.clone()));
        let bytes = early.having_shown([crate::fixtures::order()].iter()).unwrap().bytes();
        for cut in (0..bytes.len()).filter(|cut| *cut != BYTES) {
            assert_eq!(Position::parse(&URL_SAFE_NO_PAD.encode(&bytes[..cut])), None, "{cut}");
        }
        for endless in [[&bytes[..], &[1, 2, 3, 4], &[0xff; 12]].concat(), [&bytes[..], &[1, 2, 3, 4, 0, 1]].concat()] {
            assert_eq!(Position::parse(&URL_SAFE_NO_PAD.encode(endless)), None);
        }
        assert_eq!(Position::parse(&"A".repeat(513)), None);
    }
}
