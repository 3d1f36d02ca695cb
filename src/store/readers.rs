//! Reads happen on a few dedicated threads, each with a connection of its own, inside one read transaction. What nobody
//! waits for, and what goes through all that is there, has a thread to itself, which everybody else goes before: on few
//! cores one look at very many orders would be a pause of all the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant as Monotonic};

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, never, select};
use diesel::connection::SimpleConnection;
use tokio::sync::oneshot;

use super::engine::Database;
use super::lanes::fill;
use super::position::{Place, here, here_on_primary};
use super::present::{Asked, Present, Waiting, read_together};
use super::sql::Conn;
use super::watchdog::{Link, Watchdog};
use super::{Error, Result};
use crate::logs::failing;
use crate::meters::METERS;
use crate::order::Instant;

/// A read. It gives whether the database answered.
pub(super) type Job = Box<dyn FnOnce(&mut Conn) -> bool + Send>;

/// How long a read may take: a server that has died without a word must not hold its callers up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reading thread that has lost its server waits for a connection. Who asks is told soon that nobody is there;
/// a connection that takes longer serves those who ask later.
const CONNECTING: Duration = Duration::from_millis(500);

/// How long a read may take that everybody else goes before.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// The thread for what nobody waits for gets a tenth of a core where others want all of it, and all of one where nobody does.
const NICENESS: i32 = 10;

/// Whether somebody waits for what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// Somebody does, be it only a service that is starting.
    Awaited,
    /// Nobody does: everybody else goes first, wherever this machine is what is short.
    None,
}

/// The way to the reading threads.
#[derive(Clone)]
pub(super) struct Readers {
    jobs: Sender<Job>,
    lists: Sender<Waiting>,
    unhurried: Sender<Job>,
}

impl Readers {
    /// Starts `count` reading threads, and one for what nobody waits for. They end when the last `Readers` is dropped.
    pub fn start(watchdog: &Watchdog, count: usize, queue: usize) -> Result<Self> {
        let (jobs, waiting) = bounded(queue);
        let (lists, waiting_for_lists) = bounded(queue);
        for i in 0..count {
            let (waiting, waiting_for_lists) = (waiting.clone(), waiting_for_lists.clone());
            let serve = move |link: &mut Link| serve(link, &waiting, &waiting_for_lists);
            watchdog.keep(&format!("reader-{i}"), |_| Ok(()), serve)?;
        }
        let (unhurried, waiting) = bounded(queue);
        watchdog.keep(
            "reader-late",
            |_| Ok(()),
            move |link| {
                give_way();
                serve(link, &waiting, &never());
            },
        )?;
        Ok(Self { jobs, lists, unhurried })
    }

    /// Runs `query` in a read transaction. Errors: [`Error::Overloaded`] when too many wait.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        enqueue(&self.jobs, move |conn| conn.read(query)).await
    }

    /// As [`Readers::read`], by whether somebody waits for it.
    pub async fn read_in<T: Send + 'static>(
        &self,
        haste: Haste,
        query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match haste {
            Haste::Awaited => self.read(query).await,
            Haste::None => {
                let (job, answered) = job(move |conn| conn.read(query));
                put(&self.unhurried, job)?;
                within(LONG_PATIENCE, answered).await
            }
        }
    }

    /// As [`Readers::read`], for answers that say how far the database had come: never of a server that has become a
    /// standby. `query` asks for that ([`here`](super::position::here)) after it has read, so that it covers what was read.
    pub async fn read_at<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.read_from(query).await?.1)
    }

    /// As [`Readers::read_at`]; gives also how far the database had come before.
    pub async fn read_from<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<(Place, T)> {
        enqueue(&self.jobs, move |conn| {
            let before = if conn.is_postgres() { Some(here_on_primary(conn)?) } else { None };
            conn.read(|conn| {
                // A snapshot of SQLite knows its own place.
                let place = before.map_or_else(|| here(conn), Ok)?;
                Ok((place, query(conn)?))
            })
        })
        .await
    }

    /// Reads a customer's list, together with those that others wait for.
    pub async fn list(&self, asked: Asked) -> Result<Present> {
        let (waiting, answered) = Waiting::for_list(asked);
        answer(&self.lists, waiting, answered).await
    }

    /// How full the fuller channel is, from 0 to 1.
    pub fn fill(&self) -> f64 {
        fill(&self.jobs).max(fill(&self.lists))
    }
}

