//! How shops have answered of late: read from the end of the log, so that it costs no more because there is more of it.

use std::collections::HashMap;

use diesel::prelude::*;

use super::log;
use super::rows::{uuid, word};
use super::schema::order_events;
use super::sql::RawId;
use super::{Result, Store};
use crate::lifecycle::EventKind;
use crate::order::ShopId;

/// Events of all shops that are looked through, and told of: what these pages call "of late".
pub const OF_LATE: i64 = 20_000;

/// How a shop has answered of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How long it took to accept, in milliseconds, the shortest first.
    pub acceptances: Vec<i64>,
    pub rejected: u32,
    /// It did not answer in time.
    pub timed_out: u32,
}

impl Answers {
    /// How long so many hundredths of its acceptances took at most; `None` if there was none.
    pub fn percentile(&self, hundredths: usize) -> Option<i64> {
        let last = self.acceptances.len().checked_sub(1)?;
        self.acceptances.get((last * hundredths).div_ceil(100)).copied()
    }
}

impl Store {
    /// How each shop has answered among the last [`OF_LATE`] events of all.
    pub async fn answers(&self) -> Result<HashMap<ShopId, Answers>> {
        self.readers
            .read(|conn| {
                let kinds = [EventKind::ShopAccepted, EventKind::ShopRejected, EventKind::ShopTimedOut];
                let rows: Vec<(RawId, String, Option<i64>)> = order_events::table
                    .filter(order_events::position.gt(log::back(conn, OF_LATE)?))
                    .filter(order_events::kind.eq_any(kinds.map(EventKind::word)))
                    .select((order_events::shop_id, order_events::kind, order_events::elapsed_ms))
                    .load(conn)?;
                let mut answers: HashMap<ShopId, Answers> = HashMap::new();
                for (shop, kind, elapsed) in rows {
                    let of_shop = answers.entry(ShopId(uuid(&shop)?)).or_default();
                    match word(&kind)? {
                        EventKind::ShopAccepted => of_shop.acceptances.extend(elapsed),
                        EventKind::ShopRejected => of_shop.rejected += 1,
                        _ => of_shop.timed_out += 1,
                    }
                }
                answers.values_mut().for_each(|of_shop| of_shop.acceptances.sort_unstable());
                Ok(answers)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_happened() {
        let of = |acceptances: Vec<i64>| Answers { acceptances, ..Answers::default() };
        assert_eq!(of(vec![]).percentile(50), None);
        assert_eq!(of(vec![7]).percentile(95), Some(7));
        let hundred = of((0..=100).collect());
        assert_eq!((hundred.percentile(50), hundred.percentile(95)), (Some(50), Some(95)));
    }
}
