//! Backups of the embedded database: one file that holds everything, made beside a running service, and put in its
//! place without one.
//!
//! A file alone is no database: a write-ahead log stands beside it, and one that is left beside another database destroys
//! it. So a backup is written by SQLite itself, and a restore takes the log away before it puts the backup there. From
//! the moment that a restore begins to change anything until it is done, no service starts here ([`interrupted`]).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use chrono::DateTime;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;

use super::engine::Database;
use super::schema::meta;
use super::sql::Conn;
use super::{Error, FILE, Result, losses, moved};
use crate::files::{self, beside};
use crate::order::Instant;

/// In `meta` of a backup: when it was made, of which schema.
const BACKUP: &str = "backup";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whatever is in it happened before, or very shortly after.
    pub made_at: Instant,
    /// The last migration that its database had.
    pub schema: String,
    /// The database that it is of.
    pub cluster: String,
}

/// A backup has taken the place of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBack {
    /// From when on the outside world is compared.
    pub since: Instant,
    /// Where the database is that was replaced, if there was one.
    pub kept: Option<PathBuf>,
}

/// Writes a backup of the database in `directory` to a file that must not exist yet. A service may run meanwhile; the
/// backup is of one instant.
///
/// # Errors
/// When there is no database, the file exists, or it cannot be written. Nothing is left of it then.
pub fn backup(directory: &Path, to: &Path, now: Instant) -> Result<Manifest> {
    let database = directory.join(FILE);
    if !database.exists() {
        return refused(directory, "there is no database here");
    }
    if to.symlink_metadata().is_ok() {
        return refused(to, "it exists already: a backup overwrites nothing");
    }
    let partial = beside(to, ".partial");
    let made = write_backup(&database, &partial, now).and_then(|manifest| {
        // Unlike a rename, a link never takes the place of another file.
        fs::hard_link(&partial, to).map_err(|fault| cannot(to, fault))?;
        sync_directory_of(to)?;
        Ok(manifest)
    });
    let _ = fs::remove_file(&partial);
    made
}

fn write_backup(database: &Path, partial: &Path, now: Instant) -> Result<Manifest> {
    let _ = fs::remove_file(partial);
    files::create_new(partial).map_err(|fault| cannot(partial, fault))?;
    let mut conn = open(database)?;
    conn.batch_execute("PRAGMA busy_timeout = 5000")?;
    conn.batch_execute(&format!("VACUUM INTO '{}'", partial.display().to_string().replace('\'', "''")))?;
    drop(conn);
    let mut copy = Conn::Sqlite(open(partial)?);
    let manifest = Manifest { made_at: now, schema: schema_of(&mut copy)?, cluster: cluster_of(&mut copy)? };
    losses::put(&mut copy, BACKUP, format!("{} {}", now.timestamp_millis(), manifest.schema))?;
    check(&mut copy, partial, "SELECT quick_check AS text FROM pragma_quick_check")?;
    drop(copy);
    File::open(partial).and_then(|file| file.sync_all()).map_err(|fault| cannot(partial, fault))?;
    Ok(manifest)
}

/// Puts a backup in the place of the database in `directory`, which is kept beside it, and has the next service compare
/// all orders since then with the gateway before it acts on any. Nobody else may work in the directory. `since` is when
/// the backup was made, for one that does not say it.
///
/// # Errors
/// When it is no sound backup of this installation, or something cannot be written. The database is as it was, or the
/// same call finishes it.
pub fn restore(directory: &Path, from: &Path, since: Option<Instant>, now: Instant) -> Result<PutBack> {
    let database = directory.join(FILE);
    let (partial, ready) = (beside(&database, ".restore.partial"), marker(&database));
    let log = beside(from, "-wal");
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return refused(
            &log,
            "the file has a write-ahead log beside it: it is no backup by `lungo backup`, but a database in use",
        );
    }
    if !from.is_file() {
        return refused(from, "there is no such file");
    }
    let _ = fs::remove_file(&partial);
    files::copy(from, &partial).map_err(|fault| cannot(from, fault))?;
    let since = match prepare(&database, &partial, from, since, now) {
        Ok(since) => since,
        Err(fault) => {
            let _ = fs::remove_file(&partial);
            return Err(fault);
        }
    };
    File::open(&partial).and_then(|file| file.sync_all()).map_err(|fault| cannot(&partial, fault))?;
    // From here on a service that is started says that a restore was interrupted.
    fs::rename(&partial, &ready).map_err(|fault| cannot(&ready, fault))?;
    sync_directory_of(&ready)?;
    let kept = set_aside(&database, now)?;
    for left in ["-wal", "-shm"] {
        remove(&beside(&database, left))?;
    }
    sync_directory_of(&database)?;
    fs::rename(&ready, &database).map_err(|fault| cannot(&database, fault))?;
    sync_directory_of(&database)?;
    Ok(PutBack { since, kept })
}

