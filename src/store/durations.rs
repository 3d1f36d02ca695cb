//! How long orders stood in their statuses: read from the log of events, so that every instance learns the same
//! without writing anything, and a restart forgets nothing.

use diesel::prelude::*;

use super::position::last_position;
use super::rows::{instant, uuid, word};
use super::schema::order_events;
use super::{Result, Store};
use crate::order::ShopId;
use crate::pace::Passed;

/// Shop, from, to, milliseconds, at.
type PassedRow = (Vec<u8>, String, String, i64, i64);

impl Store {
    /// The statuses left after a position, oldest first, and the position read up to.
    pub async fn passed(&self, after: i64, limit: i64) -> Result<(Vec<Passed>, i64)> {
        self.readers
            .read(move |conn| {
                let until = last_position(conn)?.min(after.saturating_add(limit));
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
                Ok((passed, until))
            })
            .await
    }

    /// The place of the last event in the log.
    pub async fn last_position(&self) -> Result<i64> {
        self.readers.read(last_position).await
    }
}
