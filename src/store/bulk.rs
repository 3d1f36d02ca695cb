//! What operators do to many orders at once: a job that names its orders, worked off a few at a time.
//!
//! What was done to an order, and that the job has passed its place, is written in one transaction: whenever the
//! service dies, each order was acted on or was not, and never is twice.

mod asked;
mod count;
mod row;

use chrono::Duration;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use uuid::Uuid;

pub use self::asked::Asks;
use self::row::{JobRow, find, save};
use super::audit::{self, Entry};
use super::browse::{Lot, Sieve};
use super::orders::{Received, Scope, Word, hear};
use super::rows::{millis, or_log, raw, uuid};
use super::schema::{bulk_jobs, bulk_orders};
use super::sql::{Conn, MultiBackend, RawId};
use super::tx::{Tx, Urgency};
use super::{Error, Result, Store};
use crate::lifecycle::{Actor, Event, PaymentStatus, Reason, Refund};
use crate::meters::{METERS, WordResult};
use crate::order::{Instant, OrderId};
use crate::state::Order;

/// Orders whose ids stand in one row, and that one question asks for.
const CHUNK: usize = 500;
/// Refusals that a job tells of; the audit log has them all.
const TOLD: usize = 50;
/// A proposal is confirmed within this time, or made again: what was counted is no longer so.
const PROPOSED_FOR: Duration = Duration::minutes(15);
/// Proposals that nobody confirmed are forgotten after this time.
const KEPT_FOR: Duration = Duration::hours(24);

/// Why an order is left alone.
const UNFIT: &str = "it no longer fits the filter";
const UNKNOWN: &str = "there is no such order";

/// What is done to each order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub enum Deed {
    CancelOrder {
        why: Reason,
        refund: Refund,
    },
    RetryOrder,
    ForceComplete,
    /// Somebody outside is asked for it: see [`Store::pass_bulk`].
    LookUpPayment,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum BulkState {
    Proposed,
    Running,
    Stopped,
    Done,
}

/// Money that a job moves in one currency, as far as its orders told when they were counted. Minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub currency: String,
    /// What is held, and given up.
    pub void: i64,
    /// What was taken, and goes back.
    pub refund: i64,
    /// What is held, and is taken.
    pub capture: i64,
    /// What may be held: the gateway has not said yet.
    pub uncertain: i64,
}

/// What would be done, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub sums: Vec<Sum>,
    /// Orders that fit, and to which it cannot be done now: they are not part of the job.
    pub left_out: i64,
    /// There are more orders than were looked through.
    pub is_partial: bool,
}

/// A job.
#[derive(Clone, Debug)]
pub struct BulkJob {
    pub id: Uuid,
    pub state: BulkState,
    pub deed: Deed,
    pub lot: Lot,
    pub query: String,
    pub counted: Counted,
    pub total: i64,
    /// Orders that were tried: `done + refused`.
    pub place: i64,
    pub done: i64,
    pub refused: i64,
    /// Some of those that were refused, and why.
    pub refusals: Vec<(OrderId, String)>,
    pub user_id: Uuid,
    pub user_name: String,
    pub reason: Option<String>,
    pub created_at: Instant,
    pub started_at: Option<Instant>,
    pub ended_at: Option<Instant>,
    pub stopped_by: Option<String>,
    /// Of the request that started it.
    pub request_id: String,
    sieve: Sieve,
}

impl BulkJob {
    /// A proposal of `by`.
    pub fn proposed(
        deed: Deed,
        (lot, query, sieve): (Lot, String, Sieve),
        (orders, counted): (usize, Counted),
        (user_id, user_name): (Uuid, String),
        at: Instant,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            state: BulkState::Proposed,
            deed,
            lot,
            query,
            counted,
            total: i64::try_from(orders).unwrap_or(i64::MAX),
            place: 0,
            done: 0,
            refused: 0,
            refusals: Vec::new(),
            user_id,
            user_name,
            reason: None,
            created_at: at,
            started_at: None,
            ended_at: None,
            stopped_by: None,
            sieve,
            request_id: String::new(),
        }
    }

    /// Whether it can be confirmed, as far as time goes.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now - self.created_at <= PROPOSED_FOR
    }
}

/// What became of starting a job, or going on with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    Done,
    /// It runs already, or is done.
    Already,
    /// It was counted too long ago.
    Stale,
    /// Somebody else counted it.
    Foreign,
    Unknown,
}

impl Deed {
    /// The word that the console has for doing it to one order.
    pub fn word(self) -> &'static str {
        match self {
            Self::CancelOrder { .. } => "cancel_order",
            Self::RetryOrder => "retry_order",
            Self::ForceComplete => "force_complete",
            Self::LookUpPayment => "look_up_payment",
        }
    }

    /// What is said to the order; nothing where somebody else is asked first.
    fn event(self, note: Option<String>) -> Option<Event> {
        match self {
            Self::CancelOrder { why, refund } => Some(Event::OperatorCancelled { reason: why, refund, note }),
            Self::RetryOrder => Some(Event::Retried { note }),
            Self::ForceComplete => Some(Event::ForceCompleted { note }),
            Self::LookUpPayment => None,
        }
    }
}

