//! Puts right what a clock that was wrong has written: leases, attempts and deadlines in a future that was never.

use chrono::Duration;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use strum::VariantArray;

use super::changes::certain;
use super::rows::{millis, uuid};
use super::schema::orders;
use super::sql::{Conn, Id, Native, RawId};
use super::tx::{Touching, Urgency};
use super::{Policy, Result, Store};
use crate::lifecycle::Stage;
use crate::machine;
use crate::order::{Instant, OrderId};

/// Orders that one transaction changes.
const BATCH: usize = 250;
/// What two clocks that are both right may differ by.
const SKEW: Duration = Duration::seconds(2);

/// What has a deadline and was written in the future. One read of what is live, at a start and after a step of the clock.
const WRITTEN_AHEAD: Native = Native {
    sqlite: "SELECT id FROM orders INDEXED BY orders_deadline
        WHERE deadline_at IS NOT NULL AND json_valid(details) AND json_extract(details, '$.updated_at') > ?",
    postgres: "SELECT id FROM orders
        WHERE deadline_at IS NOT NULL AND (details->>'updated_at')::bigint > $1",
};

#[derive(QueryableByName)]
struct WrittenAhead {
    #[diesel(sql_type = Id)]
    id: RawId,
}

/// Rows of a stage that wait beyond a time.
#[derive(Clone, Copy)]
struct Beyond {
    stage: Stage,
    is_leased: bool,
    is_over: bool,
    at: Instant,
}

impl Store {
    /// Has nothing wait for longer than if it had been written now (see [`machine::rearmed`]). Returns how many orders
    /// that changed.
    pub async fn rearm(&self, now: Instant) -> Result<usize> {
        let mut changed = 0;
        for stage in Stage::VARIANTS {
            for (is_leased, is_over) in [(true, false), (true, true), (false, false), (false, true)] {
                let longest = match is_leased {
                    true => self.policy.lease,
                    false => machine::longest_wait(*stage, is_over, &self.policy.deadlines),
                };
                let beyond = Beyond { stage: *stage, is_leased, is_over, at: now + longest + SKEW };
                changed += self.rearm_all(move |conn| waiting_beyond(conn, beyond), now).await?;
            }
        }
        Ok(changed + self.rearm_all(move |conn| written_ahead(conn, now), now).await?)
    }

    async fn rearm_all(
        &self,
        find: impl FnOnce(&mut Conn) -> Result<Vec<OrderId>> + Send + 'static,
        now: Instant,
    ) -> Result<usize> {
        let found = self.readers.read(find).await?;
        let mut changed = 0;
        for some in found.chunks(BATCH) {
            let (some, policy) = (some.to_vec(), self.policy.clone());
            let rearm = move |tx: &mut super::tx::Tx| {
                let mut changed = 0;
                for id in &some {
                    let Some(before) = tx.find(*id)? else { continue };
                    let Policy { lease, deadlines, .. } = &policy;
                    let Some(after) = machine::rearmed(&before, now, *lease, SKEW, deadlines) else { continue };
                    certain(tx.update(&before, &after)?.then_some(after))?;
                    changed += 1;
                }
                Ok(changed)
            };
            changed += self.lane.write_at(Urgency::Control, Touching::everything(), rearm).await?.0;
        }
        Ok(changed)
    }
}

fn waiting_beyond(conn: &mut Conn, beyond: Beyond) -> Result<Vec<OrderId>> {
    let mut rows = orders::table
        .filter(orders::stage.eq(beyond.stage.word()))
        .filter(orders::parked_at.is_null())
        .filter(orders::next_attempt_at.gt(millis(beyond.at)))
        .select(orders::id)
        .into_boxed();
    rows = if beyond.is_leased {
        rows.filter(orders::leased_until.is_not_null())
    } else {
        rows.filter(orders::leased_until.is_null())
    };
    rows = if beyond.is_over {
        rows.filter(orders::closed_at.is_not_null())
    } else {
        rows.filter(orders::closed_at.is_null())
    };
    let ids: Vec<RawId> = rows.load(conn)?;
    ids.iter().map(|id| Ok(OrderId(uuid(id)?))).collect()
}

fn written_ahead(conn: &mut Conn, now: Instant) -> Result<Vec<OrderId>> {
    let found: Vec<WrittenAhead> =
        diesel::sql_query(WRITTEN_AHEAD.of(conn)).bind::<BigInt, _>((now + SKEW).timestamp_millis()).load(conn)?;
    found.iter().map(|row| Ok(OrderId(uuid(&row.id)?))).collect()
}
