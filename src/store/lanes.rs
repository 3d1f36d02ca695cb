//! Group commit: all writes meet in bounded channels, and one thread writes whatever waits as ONE transaction.
//!
//! There is no timer: a lone write is committed at once, and a crowd shares the price of one `fsync`. Each write is
//! answered only after the commit that holds it. One that fails leaves its neighbours alone: the batch is rolled
//! back and goes on without it, and it is tried once more by itself. That is rare, so a batch carries no savepoints
//! for it, which would copy every page that each write touches. SQLite has one writer, so there is one
//! thread; on PostgreSQL a few take from the same channels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use tokio::sync::oneshot;

use super::audit::{self, Entry};
use super::checkpoint::Checkpoints;
use super::claim::Handoff;
use super::engine::Database;
use super::position::{Place, here, here_on_primary};
use super::room::Room;
use super::sql::Conn;
use super::tx::{AfterCommit, Claims, Handover, Touching, Tx, Urgency};
use super::watchdog::{Link, Watchdog};
use super::{Error, Result};
use crate::logs::failing;
use crate::meters::{LaneTrouble, METERS};
use crate::trace::SpanId;
use crate::tracer;

/// Writes of one transaction. Enough to fill a flush, few enough that the first of them does not wait long.
const MAX_BATCH: usize = 128;
/// … while more new orders wait than one transaction holds. Then there is more to do than can be done, and whoever
/// cancels is not to wait twice as long for it. Of SQLite only: there two smaller transactions take hardly longer than
/// one, whereas PostgreSQL takes a millisecond for one of any size.
const MAX_BATCH_IN_A_RUSH: usize = 64;
/// Threads that write to PostgreSQL: while one waits for its commit, the next batch is made. More of them only make the
/// batches smaller.
pub(super) const WRITERS_OF_POSTGRES: usize = 2;
/// A connection that was not used for so long is looked at before it is used again.
const LONG_UNUSED: Duration = Duration::from_secs(1);
/// How long writes wait for a connection. After that they are told that nothing was done; a connection that takes longer
/// serves those that come later.
const CONNECTING: Duration = Duration::from_secs(1);
/// Creates that are taken into a transaction however many results wait.
const FEWEST_CREATES: usize = 8;

/// A write that waits. It may have to be run again, in another transaction.
trait Job: Send {
    fn touching(&self) -> &Touching;

    /// Whether all went well.
    fn run(&mut self, tx: &mut Tx) -> bool;
    /// Tells the caller what came of it, given the fate of the transaction it ran in.
    fn answer(self: Box<Self>, committed: Result<Place>);
}

struct Write<T, F> {
    write: F,
    touching: Touching,
    /// The span that asked for it.
    cause: Option<SpanId>,
    outcome: Result<T>,
    answer: oneshot::Sender<Result<(T, Place)>>,
}

impl<T: Send, F: FnMut(&mut Tx) -> Result<T> + Send> Job for Write<T, F> {
    fn touching(&self) -> &Touching {
        &self.touching
    }

    fn run(&mut self, tx: &mut Tx) -> bool {
        tx.cause = self.cause;
        self.outcome = (self.write)(tx);
        self.outcome.is_ok()
    }

    fn answer(self: Box<Self>, committed: Result<Place>) {
        let Self { outcome, answer, .. } = *self;
        let _ = answer.send(committed.and_then(|place| Ok((outcome?, place))));
    }
}

/// The way into the writing thread.
#[derive(Clone)]
pub(super) struct Lane {
    control: Sender<Box<dyn Job>>,
    create: Sender<Box<dyn Job>>,
    patience: Duration,
    /// Goes into the audit log with what is written through here.
    entry: Option<Arc<Entry>>,
    room: Room,
}

impl Lane {
    /// Starts the writing threads. They end when the last `Lane` is dropped.
    pub fn start(
        watchdog: &Watchdog,
        checkpoints: Option<Checkpoints>,
        handoff: Handoff,
        queue: usize,
        patience: Duration,
    ) -> Result<Self> {
        let (control, control_jobs) = bounded(queue);
        let (create, create_jobs) = bounded(queue);
        let writers = if checkpoints.is_some() { 1 } else { WRITERS_OF_POSTGRES };
        let checkpoints = Arc::new(Mutex::new(checkpoints));
        for writer in 0..writers {
            let (handoff, checkpoints) = (handoff.clone(), checkpoints.clone());
            let (control, create) = (control_jobs.clone(), create_jobs.clone());
            watchdog.keep(&format!("lane-{writer}"), Database::prepare_to_write, move |link| {
                let checkpoints = checkpoints.lock().unwrap_or_else(PoisonError::into_inner).take();
                write(link, checkpoints, &handoff, &control, &create);
            })?;
        }
        Ok(Self { control, create, patience, entry: None, room: Room::default() })
    }

    /// The same way in, for writes that belong in the audit log.
    pub fn recording(&self, entry: Entry) -> Self {
        Self { entry: Some(Arc::new(entry)), ..self.clone() }
    }

