//! The two engines: how a database is opened, created and migrated, and what its connections need.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::SqliteConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::hosts::Hosts;
use super::sql::Conn;
use super::{Error, FILE, Result, backup, log, moved, schema};
use crate::config::Durability;
use crate::files;

const OF_SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const OF_POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// What a connection of SQLite needs. `busy_timeout` first: the others may already meet a lock.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
    PRAGMA wal_autocheckpoint = 50000; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;";

/// What a session of PostgreSQL needs. Where the server has synchronous standbys, a commit waits until one of them has
/// applied it; where it has none, at least for the primary's disk, whatever the server thinks of it. Statements are
/// planned once: their text depends on nothing but their type; and they are never compiled, which takes longer than they
/// do. No `statement_timeout`: it would not free a commit that waits for its standby, and must not pretend to. The server
/// in turn gives up a client that is gone, and with it the locks of what that client had begun.
const SESSION: &str =
    "SET application_name = 'lungo'; SET TIME ZONE 'UTC'; SET plan_cache_mode = 'force_generic_plan'; SET jit = off;
    SET idle_in_transaction_session_timeout = '20s';
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;
    SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_standby_names') WHEN '' THEN 'on' ELSE 'remote_apply' END, false)";

/// In `meta`: the version of the program that made the last change of the schema. An older program names it.
pub(super) const MIGRATED_BY: &str = "migrated_by";
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Which migrations have been made is written to the database by whoever holds this lock.
pub(super) const MIGRATING: i64 = 0x6c75_6e67_6f00;

/// A database.
#[derive(Clone, Debug)]
pub(super) enum Database {
    /// The path of its file.
    Sqlite(String),
    /// Its servers, of which one is the primary; or one that follows it.
    Postgres(Arc<Hosts>),
}

impl Database {
    pub fn in_directory(directory: &Path) -> Self {
        Self::Sqlite(directory.join(FILE).display().to_string())
    }

    /// A connection, ready to be used. `asking` is told of each host before it is asked.
    pub fn connection(&self, asking: impl FnMut(&str)) -> Result<Conn> {
        let unavailable = |fault: String| Error::Unavailable(format!("{}: {fault}", self.name()));
        let mut conn = self.connect(asking).map_err(unavailable)?;
        match &mut conn {
            Conn::Sqlite(conn) => conn.batch_execute(PRAGMAS),
            Conn::Postgres(conn) => conn.batch_execute(SESSION),
        }
        .map_err(|fault| unavailable(fault.to_string()))?;
        Ok(conn)
    }

