//! Group commit: all writes meet in bounded channels, and one thread writes whatever waits as ONE transaction.
//!
//! There is no timer: a lone write is committed at once, and a crowd shares the price of one `fsync`. Each write
//! stands in its own savepoint, so that one that fails leaves its neighbours alone; each is answered only after
//! the commit that holds it. SQLite has one writer, so there is one lane.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant as Monotonic};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use diesel::QueryResult;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::sqlite::{Sqlite, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::claim::{Claim, Handoff, lease};
use super::{Error, Pool, Result};
use crate::meters::{self, Happened, LaneTrouble, METERS};
use crate::order::Instant;
use crate::state::Order;

/// Writes of one transaction. Enough to fill a flush, few enough that the first of them does not wait long.
const MAX_BATCH: usize = 256;
/// Creates that are taken into a transaction however many results wait.
const FEWEST_CREATES: usize = 8;

/// Who may still write when everybody wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Results, cancellations, the shops' answers: what makes room. Has a channel of its own and goes first.
    Control,
    /// New work: shed first.
    Create,
}

impl From<Urgency> for meters::Urgency {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Control => Self::Control,
            Urgency::Create => Self::Create,
        }
    }
}

/// A write inside the transaction of its batch.
pub(super) struct Tx<'c> {
    pub conn: &'c mut SqliteConnection,
    handoff: &'c Handoff,
    handovers: Vec<(mpsc::OwnedPermit<Claim>, Claim)>,
    happened: Vec<Happened>,
}

impl Tx<'_> {
    /// Leases a freshly changed row to the local worker if its next stage is due and there is room for it. The
    /// caller writes the row; the worker gets the claim once the transaction is committed.
    pub fn keep_for_local_worker(&mut self, order: &mut Order, now: Instant, duration: chrono::Duration) {
        let Some(stage) = order.task.stage.filter(|_| order.task.parked_at.is_none()) else { return };
        if order.task.leased_until.is_some() || order.task.next_attempt_at.is_none_or(|at| at > now) {
            return;
        }
        if let Some(permit) = self.handoff.reserve(stage) {
            self.handovers.push((permit, lease(order, stage, now, duration)));
        }
    }

    /// Has an event counted once the transaction is committed.
    pub fn count(&mut self, happened: Happened) {
        self.happened.push(happened);
    }
}

type Answer = Box<dyn FnOnce(std::result::Result<(), Error>) + Send>;
type Job = Box<dyn FnOnce(&mut Tx) -> std::result::Result<Answer, Answer> + Send>;

/// The way into the writing thread.
#[derive(Clone)]
pub(super) struct Lane {
    control: Sender<Job>,
    create: Sender<Job>,
    patience: Duration,
}

impl Lane {
    /// Starts the writing thread. It ends when the last `Lane` is dropped.
    pub fn start(pool: Pool, handoff: Handoff, queue: usize, patience: Duration) -> std::io::Result<Self> {
        let (control, control_jobs) = bounded(queue);
        let (create, create_jobs) = bounded(queue);
        thread::Builder::new()
            .name("lane".into())
            .spawn(move || write(&pool, &handoff, &control_jobs, &create_jobs))?;
        Ok(Self { control, create, patience })
    }

    /// Runs `job` in the next transaction and answers once that is durable.
    ///
    /// Errors: [`Error::Overloaded`] when the channel is full (nothing was done), [`Error::OutcomeUnknown`] when
    /// the commit takes longer than a caller should wait, or its fate is not known.
    pub async fn write<T: Send + 'static>(
        &self,
        urgency: Urgency,
        job: impl FnOnce(&mut Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let asked = Monotonic::now();
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |tx| match job(tx) {
            Ok(value) => Ok(Box::new(move |committed: std::result::Result<(), Error>| {
                let _ = answer.send(committed.map(|()| value));
            })),
            Err(error) => Err(Box::new(move |_| {
                let _ = answer.send(Err(error));
            })),
        });
        let channel = match urgency {
            Urgency::Control => &self.control,
            Urgency::Create => &self.create,
        };
        channel.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => {
                METERS.lane_refused.of(urgency.into()).increment(1);
                Error::Overloaded
            }
            TrySendError::Disconnected(_) => Error::Unavailable("the writing thread has ended".into()),
        })?;
        let answered = tokio::time::timeout(self.patience, answered).await;
        METERS.lane_write.of(urgency.into()).record(asked.elapsed());
        match answered {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::OutcomeUnknown("the writing thread dropped the answer".into())),
            Err(_) => {
                METERS.lane_troubles.of(LaneTrouble::PatienceEnded).increment(1);
                Err(Error::OutcomeUnknown(format!("no commit within {:?}", self.patience)))
            }
        }
    }

    /// How full the channels are, from 0 to 1.
    pub fn fill(&self) -> [(Urgency, f64); 2] {
        [(Urgency::Control, fill(&self.control)), (Urgency::Create, fill(&self.create))]
    }
}

