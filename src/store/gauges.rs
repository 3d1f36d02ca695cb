//! What is waiting now: present values that only the database knows. Each question has an index of live rows, so
//! that none of them reads the history, and none is asked oftener than somebody looks.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use strum::VariantArray;

use super::lists::age_in_seconds;
use super::queue::{earliest_attempt, earliest_deadline};
use super::rows::{instant, millis, word};
use super::schema::orders;
use super::sql::{At, Conn, Millis, Native};
use super::{Result, Store, deliveries};
use crate::lifecycle::{Stage, Status};
use crate::meters::{METERS, Ongoing};
use crate::order::Instant;

/// The oldest order of a stage is looked for among so many that are due first: a longer queue has other signs.
const LOOKED_AT: i64 = 2_000;

/// One reading of all that is waiting.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub ongoing: Vec<(Status, i64)>,
    pub next_deadline: Option<Instant>,
    /// Orders that have been in the making for much longer than the menu says.
    pub made_late: i64,
    pub stages: Vec<InStage>,
    /// Currency, minor units, orders, and when the oldest of them ended.
    pub owed: Vec<(String, i64, i64, Option<Instant>)>,
}

/// The queue of one stage.
#[derive(Clone, Debug)]
pub struct InStage {
    pub stage: Stage,
    /// Orders that are not parked, whether or not they are due.
    pub depth: i64,
    pub parked: i64,
    pub next_attempt: Option<Instant>,
    /// How long the one that came first has been in its status.
    pub oldest_seconds: f64,
}

/// Not those that merely wait for their time: the first attempt of a last look comes a day after the order's end.
/// An order enters a status again with each step, so that this is the age of what is stuck, not of slow customers.
pub(super) const OLDEST_IN_STAGE: Native = Native {
    sqlite: "
    SELECT MAX(?1 - entered_at) / 1000.0 AS seconds FROM (
        SELECT json_extract(details, '$.entered_at') AS entered_at FROM orders
        WHERE stage = ?2 AND parked_at IS NULL AND next_attempt_at IS NOT NULL
            AND (attempts > 0 OR next_attempt_at <= ?1) AND (stage <> 'look_up' OR ongoing)
        ORDER BY next_attempt_at LIMIT ?3)",
    postgres: "
    SELECT CAST(MAX(EXTRACT(EPOCH FROM $1) - entered_at / 1000.0) AS DOUBLE PRECISION) AS seconds FROM (
        SELECT (details->>'entered_at')::bigint AS entered_at FROM orders
        WHERE stage = $2 AND parked_at IS NULL AND next_attempt_at IS NOT NULL
            AND (attempts > 0 OR next_attempt_at <= $1) AND (stage <> 'look_up' OR ongoing)
        ORDER BY next_attempt_at LIMIT $3) AS oldest",
};

/// In the making for one and a half times as long as the menu says, among those whose deadline comes first.
pub(super) const MADE_LATE: Native = Native {
    sqlite: "
    SELECT COUNT(*) AS orders FROM (
        SELECT json_extract(details, '$.entered_at') AS began_at, json_extract(placed, '$.make_seconds') AS makes
        FROM orders WHERE deadline_at IS NOT NULL AND status = 'preparing' ORDER BY deadline_at LIMIT ?2)
    WHERE ?1 > began_at + 1500 * makes",
    postgres: "
    SELECT COUNT(*) AS orders FROM (
        SELECT (details->>'entered_at')::bigint AS began_at, (placed::jsonb->>'make_seconds')::bigint AS makes
        FROM orders WHERE deadline_at IS NOT NULL AND status = 'preparing' ORDER BY deadline_at LIMIT $2) AS making
    WHERE EXTRACT(EPOCH FROM $1) * 1000 > began_at + 1500 * makes",
};

pub(super) const OWED: &str = "
    SELECT currency, CAST(SUM(owed) AS BIGINT) AS amount, COUNT(*) AS orders, MIN(closed_at) AS since
    FROM orders WHERE owed > 0 GROUP BY currency";

#[derive(QueryableByName)]
struct Oldest {
    #[diesel(sql_type = Nullable<Double>)]
    seconds: Option<f64>,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    orders: i64,
}

#[derive(QueryableByName)]
pub(super) struct Owed {
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    #[diesel(sql_type = BigInt)]
    orders: i64,
    #[diesel(sql_type = Nullable<At>)]
    pub since: Option<Millis>,
}

impl Store {
    /// The queues of all stages.
    pub async fn stages(&self, now: Instant) -> Result<Vec<InStage>> {
        self.readers.read(move |conn| in_stages(conn, now)).await
    }