    /// How long it takes at most until each host that may have it was asked.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::from_secs(5),
            Self::Postgres(hosts) => hosts.patience(),
        }
    }

    /// What a write of ours survives once it is acknowledged.
    pub fn durability(&self, conn: &mut Conn) -> Result<Durability> {
        let Conn::Postgres(conn) = conn else { return Ok(Durability::Local) };
        let waits = diesel::dsl::sql::<diesel::sql_types::Bool>("current_setting('synchronous_standby_names') <> ''");
        Ok(match diesel::select(waits).get_result(conn)? {
            true => Durability::Synchronous,
            false => Durability::Asynchronous,
        })
    }

    fn connect(&self, asking: impl FnMut(&str)) -> std::result::Result<Conn, String> {
        match self {
            Self::Sqlite(path) => {
                SqliteConnection::establish(path).map(Conn::Sqlite).map_err(|fault| fault.to_string())
            }
            Self::Postgres(hosts) => hosts.connect(asking).map(Conn::Postgres),
        }
    }

    /// As it may be shown: without a password.
    pub fn name(&self) -> String {
        match self {
            Self::Sqlite(path) => path.clone(),
            Self::Postgres(hosts) => hosts.name().to_owned(),
        }
    }

    /// Creates or migrates the database, and gives what tells it from every other; and the same of the embedded one that
    /// it was moved from.
    pub fn prepare(&self, conn: &mut Conn) -> Result<(u64, Option<u64>)> {
        let prepared = match conn {
            Conn::Sqlite(conn) => conn
                .batch_execute("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL")
                .map_err(Error::from)
                .and_then(|()| migrate(conn, OF_SQLITE)),
            Conn::Postgres(conn) => migrate_postgres(conn),
        };
        prepared.map_err(|fault| fault.of(&self.name()))?;
        moved::may_serve(conn, &self.name())?;
        let cluster: String = schema::meta::table.find("cluster").select(schema::meta::value).first(conn)?;
        let cluster =
            u64::from_str_radix(&cluster, 16).map_err(|_| Error::Damaged(format!("the cluster id `{cluster}`")))?;
        Ok((cluster, moved::predecessor(conn)?))
    }

    /// Whether the database has the schema of this program: for those who only look at it.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Unavailable`] if it has another one, or cannot be opened.
    pub fn check_version(&self) -> Result<()> {
        let unavailable = |fault: String| Error::Unavailable(format!("{}: {fault}", self.name()));
        let missing = match self.connect(|_| {}).map_err(unavailable)? {
            Conn::Sqlite(mut conn) => {
                conn.batch_execute("PRAGMA busy_timeout = 5000")?;
                missing(&mut conn, &OF_SQLITE)
            }
            Conn::Postgres(mut conn) => missing(&mut conn, &OF_POSTGRES),
        };
        if missing.map_err(|fault| fault.of(&self.name()))? {
            let fault = "it has the schema of an older version of this program; the service migrates it when it starts";
            return Err(unavailable(fault.into()));
        }
        Ok(())
    }

    /// Whether it has no table yet. An embedded one that does not exist is not made by the question.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot be opened.
    pub fn is_blank(&self) -> Result<bool> {
        let unavailable = |fault: String| Error::Unavailable(format!("{}: {fault}", self.name()));
        if let Self::Sqlite(path) = self {
            backup::interrupted(path)?;
            if std::fs::metadata(path).map_or(0, |found| found.len()) == 0 {
                return Ok(true);
            }
        }
        let has_table = match self.connect(|_| {}).map_err(unavailable)? {
            Conn::Sqlite(mut conn) => {
                conn.batch_execute(super::BUSY_TIMEOUT)?;
                let any = sql::<Bool>("EXISTS (SELECT 1 FROM sqlite_master)");
                diesel::select(any).get_result::<bool>(&mut conn)
            }
            Conn::Postgres(mut conn) => {
                diesel::select(sql::<Bool>("to_regclass('meta') IS NOT NULL")).get_result(&mut conn)
            }
        };
        Ok(!has_table.map_err(|fault| unavailable(fault.to_string()))?)
    }

    /// Whether this program knows the schema of an embedded database: it has that one, or can make it of it.
    pub fn check_not_newer(&self) -> Result<()> {
        let unavailable = |fault: String| Error::Unavailable(format!("{}: {fault}", self.name()));
        let Conn::Sqlite(mut conn) = self.connect(|_| {}).map_err(unavailable)? else { return Ok(()) };
        missing(&mut conn, &OF_SQLITE).map(drop).map_err(|fault| fault.of(&self.name()))
    }

    /// What a connection needs besides, of which there are few, that writes.
    pub fn prepare_to_write(conn: &mut Conn) -> QueryResult<()> {
        match conn {
            // The writer alone keeps what it has read: everybody else's pages are void with each commit.
            Conn::Sqlite(conn) => conn.batch_execute("PRAGMA cache_size = -16000"),
            // All that is written is found by an index. On a table that was small a moment ago the planner does not know.
            Conn::Postgres(conn) => conn.batch_execute(
                "SET enable_seqscan = off;
                 PREPARE lock(bigint[]) AS SELECT pg_advisory_xact_lock(key) FROM unnest($1) AS key",
            ),
        }
    }
}

