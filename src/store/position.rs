//! How far a client has seen: which database, which place in its log, which of the customer's revisions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::Result;
use super::schema::order_events;
use crate::admission::{Revision, owner};
use crate::order::{CustomerId, PartnerId};

/// A `Lungo-Position`: an answer to a request that carries one is at least that fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The database that gave it.
    pub cluster: u64,
    /// The history of that database: raised by every failover. The embedded database has one.
    pub timeline: u32,
    /// The place in the log: the last event that was seen.
    pub place: i64,
    owner: [u8; 6],
    revision: Revision,
}

impl Position {
    pub(super) fn of(cluster: u64, place: i64, of: (PartnerId, &CustomerId), revision: Revision) -> Self {
        Self { cluster, timeline: 1, place, owner: owner(of.0, of.1), revision }
    }

    /// Everything up to a place in the log, of no customer in particular.
    pub fn of_log(cluster: u64, place: i64) -> Self {
        Self { cluster, timeline: 1, place, owner: [0; 6], revision: Revision::default() }
    }

    /// The revision that was seen, if it was this customer's.
    pub fn revision_of(&self, partner: PartnerId, customer: &CustomerId) -> Option<Revision> {
        (self.owner == owner(partner, customer)).then_some(self.revision)
    }

    /// The opaque form.
    pub fn token(&self) -> String {
        let mut bytes = Vec::with_capacity(42);
        bytes.extend(self.cluster.to_be_bytes());
        bytes.extend(self.timeline.to_be_bytes());
        bytes.extend(self.place.to_be_bytes());
        bytes.extend(self.owner);
        bytes.extend(self.revision.number.to_be_bytes());
        bytes.extend(self.revision.nonce.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token back; `None` for garbage.
    pub fn parse(token: &str) -> Option<Self> {
        let bytes: [u8; 42] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let position = Self {
            cluster: u64::from_be_bytes(bytes[..8].try_into().ok()?),
            timeline: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
            place: i64::from_be_bytes(bytes[12..20].try_into().ok()?),
            owner: bytes[20..26].try_into().ok()?,
            revision: Revision {
                number: i64::from_be_bytes(bytes[26..34].try_into().ok()?),
                nonce: i64::from_be_bytes(bytes[34..].try_into().ok()?),
            },
        };
        (position.place >= 0 && position.revision.number >= 0).then_some(position)
    }
}

/// The place of the last event in the log.
pub(super) fn last_position(conn: &mut SqliteConnection) -> Result<i64> {
    Ok(order_events::table
        .select(diesel::dsl::max(order_events::position))
        .get_result::<Option<i64>>(conn)?
        .unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_knows_its_customer() {
        let (partner, customer) = (PartnerId::new(), CustomerId("cus".into()));
        let revision = Revision { number: 3, nonce: -9 };
        let position = Position::of(7, 12, (partner, &customer), revision);
        assert_eq!(Position::parse(&position.token()), Some(position));
        assert_eq!(position.revision_of(partner, &customer), Some(revision));
        assert_eq!(position.revision_of(partner, &CustomerId("other".into())), None);
        for garbage in ["", "x", "!!!!", &position.token()[1..]] {
            assert_eq!(Position::parse(garbage), None);
        }
    }
}
