//! Replicas: which of them is certainly fresh enough, and the way to read there.
//!
//! Threads look every few milliseconds how far the primary and each replica have come. What the primary had written
//! when it was asked holds everything that was acknowledged before: a replica that has come as far is no older than
//! that look. A replica can go BACK when it restarts after a crash, so that a look proves something only for
//! connections that were open before it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant as Monotonic};

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::engine::{Database, system_of};
use super::instances::ReplicaSeen;
use super::lists::age_in_seconds;
use super::position::{Forks, Place, here, now_and_here, now_there};
use super::present::{Asked, Present, Waiting, read_together};
use super::readers::{LaggingReader, answer};
use super::sql::Conn;
use super::watchdog::{Link, Watchdog};
use super::{Error, Options, Result};
use crate::order::Instant;

/// How often servers are asked how far they have come. A replica's proven age is about that at rest.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After a server failed it is asked again no sooner.
const REST: Duration = Duration::from_millis(500);
/// A replica that has not answered a look for so long is not asked by anybody.
const SILENCE: Duration = Duration::from_secs(1);
/// How often the primary's clock is looked at before anything is done, if its answers are slow.
const LOOKS_AT_CLOCK: usize = 3;
/// Where all answers are slow, the clock is followed so often, by one that took no longer than this.
const FOLLOWED_LONG_AGO: Duration = Duration::from_secs(10);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// Looks at the primary that are remembered: a replica that lags by more is of no use to anybody.
const REMEMBERED: usize = 512;

/// What a reader needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freshness {
    /// What the reader has seen.
    pub seen: Option<Place>,
    /// What the customer wrote a moment ago, as far as is known here.
    pub written: Option<Place>,
}

/// How far a replica is proven to have come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub place: Place,
    /// It holds all that was acknowledged before.
    pub as_of: Instant,
    /// The same, by this process's own count.
    proven: Monotonic,
    /// When that was looked at. It says nothing about connections that were opened later.
    looked: Monotonic,
}

/// Everybody but the primary.
#[derive(Clone)]
pub(super) enum Replicas {
    /// The embedded database has none, or pretends that one lags.
    Embedded(Option<LaggingReader>),
    Servers {
        all: Arc<Vec<Replica>>,
        next: Arc<AtomicUsize>,
        forks: Arc<ArcSwap<Forks>>,
        max_staleness: Duration,
    },
}

/// A replica that was chosen.
pub(super) enum Chosen<'a> {
    Lagging(&'a LaggingReader),
    Server(&'a Replica),
}

impl Replicas {
    /// One that is fresh enough now; the next one each time.
    pub fn fresh_enough(&self, wanted: &Freshness) -> Option<Chosen<'_>> {
        match self {
            Self::Embedded(lagging) => {
                let lagging = lagging.as_ref()?;
                let place = lagging.age()?.place;
                wanted.seen.is_none_or(|seen| seen.place <= place.place).then_some(Chosen::Lagging(lagging))
            }
            Self::Servers { all, next, forks, max_staleness } => {
                let (forks, now) = (forks.load(), Monotonic::now());
                let start = next.fetch_add(1, Ordering::Relaxed);
                (0..all.len()).map(|offset| &all[(start + offset) % all.len()]).find_map(|replica| {
                    let seen = replica.seen()?;
                    let holds =
                        |place: Option<Place>| place.is_none_or(|place| forks.holds(seen.place, place) == Some(true));
                    let is_recent = wanted.seen.is_some() || now.duration_since(seen.proven) <= *max_staleness;
                    let answers = now.duration_since(seen.looked) <= SILENCE;
                    (answers && is_recent && holds(wanted.seen) && holds(wanted.written))
                        .then_some(Chosen::Server(replica))
                })
            }
        }
    }

    /// Whether who has come as far as `here` has all of what was there at `seen`; `None` while that is not known.
    pub fn holds(&self, here: Place, seen: Place) -> Option<bool> {
        match self {
            Self::Embedded(_) => Some(seen.place <= here.place),
            Self::Servers { forks, .. } => forks.load().holds(here, seen),
        }
    }

    /// The age of the oldest replica of which something is proven, in seconds; `None` if there is none.
    pub fn oldest(&self, now: Instant) -> Option<f64> {
        self.looks().into_iter().flatten().map(|as_of| age_in_seconds(as_of, now)).max_by(f64::total_cmp)
    }

    /// How old each of them is at most.
    pub fn seen(&self, now: Instant) -> Vec<ReplicaSeen> {
        let names: Vec<&str> = match self {
            Self::Embedded(lagging) => lagging.iter().map(|_| "a snapshot of the same database").collect(),
            Self::Servers { all, .. } => all.iter().map(|replica| &*replica.name).collect(),
        };
        let seen = |(name, look): (&str, Option<Instant>)| ReplicaSeen {
            name: name.to_owned(),
            age_seconds: look.map(|as_of| age_in_seconds(as_of, now)),
        };
        names.into_iter().zip(self.looks()).map(seen).collect()
    }

    /// Replicas of which nothing is proven now: they do not answer, or lag far behind.
    pub fn unproven(&self) -> usize {
        self.looks().iter().filter(|look| look.is_none()).count()
    }

    /// As of when each replica holds everything.
    fn looks(&self) -> Vec<Option<Instant>> {
        match self {
            Self::Embedded(lagging) => lagging.iter().map(|lagging| lagging.age().map(|age| age.as_of)).collect(),
            Self::Servers { all, .. } => all.iter().map(|replica| replica.seen().map(|seen| seen.as_of)).collect(),
        }
    }
}