/// Makes the file of an embedded database, if there is none, or tightens the one that is there. SQLite would make it
/// readable for others, and empty at first: a kill in between would leave what looks like a database that lost all.
/// The logs that SQLite makes beside it get its permissions.
pub(super) fn make_file(path: &Path) -> Result<()> {
    let cannot = |fault: std::io::Error| Error::Unavailable(format!("{}: {fault}", path.display()));
    if let Ok(there) = path.canonicalize() {
        let logs = ["-wal", "-shm"].map(|log| files::beside(&there, log));
        return [there].iter().chain(&logs).try_for_each(|file| files::tighten(file)).map_err(cannot);
    }
    if path.is_symlink() {
        return Err(Error::Unavailable(format!("{}: the link leads nowhere", path.display())));
    }
    let fresh = files::beside(path, ".new");
    let _ = std::fs::remove_file(&fresh);
    files::create_new(&fresh).map_err(cannot)?;
    let begun = SqliteConnection::establish(&fresh.display().to_string()).map_err(|fault| fault.to_string());
    // It writes the first page.
    let begun = begun.and_then(|mut conn| conn.batch_execute("PRAGMA journal_mode = WAL").map_err(|f| f.to_string()));
    begun.map_err(|fault| Error::Unavailable(format!("{}: {fault}", path.display())))?;
    std::fs::File::open(&fresh).and_then(|file| file.sync_all()).map_err(cannot)?;
    std::fs::rename(&fresh, path).map_err(cannot)?;
    backup::sync_directory_of(path)
}

/// What tells a server and those that follow it from all others.
pub(super) fn system_of(conn: &mut Conn) -> Result<String> {
    let Conn::Postgres(conn) = conn else { return Err(Error::Damaged("an embedded database has no server".into())) };
    let system = "(SELECT system_identifier::text || ' ' || current_database() FROM pg_control_system())";
    Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(system)).get_result(conn)?)
}

/// Several instances may start at once: one of them migrates, the others wait for it.
pub(super) fn migrate_postgres(conn: &mut PgConnection) -> Result<()> {
    let unfit = |why: &str| Err(Error::Unavailable(why.into()));
    let standby: bool =
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>("pg_is_in_recovery()")).get_result(conn)?;
    if standby {
        return unfit("it is a standby, or has not been promoted yet; the service needs the primary");
    }
    conn.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATING})"))?;
    let migrated = migrate(conn, OF_POSTGRES).and_then(|()| match log::goes_on(conn)? {
        true => Ok(()),
        false => unfit(
            "its events are of a server with more transactions behind it, so that new ones would come before them: \
             restore it as a copy of the files (pg_basebackup), or raise the next transaction id with pg_resetwal",
        ),
    });
    let unlocked = conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATING})"));
    migrated.and(unlocked.map_err(Error::from))
}

/// The program that made the last change of a database's schema.
trait Signed {
    /// Its version; `None` where it left none, as programs before 0.2.0 did.
    fn migrated_by(&mut self) -> Option<String>;
    /// Says that it is this program.
    fn sign(&mut self) -> QueryResult<()>;
}

macro_rules! signed {
    ($($conn:ty),*) => {$(
        impl Signed for $conn {
            fn migrated_by(&mut self) -> Option<String> {
                schema::meta::table.find(MIGRATED_BY).select(schema::meta::value).first(self).ok()
            }
            fn sign(&mut self) -> QueryResult<()> {
                let value = schema::meta::value.eq(PROGRAM);
                diesel::insert_into(schema::meta::table)
                    .values((schema::meta::name.eq(MIGRATED_BY), value))
                    .on_conflict(schema::meta::name)
                    .do_update()
                    .set(value)
                    .execute(self)
                    .map(drop)
            }
        }
    )*};
}
signed!(SqliteConnection, PgConnection);

fn migrate<C, DB>(conn: &mut C, migrations: EmbeddedMigrations) -> Result<()>
where
    C: MigrationHarness<DB> + Signed,
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    if missing(conn, &migrations)? {
        // Before as well: a program that is killed half-way has left a schema that only it knows. A new database has no
        // place for it yet.
        let _ = conn.sign();
        conn.run_pending_migrations(migrations).map_err(|fault| Error::Unavailable(fault.to_string()))?;
        conn.sign()?;
    }
    Ok(())
}

