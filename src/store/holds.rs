//! What operators have stopped for a while, and who works on what.

use std::time::Duration;

use diesel::prelude::*;

use super::rows::{instant, millis, uuid};
use super::schema::{holds, orders};
use super::sql::{Millis, RawId, native};
use super::tx::Urgency;
use super::{Result, Store};
use crate::lifecycle::Stage;
use crate::order::{Instant, OrderId};

/// Orders of a stage that are looked through for leases.
const LOOKED_AT: i64 = 2_000;

/// Something that an operator has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub subject: String,
    pub at: Instant,
    pub until_at: Instant,
    /// How long it still lasts.
    pub left: Duration,
    pub user_name: String,
    pub reason: Option<String>,
}

/// An order that somebody works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    pub order_id: OrderId,
    pub stage: Stage,
    pub attempts: i32,
    pub until: Instant,
}

impl Store {
    /// What is held now.
    pub async fn holds(&self) -> Result<Vec<Hold>> {
        let now = (self.clock)();
        self.readers
            .read(move |conn| {
                let present = holds::table.filter(holds::until_at.gt(millis(now))).order(holds::at);
                let rows: Vec<(String, Millis, Millis, String, Option<String>)> = present.load(conn)?;
                let hold = |(subject, at, until_at, user_name, reason): (_, _, Millis, _, _)| {
                    let until_at = instant(until_at);
                    let left = (until_at - now).to_std().unwrap_or_default();
                    Hold { subject, at: instant(at), until_at, left, user_name, reason }
                };
                Ok(rows.into_iter().map(hold).collect())
            })
            .await
    }

    /// Holds something until then; what is held already, from now on as this says.
    pub async fn put_hold(
        &self,
        subject: String,
        until: Instant,
        user_name: String,
        reason: Option<String>,
        now: Instant,
    ) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                diesel::delete(holds::table.filter(holds::until_at.le(millis(now)))).execute(tx.conn()?)?;
                let until_at = millis(until);
                let changes = (
                    holds::at.eq(millis(now)),
                    holds::until_at.eq(until_at),
                    holds::user_name.eq(&user_name),
                    holds::reason.eq(&reason),
                );
                let hold = diesel::insert_into(holds::table)
                    .values((holds::subject.eq(&subject), changes))
                    .on_conflict(holds::subject)
                    .do_update()
                    .set(changes);
                native!(tx.conn()?, conn => hold.execute(conn))?;
                Ok(())
            })
            .await
    }

    /// Ends a hold. False if there is none.
    pub async fn lift_hold(&self, subject: String) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let lifted = diesel::delete(holds::table.find(&subject)).execute(tx.conn()?)? == 1;
                if !lifted {
                    tx.refuse();
                }
                Ok(lifted)
            })
            .await
    }

    /// Orders of a stage that somebody works on, those first whose lease ends first.
    pub async fn leases(&self, stage: Stage, limit: usize) -> Result<Vec<Leased>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<(RawId, i32, Option<Millis>)> = orders::table
                    .filter(orders::stage.eq(stage.word()))
                    .filter(orders::parked_at.is_null())
                    .order(orders::next_attempt_at)
                    .limit(LOOKED_AT)
                    .select((orders::id, orders::attempts, orders::leased_until))
                    .load(conn)?;
                let leased = rows.into_iter().filter_map(|(id, attempts, until)| Some((id, attempts, until?)));
                let leased = leased.take(limit).map(|(id, attempts, until)| {
                    Ok(Leased { order_id: OrderId(uuid(&id)?), stage, attempts, until: instant(until) })
                });
                leased.collect()
            })
            .await
    }
}