impl Chosen<'_> {
    /// Reads a customer's list there.
    pub async fn list(&self, asked: Asked) -> Result<Present> {
        match self {
            Self::Lagging(lagging) => lagging.list(asked).await,
            Self::Server(replica) => {
                let (waiting, answered) = Waiting::for_list(asked);
                answer(&replica.lists, waiting, answered).await
            }
        }
    }
}

/// A server that follows the primary.
pub(super) struct Replica {
    /// Its address, as it may be shown.
    name: String,
    lists: Sender<Waiting>,
    seen: Arc<ArcSwapOption<Seen>>,
}

impl Replica {
    /// Starts the threads that read at this server. They end with the last sender of jobs.
    fn start(watchdog: &Watchdog, readers: usize, queue: usize) -> Result<Self> {
        let (lists, waiting) = bounded(queue);
        let seen = Arc::new(ArcSwapOption::empty());
        for i in 0..readers {
            let (waiting, seen) = (waiting.clone(), seen.clone());
            let serve = move |link: &mut Link| serve(link, &waiting, &seen);
            watchdog.keep_later(&format!("replica-{i}"), |_| Ok(()), serve)?;
        }
        Ok(Self { name: watchdog.database().name(), lists, seen })
    }

    fn seen(&self) -> Option<Seen> {
        self.seen.load().as_deref().copied()
    }
}