/// Whether the database lacks migrations that this program knows.
///
/// # Errors
/// [`Error::Newer`] if it has one that this program does not know.
fn missing<C, DB>(conn: &mut C, migrations: &EmbeddedMigrations) -> Result<bool>
where
    C: MigrationHarness<DB> + Signed,
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let unavailable = |fault: Box<dyn std::error::Error + Send + Sync>| Error::Unavailable(fault.to_string());
    let known = versions::<DB>(migrations).map_err(unavailable)?;
    let applied: Vec<MigrationVersion> = conn.applied_migrations().map_err(unavailable)?;
    if let Some(newer) = applied.iter().find(|version| !known.contains(&version.to_string())) {
        let by = conn.migrated_by().map(|program| format!(", which lungo {program} made")).unwrap_or_default();
        let ours = known.last().map_or("none", String::as_str);
        return Err(Error::Newer(format!(
            "it has the schema {newer} of a newer version of this program{by}; this is lungo {PROGRAM}, which knows {ours}"
        )));
    }
    Ok(applied.len() < known.len())
}

/// The names of all migrations, the oldest first.
fn versions<DB>(migrations: &EmbeddedMigrations) -> diesel::migration::Result<Vec<String>>
where
    DB: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let mut versions: Vec<String> =
        migrations.migrations()?.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

/// The newest schema that this program knows: of SQLite, and of PostgreSQL.
pub fn schemas() -> (String, String) {
    let last = |versions: diesel::migration::Result<Vec<String>>| versions.ok().and_then(|mut all| all.pop());
    (
        last(versions::<diesel::sqlite::Sqlite>(&OF_SQLITE)).unwrap_or_default(),
        last(versions::<diesel::pg::Pg>(&OF_POSTGRES)).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use diesel::sql_types::Text;

    use super::*;

    #[test]
    fn a_new_file_is_private_and_never_empty_and_an_old_one_is_tightened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let database = Database::in_directory(directory.path());
        assert!(database.is_blank().unwrap() && !path.exists(), "asking makes nothing");
        make_file(&path).unwrap();
        let mode = |suffix| std::fs::metadata(files::beside(&path, suffix)).unwrap().permissions().mode() & 0o777;
        assert!(std::fs::metadata(&path).unwrap().len() > 0 && mode("") == 0o600);
        assert!(database.is_blank().unwrap());
        let mut conn = database.connection(|_| {}).unwrap();
        let Conn::Sqlite(raw) = &mut conn else { panic!("it is embedded") };
        raw.batch_execute("CREATE TABLE of_an_older_version (x)").unwrap();
        assert!(!database.is_blank().unwrap());
        assert!(database.check_version().unwrap_err().to_string().contains("older version"));
        database.prepare(&mut conn).unwrap();
        assert_eq!([mode("-wal"), mode("-shm")], [0o600; 2], "SQLite goes by the database");
        assert!(!database.is_blank().unwrap());
        for suffix in ["", "-wal", "-shm"] {
            let loose = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(files::beside(&path, suffix), loose).unwrap();
        }
        make_file(&path).unwrap();
        assert_eq!(["", "-wal", "-shm"].map(mode), [0o600; 3]);
        assert!(!database.is_blank().unwrap(), "and nothing else happens to it");
    }

    #[test]
    fn what_a_delivery_log_told_of_our_network_is_forgotten() {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        conn.batch_execute("CREATE TABLE deliveries (trouble TEXT)").unwrap();
        for trouble in [
            "it cannot be reached: Connection refused (os error 111)",
            "the URL may not be spoken to: 10.1.2.3 is not a public address",
            "the URL may not be spoken to: it must begin with https://",
            "no answer within 10s",
        ] {
            diesel::sql_query("INSERT INTO deliveries VALUES (?)").bind::<Text, _>(trouble).execute(&mut conn).unwrap();
        }
        let ours = include_str!("../../migrations/sqlite/0014_telling_troubles/up.sql");
        assert_eq!(ours, include_str!("../../migrations/postgres/0011_telling_troubles/up.sql"));
        conn.batch_execute(ours).unwrap();
        let told = sql::<Text>("(SELECT group_concat(trouble, '|') FROM deliveries)");
        assert_eq!(
            diesel::select(told).get_result::<String>(&mut conn).unwrap(),
            "it cannot be reached|the URL may not be spoken to: its host has no public address|\
             the URL may not be spoken to: it must begin with https://|no answer within 10s"
        );
    }
}
