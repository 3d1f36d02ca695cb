//! Brings what was committed from the write-ahead log into the database file, beside the writing thread.
//!
//! A commit is durable once it stands in the log. Left to itself SQLite copies the log back within whichever commit
//! makes it too long, and flushes the copy: all who write at that moment wait for it. Here a thread copies and flushes
//! while others write, again and again until little is left. But the log can only start over when nothing is left,
//! which beside a busy writer never happens, and it would grow without bound. So the last pass is made by the writing
//! thread itself, between two transactions.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant as Monotonic;

use crossbeam_channel::{Sender, bounded};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel::sqlite::SqliteConnection;

use super::{BUSY_TIMEOUT, Error, Result};
use crate::logs::failing;
use crate::meters::METERS;

/// The length of the log is looked at after so many writes. Each adds a page or a few.
const LOOK_AFTER: usize = 256;
/// Pages that are worth a checkpoint, 33 MB of them. Most are written again and again: the more at once, the fewer
/// copies, and the longer a start after a crash.
const ENOUGH: i32 = 8_000;
/// Pages that may be left to the writing thread: a millisecond or two of its time.
const FEW: i32 = 250;
/// Passes after which the rest is left to the writing thread however much it is.
const MOST_PASSES: usize = 6;

/// The writing thread's end of it.
pub(super) struct Checkpoints {
    writes: usize,
    wake: Sender<()>,
    is_last_pass_due: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Starts the thread for the database at `path`. It ends when this is dropped.
    pub fn start(path: String) -> std::io::Result<Self> {
        let (wake, wakes) = bounded(1);
        let is_last_pass_due = Arc::new(AtomicBool::new(false));
        let due = is_last_pass_due.clone();
        thread::Builder::new().name("checkpoint".into()).spawn(move || {
            let mut copier = Copier { path, conn: None, file: None };
            for () in wakes {
                match copier.copy() {
                    Ok(is_nearly_done) => {
                        due.fetch_or(is_nearly_done, Ordering::Relaxed);
                    }
                    Err(fault) => {
                        failing!("store.checkpoint_failed", fault);
                        copier.conn = None;
                    }
                }
            }
        })?;
        Ok(Self { writes: 0, wake, is_last_pass_due })
    }

    /// To be called by the only writer, outside of a transaction, when it has committed so many writes.
    pub fn after(&mut self, writes: usize, conn: &mut SqliteConnection) {
        self.writes += writes;
        if self.writes >= LOOK_AFTER {
            self.writes = 0;
            let _ = self.wake.try_send(());
        }
        if self.is_last_pass_due.swap(false, Ordering::Relaxed) {
            let began = Monotonic::now();
            // Whoever still reads from the log is waited for, but not for long: if need be it starts over next time.
            let passed = conn.batch_execute("PRAGMA busy_timeout = 10; PRAGMA wal_checkpoint(RESTART)");
            if let Err(fault) = passed.and(conn.batch_execute(BUSY_TIMEOUT)) {
                failing!("store.checkpoint_failed", fault);
            }
            METERS.checkpoint_pause.of(()).record(began.elapsed());
        }
    }
}

struct Copier {
    path: String,
    conn: Option<SqliteConnection>,
    /// The database's. Never closed: to close any descriptor of a file drops every lock that this process has on it,
    /// and SQLite's locks are what keeps another process from believing that it is alone.
    file: Option<&'static File>,
}

impl Copier {
    /// Copies and flushes, if it is worth it, until little is left. True when the last pass can be made.
    fn copy(&mut self) -> Result<bool> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            closed => closed.insert(open(&self.path)?),
        };
        let log = Log::look(conn)?;
        METERS.wal_pages.of(()).set(f64::from(log.pages));
        if log.left() < ENOUGH {
            return Ok(false);
        }
        for _ in 0..MOST_PASSES {
            // One who reads from an old snapshot holds up what came after it. Then there will be another time.
            if Log::copy(conn)?.left() > 0 {
                return Ok(false);
            }
            // SQLite flushes with the very last pass only, which is not to wait for all of this.
            flush(&self.path, &mut self.file).map_err(|fault| Error::Unavailable(fault.to_string()))?;
            if Log::look(conn)?.left() <= FEW {
                break;
            }
        }
        Ok(true)
    }
}

