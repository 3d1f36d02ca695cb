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
use super::orders::Received;
use super::orders::commands::{By, count, obey, order_subject, refusal};
use super::rows::{millis, or_log, raw, uuid};
use super::schema::{bulk_jobs, bulk_orders};
use super::sql::{Conn, MultiBackend, RawId};
use super::tx::{Tx, Urgency};
use super::{Error, Result, Store};
use crate::command::{Command, CommandKind};
use crate::lifecycle::{PaymentStatus, Reason, Refund};
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
const UNVERSIONED: &str = "it was counted by an older release, which did not note what it looked like: count again";

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

/// An order of a job, and its version when it was counted. `None` if an older release counted it.
pub type Meant = (OrderId, Option<i64>);

impl Deed {
    /// What is commanded of each order; nothing where the gateway is only asked.
    fn command(self) -> Option<Command> {
        match self {
            Self::CancelOrder { why, refund } => Some(Command::Cancel { reason: why, refund }),
            Self::RetryOrder => Some(Command::Retry),
            Self::ForceComplete => Some(Command::ForceComplete),
            Self::LookUpPayment => None,
        }
    }

    fn kind(self) -> Option<CommandKind> {
        self.command().map(|command| command.kind())
    }

    /// The word that the console has for doing it to one order.
    pub fn word(self) -> &'static str {
        self.kind().map_or("look_up_payment", Into::into)
    }
}

impl Store {
    /// Keeps a job for its confirmation. Those that nobody confirmed are swept out.
    pub async fn propose_bulk(&self, job: BulkJob, orders: Vec<(OrderId, i64)>) -> Result<()> {
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
                for (chunk, orders) in orders.chunks(CHUNK).enumerate() {
                    let ids: Vec<u8> = orders.iter().flat_map(|(id, _)| *id.0.as_bytes()).collect();
                    let versions: Vec<u8> = orders.iter().flat_map(|(_, version)| version.to_be_bytes()).collect();
                    let row = (
                        bulk_orders::job_id.eq(raw(job.id)),
                        bulk_orders::place.eq((chunk * CHUNK) as i64),
                        bulk_orders::ids.eq(ids),
                        bulk_orders::versions.eq(Some(versions)),
                    );
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
                for meant in &orders {
                    let received = act(tx, &job, *meant, now, cluster, &policy)?;
                    let refused = match &received {
                        Ok(received) => refusal(received),
                        Err(why) => Some(why.clone()),
                    };
                    heard.extend(received);
                    job.pass(meant.0, refused);
                }
                job.end_if_all_passed(now);
                save(tx, &job)?;
                Ok((orders.len(), heard))
            })
            .await?;
        heard.iter().for_each(count);
        Ok(passed)
    }
}

impl BulkJob {
    /// In whose name it acts.
    fn by(&self, at: Instant) -> By {
        let detail = serde_json::json!({"bulk": self.id});
        By {
            at,
            user_id: Some(self.user_id),
            name: self.user_name.clone(),
            reason: self.reason.clone(),
            request_id: self.request_id.clone(),
            detail: detail.as_object().cloned().unwrap_or_default(),
        }
    }

    /// What stands in the audit log of one order that was not commanded anything.
    fn entry(&self, order: OrderId, refused: Option<&str>, at: Instant) -> Entry {
        self.by(at).entry(self.deed.word(), order_subject(order), serde_json::json!({"refused": refused}))
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

/// What an order made of its command, or why it was not given one. The operator confirmed what was counted: an order that
/// has changed since is left alone, because its money may move otherwise now.
fn act(
    tx: &mut Tx,
    job: &BulkJob,
    (order_id, version): Meant,
    now: Instant,
    cluster: u64,
    policy: &super::Policy,
) -> Result<std::result::Result<Received, String>> {
    let obeyed = tx.find(order_id).and_then(|order| {
        if order.is_some_and(|order| !job.means(&order)) {
            return Ok(Err(UNFIT.into()));
        }
        let Some(command) = job.deed.command() else { return Ok(Err("only the gateway can be asked for it".into())) };
        let Some(version) = version else { return Ok(Err(UNVERSIONED.into())) };
        obey(tx, order_id, version, &command, &job.by(now), cluster, policy).map(Ok)
    });
    let left_alone = match obeyed {
        Ok(Err(why)) => why,
        // Found out before anything is written: one order that is damaged does not hold up the others.
        Err(fault @ Error::Damaged(_)) => damage(&fault),
        obeyed => return obeyed,
    };
    audit::insert(tx, &job.entry(order_id, Some(&left_alone), now), false)?;
    Ok(Err(left_alone))
}

fn damage(fault: &Error) -> String {
    match fault {
        Error::Damaged(fault) => format!("it is damaged: {fault}"),
        fault => fault.to_string(),
    }
}

/// The next orders of a job: no more than stand in one row.
fn next(conn: &mut Conn, job: &BulkJob, limit: usize) -> Result<Vec<Meant>> {
    let place = usize::try_from(job.place).unwrap_or_default();
    let first = place / CHUNK * CHUNK;
    let row = bulk_orders::table.find((raw(job.id), first as i64)).select((bulk_orders::ids, bulk_orders::versions));
    let (ids, versions): (Vec<u8>, Option<Vec<u8>>) = row.first(conn)?;
    let versions = versions.unwrap_or_default();
    let (versions, _) = versions.as_chunks::<8>();
    let left = ids.chunks_exact(16).enumerate().skip(place - first).take(limit);
    left.map(|(i, id)| {
        let version = versions.get(i).map(|version| i64::from_be_bytes(*version));
        Ok((OrderId(uuid(&RawId(id.to_vec()))?), version))
    })
    .collect()
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