impl Store {
    /// Keeps a job for its confirmation. Those that nobody confirmed are swept out.
    pub async fn propose_bulk(&self, job: BulkJob, orders: Vec<OrderId>) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let old: Vec<RawId> = bulk_jobs::table
                    .filter(bulk_jobs::created_at.lt(millis(job.created_at - KEPT_FOR)))
                    .filter(bulk_jobs::state.eq(BulkState::Proposed.to_string()))
                    .limit(20)
                    .select(bulk_jobs::id)
                    .load(tx.conn()?)?;
                diesel::delete(bulk_orders::table.filter(bulk_orders::job_id.eq_any(&old))).execute(tx.conn()?)?;
                diesel::delete(bulk_jobs::table.filter(bulk_jobs::id.eq_any(&old))).execute(tx.conn()?)?;
                diesel::insert_into(bulk_jobs::table).values(JobRow::of(&job)).execute(tx.conn()?)?;
                for (chunk, ids) in orders.chunks(CHUNK).enumerate() {
                    let ids: Vec<u8> = ids.iter().flat_map(|id| *id.0.as_bytes()).collect();
                    let place = (chunk * CHUNK) as i64;
                    let row =
                        (bulk_orders::job_id.eq(raw(job.id)), bulk_orders::place.eq(place), bulk_orders::ids.eq(ids));
                    diesel::insert_into(bulk_orders::table).values(row).execute(tx.conn()?)?;
                }
                Ok(())
            })
            .await
    }

    /// Starts a job that this user has proposed, or goes on with one that was stopped. `by` says who, and why.
    pub async fn start_bulk(&self, id: Uuid, by: Entry) -> Result<Started> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let started = start(tx, id, &by)?;
                if started != Started::Done {
                    tx.refuse();
                }
                Ok(started)
            })
            .await
    }

    /// Stops a job after the orders that are being acted on. False if it does not run.
    pub async fn stop_bulk(&self, id: Uuid, by: String, now: Instant) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let running =
                    bulk_jobs::table.find(raw(id)).filter(bulk_jobs::state.eq(BulkState::Running.to_string()));
                let stopped = diesel::update(running)
                    .set((
                        bulk_jobs::state.eq(BulkState::Stopped.to_string()),
                        bulk_jobs::stopped_by.eq(Some(&by)),
                        bulk_jobs::ended_at.eq(Some(millis(now))),
                    ))
                    .execute(tx.conn()?)?;
                if stopped == 0 {
                    tx.refuse();
                }
                Ok(stopped == 1)
            })
            .await
    }

    /// A job, if there is one of that id.
    pub async fn bulk_job(&self, id: Uuid) -> Result<Option<BulkJob>> {
        self.readers.read(move |conn| find(conn, id)).await
    }

    /// Jobs that were started, and proposals that somebody may still confirm, the newest first.
    pub async fn bulk_jobs(&self, limit: i64) -> Result<Vec<BulkJob>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<JobRow> = bulk_jobs::table.order(bulk_jobs::created_at.desc()).limit(limit).load(conn)?;
                Ok(rows.into_iter().filter_map(|row| or_log(row.into_job())).collect())
            })
            .await
    }

    /// The job that is to be worked on, if there is one: of those that ask the same, the one that was started first.
    pub async fn running_bulk(&self, asks: Asks) -> Result<Option<BulkJob>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<JobRow> = running().load(conn)?;
                let jobs: Vec<BulkJob> = rows.into_iter().map(JobRow::into_job).collect::<Result<_>>()?;
                Ok(jobs.into_iter().find(|job| job.deed.asks() == asks))
            })
            .await
    }

    /// Acts on the next orders of a job, up to `limit`, and says how many those were: none if it does not run any
    /// more.
    pub async fn work_bulk(&self, id: Uuid, limit: usize, now: Instant) -> Result<usize> {
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let (passed, heard) = self
            .lane
            .write(Urgency::Control, move |tx| {
                let Some(mut job) = find(tx.conn()?, id)?.filter(|job| job.state == BulkState::Running) else {
                    return Ok((0, Vec::new()));
                };
                let (orders, mut heard) = (next(tx.conn()?, &job, limit)?, Vec::new());
                for order_id in &orders {
                    let refused = match act(tx, &job, *order_id, now, cluster, &policy)? {
                        Acted::Heard(received) => {
                            heard.push(WordResult::from(&received));
                            refusal(&received)
                        }
                        Acted::Not(why) => Some(why),
                    };
                    audit::insert(tx, &job.entry(*order_id, refused.as_deref(), now), refused.is_none())?;
                    job.pass(*order_id, refused);
                }
                job.end_if_all_passed(now);
                save(tx, &job)?;
                Ok((orders.len(), heard))
            })
            .await?;
        heard.iter().for_each(|result| METERS.received.of((Actor::Operator, *result)).increment(1));
        Ok(passed)
    }
}