/// Looks whether a copy may take the place of the database, and writes into it that it did.
fn prepare(database: &Path, copy: &Path, from: &Path, since: Option<Instant>, now: Instant) -> Result<Instant> {
    // What SQLite cannot read is answered by words of its own.
    let broken = |fault: Error| Error::Unavailable(format!("{}: this is no sound backup: {fault}", from.display()));
    let mut conn = Conn::Sqlite(open(copy)?);
    check(&mut conn, from, "SELECT integrity_check AS text FROM pragma_integrity_check").map_err(broken)?;
    Database::Sqlite(copy.display().to_string()).check_not_newer().map_err(|fault| match fault {
        Error::Newer(_) => fault,
        fault => broken(fault),
    })?;
    let cluster = cluster_of(&mut conn).map_err(broken)?;
    moved::may_serve(&mut conn, &from.display().to_string())?;
    if database.exists() {
        match present(database) {
            Ok((present, _)) if present != cluster => {
                return refused(
                    from,
                    "it is of another database than the one here: restore it to a directory of its own",
                );
            }
            Ok((_, Some(target))) => {
                let why = format!("the orders of the database here have moved to {target}, and are worked off there");
                return refused(database, &why);
            }
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "restore.present_database_unreadable"),
        }
    }
    let made_at =
        losses::read(&mut conn, BACKUP, |text| DateTime::from_timestamp_millis(text.split(' ').next()?.parse().ok()?));
    let since = match (made_at.map_err(broken)?, since) {
        (Some(made_at), None) => made_at,
        (None, Some(since)) => since,
        (Some(made_at), Some(_)) => {
            return refused(from, &format!("it says itself when it was made ({made_at}): leave --since out"));
        }
        (None, None) => return refused(from, "it does not say when it was made: say so by --since"),
    };
    if since > now {
        return refused(from, &format!("{since} has not come yet: is the clock right?"));
    }
    conn.write([], |conn| {
        diesel::delete(meta::table.find(BACKUP)).execute(conn)?;
        losses::note_behind(conn, since, now)
    })?;
    Ok(since)
}

/// Fails while a restore is half done: neither database is whole.
pub(super) fn interrupted(database: &str) -> Result<()> {
    let marker = marker(Path::new(database));
    if !marker.exists() {
        return Ok(());
    }
    let why = "a restore was interrupted: run `lungo restore` again, which finishes it";
    refused(&marker, why)
}

fn marker(database: &Path) -> PathBuf {
    beside(database, ".restore")
}

/// Names the database and its log a second time. Those names stay when the first ones are gone.
fn set_aside(database: &Path, now: Instant) -> Result<Option<PathBuf>> {
    if !database.exists() {
        return Ok(None);
    }
    let kept = beside(database, &format!(".replaced-{}", now.format("%Y%m%dT%H%M%S%.3fZ")));
    fs::hard_link(database, &kept).map_err(|fault| cannot(&kept, fault))?;
    let log = beside(database, "-wal");
    if log.exists() {
        let kept_log = beside(&kept, "-wal");
        fs::hard_link(&log, &kept_log).map_err(|fault| cannot(&kept_log, fault))?;
    }
    sync_directory_of(&kept)?;
    Ok(Some(kept))
}

/// Which database it is, and where its orders have moved to.
fn present(database: &Path) -> Result<(String, Option<String>)> {
    let mut conn = Conn::Sqlite(open(database)?);
    let moved_to = meta::table.find(moved::MOVED_TO).select(meta::value).first(&mut conn).optional()?;
    Ok((cluster_of(&mut conn)?, moved_to))
}

fn cluster_of(conn: &mut Conn) -> Result<String> {
    Ok(meta::table.find("cluster").select(meta::value).first(conn)?)
}

fn schema_of(conn: &mut Conn) -> Result<String> {
    let last = diesel::select(sql::<Text>("(SELECT max(version) FROM __diesel_schema_migrations)"));
    Ok(last.get_result(conn)?)
}

fn check(conn: &mut Conn, file: &Path, question: &str) -> Result<()> {
    let Conn::Sqlite(conn) = conn else { return Ok(()) };
    let found: Vec<Verdict> = diesel::sql_query(question).load(conn)?;
    match &found[..] {
        [only] if only.text == "ok" => Ok(()),
        [first, ..] => refused(file, &format!("it is damaged: {}", first.text)),
        [] => refused(file, "it cannot be checked"),
    }
}

#[derive(QueryableByName)]
struct Verdict {
    #[diesel(sql_type = Text)]
    text: String,
}

