//! What is durable. The only part of the crate that knows the database.
//!
//! Its doors: **writing** goes through the lanes (group commit), **reading** through reader threads that see one
//! consistent snapshot, and the customer's list may come from a snapshot that lags. No caller ever waits for the
//! network inside a transaction, because no transaction leaves this module.

mod accept;
mod audit;
mod backup;
mod browse;
mod bulk;
mod changes;
mod checkpoint;
mod claim;
mod customers;
mod deliveries;
mod drafts;
mod durations;
mod duties;
mod engine;
mod gauges;
mod holds;
mod hosts;
mod instances;
mod lanes;
mod lists;
mod log;
mod losses;
mod migrate;
mod money;
mod moved;
mod names;
mod ongoing;
mod orders;
mod partners;
mod position;
mod present;
mod pulse;
mod questions;
mod queue;
mod readers;
mod rearm;
mod recent;
mod replicas;
mod restored;
mod room;
mod rows;
mod schema;
mod search;
mod sessions;
mod sets;
mod settlements;
mod shops;
mod shown;
mod sql;
mod statements;
mod tablets;
mod tx;
mod users;
mod watchdog;
mod webhooks;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;

pub use accept::{Accept, Admitted};
pub use audit::{AuditFilter, Entry, Logged};
pub use backup::{Manifest, PutBack, backup, restore};
pub use browse::{LOOKED_THROUGH, Lot, Sieve, Sifted};
pub use bulk::{Asks, BulkJob, BulkState, Counted, Deed, Started, Sum};
pub use claim::{Claim, Claims, Lease};
pub use deliveries::{Attempted, Delivery, DeliveryResult, Range, Then};
pub use drafts::{Draft, Known, Replaced};
pub use duties::Duty;
pub use engine::schemas;
pub use gauges::InStage;
pub use holds::{Hold, Leased};
pub use instances::{Instance, ReplicaSeen, Report, SilentPeer, Worked};
pub use lists::Recorded;
pub use losses::{Judged, Loss, RELEASE_LOST};
pub use migrate::{Moved, MovedTable, NotMoved, Progress, migrate};
pub use money::{Astray, DEBT_AGES, Debt, Few};
pub use names::KeyOfOrder;
pub use ongoing::Tally;
pub use orders::commands::{By, order_subject};
pub use orders::{Committed, Received, Scope, Sender, Word};
pub use partners::{CatalogueRows, Partner, Revoked, StoredKey};
pub use position::{Place, Position};
pub use present::{Present, Source, Unreadable};
pub use pulse::Reading;
pub use readers::Haste;
pub use restored::Restored;
pub use search::{Found, Wanted};
pub use sessions::SavedView;
pub use settlements::{Settled, Settlement, SettlementState};
pub use shops::{Answers, OF_LATE};
pub use users::{Changed, FIRST_USER};
pub use webhooks::{Added, Disabled, MOST_OF_A_PARTNER, MOST_OLD_SECRETS, Receivers, Webhook};

use engine::Database;
use hosts::Hosts;
use readers::LaggingReader;
use recent::Recent;
use replicas::Replicas;
use sql::Conn;
use watchdog::Watchdog;

pub use crate::acts::{Again, Outcome, Strike};
use crate::admission::Rules;
use crate::config::Durability;
use crate::error::{Code, Failure};
use crate::files;
use crate::machine::Deadlines;
use crate::order::{CustomerId, Instant, PartnerId};
use crate::suspects::Trials;

/// How long a connection of SQLite waits for another's lock.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 5000";

/// The database, in the data directory.
pub const FILE: &str = "lungo.db";

/// Why the store did not do what it was asked to.
#[derive(Clone, Debug, Error)]
pub enum Error {
    #[error("the store has more to do than it can; nothing was done")]
    Overloaded,
    #[error("it is unknown whether this was done: {0}")]
    OutcomeUnknown(String),
    #[error("the database cannot be used; nothing was done: {0}")]
    Unavailable(String),
    /// Its schema is of a newer version of this program: there is no way back but a backup.
    #[error("the database cannot be used; nothing was done: {0}")]
    Newer(String),
    #[error("the database holds something it never should: {0}")]
    Damaged(String),
    /// See [`restored`].
    #[error("the database was restored from a backup, and its orders are still compared with the gateway")]
    Withheld,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The same, with the name of the database that it is about.
    fn of(self, database: &str) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(format!("{database}: {why}")),
            Self::Newer(why) => Self::Newer(format!("{database}: {why}")),
            other => other,
        }
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, detail) = match &error {
            Error::Overloaded => (Code::Overloaded, "Too much is waiting already. Nothing was done: try again."),
            Error::OutcomeUnknown(_) => {
                (Code::OutcomeUnknown, "The answer did not come in time. Repeat the request with the same key.")
            }
            Error::Unavailable(_) | Error::Newer(_) => {
                (Code::DatabaseUnavailable, "The database cannot be used now. Try again.")
            }
            Error::Withheld => (Code::DatabaseUnavailable, WITHHELD),
            Error::Damaged(_) => (Code::InternalError, "Something is wrong on our side. It has been logged."),
        };
        Failure::new(code, detail).because(error)
    }
}

