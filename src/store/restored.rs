//! A restore: from when on this database is behind its world, and that nothing acts on an order before it was compared.
//!
//! `lungo restore` and `lungo restored` write it down. Until it is taken away each instance **withholds**: no claim is
//! given, no deadline decided, no order accepted, and no word heard but the gateway's. It is written before the first
//! instance starts, so that none acts before it knows; one that runs already learns of it within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, Duration};
use diesel::prelude::*;

use super::rows::{OrderRow, millis, or_log, raw};
use super::schema::{meta, orders};
use super::sql::Conn;
use super::tx::Urgency;
use super::{Result, Store, losses};
use crate::order::{Instant, OrderId};
use crate::state::Order;

/// In `meta`: the restore whose orders are compared with the gateway.
pub(super) const RESTORED: &str = "restored";

/// What the clocks of this machine and of that which made the backup may differ by.
pub(super) const MARGIN: Duration = Duration::minutes(5);

/// The database was taken from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is in the backup happened before.
    pub since: Instant,
    /// When it took the place of what came after it.
    pub noted_at: Instant,
}

impl Restored {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut instants = text.split(' ').map(|word| DateTime::from_timestamp_millis(word.parse().ok()?));
        Some(Self { since: instants.next()??, noted_at: instants.next()?? })
    }
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.since.timestamp_millis(), self.noted_at.timestamp_millis())
    }
}

/// Whether this instance withholds orders, and how far the comparison is that it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Withheld(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is: AtomicBool,
    all: AtomicUsize,
    left: AtomicUsize,
}

impl Withheld {
    pub fn is(&self) -> bool {
        self.0.is.load(Ordering::Acquire)
    }

    pub fn set(&self, is: bool) {
        self.0.is.store(is, Ordering::Release);
    }
}

impl Store {
    /// Whether nothing may act on orders here, because they are still to be compared with the gateway.
    pub fn is_withheld(&self) -> bool {
        self.withheld.is()
    }

    /// How many orders are still to be compared, and of how many, as far as this instance knows.
    pub fn left_to_compare(&self) -> (usize, usize) {
        let State { all, left, .. } = &*self.withheld.0;
        (left.load(Ordering::Relaxed), all.load(Ordering::Relaxed))
    }

    /// Notes how far the comparison is.
    pub fn note_compared(&self, left: usize, all: usize) {
        self.withheld.0.left.store(left, Ordering::Relaxed);
        self.withheld.0.all.store(all, Ordering::Relaxed);
    }

    /// The restore whose orders are to be compared; withholds them here while there is one. To be asked every second or
    /// so.
    pub async fn watch_restored(&self) -> Result<Option<Restored>> {
        let restored = self.readers.read(|conn| losses::read(conn, RESTORED, Restored::parse)).await?;
        if restored.is_none() && self.is_withheld() {
            self.note_compared(0, 0);
        }
        self.withheld.set(restored.is_some());
        Ok(restored)
    }

    /// Ids of orders that may be behind: what is ongoing, has work pending, or ended since the backup.
    pub async fn behind(&self, since: Instant) -> Result<Vec<OrderId>> {
        self.readers
            .read(move |conn| {
                let behind = orders::table
                    .filter(
                        orders::ongoing
                            .or(orders::stage.is_not_null())
                            .or(orders::closed_at.ge(millis(since - MARGIN))),
                    )
                    .order(orders::id)
                    .select(orders::id);
                let ids: Vec<super::sql::RawId> = behind.load(conn)?;
                ids.iter().map(|id| super::rows::uuid(id).map(OrderId)).collect()
            })
            .await
    }

    /// These orders, as far as they can be read.
    pub async fn orders(&self, ids: Vec<OrderId>) -> Result<Vec<Order>> {
        self.readers
            .read(move |conn| {
                let ids: Vec<_> = ids.into_iter().map(raw).collect();
                let rows: Vec<OrderRow> = orders::table.filter(orders::id.eq_any(&ids)).load(conn)?;
                Ok(rows.into_iter().filter_map(|row| or_log(row.into_order())).collect())
            })
            .await
    }

    /// Lets orders go on: they were compared, or an operator takes the responsibility for those that were not. False if
    /// there is no such restore any more, or another one came.
    pub async fn end_restored(&self, restored: Restored) -> Result<bool> {
        let ended = self
            .lane
            .write(Urgency::Control, move |tx| {
                let known = losses::read(tx.conn()?, RESTORED, Restored::parse)?;
                if known.as_ref() != Some(&restored) {
                    tx.refuse();
                    return Ok(false);
                }
                diesel::delete(meta::table.find(RESTORED)).execute(tx.conn()?)?;
                Ok(true)
            })
            .await?;
        self.watch_restored().await?;
        Ok(ended)
    }
}

/// Whether orders are to be withheld from the start.
pub(super) fn is_behind(conn: &mut Conn) -> Result<bool> {
    Ok(losses::read(conn, RESTORED, Restored::parse)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn a_restore_reads_back() {
        let restored = Restored { since: at(1), noted_at: at(2) };
        assert_eq!(Restored::parse(&restored.to_string()), Some(restored));
        for garbage in ["", "1", "a b"] {
            assert_eq!(Restored::parse(garbage), None, "{garbage}");
        }
    }
}
