//! Every wait for the database has an end.
//!
//! A server whose processes stand still, or a connection that is half open, holds a thread in libpq for ever: the kernel
//! still acknowledges, so that neither keepalives nor `tcp_user_timeout` end it, and a deadline of the statement would
//! cancel a commit, which must never happen. So each thread that waits for a server has a [`Link`], and one watchdog for
//! each server looks at all of them:
//!
//! - A thread that waits for longer than [`LIMIT`] is a suspect. The watchdog asks on a fresh connection which sessions the
//!   server works for. A session at work is waited for: a commit waits for its standby, a report reads much.
//! - Any other suspect is **abandoned**. Its thread stays behind in libpq, and another one takes its place, with a fresh
//!   connection for which all hosts of the URL are asked anew. Nothing is cancelled: what the abandoned thread was doing has
//!   an unknown outcome.
//! - When libpq lets an abandoned thread go, the thread ends. What it brings back is dropped.
//!
//! Threads that were left behind hold up nothing: no other thread joins them, and the end of the process ends them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant as Monotonic};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};

use super::engine::Database;
use super::sql::Conn;
use super::{Error, Result};
use crate::logs::failing;

/// A thread that waits for so long is looked into. Longer than the patience of callers who read.
const LIMIT: Duration = Duration::from_secs(6);
/// How often the threads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// While one of them is suspect, the server is asked so often whom it works for.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Threads that may be left behind, and connections that may be made at once. Each new silence of a server leaves as many as an instance has connections.
const MOST_LEFT_BEHIND: usize = 64;
/// A connection may take so much longer than its hosts are waited for: names are looked up, and sessions are set up.
const SLACK: Duration = Duration::from_secs(2);
/// A connection that is being made for so much longer is given up.
const HOPELESS: Duration = Duration::from_secs(30);
/// After a connection could not be made, none is made for so long.
const REST: Duration = Duration::from_millis(200);
/// Whoever waits for a connection at the start is told so often of which server.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// An outage that lasts is told again so often.
const REMIND_EVERY: Duration = Duration::from_secs(10);
/// What is done about a server that gives no connection.
const ACTION: &str =
    "connections are tried again every 0.2 s; meanwhile requests are answered 503, or by another server";

/// Prepares a connection for its use.
pub(super) type Setup = fn(&mut Conn) -> QueryResult<()>;

/// What a thread does for as long as it is needed. It returns when its link is abandoned, or when nothing more comes.
type Task = Arc<dyn Fn(&mut Link) + Send + Sync>;

/// The watchdog of one database, and all threads that wait for it.
#[derive(Clone)]
pub(super) struct Watchdog(Arc<Watched>);

struct Watched {
    database: Database,
    threads: Mutex<Vec<Thread>>,
    left_behind: AtomicUsize,
    /// Connections that are being made, for somebody or for nobody any more.
    connecting: Arc<AtomicUsize>,
    outage: Mutex<Option<Outage>>,
    /// What those have found that are to be connected before the store is open.
    started: Mutex<Vec<Receiver<Result<()>>>>,
}

struct Thread {
    name: String,
    setup: Setup,
    /// What its successor does; `None` where nothing is to be done again.
    task: Option<Task>,
    state: Arc<Mutex<State>>,
}

/// What a thread does just now.
enum State {
    Idle,
    Waiting { since: Monotonic, session: Session },
    Abandoned,
    Ended,
}

/// A session, as its server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    process: i32,
    began: String,
}

/// A server that gives no connection.
struct Outage {
    since: Monotonic,
    told: Monotonic,
    failed: u64,
}