/// What is said of orders that are withheld.
pub const WITHHELD: &str = "The database was restored from a backup. Its orders are being compared with the payment \
    gateway. Nothing was done: try again.";

/// The rules the store applies when it decides.
#[derive(Clone, Debug)]
pub struct Policy {
    pub admission: Rules,
    pub deadlines: Deadlines,
    /// How long a claim lasts. At least three times the longest call that is made under it.
    pub lease: chrono::Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { admission: Rules::default(), deadlines: Deadlines::default(), lease: chrono::Duration::seconds(30) }
    }
}

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    pub policy: Policy,
    pub readers: usize,
    /// Requests that may wait for the writer, of each urgency; and for the readers.
    pub queue: usize,
    /// Claims that may wait for the local worker, for each stage.
    pub local_queue: usize,
    /// How long a caller waits for a commit before it is told that the outcome is unknown.
    pub commit_patience: Duration,
    /// Read the customers' lists from a snapshot that is up to this old.
    pub replica_lag: Option<Duration>,
    /// What a write has to survive once it is acknowledged; whatever it does, if `None`.
    pub durability: Option<Durability>,
    /// How old a replica of PostgreSQL may be that serves a list to somebody who has seen nothing yet.
    pub max_staleness: Duration,
    pub clock: fn() -> Instant,
    /// Is told what the clock of a PostgreSQL server showed, and when.
    pub follow_clock: fn(Instant, std::time::Instant),
}

/// An open database.
#[derive(Clone)]
pub struct Store {
    lane: lanes::Lane,
    readers: readers::Readers,
    replicas: Replicas,
    recent: Recent,
    duties: duties::Duties,
    /// The orders that may have killed a process, as far as this one tries them.
    trials: Arc<Mutex<Trials>>,
    withheld: restored::Withheld,
    policy: Policy,
    cluster: u64,
    predecessor: Option<u64>,
    is_alone: bool,
    durability: Durability,
    clock: fn() -> Instant,
}