    /// Sets the gauges of what is waiting: at this instant, here.
    pub async fn measure(&self, now: Instant) -> Result<()> {
        let lanes = self.lane.fill();
        lanes.into_iter().for_each(|(urgency, fill)| METERS.lane_fill.of(urgency.into()).set(fill));
        METERS.read_fill.of(()).set(self.readers.fill());
        METERS.replica_age.of(()).set(self.replicas.oldest(now).unwrap_or(0.0));
        METERS.replicas_unproven.of(()).set(self.replicas.unproven() as f64);
        let waiting = self
            .readers
            .read(move |conn| {
                deliveries::measure(conn, now)?;
                read(conn, now)
            })
            .await?;
        show(&waiting, now);
        Ok(())
    }
}

pub(super) fn read(conn: &mut Conn, now: Instant) -> Result<Waiting> {
    let by_status: Vec<(String, i64)> = orders::table
        .filter(orders::ongoing)
        .group_by(orders::status)
        .select((orders::status, diesel::dsl::count_star()))
        .load(conn)?;
    let made_late: Counted = diesel::sql_query(MADE_LATE.of(conn))
        .bind::<At, _>(millis(now))
        .bind::<BigInt, _>(LOOKED_AT)
        .get_result(conn)?;
    let owed: Vec<Owed> = diesel::sql_query(OWED).load(conn)?;
    Ok(Waiting {
        ongoing: by_status.into_iter().map(|(status, count)| Ok((word(&status)?, count))).collect::<Result<_>>()?,
        next_deadline: earliest_deadline(conn)?,
        made_late: made_late.orders,
        stages: in_stages(conn, now)?,
        owed: owed.into_iter().map(|row| (row.currency, row.amount, row.orders, row.since.map(instant))).collect(),
    })
}

pub(super) fn in_stages(conn: &mut Conn, now: Instant) -> Result<Vec<InStage>> {
    let parked: Vec<Option<String>> =
        orders::table.filter(orders::parked_at.is_not_null()).select(orders::stage).load(conn)?;
    let mut stages = Vec::new();
    for stage in Stage::VARIANTS {
        let waiting = || orders::table.filter(orders::stage.eq(stage.word())).filter(orders::parked_at.is_null());
        let oldest: Oldest = diesel::sql_query(OLDEST_IN_STAGE.of(conn))
            .bind::<At, _>(millis(now))
            .bind::<Text, _>(stage.word())
            .bind::<BigInt, _>(LOOKED_AT)
            .get_result(conn)?;
        stages.push(InStage {
            stage: *stage,
            depth: waiting().count().get_result(conn)?,
            parked: parked.iter().filter(|parked| parked.as_deref() == Some(stage.word())).count() as i64,
            next_attempt: earliest_attempt(conn, *stage)?,
            oldest_seconds: oldest.seconds.unwrap_or(0.0).max(0.0),
        });
    }
    Ok(stages)
}

fn show(waiting: &Waiting, now: Instant) {
    for status in Status::VARIANTS.iter().filter(|status| status.is_ongoing()) {
        let count = waiting.ongoing.iter().find(|(of, _)| of == status).map_or(0, |(_, count)| *count);
        METERS.ongoing.of(Ongoing(*status)).set(count as f64);
    }
    METERS.deadline_overdue.of(()).set(waiting.next_deadline.map_or(0.0, |at| age_in_seconds(at, now)));
    METERS.made_late.of(()).set(waiting.made_late as f64);
    for InStage { stage, depth, parked, next_attempt, oldest_seconds } in &waiting.stages {
        METERS.stage_depth.of(*stage).set(*depth as f64);
        METERS.stage_parked.of(*stage).set(*parked as f64);
        METERS.stage_overdue.of(*stage).set(next_attempt.map_or(0.0, |at| age_in_seconds(at, now)));
        METERS.stage_oldest.of(*stage).set(*oldest_seconds);
    }
    METERS.owed.set_all(waiting.owed.iter().map(|(currency, amount, ..)| (currency.clone(), *amount as f64)));
    METERS.owed_orders.of(()).set(waiting.owed.iter().map(|(_, _, orders, _)| orders).sum::<i64>() as f64);
    let since = waiting.owed.iter().filter_map(|(.., since)| *since).min();
    METERS.owed_oldest.of(()).set(since.map_or(0.0, |since| age_in_seconds(since, now)));
    METERS.sampled.of(()).set(now.timestamp_millis() as f64 / 1000.0);
}