impl Watchdog {
    /// Starts the watchdog. It ends when nothing needs it any more.
    pub fn start(database: &Database) -> Result<Self> {
        let watched = Arc::new(Watched {
            database: database.clone(),
            threads: Mutex::default(),
            left_behind: AtomicUsize::default(),
            connecting: Arc::default(),
            outage: Mutex::default(),
            started: Mutex::default(),
        });
        // The embedded database has no server that could fall silent.
        if let Database::Postgres(_) = database {
            let weak = Arc::downgrade(&watched);
            spawn("watchdog", move || watch(&weak))?;
        }
        Ok(Self(watched))
    }

    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Has a thread of its own do `task`, which a successor goes on with when the thread is abandoned. It has a connection
    /// before [`Self::all_are_connected`] returns.
    pub fn keep(&self, name: &str, setup: Setup, task: impl Fn(&mut Link) + Send + Sync + 'static) -> Result<()> {
        let (connected, is_connected) = bounded(1);
        lock(&self.0.started).push(is_connected);
        self.fill(name, setup, Some(Arc::new(task)), move |link, task| {
            let _ = connected.send(link.connect_at_last());
            task(link);
        })
        .map(drop)
    }

    /// As [`Self::keep`], of a server that may be away when the store is opened.
    pub fn keep_later(&self, name: &str, setup: Setup, task: impl Fn(&mut Link) + Send + Sync + 'static) -> Result<()> {
        self.fill(name, setup, Some(Arc::new(task)), |link, task| task(link)).map(drop)
    }

    /// Waits until every thread has its connection: the start of a service must not fail for one that comes late.
    ///
    /// # Errors
    /// Why one of them has none.
    pub fn all_are_connected(&self) -> Result<()> {
        let started = std::mem::take(&mut *lock(&self.0.started));
        let ended = || Error::Unavailable("a thread of the database has ended".into());
        started.iter().try_for_each(|one| one.recv().map_err(|_| ended())?)
    }

    /// Does `work` once, on a connection of its own.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Unavailable`] if there is no connection, or if the server falls silent meanwhile.
    pub fn once<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = bounded(1);
        let state = self.fill(
            name,
            |_| Ok(()),
            None,
            move |link, _| {
                let found = link.connect_at_last().map(|()| link.ask(work));
                // Without an answer it was abandoned: `done` is dropped.
                if let Some(found) = found.transpose() {
                    let _ = done.send(found.and_then(|found| found));
                }
            },
        )?;
        let silent = || Error::Unavailable(format!("{}: the server does not answer any more", self.database().name()));
        loop {
            match result.recv_timeout(LOOK_EVERY) {
                Ok(found) => return found,
                Err(RecvTimeoutError::Disconnected) => return Err(silent()),
                Err(RecvTimeoutError::Timeout) => {
                    if matches!(*lock(&state), State::Abandoned) {
                        return Err(silent());
                    }
                }
            }
        }
    }

    fn fill(
        &self,
        name: &str,
        setup: Setup,
        task: Option<Task>,
        begin: impl FnOnce(&mut Link, Task) + Send + 'static,
    ) -> Result<Arc<Mutex<State>>> {
        let state = Arc::new(Mutex::new(State::Idle));
        let again = task.clone();
        lock(&self.0.threads).push(Thread { name: name.to_owned(), setup, task: again, state: state.clone() });
        let mut link =
            Link { watched: self.0.clone(), setup, state: state.clone(), held: None, pending: None, rests: None };
        spawn(name, move || {
            begin(&mut link, task.unwrap_or_else(|| Arc::new(|_| {})));
            link.end();
        })?;
        Ok(state)
    }
}

/// A thread's way to the database.
pub(super) struct Link {
    watched: Arc<Watched>,
    setup: Setup,
    state: Arc<Mutex<State>>,
    held: Option<(Conn, Session)>,
    /// A connection that is being made.
    pending: Option<Pending>,
    /// Since when, and why, none could be made.
    rests: Option<(Monotonic, Error)>,
}

impl Link {
    pub fn is_connected(&self) -> bool {
        self.held.is_some()
    }

    /// Whether another thread has taken this one's place: what it brings back is of no use.
    pub fn is_abandoned(&self) -> bool {
        matches!(*lock(&self.state), State::Abandoned)
    }