impl Store {
    /// Opens the database in `directory`, creates or migrates it, and starts the threads that work on it.
    /// The claims that this instance takes for its own worker come out of the second value.
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Claims)> {
        files::make_directory(directory)
            .map_err(|fault| Error::Unavailable(format!("cannot create {}: {fault}", directory.display())))?;
        Self::at(&Database::in_directory(directory), &[], options)
    }

    /// Opens the database of a PostgreSQL server, creates or migrates it, and starts the threads that work on it.
    ///
    /// Lists may be read from `replicas` of it.
    pub fn connect(url: &str, replicas: &[&str], options: Options) -> Result<(Self, Claims)> {
        let replica = |url: &&str| Database::Postgres(Arc::new(Hosts::of_replica(url)));
        let replicas: Vec<_> = replicas.iter().map(replica).collect();
        Self::at(&Database::Postgres(Arc::new(Hosts::of_primary(url))), &replicas, options)
    }

    fn at(database: &Database, replicas: &[Database], options: Options) -> Result<(Self, Claims)> {
        if let Database::Sqlite(path) = database {
            backup::interrupted(path)?;
            engine::make_file(Path::new(path))?;
        }
        let watchdog = Watchdog::start(database)?;
        let asked = database.clone();
        let ((cluster, predecessor), durability, system, is_behind) = watchdog.once("prepare", move |conn| {
            let prepared = asked.prepare(conn)?;
            let system = if conn.is_postgres() { engine::system_of(conn)? } else { String::new() };
            Ok((prepared, asked.durability(conn)?, system, restored::is_behind(conn)?))
        })?;
        if options.durability.is_some_and(|wanted| wanted != durability) {
            let fault = "its durability is another one than was asked for";
            return Err(Error::Unavailable(format!("{}: {fault}: {durability}", database.name())));
        }
        let io = |fault: std::io::Error| Error::Unavailable(format!("cannot start the database's threads: {fault}"));
        let withheld = restored::Withheld::default();
        withheld.set(is_behind);
        let (handoff, claims) = claim::Handoff::new(options.local_queue, withheld.clone());
        let (checkpoints, replicas) = match database {
            Database::Sqlite(path) => {
                let lagging =
                    options.replica_lag.map(|lag| LaggingReader::start(database, lag, options.queue, options.clock));
                let lagging = lagging.transpose().map_err(io)?;
                (Some(checkpoint::Checkpoints::start(path.clone()).map_err(io)?), Replicas::Embedded(lagging))
            }
            Database::Postgres(_) => (None, replicas::start(&watchdog, system, replicas, &options)?),
        };
        let store = Self {
            readers: readers::Readers::start(&watchdog, options.readers, options.queue)?,
            lane: lanes::Lane::start(&watchdog, checkpoints, handoff, options.queue, options.commit_patience)?,
            replicas,
            recent: Recent::default(),
            duties: duties::Duties::default(),
            trials: Arc::default(),
            withheld,
            policy: options.policy,
            cluster,
            predecessor,
            is_alone: matches!(database, Database::Sqlite(_)),
            durability,
            clock: options.clock,
        };
        watchdog.all_are_connected()?;
        Ok((store, claims))
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether nobody else can work on this database: it lies in a directory that this process has to itself.
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// What a write survives once it is acknowledged, as the database was when it was opened.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Tells this database from every other.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// Tells this database from every other for good: it is moved along with the orders.
    pub fn installation(&self) -> u64 {
        self.predecessor.unwrap_or(self.cluster)
    }

    /// Whether positions in the log of that database are positions in this one's: it is this one, or this one was moved
    /// from it.
    pub fn has_log_of(&self, cluster: u64) -> bool {
        cluster == self.cluster || Some(cluster) == self.predecessor
    }

    /// Whether what was read when this database had come as far as `seen` is still there when it has come as far as
    /// `here`, or was lost by a failover.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while that is not known.
    pub fn goes_on(&self, here: Place, seen: Place) -> Result<bool> {
        let unknown = || Error::Unavailable("it is not known yet where the history before this one ended".into());
        if seen.timeline > here.timeline {
            return Err(Error::Unavailable("the server was left behind by a failover".into()));
        }
        self.replicas.holds(here, seen).ok_or_else(unknown)
    }

    /// How far the replica may lag behind now; `None` without one.
    pub fn replica_lag(&self) -> Option<Duration> {
        self.lagging().map(LaggingReader::lag)
    }

    /// Lets the replica lag so far behind, until then. False without one.
    pub fn raise_replica_lag(&self, lag: Duration, until: std::time::Instant) -> bool {
        self.lagging().map(|replica| replica.raise_lag(lag, until)).is_some()
    }

    /// Has the customer's next list be at least that fresh.
    fn wrote(&self, partner: PartnerId, customer: &CustomerId, place: Place) {
        if let Replicas::Servers { .. } = self.replicas {
            self.recent.note(partner, customer.clone(), place);
        }
    }

    fn lagging(&self) -> Option<&LaggingReader> {
        match &self.replicas {
            Replicas::Embedded(lagging) => lagging.as_ref(),
            Replicas::Servers { .. } => None,
        }
    }

    /// Whether the database can be written to: commits an empty transaction through the lanes.
    pub async fn ping(&self) -> Result<()> {
        Self::ping_through(&self.lane).await
    }

    /// The same, and waits for as long as the database takes to say so.
    pub async fn takes_a_write(&self) -> Result<()> {
        Self::ping_through(&self.lane.patient()).await
    }

    async fn ping_through(lane: &lanes::Lane) -> Result<()> {
        lane.write(tx::Urgency::Control, |tx| {
            if let Conn::Postgres(conn) = tx.conn()?
                && position::is_read_only(conn)?
            {
                return Err(Error::Unavailable("the server takes no writes".into()));
            }
            Ok(())
        })
        .await
    }
}

/// Whether the database in `directory` has the schema of this program: for those who only look at it.
///
/// # Errors
/// [`Error::Unavailable`] if it has another one, or cannot be opened.
pub fn check_version(directory: &Path) -> Result<()> {
    Database::in_directory(directory).check_version()
}

/// Whether there is no database in `directory`, or one without any table: nothing is lost by making it anew.
///
/// # Errors
/// [`Error::Unavailable`] if that cannot be seen, or while a restore is half done.
pub fn is_blank(directory: &Path) -> Result<bool> {
    Database::in_directory(directory).is_blank()
}

/// As [`is_blank`], of the database that a PostgreSQL server has.
///
/// # Errors
/// [`Error::Unavailable`] if it cannot be reached.
pub fn is_blank_at(url: &str) -> Result<bool> {
    Database::Postgres(Arc::new(Hosts::of_primary(url))).is_blank()
}

/// As [`check_version`], of the database that a PostgreSQL server has.
///
/// # Errors
/// [`Error::Unavailable`] if it has another one, or cannot be reached.
pub fn check_version_of(url: &str) -> Result<()> {
    Database::Postgres(Arc::new(Hosts::of_primary(url))).check_version()
}

#[cfg(test)]
mod tests;