    /// The same way in, for who has nothing else to do than to wait.
    pub fn patient(&self) -> Self {
        Self { patience: Duration::MAX, ..self.clone() }
    }

    /// Runs `write` in the next transaction and answers once that is durable. It may be run more than once, each time
    /// in a transaction where it has not yet happened.
    ///
    /// Errors: those of `write`, after which nothing was done; [`Error::Overloaded`] when the channel is full, and
    /// [`Error::Unavailable`] for new work when the disk is (nothing was done); [`Error::OutcomeUnknown`] when the commit
    /// takes longer than a caller should wait, or its fate is not known.
    pub async fn write<T: Send + 'static>(
        &self,
        urgency: Urgency,
        write: impl FnMut(&mut Tx) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.write_at(urgency, Touching::everything(), write).await?.0)
    }

    /// As [`Lane::write`]; gives also how far the database has come by it: whoever reads there sees what was written.
    pub async fn write_at<T: Send + 'static>(
        &self,
        urgency: Urgency,
        touching: Touching,
        mut write: impl FnMut(&mut Tx) -> Result<T> + Send + 'static,
    ) -> Result<(T, Place)> {
        let entry = self.entry.clone();
        let write = move |tx: &mut Tx| {
            let Some(entry) = &entry else { return write(tx) };
            tx.is_refused = false;
            let done = write(tx)?;
            audit::insert(tx, entry, !tx.is_refused)?;
            Ok(done)
        };
        let asked = Monotonic::now();
        if urgency == Urgency::Create && self.room.is_short(asked) {
            METERS.lane_troubles.of(LaneTrouble::DiskFull).increment(1);
            return Err(Error::Unavailable("its disk is full".into()));
        }
        let (answer, answered) = oneshot::channel();
        let outcome = Err(Error::OutcomeUnknown("it never came to its turn".into()));
        let job: Box<dyn Job> = Box::new(Write { write, touching, cause: tracer::current(), outcome, answer });
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
            Ok(Ok(result)) => result.inspect_err(|fault| self.room.note(fault, Monotonic::now())),
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

fn write(
    link: &mut Link,
    mut checkpoints: Option<Checkpoints>,
    handoff: &Handoff,
    control: &Receiver<Box<dyn Job>>,
    create: &Receiver<Box<dyn Job>>,
) {
    let mut used = Monotonic::now();
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        // What could not be begun is tried once more before anything else is.
        let is_again = !batch.is_empty();
        if !is_again {
            select! {
                recv(control) -> job => match job { Ok(job) => batch.push(job), Err(_) => return },
                recv(create) -> job => match job { Ok(job) => batch.push(job), Err(_) => return },
            }
            let is_rush = checkpoints.is_some() && create.len() > MAX_BATCH;
            let most = if is_rush { MAX_BATCH_IN_A_RUSH } else { MAX_BATCH };
            batch.extend(control.try_iter().take(most - batch.len()));
            // An order that is accepted comes back at least twice. New ones get what results leave, so that acceptance
            // never starves completion, but always a little.
            let places = ((most - batch.len()) / 2).max(FEWEST_CREATES);
            batch.extend(create.try_iter().take(places));
        }
        // A server may have died while there was nothing to do: better to learn of it before something is begun.
        if used.elapsed() > LONG_UNUSED && link.is_connected() {
            match link.ask(here_on_primary) {
                Some(Ok(_)) => {}
                Some(Err(_)) => link.hang_up(),
                None => return,
            }
        }
        used = Monotonic::now();
        if let Err(fault) = link.connect(CONNECTING) {
            METERS.lane_troubles.of(LaneTrouble::NoConnection).increment(1);
            batch.drain(..).for_each(|job| job.answer(Err(fault.clone())));
            continue;
        }
        let writes = batch.len();
        METERS.lane_batch.of(()).record(writes as f64);
        // A panic in one write poisons the connection's state, and so may a commit that failed: start over with a
        // fresh one. Answers that a panic drops are told to their callers as "unknown".
        let mut left = None;
        let work = || commit(link, handoff, std::mem::take(&mut batch), &mut left);
        let is_sound = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Some(is_sound)) => is_sound,
            // Another thread writes by now. Of what this one brings back nothing is told: the outcome is unknown.
            Ok(None) => return,
            Err(_) => {
                METERS.lane_troubles.of(LaneTrouble::Panicked).increment(1);
                tracing::error!("store.lane_panicked");
                false
            }
        };
        match left {
            Some((jobs, _)) if !is_again => batch = jobs,
            Some((jobs, fault)) => jobs.into_iter().for_each(|job| job.answer(Err(fault.clone()))),
            None => {}
        }
        if is_sound {
            if let (Some(checkpoints), Some(Conn::Sqlite(conn))) = (&mut checkpoints, link.held()) {
                checkpoints.after(writes, conn);
            }
        } else {
            // SQLite ends the transaction of a full disk by itself, after which the connection looks sound.
            link.hang_up();
        }
    }
}

