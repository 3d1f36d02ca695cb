//! How long orders stood in their statuses: read from the log of events, so that every instance learns the same
//! without writing anything, and a restart forgets nothing.

use diesel::prelude::*;

use super::log;
use super::readers::Haste;
use super::rows::{instant, uuid, word};
use super::schema::order_events;
use super::sql::{Millis, RawId};
use super::{Result, Store};
use crate::order::ShopId;
use crate::pace::Passed;

/// Shop, from, to, milliseconds, at.
type PassedRow = (RawId, String, String, i64, Millis);

impl Store {
    /// The statuses left by so many events after a position, oldest first, the position read up to, and whether that is
    /// the end of the log.
    pub async fn passed(&self, after: i64, limit: i64, haste: Haste) -> Result<(Vec<Passed>, i64, bool)> {
        self.readers
            .read_in(haste, move |conn| {
                let until = log::reach(conn, after, limit)?;
                let rows: Vec<PassedRow> = order_events::table
                    .filter(order_events::position.gt(after))
                    .filter(order_events::position.le(until))
                    .filter(order_events::elapsed_ms.is_not_null())
                    .order(order_events::position)
                    .select((
                        order_events::shop_id,
                        order_events::from_status.assume_not_null(),
                        order_events::to_status,
                        order_events::elapsed_ms.assume_not_null(),
                        order_events::at,
                    ))
                    .load(conn)?;
                let passed = rows
                    .into_iter()
                    .map(|(shop, from, to, millis, at)| {
                        let shop_id = ShopId(uuid(&shop)?);
                        Ok(Passed { shop_id, from: word(&from)?, to: word(&to)?, millis, at: instant(at) })
                    })
                    .collect::<Result<_>>()?;
                Ok((passed, until, until == log::end(conn)?))
            })
            .await
    }

    /// The position in the log after which there are so many events.
    pub async fn position_back(&self, events: i64, haste: Haste) -> Result<i64> {
        self.readers.read_in(haste, move |conn| log::back(conn, events)).await
    }
}