    /// Has a connection after this. One that takes longer than `patience` goes on being made, and serves the next call.
    ///
    /// # Errors
    /// [`Error::Unavailable`], with the reason, while there is none.
    pub fn connect(&mut self, patience: Duration) -> Result<()> {
        self.connect_by(Monotonic::now() + patience, |_| {})
    }

    /// As [`Self::connect`]; waits as long as all hosts together may take, and says in the log for which.
    fn connect_at_last(&mut self) -> Result<()> {
        let (began, database) = (Monotonic::now(), self.watched.database.clone());
        let until = began + database.patience() + SLACK;
        self.connect_by(until, |host| {
            let waited = began.elapsed().as_secs();
            tracing::warn!(host, waited_s = waited, "store.waiting_for_host");
        })
    }

    fn connect_by(&mut self, until: Monotonic, tell: impl Fn(&str)) -> Result<()> {
        if self.held.is_some() {
            return Ok(());
        }
        if let Some((since, fault)) = &self.rests
            && since.elapsed() < REST
        {
            // Not at once: whoever asks again and again must not keep a core busy.
            thread::sleep((REST - since.elapsed()).min(until.saturating_duration_since(Monotonic::now())));
            return Err(fault.clone());
        }
        if self.pending.as_ref().is_some_and(|pending| pending.is_hopeless(&self.watched.database)) {
            self.pending = None;
        }
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => Pending::start(&self.watched, self.setup)?,
        };
        loop {
            let next = until.min(Monotonic::now() + TELL_EVERY);
            match pending.made.recv_deadline(next) {
                Ok(made) => {
                    self.watched.note(made.as_ref().err());
                    return match made {
                        Ok(made) => {
                            (self.held, self.rests) = (Some(made), None);
                            Ok(())
                        }
                        Err(fault) => {
                            self.rests = Some((Monotonic::now(), fault.clone()));
                            Err(fault)
                        }
                    };
                }
                Err(RecvTimeoutError::Timeout) if next < until => tell(&lock(&pending.host)),
                Err(RecvTimeoutError::Timeout) => {
                    let host = lock(&pending.host).clone();
                    self.pending = Some(pending);
                    return Err(Error::Unavailable(format!("{host} has not answered yet")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Unavailable("the connection was not made: a panic".into()));
                }
            }
        }
    }

    /// Does `work` on the connection; `None` if the thread was abandoned meanwhile, and must end.
    ///
    /// # Panics
    /// If there is no connection: [`Self::connect`] comes before. And whenever `work` does.
    pub fn ask<T>(&mut self, work: impl FnOnce(&mut Conn) -> T) -> Option<T> {
        let (conn, session) = self.held.as_mut().expect("it is connected");
        let waiting = Waiting::begin(&self.state, session)?;
        let found = work(conn);
        waiting.end().then_some(found)
    }

    /// The connection, for what waits for nothing.
    pub fn held(&mut self) -> Option<&mut Conn> {
        self.held.as_mut().map(|(conn, _)| conn)
    }

    /// Gives the connection up: nobody knows what it still holds.
    pub fn hang_up(&mut self) {
        self.held = None;
    }

    fn end(&mut self) {
        let mut state = lock(&self.state);
        match *state {
            State::Abandoned => {
                let still = self.watched.left_behind.fetch_sub(1, Ordering::Relaxed) - 1;
                let database = self.watched.database.name();
                // One line for all of them.
                if still == 0 {
                    tracing::info!(database, "store.abandoned_threads_came_back");
                } else {
                    tracing::debug!(database, still, "store.abandoned_thread_came_back");
                }
            }
            _ => *state = State::Ended,
        }
    }
}

/// While this lives the thread waits for its server.
struct Waiting<'s>(&'s Mutex<State>);

