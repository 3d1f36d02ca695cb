//! The queue hidden in the orders' rows: who works on which row now.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use strum::VariantArray;

use super::changes::apply;
use super::claim::{Claim, is_poison, lease};
use super::orders::readable;
use super::rows::{OrderRow, instant, millis, word};
use super::schema::orders;
use super::sql::{Conn, Millis};
use super::tx::{Touching, Urgency};
use super::{Error, Result, Store};
use crate::lifecycle::{Actor, Event, Stage};
use crate::order::Instant;

impl Store {
    /// Makes all leases lapse now. Only for who knows that nobody else works on this database, such as a service
    /// that has just locked its directory: what its predecessor held when it died is due at once.
    pub async fn lapse_leases(&self, now: Instant) -> Result<usize> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let leased = orders::table
                    .filter(orders::stage.is_not_null())
                    .filter(orders::parked_at.is_null())
                    .filter(orders::leased_until.is_not_null());
                Ok(diesel::update(leased).set(orders::next_attempt_at.eq(millis(now))).execute(tx.conn()?)?)
            })
            .await
    }

    /// Takes up to `limit` rows of a stage that nobody holds. An expired lease is simply due again, so there is
    /// no rescuer to race with.
    pub async fn claim(&self, stage: Stage, limit: i64, now: Instant) -> Result<Vec<Claim>> {
        let policy = self.policy.clone();
        let (claims, _) = self
            .lane
            .write_at(Urgency::Control, Touching::nothing(), move |tx| {
                let due = orders::table
                    .filter(orders::stage.eq(stage.word()))
                    .filter(orders::next_attempt_at.le(millis(now)))
                    .filter(orders::parked_at.is_null())
                    .order(orders::next_attempt_at);
                let due = match tx.conn()? {
                    Conn::Sqlite(conn) => due
                        .load_iter::<OrderRow, DefaultLoadingMode>(conn)?
                        .take(usize::try_from(limit).unwrap_or_default())
                        .collect::<QueryResult<Vec<_>>>()?,
                    // Several instances look at once: each takes what no other is about to.
                    Conn::Postgres(conn) => due.limit(limit).for_update().skip_locked().load(conn)?,
                };
                let mut claims = Vec::with_capacity(due.len());
                for row in due {
                    let Some(before) = readable(tx, row, now)? else { continue };
                    let mut order = before.clone();
                    // Whoever held it before never came back.
                    order.task.crashes += i32::from(order.task.leased_until.is_some());
                    if is_poison(&order) {
                        let why = format!("{} crashes, {} errors", order.task.crashes, order.task.errors);
                        apply(tx, &order, &Event::Parked { why }, Actor::Worker, now, &policy)?
                            .map_err(|refused| Error::Damaged(refused.to_string()))?;
                        continue;
                    }
                    let claim = lease(&mut order, stage, now, policy.lease);
                    tx.update_task(&before, &order)?;
                    claims.push(claim);
                }
                Ok(claims)
            })
            .await?;
        Ok(claims)
    }

    /// When something is next due: the earliest attempt of each stage, and the earliest deadline.
    pub async fn next_due(&self) -> Result<(Vec<(Stage, Instant)>, Option<Instant>)> {
        self.readers
            .read(|conn| {
                let mut stages = Vec::new();
                for stage in Stage::VARIANTS {
                    stages.extend(earliest_attempt(conn, *stage)?.map(|at| (*stage, at)));
                }
                Ok((stages, earliest_deadline(conn)?))
            })
            .await
    }

    /// How many rows stand in each stage, and how many of them are parked.
    pub async fn depths(&self) -> Result<Vec<(Stage, i64, i64)>> {
        self.readers
            .read(|conn| {
                // Two questions, so that each has an index of live rows and none reads the history.
                let waiting: Vec<(Option<String>, i64)> = orders::table
                    .filter(orders::stage.is_not_null())
                    .filter(orders::parked_at.is_null())
                    .group_by(orders::stage)
                    .select((orders::stage, diesel::dsl::count_star()))
                    .load(conn)?;
                let parked: Vec<Option<String>> =
                    orders::table.filter(orders::parked_at.is_not_null()).select(orders::stage).load(conn)?;
                let mut depths: Vec<_> = Stage::VARIANTS.iter().map(|stage| (*stage, 0, 0)).collect();
                for (stage, count) in waiting {
                    depths[word::<Stage>(&stage.unwrap_or_default())? as usize].1 += count;
                }
                for stage in parked.into_iter().flatten() {
                    let depth = &mut depths[word::<Stage>(&stage)? as usize];
                    (depth.1, depth.2) = (depth.1 + 1, depth.2 + 1);
                }
                Ok(depths)
            })
            .await
    }
}

/// When a row of a stage is next due. An earliest one is asked for as `min`, which both engines read from the index: one
/// row of many would be the first that SQLite reads, and all that PostgreSQL sends.
pub(super) fn earliest_attempt(conn: &mut Conn, stage: Stage) -> Result<Option<Instant>> {
    let earliest: Option<Millis> = orders::table
        .filter(orders::stage.eq(stage.word()))
        .filter(orders::parked_at.is_null())
        .select(diesel::dsl::min(orders::next_attempt_at))
        .get_result(conn)?;
    Ok(earliest.map(instant))
}

/// When a deadline next comes, or has come and was not acted upon.
pub(super) fn earliest_deadline(conn: &mut Conn) -> Result<Option<Instant>> {
    let earliest: Option<Millis> = orders::table
        .filter(orders::deadline_at.is_not_null())
        .select(diesel::dsl::min(orders::deadline_at))
        .get_result(conn)?;
    Ok(earliest.map(instant))
}
