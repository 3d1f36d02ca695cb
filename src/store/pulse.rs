//! One look at what is going on, for those who watch: live rows, and what the log has gained since the last look.

use std::collections::HashMap;

use chrono::Duration;
use diesel::dsl::{count_star, min};
use diesel::prelude::*;

use super::gauges::{InStage, OWED, in_stages};
use super::instances::{self, Instance};
use super::log;
use super::ongoing::Tally;
use super::queue::earliest_deadline;
use super::readers::Haste;
use super::rows::{instant, millis, word};
use super::schema::{order_events, orders};
use super::sql::{Conn, Millis};
use super::{Result, Store};
use crate::lifecycle::{EventKind, PaymentStatus, Stage, Status};
use crate::order::Instant;

/// Acceptances of one look whose durations are told.
const TOLD: usize = 500;
/// Events of one look that are counted.
const COUNTED: i64 = 100_000;
/// … so many in one read.
const PIECE: i64 = 1_000;

/// What one look found.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Ongoing orders by status: how many, and when the one that stands there longest came.
    pub ongoing: HashMap<Status, (i64, Option<Instant>)>,
    pub parked: i64,
    /// The queues of all stages.
    pub stages: Vec<InStage>,
    /// By currency, in minor units: held by gateways for ongoing orders, and taken for them.
    pub held_and_taken: Vec<(String, i64, i64)>,
    /// By currency: minor units that must go back, and since when the oldest must.
    pub owed: Vec<(String, i64, Option<Instant>)>,
    /// The first deadline of all.
    pub first_deadline: Option<Instant>,
    /// How old the replica's snapshot is, in seconds; `None` without a replica.
    pub replica_age: Option<f64>,
    /// Replicas, and those of them of which nothing is proven.
    pub replicas: usize,
    pub replicas_unproven: usize,
    /// Who works on this database.
    pub instances: Vec<Instance>,
    /// Orders of whose payment the gateway has not said what became of it, and when the first of them was made.
    pub unknown: (i64, Option<Instant>),
    /// The place in the log up to which events were counted.
    pub position: i64,
    /// Events since the look before, by kind.
    pub happened: HashMap<EventKind, i64>,
    /// Orders that ended since then, by status.
    pub ended: HashMap<Status, i64>,
    /// How long shops took to accept, in milliseconds, of some acceptances since then.
    pub acceptances: Vec<i64>,
}

impl Store {
    /// Looks at what is going on besides the ongoing orders, which were summed up a moment ago. `after` is the place that
    /// the look before counted up to; the first look counts nothing.
    pub async fn look(&self, ongoing: Tally, after: Option<i64>, now: Instant) -> Result<Reading> {
        let mut reading = self.readers.read_in(Haste::None, move |conn| waiting(conn, now)).await?;
        (reading.ongoing, reading.held_and_taken) = (ongoing.by_status, ongoing.held_and_taken);
        if let Some(after) = after {
            self.count_events(after, &mut reading).await?;
        }
        reading.replica_age = self.replicas.oldest(now);
        let replicas = self.replicas.seen(now);
        reading.replicas = replicas.len();
        reading.replicas_unproven = replicas.iter().filter(|replica| replica.age_seconds.is_none()).count();
        Ok(reading)
    }

    /// Counts the events after a place up to the reading's, the newest of them where there are very many; a piece at a
    /// time, for the reasons that [`super::ongoing`] has.
    async fn count_events(&self, after: i64, reading: &mut Reading) -> Result<()> {
        let end = reading.position;
        let mut after = after.max(self.position_back(COUNTED, Haste::None).await?);
        while after < end {
            let piece = self.readers.read_in(Haste::None, move |conn| {
                let until = log::reach(conn, after, PIECE)?.min(end);
                Ok((until, counts(conn, after, until)?, acceptances(conn, after, until)?))
            });
            let (until, counts, acceptances) = piece.await?;
            // A server that took over meanwhile may not have come so far yet.
            if until <= after {
                break;
            }
            for (kind, from, to, count) in counts {
                *reading.happened.entry(word(&kind)?).or_default() += count;
                let ended: Status = word(&to)?;
                if ended.is_over() && from.as_deref() != Some(&*to) {
                    *reading.ended.entry(ended).or_default() += count;
                }
            }
            reading.acceptances.extend(acceptances);
            reading.acceptances.truncate(TOLD);
            after = until;
        }
        Ok(())
    }
}

/// What is waiting now, and the place in the log.
fn waiting(conn: &mut Conn, now: Instant) -> Result<Reading> {
    let mut reading = Reading { position: log::end(conn)?, ..Reading::default() };
    reading.parked = orders::table.filter(orders::parked_at.is_not_null()).count().get_result(conn)?;
    reading.stages = in_stages(conn, now)?;
    reading.first_deadline = earliest_deadline(conn)?;
    let owed: Vec<super::gauges::Owed> = diesel::sql_query(OWED).load(conn)?;
    reading.owed = owed.into_iter().map(|row| (row.currency, row.amount, row.since.map(instant))).collect();
    reading.instances = instances::read(conn)?;
    reading.unknown = unknown(conn, now)?;
    Ok(reading)
}

/// Kind, from, to, how many.
type Count = (String, Option<String>, String, i64);

fn counts(conn: &mut Conn, after: i64, until: i64) -> Result<Vec<Count>> {
    Ok(order_events::table
        .filter(order_events::position.gt(after).and(order_events::position.le(until)))
        .group_by((order_events::kind, order_events::from_status, order_events::to_status))
        .select((order_events::kind, order_events::from_status, order_events::to_status, count_star()))
        .load(conn)?)
}

fn acceptances(conn: &mut Conn, after: i64, until: i64) -> Result<Vec<i64>> {
    Ok(order_events::table
        .filter(order_events::position.gt(after).and(order_events::position.le(until)))
        .filter(order_events::kind.eq(EventKind::ShopAccepted.word()))
        .filter(order_events::elapsed_ms.is_not_null())
        .select(order_events::elapsed_ms.assume_not_null())
        .load(conn)?)
}

/// An unknown payment is asked for again within this time, however often that came to nothing; what is due later waits
/// for its last look, and its payment is known.
const ASKED_AGAIN_WITHIN: Duration = Duration::minutes(20);

/// Whatever is not known is work that is pending soon, or is parked: there are indexes of both.
fn unknown(conn: &mut Conn, now: Instant) -> Result<(i64, Option<Instant>)> {
    let is_unknown = || orders::payment_status.eq(PaymentStatus::Unknown.word());
    let soon = millis(now + ASKED_AGAIN_WITHIN);
    let mut found: Vec<(i64, Option<Millis>)> = Vec::new();
    for stage in [Stage::Authorize, Stage::LookUp, Stage::Release] {
        let pending = orders::table
            .filter(orders::stage.eq(stage.word()))
            .filter(orders::parked_at.is_null())
            .filter(orders::next_attempt_at.le(soon))
            .filter(is_unknown());
        found.push(pending.select((count_star(), min(orders::created_at))).first(conn)?);
    }
    let parked = orders::table.filter(orders::parked_at.is_not_null()).filter(is_unknown());
    found.push(parked.select((count_star(), min(orders::created_at))).first(conn)?);
    let first = found.iter().filter_map(|(_, first)| *first).map(instant).min();
    Ok((found.iter().map(|(count, _)| count).sum(), first))
}