/// Makes the thread that calls it one that others go before. Elsewhere than on Linux it would be the whole process.
fn give_way() {
    if cfg!(target_os = "linux")
        && let Err(fault) = rustix::process::setpriority_process(None, NICENESS)
    {
        tracing::warn!(%fault, "store.priority_not_lowered");
    }
}

async fn enqueue<T: Send + 'static>(
    jobs: &Sender<Job>,
    query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (job, answered) = job(query);
    answer(jobs, job, answered).await
}

/// A read, and where its answer will be.
fn job<T: Send + 'static>(
    query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T>>) {
    let (sender, answered) = oneshot::channel();
    let job: Job = Box::new(move |conn| {
        // Whoever asked may have gone: then the work is not worth doing.
        if sender.is_closed() {
            return true;
        }
        let found = query(conn);
        let has_answered = !matches!(found, Err(Error::Unavailable(_)));
        let _ = sender.send(found);
        has_answered
    });
    (job, answered)
}

/// What a reading thread answers to a job. Errors: [`Error::Overloaded`] when too many wait.
pub(super) async fn answer<J, T>(jobs: &Sender<J>, job: J, answered: oneshot::Receiver<Result<T>>) -> Result<T> {
    let asked = Monotonic::now();
    put(jobs, job)?;
    let found = within(PATIENCE, answered).await;
    METERS.read.of(()).record(asked.elapsed());
    found
}

fn put<J>(jobs: &Sender<J>, job: J) -> Result<()> {
    jobs.try_send(job).map_err(|refused| match refused {
        TrySendError::Full(_) => {
            METERS.read_refused.of(()).increment(1);
            Error::Overloaded
        }
        TrySendError::Disconnected(_) => Error::Unavailable("the reading threads have ended".into()),
    })
}

async fn within<T>(patience: Duration, answered: oneshot::Receiver<Result<T>>) -> Result<T> {
    let answered = tokio::time::timeout(patience, answered).await;
    let silent = Error::Unavailable(format!("no answer within {patience:?}"));
    answered.map_err(|_| silent)?.map_err(|_| Error::Unavailable("there is no connection to it".into()))?
}

fn serve(link: &mut Link, jobs: &Receiver<Job>, lists: &Receiver<Waiting>) {
    loop {
        let job: Job = select! {
            recv(jobs) -> job => match job { Ok(job) => job, Err(_) => return },
            recv(lists) -> first => match first {
                Ok(first) => {
                    let waiting = first.with_others(lists);
                    Box::new(|conn| read_together(conn, waiting, None))
                }
                Err(_) => return,
            },
        };
        if link.connect(CONNECTING).is_err() {
            // Whoever waits by now learns from a dropped answer that nobody is there; it is tried again for the next one.
            jobs.try_iter().for_each(drop);
            lists.try_iter().for_each(drop);
            continue;
        }
        let work = |conn: &mut Conn| {
            let has_answered = job(conn);
            conn.is_of_use(has_answered)
        };
        match catch_unwind(AssertUnwindSafe(|| link.ask(work))) {
            Ok(Some(true)) => {}
            // Nobody is there any more, or the end of its transaction failed, so that it can begin no other.
            Ok(Some(false)) => {
                failing!("store.reader_broken", "its connection failed; it makes another one");
                link.hang_up();
            }
            // Those who asked have lost their patience, and another thread reads by now.
            Ok(None) => return,
            Err(_) => {
                tracing::error!("store.reader_panicked");
                link.hang_up();
            }
        }
    }
}

/// How old a lagging snapshot is, and how much of the log it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    pub as_of: Instant,
    pub place: Place,
}