fn open(path: &str) -> Result<SqliteConnection> {
    let mut conn = SqliteConnection::establish(path).map_err(|fault| Error::Unavailable(fault.to_string()))?;
    conn.batch_execute(BUSY_TIMEOUT)?;
    conn.batch_execute("PRAGMA synchronous = FULL")?;
    Ok(conn)
}

fn flush(path: &str, file: &mut Option<&'static File>) -> std::io::Result<()> {
    let file = match *file {
        Some(file) => file,
        None => *file.insert(Box::leak(Box::new(File::open(path)?))),
    };
    file.sync_data()
}

/// The write-ahead log, in pages since it last started over.
#[derive(QueryableByName)]
struct Log {
    #[diesel(sql_type = Integer, column_name = log)]
    pages: i32,
    #[diesel(sql_type = Integer, column_name = checkpointed)]
    copied: i32,
}

impl Log {
    fn look(conn: &mut SqliteConnection) -> Result<Self> {
        Ok(diesel::sql_query("PRAGMA wal_checkpoint(NOOP)").get_result(conn)?)
    }

    /// Copies as many pages as can be. What was written meanwhile is not counted.
    fn copy(conn: &mut SqliteConnection) -> Result<Self> {
        Ok(diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(conn)?)
    }

    fn left(&self) -> i32 {
        self.pages - self.copied
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use diesel::sql_types::BigInt;

    use super::*;

    /// A database as the store has it, and its only writer.
    fn writer(directory: &Path) -> (SqliteConnection, Checkpoints) {
        let path = directory.join(super::super::FILE).display().to_string();
        let mut conn = open(&path).unwrap();
        conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE blobs (blob)")
            .unwrap();
        (conn, Checkpoints::start(path).unwrap())
    }

    /// Writes so many times a hundred pages. Whether the log started over meanwhile.
    fn starts_over(conn: &mut SqliteConnection, checkpoints: &mut Checkpoints, times: usize) -> bool {
        let mut longest = 0;
        (0..times).any(|_| {
            conn.batch_execute("INSERT INTO blobs VALUES (zeroblob(400000))").unwrap();
            checkpoints.after(LOOK_AFTER, conn);
            let pages = Log::look(conn).unwrap().pages;
            longest = longest.max(pages);
            pages < longest
        })
    }

    fn blobs(conn: &mut SqliteConnection) -> i64 {
        diesel::select(diesel::dsl::sql::<BigInt>("(SELECT count(*) FROM blobs)")).get_result(conn).unwrap()
    }

    #[test]
    fn the_log_starts_over_beside_a_writer_who_never_rests() {
        let directory = tempfile::tempdir().unwrap();
        let (mut conn, mut checkpoints) = writer(directory.path());
        for _ in 0..2 {
            assert!(starts_over(&mut conn, &mut checkpoints, 500));
        }
    }

    #[test]
    fn who_reads_an_old_snapshot_holds_it_up_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (mut conn, mut checkpoints) = writer(directory.path());
        let mut reader = open(&directory.path().join(super::super::FILE).display().to_string()).unwrap();
        conn.batch_execute("INSERT INTO blobs VALUES (1)").unwrap();
        reader.batch_execute("BEGIN").unwrap();
        assert_eq!(blobs(&mut reader), 1);
        assert!(!starts_over(&mut conn, &mut checkpoints, 120));
        assert_eq!(blobs(&mut reader), 1);
        reader.batch_execute("COMMIT").unwrap();
        assert_eq!(blobs(&mut reader), 121);
        assert!(starts_over(&mut conn, &mut checkpoints, 500));
        assert!(blobs(&mut reader) > 121);
    }
}