/// How full a channel is, from 0 to 1.
pub(super) fn fill<T>(channel: &Sender<T>) -> f64 {
    channel.len() as f64 / channel.capacity().unwrap_or(usize::MAX).max(1) as f64
}

fn write(pool: &Pool, handoff: &Handoff, control: &Receiver<Job>, create: &Receiver<Job>) {
    let mut conn = None;
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        select! {
            recv(control) -> job => match job { Ok(job) => batch.push(job), Err(_) => return },
            recv(create) -> job => match job { Ok(job) => batch.push(job), Err(_) => return },
        }
        batch.extend(control.try_iter().take(MAX_BATCH - batch.len()));
        // An order that is accepted comes back at least twice. New ones get what results leave, so that acceptance
        // never starves completion, but always a little.
        let places = ((MAX_BATCH - batch.len()) / 2).max(FEWEST_CREATES);
        batch.extend(create.try_iter().take(places));
        if conn.is_none() {
            conn = pool.get().inspect_err(|fault| tracing::error!(%fault, "store.no_connection")).ok();
        }
        let Some(connection) = conn.as_mut() else {
            METERS.lane_troubles.of(LaneTrouble::NoConnection).increment(1);
            batch.clear();
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        METERS.lane_batch.of(()).record(batch.len() as f64);
        // A panic in one write poisons the connection's state, and so may a commit that failed: start over with a
        // fresh one. Answers that a panic drops are told to their callers as "unknown".
        let is_sound = catch_unwind(AssertUnwindSafe(|| commit(connection, handoff, batch.drain(..))));
        let is_sound = is_sound.unwrap_or_else(|_| {
            METERS.lane_troubles.of(LaneTrouble::Panicked).increment(1);
            tracing::error!("store.lane_panicked");
            false
        });
        if !is_sound && let Some(mut broken) = conn.take() {
            // SQLite ends the transaction of a full disk by itself, after which the connection looks sound to the
            // pool. It must not come back from there: nobody knows what it still holds.
            AnsiTransactionManager::transaction_manager_status_mut(&mut *broken).set_in_error();
        }
    }
}

/// Whether the connection can still be used: false after any failure of the batch as a whole.
fn commit(conn: &mut SqliteConnection, handoff: &Handoff, jobs: impl Iterator<Item = Job>) -> bool {
    let began = Monotonic::now();
    let mut answers = Vec::new();
    let mut handovers = Vec::new();
    let mut happened = Vec::new();
    let committed = conn.immediate_transaction(|conn| {
        for job in jobs {
            Savepoint::Begin.execute(conn)?;
            let mut tx = Tx { conn, handoff, handovers: Vec::new(), happened: Vec::new() };
            let outcome = job(&mut tx);
            let (kept, recorded) = (std::mem::take(&mut tx.handovers), std::mem::take(&mut tx.happened));
            match outcome {
                Ok(answer) => {
                    Savepoint::Keep.execute(conn)?;
                    answers.push(answer);
                    handovers.extend(kept);
                    happened.extend(recorded);
                }
                Err(answer) => {
                    Savepoint::Undo.execute(conn)?;
                    Savepoint::Keep.execute(conn)?;
                    answers.push(answer);
                }
            }
        }
        Ok::<(), diesel::result::Error>(())
    });
    let is_sound = committed.is_ok();
    match committed {
        Ok(()) => {
            handovers.into_iter().for_each(|(permit, claim)| {
                permit.send(claim);
            });
            answers.into_iter().for_each(|answer| answer(Ok(())));
            METERS.lane_commit.of(()).record(began.elapsed());
            happened.iter().for_each(Happened::count);
        }
        Err(fault) => {
            METERS.lane_troubles.of(LaneTrouble::CommitFailed).increment(1);
            tracing::error!(%fault, "store.commit_failed");
            answers.into_iter().for_each(|answer| answer(Err(Error::OutcomeUnknown(fault.to_string()))));
        }
    }
    is_sound
}

/// The savepoint of one write. As a query of its own it is prepared once and cached; diesel prepares plain SQL text
/// anew each time.
#[derive(Clone, Copy)]
enum Savepoint {
    Begin,
    Keep,
    Undo,
}

impl QueryFragment<Sqlite> for Savepoint {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        pass.push_sql(match self {
            Self::Begin => "SAVEPOINT job",
            Self::Keep => "RELEASE job",
            Self::Undo => "ROLLBACK TO job",
        });
        Ok(())
    }
}

impl QueryId for Savepoint {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<SqliteConnection> for Savepoint {}