impl BulkJob {
    /// What stands in the audit log of one order.
    fn entry(&self, order: OrderId, refused: Option<&str>, at: Instant) -> Entry {
        Entry {
            at,
            user_id: Some(self.user_id),
            user_name: self.user_name.clone(),
            action: self.deed.word().into(),
            subject: format!("order:{order}"),
            reason: self.reason.clone(),
            detail: serde_json::json!({"bulk": self.id, "refused": refused}),
            request_id: self.request_id.clone(),
        }
    }

    fn pass(&mut self, order: OrderId, refused: Option<String>) {
        self.place += 1;
        match refused {
            None => self.done += 1,
            Some(why) => {
                self.refused += 1;
                if self.refusals.len() < TOLD {
                    self.refusals.push((order, why));
                }
            }
        }
    }

    fn end_if_all_passed(&mut self, now: Instant) {
        if self.place == self.total {
            (self.state, self.ended_at) = (BulkState::Done, Some(now));
        }
    }

    /// Whether an order is still among those that were meant: it may have gone on since they were counted.
    fn means(&self, order: &Order) -> bool {
        let is_in_lot = match self.lot {
            Lot::InFlight | Lot::Late => order.is_ongoing(),
            Lot::Struggling => order.task.stage.is_some(),
            Lot::Parked => order.task.parked_at.is_some(),
            Lot::Done => !order.is_ongoing(),
            Lot::Unknown => order.payment.status == PaymentStatus::Unknown,
        };
        is_in_lot && self.sieve.holds(order)
    }
}

/// What came of one order of a job.
enum Acted {
    Heard(Received),
    Not(String),
}

fn act(
    tx: &mut Tx,
    job: &BulkJob,
    order_id: OrderId,
    now: Instant,
    cluster: u64,
    policy: &super::Policy,
) -> Result<Acted> {
    let heard = tx.find(order_id).and_then(|order| {
        if order.is_some_and(|order| !job.means(&order)) {
            return Ok(Acted::Not(UNFIT.into()));
        }
        let Some(event) = job.deed.event(job.reason.clone()) else {
            return Ok(Acted::Not("nobody here can ask for it".into()));
        };
        let (scope, actor) = (Scope::Everyone, Actor::Operator);
        let word = Word { order_id, scope, actor, event, version: None, now };
        hear(tx, &word, cluster, policy).map(Acted::Heard)
    });
    match heard {
        // Found out before anything is written: one order that is damaged does not hold up the others.
        Err(fault @ Error::Damaged(_)) => Ok(Acted::Not(damage(&fault))),
        heard => heard,
    }
}

fn refusal(received: &Received) -> Option<String> {
    match received {
        Received::Changed(..) | Received::Already(..) => None,
        Received::Refused(_, why) => Some(why.to_string()),
        _ => Some(UNKNOWN.into()),
    }
}

fn damage(fault: &Error) -> String {
    match fault {
        Error::Damaged(fault) => format!("it is damaged: {fault}"),
        fault => fault.to_string(),
    }
}

/// The next orders of a job: no more than stand in one row.
fn next(conn: &mut Conn, job: &BulkJob, limit: usize) -> Result<Vec<OrderId>> {
    let place = usize::try_from(job.place).unwrap_or_default();
    let first = place / CHUNK * CHUNK;
    let ids: Vec<u8> = bulk_orders::table.find((raw(job.id), first as i64)).select(bulk_orders::ids).first(conn)?;
    let left = ids.chunks_exact(16).skip(place - first).take(limit);
    left.map(|id| uuid(&RawId(id.to_vec())).map(OrderId)).collect()
}

fn start(tx: &mut Tx, id: Uuid, by: &Entry) -> Result<Started> {
    let Some(mut job) = find(tx.conn()?, id)? else { return Ok(Started::Unknown) };
    match job.state {
        BulkState::Running | BulkState::Done => return Ok(Started::Already),
        BulkState::Proposed if by.user_id != Some(job.user_id) => return Ok(Started::Foreign),
        BulkState::Proposed if !job.is_fresh(by.at) => return Ok(Started::Stale),
        BulkState::Proposed => {
            (job.started_at, job.reason, job.request_id) = (Some(by.at), by.reason.clone(), by.request_id.clone());
        }
        // Whoever goes on with it answers for the rest.
        BulkState::Stopped => {
            (job.user_id, job.user_name) = (by.user_id.unwrap_or(job.user_id), by.user_name.clone());
            (job.reason, job.request_id) = (by.reason.clone(), by.request_id.clone());
            (job.ended_at, job.stopped_by) = (None, None);
        }
    }
    job.state = BulkState::Running;
    save(tx, &job)?;
    Ok(Started::Done)
}

fn running() -> bulk_jobs::BoxedQuery<'static, MultiBackend> {
    // A literal: a bound value would not find the index.
    bulk_jobs::table.filter(sql::<Bool>("state = 'running'")).order(bulk_jobs::started_at).into_boxed()
}