/// Commits what can be committed, and answers everybody but those that are `left` because their transaction could not
/// even be begun: nothing was done of them. Whether the connection can still be used: false once a transaction as a whole
/// has failed; `None` if this thread was abandoned meanwhile, so that it must not tell what came of it.
fn commit(
    link: &mut Link,
    handoff: &Handoff,
    batch: Vec<Box<dyn Job>>,
    left: &mut Option<(Vec<Box<dyn Job>>, Error)>,
) -> Option<bool> {
    let mut batches = vec![batch];
    let mut is_doubtful = false;
    while let Some(mut batch) = batches.pop() {
        let began = Monotonic::now();
        match link.ask(|conn| transact(conn, handoff, &mut batch))? {
            Ok((AfterCommit { handovers, happened, .. }, place)) => {
                handovers.into_iter().for_each(Handover::send);
                batch.into_iter().for_each(|job| job.answer(Ok(place)));
                METERS.lane_commit.of(()).record(began.elapsed());
                let ended = Monotonic::now();
                for happened in happened {
                    happened.count();
                    if let Some(span) = happened.span(began, ended) {
                        tracer::emit(span);
                    }
                }
            }
            Err(RolledBack::Job(_)) if batch.len() == 1 => {
                is_doubtful = true;
                batch.into_iter().for_each(|job| job.answer(Ok(Place::default())));
            }
            Err(RolledBack::Job(failed)) => {
                let alone = vec![batch.remove(failed)];
                batches.extend([alone, batch]);
            }
            // Nobody knows which of them it was.
            Err(RolledBack::Together(_)) if batch.len() > 1 => {
                let rest = batch.split_off(batch.len() / 2);
                batches.extend([rest, batch]);
            }
            Err(RolledBack::Together(fault)) => {
                is_doubtful = true;
                batch.into_iter().for_each(|job| job.answer(Err(fault.clone())));
            }
            Err(RolledBack::NotBegun(fault)) => {
                failing!("store.not_begun", fault);
                let jobs = batch.into_iter().chain(batches.into_iter().flatten()).collect();
                *left = Some((jobs, Error::from(fault)));
                return Some(false);
            }
            Err(RolledBack::Whole(fault)) => {
                METERS.lane_troubles.of(LaneTrouble::CommitFailed).increment(1);
                failing!("store.commit_failed", fault);
                let told = || Err(Error::OutcomeUnknown(fault.to_string()));
                batch.into_iter().chain(batches.into_iter().flatten()).for_each(|job| job.answer(told()));
                return Some(false);
            }
        }
    }
    // What failed may have failed because the server is gone, or takes no writes any more.
    if is_doubtful { link.ask(|conn| here_on_primary(conn).is_ok()) } else { Some(true) }
}

/// Why a transaction came to nothing.
enum RolledBack {
    /// This one of its writes failed.
    Job(usize),
    /// What they touch could not be read, or what they wrote together was refused.
    Together(Error),
    /// It could not be begun, mostly because the connection was dead already; nothing but keys can have been locked.
    NotBegun(diesel::result::Error),
    /// It could not be committed or rolled back.
    Whole(diesel::result::Error),
}

impl From<Error> for RolledBack {
    fn from(fault: Error) -> Self {
        Self::Together(fault)
    }
}

impl From<diesel::result::Error> for RolledBack {
    fn from(fault: diesel::result::Error) -> Self {
        Self::Whole(fault)
    }
}

fn transact(
    conn: &mut Conn,
    handoff: &Handoff,
    batch: &mut [Box<dyn Job>],
) -> std::result::Result<(AfterCommit, Place), RolledBack> {
    match attempt(conn, handoff, batch, Claims::Trusted) {
        Err(RolledBack::Together(_)) if conn.is_postgres() => attempt(conn, handoff, batch, Claims::LookedAt),
        done => done,
    }
}

fn attempt(
    conn: &mut Conn,
    handoff: &Handoff,
    batch: &mut [Box<dyn Job>],
    claims: Claims,
) -> std::result::Result<(AfterCommit, Place), RolledBack> {
    let keys: Vec<i64> = batch.iter().flat_map(|job| job.touching().keys()).collect();
    let mut has_begun = false;
    let done = conn.write(keys, |conn| {
        has_begun = true;
        let mut tx = Tx::begin(conn, handoff, batch.iter().map(|job| job.touching()), claims)?;
        if let Some(failed) = batch.iter_mut().position(|job| !job.run(&mut tx)) {
            return Err(RolledBack::Job(failed));
        }
        Ok(tx.finish()?)
    });
    let done = done.map_err(|fault| match fault {
        RolledBack::Whole(fault) if !has_begun => RolledBack::NotBegun(fault),
        fault => fault,
    })?;
    // SQLite's only writer knows how far it has come. What is committed is committed: whoever cannot be told how far
    // that is gets a token that asks for nothing.
    let place = match (&conn, done.last_position) {
        (Conn::Sqlite(_), Some(place)) => Some(Place { timeline: 1, place }),
        _ => here(conn).ok(),
    };
    Ok((done, place.unwrap_or_default()))
}