impl<'s> Waiting<'s> {
    fn begin(state: &'s Mutex<State>, session: &Session) -> Option<Self> {
        let mut now = lock(state);
        if matches!(*now, State::Abandoned) {
            return None;
        }
        *now = State::Waiting { since: Monotonic::now(), session: session.clone() };
        Some(Self(state))
    }

    /// Whether what was waited for still counts.
    fn end(self) -> bool {
        !matches!(*lock(self.0), State::Abandoned)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut now = lock(self.0);
        if !matches!(*now, State::Abandoned) {
            *now = State::Idle;
        }
    }
}

/// A connection that a thread of its own makes.
struct Pending {
    since: Monotonic,
    /// Which host is asked just now.
    host: Arc<Mutex<String>>,
    made: Receiver<Result<(Conn, Session)>>,
}

impl Pending {
    fn start(watched: &Watched, setup: Setup) -> Result<Self> {
        let (told, made) = bounded(1);
        let host = Arc::new(Mutex::new(watched.database.name()));
        let (database, asked, connecting) = (watched.database.clone(), host.clone(), watched.connecting.clone());
        if connecting.fetch_add(1, Ordering::Relaxed) >= MOST_LEFT_BEHIND {
            connecting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Unavailable("too many connections are being made already".into()));
        }
        spawn("connect", move || {
            let connected = connect(&database, setup, |host| host.clone_into(&mut *lock(&asked)));
            connecting.fetch_sub(1, Ordering::Relaxed);
            // A connection that comes too late for anybody is closed by this.
            let _ = told.send(connected);
        })?;
        Ok(Self { since: Monotonic::now(), host, made })
    }

    fn is_hopeless(&self, database: &Database) -> bool {
        self.since.elapsed() > database.patience() + HOPELESS
    }
}

fn connect(database: &Database, setup: Setup, asking: impl FnMut(&str)) -> Result<(Conn, Session)> {
    let mut conn = database.connection(asking)?;
    let session = Session::of(&mut conn)?;
    setup(&mut conn)?;
    Ok((conn, session))
}

impl Session {
    fn of(conn: &mut Conn) -> Result<Self> {
        let Conn::Postgres(conn) = conn else { return Ok(Self::default()) };
        let own = "SELECT pid, backend_start::text AS began FROM pg_stat_get_activity(pg_backend_pid())";
        Ok(diesel::sql_query(own).get_result::<SessionRow>(conn)?.into())
    }

    /// Those that the server works for. One whose answer the client does not fetch is none of them: the client waits for
    /// that answer.
    fn at_work(conn: &mut Conn) -> Result<Vec<Self>> {
        let Conn::Postgres(conn) = conn else { return Ok(Vec::new()) };
        let all = "SELECT pid, backend_start::text AS began FROM pg_stat_activity
            WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'";
        Ok(diesel::sql_query(all).load::<SessionRow>(conn)?.into_iter().map(Self::from).collect())
    }
}

#[derive(QueryableByName)]
struct SessionRow {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    began: String,
}

impl From<SessionRow> for Session {
    fn from(SessionRow { pid, began }: SessionRow) -> Self {
        Self { process: pid, began }
    }
}

impl Watched {
    /// Tells the operator of an outage: when it begins, while it lasts, and when it ends.
    fn note(&self, fault: Option<&Error>) {
        let (mut outage, now) = (lock(&self.outage), Monotonic::now());
        let database = self.database.name();
        match (&mut *outage, fault) {
            (None, None) => {}
            (None, Some(fault)) => {
                tracing::warn!(database, %fault, action = ACTION, "store.database_unavailable");
                *outage = Some(Outage { since: now, told: now, failed: 1 });
            }
            (Some(lasting), Some(fault)) => {
                lasting.failed += 1;
                if now - lasting.told >= REMIND_EVERY {
                    lasting.told = now;
                    let (lasts_s, failed) = ((now - lasting.since).as_secs(), lasting.failed);
                    tracing::warn!(database, %fault, lasts_s, failed, "store.database_still_unavailable");
                }
            }
            (Some(over), None) => {
                let (lasted_s, failed) = ((now - over.since).as_secs(), over.failed);
                tracing::info!(database, lasted_s, failed, "store.database_available");
                *outage = None;
            }
        }
    }

