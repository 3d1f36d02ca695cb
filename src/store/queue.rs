//! The queue hidden in the orders' rows: who works on which row now.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use strum::VariantArray;

use super::changes::{apply, surely};
use super::claim::{Claim, Reserved, lease};
use super::orders::readable;
use super::rows::{OrderRow, instant, millis, word};
use super::schema::orders;
use super::sql::{Conn, Millis};
use super::tx::{Touching, Urgency};
use super::{Result, Store};
use crate::lifecycle::{Actor, Event, Stage};
use crate::order::Instant;
use crate::suspects::{self, DEATH, Leave, Next};
use crate::trace;

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
    /// no rescuer to race with; but its row is a suspect (see `suspects`), of which few are taken at once.
    pub async fn claim(&self, stage: Stage, limit: i64, now: Instant) -> Result<Vec<Claim>> {
        if self.is_withheld() {
            return Ok(Vec::new());
        }
        let (policy, limit) = (self.policy.clone(), usize::try_from(limit).unwrap_or_default());
        let reserved = Reserved::in_these(&self.trials, limit, now);
        let leave = reserved.leave;
        let (mut claims, _) = self
            .lane
            .write_at(Urgency::Control, Touching::nothing(), move |tx| {
                let mut claims = Vec::new();
                let mut is_alone = false;
                for row in take(tx.conn()?, stage, limit, leave, now)? {
                    let Some(before) = readable(tx, row, now)? else { continue };
                    let mut order = before.clone();
                    let has_lapsed = order.task.leased_until.is_some();
                    match if has_lapsed { suspects::next(order.task.blame, stage) } else { Next::Try } {
                        Next::Try if order.task.blame >= DEATH && is_alone => {}
                        Next::Try => {
                            let share = match order.task.blame {
                                0 if !has_lapsed => 0,
                                0..DEATH => leave.share,
                                _ => DEATH,
                            };
                            is_alone |= order.task.blame >= DEATH;
                            let claim = lease(&mut order, stage, now, policy.lease, share);
                            tx.update_task(&before, &order)?;
                            claims.push(claim);
                        }
                        Next::Rest(rest) => {
                            let trace_id = trace::id_of(&order).map(tracing::field::display);
                            tracing::error!(order.id = %order.id, trace.id = trace_id, %stage, rest_seconds = rest.num_seconds(),
                                "order.rests: the process died while it worked on this order alone");
                            order.task.fence += 1;
                            order.task.leased_until = None;
                            order.task.next_attempt_at = Some(now + rest);
                            tx.update_task(&before, &order)?;
                        }
                        Next::Park => {
                            let deaths = order.task.blame / DEATH;
                            let why = format!("the process died {deaths} times while it worked on this order alone");
                            surely(apply(tx, &order, &Event::Parked { why }, Actor::Worker, now, &policy)?)?;
                        }
                    }
                }
                Ok(claims)
            })
            .await?;
        reserved.begin(&mut claims);
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

/// Rows of a stage that are due, up to `limit`; of suspects, those for which there is leave, with the most blame first.
fn take(conn: &mut Conn, stage: Stage, limit: usize, leave: Leave, now: Instant) -> Result<Vec<OrderRow>> {
    let mut rows = due(conn, stage, Which::All, limit, now)?;
    let known = rows.len();
    rows.retain(|row| !row.is_suspect());
    let suspects = known - rows.len();
    if suspects == 0 {
        return Ok(rows);
    }
    let mut taken = due(conn, stage, Which::Suspects, leave.places, now)?;
    if taken.is_empty() && leave.is_alone {
        taken = due(conn, stage, Which::Blamed, leave.places, now)?;
    }
    // Suspects that have to wait must not stand in front of the others.
    if known == limit {
        rows = due(conn, stage, Which::Unsuspected, limit, now)?;
    }
    rows.truncate(limit - taken.len());
    taken.extend(rows);
    Ok(taken)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Unsuspected,
    Suspects,
    /// Suspects that are blamed for a whole death.
    Blamed,
}

fn due(conn: &mut Conn, stage: Stage, which: Which, limit: usize, now: Instant) -> Result<Vec<OrderRow>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let due = orders::table
        .filter(orders::stage.eq(stage.word()))
        .filter(orders::next_attempt_at.le(millis(now)))
        .filter(orders::parked_at.is_null());
    macro_rules! load {
        ($due:expr) => {
            match conn {
                Conn::Sqlite(conn) => $due
                    .load_iter::<OrderRow, DefaultLoadingMode>(conn)?
                    .take(limit)
                    .collect::<QueryResult<Vec<_>>>()?,
                // Several instances look at once: each takes what no other is about to.
                Conn::Postgres(conn) => $due.limit(limit as i64).for_update().skip_locked().load(conn)?,
            }
        };
    }
    Ok(match which {
        Which::All => load!(due.order(orders::next_attempt_at)),
        Which::Unsuspected => load!(
            due.filter(orders::leased_until.is_null()).filter(orders::crashes.eq(0)).order(orders::next_attempt_at)
        ),
        Which::Suspects => load!(
            due.filter(orders::crashes.lt(DEATH))
                .filter(orders::leased_until.is_not_null().or(orders::crashes.gt(0)))
                .order((orders::crashes.desc(), orders::next_attempt_at))
        ),
        Which::Blamed => load!(due.filter(orders::crashes.ge(DEATH)).order(orders::next_attempt_at)),
    })
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