/// A reader that looks at a genuinely old snapshot, as a lagging replica would: its read transaction is kept open
/// until it is `lag` old, and only then renewed.
#[derive(Clone)]
pub(super) struct LaggingReader {
    jobs: Sender<Job>,
    age: Arc<ArcSwapOption<Age>>,
    lag: Arc<Lag>,
}

/// How old the snapshot may become.
struct Lag {
    usual: Duration,
    /// For a while, until then.
    raised: Mutex<Option<(Duration, Monotonic)>>,
}

impl Lag {
    fn now(&self) -> Duration {
        let raised = *self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.filter(|(_, until)| Monotonic::now() < *until).map_or(self.usual, |(lag, _)| lag)
    }
}

impl LaggingReader {
    /// `clock` gives the present instant; it is an argument so that nothing below reads a clock.
    pub fn start(database: &Database, lag: Duration, queue: usize, clock: fn() -> Instant) -> std::io::Result<Self> {
        let (jobs, waiting) = bounded::<Job>(queue);
        let age = Arc::new(ArcSwapOption::empty());
        let lag = Arc::new(Lag { usual: lag, raised: Mutex::default() });
        let (database, shown, allowed) = (database.clone(), age.clone(), lag.clone());
        thread::Builder::new().name("lagging-reader".into()).spawn(move || {
            let mut conn = None;
            loop {
                if conn.is_none() {
                    conn = database.connection(|_| {}).inspect_err(|fault| failing!("store.no_connection", fault)).ok();
                }
                let looked = conn.as_mut().map(|conn| look_for(conn, allowed.now(), &waiting, &shown, clock));
                shown.store(None);
                match looked {
                    Some(Ok(true)) => continue,
                    Some(Ok(false)) => return,
                    Some(Err(fault)) => {
                        failing!("store.lagging_reader_failed", fault);
                        conn = None;
                    }
                    None => {}
                }
                // Whoever still asks here is better served by the primary: it is told so by a dropped answer.
                match waiting.recv_timeout(Duration::from_millis(200)) {
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { jobs, age, lag })
    }

    pub fn age(&self) -> Option<Age> {
        self.age.load().as_deref().copied()
    }

    /// How old the snapshot may become now.
    pub fn lag(&self) -> Duration {
        self.lag.now()
    }

    /// Lets the snapshot become so old, from the next one on, until then.
    pub fn raise_lag(&self, lag: Duration, until: Monotonic) {
        *self.lag.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some((lag, until));
    }

    /// Runs `query` on the old snapshot.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        enqueue(&self.jobs, query).await
    }

    /// Reads a customer's list there.
    pub async fn list(&self, asked: Asked) -> Result<Present> {
        let shown = self.clone();
        self.read(move |conn| {
            let age = shown.age().ok_or(Error::Unavailable("its snapshot has just ended".into()))?;
            asked.read_on_snapshot(conn, age.as_of)
        })
        .await
    }
}

/// Serves from one snapshot until it is `lag` old. False when nobody can ask any more.
fn look_for(
    conn: &mut Conn,
    lag: Duration,
    jobs: &Receiver<Job>,
    shown: &ArcSwapOption<Age>,
    clock: fn() -> Instant,
) -> Result<bool> {
    let alive = conn.read(|conn| {
        let as_of = clock();
        // The first read fixes the snapshot; until then it would still move.
        let place = here(conn)?;
        shown.store(Some(Arc::new(Age { as_of, place })));
        let until = Monotonic::now() + lag;
        let served = loop {
            match jobs.recv_deadline(until) {
                Ok(job) => {
                    if catch_unwind(AssertUnwindSafe(|| job(conn))).is_err() {
                        break Err(Error::Unavailable("a read panicked".into()));
                    }
                }
                Err(RecvTimeoutError::Timeout) => break Ok(true),
                Err(RecvTimeoutError::Disconnected) => break Ok(false),
            }
        };
        // From here on nobody may believe that this snapshot is there to be asked.
        shown.store(None);
        served
    })?;
    // While a reader holds a snapshot the log cannot start over; without this it would grow without bound.
    if let Err(fault) = conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%fault, "store.checkpoint_postponed");
    }
    Ok(alive)
}