    /// False if too many were left behind already.
    fn leave_behind(&self) -> bool {
        let fits = |left: usize| (left < MOST_LEFT_BEHIND).then_some(left + 1);
        self.left_behind.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Threads that have waited for longer than `limit`, and for which sessions.
    fn suspects(&self, limit: Duration) -> Vec<(Arc<Mutex<State>>, Monotonic, Session)> {
        let mut threads = lock(&self.threads);
        threads.retain(|thread| !matches!(*lock(&thread.state), State::Ended | State::Abandoned));
        let suspect = |thread: &Thread| match &*lock(&thread.state) {
            State::Waiting { since, session } if since.elapsed() > limit => {
                Some((thread.state.clone(), *since, session.clone()))
            }
            _ => None,
        };
        threads.iter().filter_map(suspect).collect()
    }
}

fn watch(watched: &Weak<Watched>) {
    loop {
        thread::sleep(LOOK_EVERY);
        let Some(watched) = watched.upgrade() else { return };
        if watched.suspects(LIMIT).is_empty() {
            continue;
        }
        let at_work = at_work(&watched.database);
        let mut abandoned = Vec::new();
        for (state, since, session) in watched.suspects(LIMIT) {
            if !at_work.as_ref().is_ok_and(|at_work| at_work.contains(&session)) {
                abandoned.extend(abandon(&watched, &state, since));
            }
        }
        if !abandoned.is_empty() {
            let why = at_work.as_ref().err().map_or("their sessions are not at work".to_owned(), Error::to_string);
            let (database, threads) = (watched.database.name(), abandoned.join(", "));
            let action = "other connections take their place; what these were doing has an unknown outcome";
            tracing::warn!(database, threads, why, action, "store.connection_abandoned");
        }
        thread::sleep(ASK_EVERY);
    }
}

/// Whom the server works for. It does not answer the one who asks this, either, if it is silent.
fn at_work(database: &Database) -> Result<Vec<Session>> {
    let (told, found) = bounded(1);
    let asked = database.clone();
    spawn("watchdog-asks", move || {
        let mut made = connect(&asked, |_| Ok(()), |_| {});
        let _ = told.send(made.as_mut().map_err(|fault| fault.clone()).and_then(|(conn, _)| Session::at_work(conn)));
    })?;
    let silent = |_| Error::Unavailable("no host answers".into());
    found.recv_timeout(database.patience() + SLACK).map_err(silent)?
}

/// Leaves a thread behind, if it still waits for the same, and has another one take its place. Returns its name.
fn abandon(watched: &Arc<Watched>, state: &Arc<Mutex<State>>, since: Monotonic) -> Option<String> {
    let mut now = lock(state);
    if !matches!(*now, State::Waiting { since: still, .. } if still == since) {
        return None;
    }
    let database = watched.database.name();
    if !watched.leave_behind() {
        failing!("store.too_many_threads_left_behind", "no other thread takes its place", database);
        return None;
    }
    *now = State::Abandoned;
    drop(now);
    let thread = {
        let mut threads = lock(&watched.threads);
        let at = threads.iter().position(|thread| Arc::ptr_eq(&thread.state, state));
        at.map(|at| threads.swap_remove(at))
    };
    let Thread { name, setup, task, .. } = thread?;
    let Some(task) = task else { return Some(name) };
    let filled = Watchdog(watched.clone()).fill(&name, setup, Some(task), |link, task| task(link));
    if let Err(fault) = filled {
        tracing::error!(database, thread = name, %fault, "store.thread_not_replaced");
    }
    Some(name)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|fault| Error::Unavailable(format!("cannot start the database's threads: {fault}")))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