fn open(file: &Path) -> Result<SqliteConnection> {
    SqliteConnection::establish(&file.display().to_string())
        .map_err(|fault| Error::Unavailable(format!("{}: {fault}", file.display())))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(cannot(file, fault)),
        _ => Ok(()),
    }
}

pub(super) fn sync_directory_of(file: &Path) -> Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|fault| cannot(directory, fault))
}

fn cannot(file: &Path, fault: io::Error) -> Error {
    Error::Unavailable(format!("{}: {fault}", file.display()))
}

fn refused<T>(file: &Path, why: &str) -> Result<T> {
    Err(Error::Unavailable(format!("{}: {why}", file.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fixtures::at;
    use crate::store::{Options, Policy, Store};

    fn options() -> Options {
        Options {
            policy: Policy::default(),
            readers: 1,
            queue: 16,
            local_queue: 1,
            commit_patience: std::time::Duration::from_secs(10),
            replica_lag: None,
            durability: None,
            max_staleness: std::time::Duration::from_millis(100),
            clock: crate::clock::now,
            follow_clock: crate::clock::follow,
        }
    }

    fn fault<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[tokio::test]
    async fn a_backup_of_a_running_database_takes_its_place_and_is_withheld() {
        let directory = tempfile::tempdir().unwrap();
        let (here, file) = (directory.path().join("data"), directory.path().join("a'b.backup"));
        assert!(fault(backup(&here, &file, at(1))).contains("no database"));
        let (store, _claims) = Store::open(&here, options()).unwrap();
        let made = backup(&here, &file, at(1)).unwrap();
        assert_eq!((made.made_at, made.cluster), (at(1), format!("{:016x}", store.cluster())));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fault(backup(&here, &file, at(2))).contains("overwrites nothing"));
        assert!(!beside(&file, ".partial").exists());

        // Something happens after it, and stands in the log beside the database.
        store.note_restored(at(3), at(3)).await.unwrap();
        assert!(fs::metadata(beside(&here.join(FILE), "-wal")).unwrap().len() > 0);
        let put_back = restore(&here, &file, None, at(9)).unwrap();
        assert_eq!(put_back.since, at(1));
        let kept = put_back.kept.unwrap();
        assert!(kept.exists() && beside(&kept, "-wal").exists(), "its log is kept with it");
        assert!(!beside(&here.join(FILE), "-wal").exists(), "and does not stand beside the backup");
        drop(store);
        let (store, _claims) = Store::open(&here, options()).unwrap();
        assert!(store.is_withheld(), "from its first moment on");
        let restored = store.watch_restored().await.unwrap().unwrap();
        assert_eq!((restored.since, restored.noted_at), (at(1), at(9)));
        assert!(store.loss().await.unwrap().is_some(), "what it lacks is looked for as well");
    }

    #[tokio::test]
    async fn what_is_no_sound_backup_of_this_database_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|name| directory.path().join(name));
        for data in [&here, &there] {
            Store::open(data, options()).unwrap();
        }
        let file = |name: &str| directory.path().join(name);
        backup(&there, &file("foreign"), at(1)).unwrap();
        backup(&here, &file("good"), at(1)).unwrap();
        fs::write(file("garbage"), "this is no database, and long enough to be told from one").unwrap();
        fs::write(file("empty"), "").unwrap();
        let mut torn = fs::read(file("good")).unwrap();
        let end = torn.len() / 2;
        torn.truncate(end);
        fs::write(file("torn"), torn).unwrap();
        fs::copy(file("good"), file("in use")).unwrap();
        fs::write(file("in use-wal"), "frames").unwrap();
        let before = fs::read(here.join(FILE)).unwrap();
        for (name, why) in [
            ("nothing", "no such file"),
            ("garbage", "sound backup"),
            ("empty", "sound backup"),
            ("torn", "sound backup"),
            ("foreign", "another database"),
            ("in use", "write-ahead log"),
        ] {
            let fault = fault(restore(&here, &file(name), None, at(9)));
            assert!(fault.contains(why), "{name}: {fault}");
        }
        assert!(fault(restore(&here, &file("good"), Some(at(2)), at(9))).contains("leave --since out"));
        assert!(fault(restore(&here, &file("good"), None, at(0))).contains("not come yet"));
        assert_eq!(fs::read(here.join(FILE)).unwrap(), before);
        assert!(Store::open(&here, options()).is_ok_and(|(store, _)| !store.is_withheld()));

        // Killed half-way: no service starts on what is neither.
        fs::copy(file("good"), marker(&here.join(FILE))).unwrap();
        assert!(fault(Store::open(&here, options()).map(drop)).contains("interrupted"));
        restore(&here, &file("good"), None, at(9)).unwrap();
        assert!(Store::open(&here, options()).is_ok());
    }
}