fn serve(link: &mut Link, lists: &Receiver<Waiting>, seen: &ArcSwapOption<Seen>) {
    let mut opened = Monotonic::now();
    loop {
        if !link.is_connected() {
            if link.connect(REST).is_err() {
                // Whoever asks here is better served by the primary: it is told so by a dropped answer.
                match lists.recv_timeout(REST) {
                    Ok(_) | Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            opened = Monotonic::now();
        }
        // Until the next look nothing is proven of this connection.
        while seen.load().as_deref().is_some_and(|seen| seen.looked <= opened) {
            thread::sleep(Duration::from_millis(1));
        }
        let Ok(first) = lists.recv() else { return };
        let waiting = first.with_others(lists);
        // What is known when the read begins, not when it was asked for: it can only be further. Where nothing is proven
        // any more the answers are dropped, as above.
        let Some(Seen { place, as_of, .. }) = seen.load().as_deref().copied() else { continue };
        let work = |conn: &mut Conn| {
            let has_answered = read_together(conn, waiting, Some((place, as_of)));
            conn.is_of_use(has_answered)
        };
        match catch_unwind(AssertUnwindSafe(|| link.ask(work))) {
            Ok(Some(true)) => {}
            Ok(Some(false)) | Err(_) => link.hang_up(),
            // Another thread reads here by now.
            Ok(None) => return,
        }
    }
}

/// Starts to read at replicas, and to look how far they have come.
///
/// # Errors
/// [`Error::Unavailable`] if a replica that answers belongs to another database.
pub(super) fn start(primary: &Watchdog, system: String, servers: &[Database], options: &Options) -> Result<Replicas> {
    let forks = Arc::new(ArcSwap::from_pointee(Forks::default()));
    // Nothing is done before the clock is known: by a clock of its own, an instance would end what others work on, and
    // decide what has time.
    let (at, looked) = primary.once("clock", look_at_clock)?;
    (options.follow_clock)(at, looked);
    let (mut all, mut watchdogs) = (Vec::new(), Vec::new());
    for server in servers {
        let watchdog = Watchdog::start(server)?;
        match watchdog.once("recognize", system_of) {
            Ok(theirs) if theirs != system => {
                let fault = "it follows another primary: its system identifier is another one";
                return Err(Error::Unavailable(format!("{}: {fault}", server.name())));
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(replica = server.name(), %fault, "store.replica_failed"),
        }
        all.push(Replica::start(&watchdog, options.readers, options.queue)?);
        watchdogs.push(watchdog);
    }
    let watch =
        Arc::new(Watch { looks: Mutex::default(), forks: forks.clone(), system, follow_clock: options.follow_clock });
    let all = Arc::new(all);
    // A thread for each server: one that does not answer keeps nobody else from being looked at.
    for (place, (watchdog, replica)) in watchdogs.iter().zip(all.iter()).enumerate() {
        let (watch, alive, shown) = (watch.clone(), Arc::downgrade(&all), replica.seen.clone());
        let follow = move |link: &mut Link| watch.follow_replica(link, &shown, || alive.strong_count() > 0);
        watchdog.keep_later(&format!("watch-{place}"), |_| Ok(()), follow)?;
    }
    let alive = Arc::downgrade(&all);
    primary.keep("watch", |_| Ok(()), move |link| watch.follow_primary(link, || alive.strong_count() > 0))?;
    Ok(Replicas::Servers { all, next: Arc::default(), forks, max_staleness: options.max_staleness })
}

/// What the clock of a server shows, and when it showed that: the quickest of some answers.
fn look_at_clock(conn: &mut Conn) -> Result<(Instant, Monotonic)> {
    let mut best: Option<(Duration, Instant, Monotonic)> = None;
    for _ in 0..LOOKS_AT_CLOCK {
        let looked = Monotonic::now();
        let at = now_there(conn)?;
        let took = looked.elapsed();
        if best.is_none_or(|(least, ..)| took < least) {
            best = Some((took, at, looked));
        }
        if took < LOOK_EVERY {
            break;
        }
    }
    let (took, at, looked) = best.expect("it was looked at");
    Ok((at, looked + took / 2))
}

/// Looks how far everybody has come.
struct Watch {
    /// What the primary had written and when, newest last.
    looks: Mutex<VecDeque<(Place, Instant, Monotonic)>>,
    forks: Arc<ArcSwap<Forks>>,
    system: String,
    follow_clock: fn(Instant, Monotonic),
}

/// A connection that is only looked through.
struct Looking<'l> {
    link: &'l mut Link,
    /// Whether the server behind the connection is known to be one of ours.
    is_known: bool,
    rests_until: Option<Monotonic>,
}

impl<'l> Looking<'l> {
    fn through(link: &'l mut Link) -> Self {
        Self { link, is_known: false, rests_until: None }
    }

    /// What `look` finds; `None` while the server does not answer.
    fn at<T>(&mut self, system: &str, look: impl FnOnce(&mut Conn) -> Result<T>) -> Option<T> {
        let now = Monotonic::now();
        if self.rests_until.is_some_and(|until| now < until) {
            return None;
        }
        let found = self.look(system, look);
        if found.is_none() {
            self.link.hang_up();
            self.rests_until = Some(now + REST);
        }
        found
    }

    fn look<T>(&mut self, system: &str, look: impl FnOnce(&mut Conn) -> Result<T>) -> Option<T> {
        self.is_known &= self.link.is_connected();
        self.link.connect(REST).ok()?;
        // Behind one address there may be another server by now.
        if !self.is_known {
            let theirs = self.link.ask(system_of)?;
            self.is_known = theirs.is_ok_and(|theirs| theirs == system);
        }
        if self.is_known { self.link.ask(look)?.ok() } else { None }
    }
}

impl Watch {
    fn follow_primary(&self, link: &mut Link, is_wanted: impl Fn() -> bool) {
        let mut looking = Looking::through(link);
        let (mut timeline, mut followed) = (0, Monotonic::now());
        while is_wanted() && !looking.link.is_abandoned() {
            let began = Monotonic::now();
            let look = |conn: &mut Conn| {
                // Not before: opening the connection may have taken much longer than the look.
                let looked = Monotonic::now();
                now_and_here(conn).map(|(at, place)| (at, place, looked))
            };
            if let Some((at, place, looked)) = looking.at(&self.system, look) {
                // The longer the answer took, the less is known of when it was given.
                let took = looked.elapsed();
                let is_near = took < LOOK_EVERY || followed.elapsed() > FOLLOWED_LONG_AGO && took < LONGEST_LOOK;
                if is_near {
                    (self.follow_clock)(at, looked + took / 2);
                    followed = Monotonic::now();
                }
                let is_new = place.timeline != timeline;
                if is_new && let Some(forks) = looking.at(&self.system, |conn| Forks::read(conn, place.timeline)) {
                    timeline = place.timeline;
                    self.forks.store(Arc::new(forks));
                }
                let mut looks = self.looks();
                if is_new {
                    // What was known of the history before is not a proof in this one.
                    looks.clear();
                }
                if looks.len() == REMEMBERED {
                    looks.pop_front();
                }
                looks.push_back((place, at, looked));
            }
            thread::sleep(LOOK_EVERY.saturating_sub(began.elapsed()));
        }
    }

    fn follow_replica(&self, link: &mut Link, shown: &ArcSwapOption<Seen>, is_wanted: impl Fn() -> bool) {
        let mut looking = Looking::through(link);
        while is_wanted() {
            let looked = Monotonic::now();
            let found = looking.at(&self.system, here);
            // Another thread looks by now.
            if looking.link.is_abandoned() {
                return;
            }
            let seen = found.and_then(|place| {
                let looks = self.looks();
                // The newest look at the primary that the replica has come as far as.
                let proven =
                    looks.iter().rev().find(|(of, ..)| of.timeline == place.timeline && of.place <= place.place)?;
                Some(Arc::new(Seen { place, as_of: proven.1, proven: proven.2, looked }))
            });
            shown.store(seen);
            thread::sleep(LOOK_EVERY.saturating_sub(looked.elapsed()));
        }
    }

    fn looks(&self) -> MutexGuard<'_, VecDeque<(Place, Instant, Monotonic)>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
