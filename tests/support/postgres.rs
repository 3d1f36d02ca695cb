//! Real PostgreSQL servers for tests: a primary and its streaming replicas, on Unix sockets in a temporary directory.
//!
//! The servers end with whoever started them, however that ends: a shell waits at the other end of a pipe, and clears
//! away when nobody holds it any more.
//!
//! Both test binaries include this file, and neither needs all of it: `tests/it/postgres.rs`, and whatever in `src`
//! tests with servers, by `#[path = "../../tests/support/postgres.rs"] mod postgres;` under `cfg(test)`. Most tests want only
//! `shared()?.fresh_database()`; who pauses or ends servers starts a `Cluster` of its own.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything that a server is asked to do may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// Who owns every database.
const OWNER: &str = "lungo";

/// What every server is told. Writes reach the disk: what is tested here is durability. A replica that was away finds
/// what it missed.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 300
shared_buffers = '64MB'
max_wal_size = '512MB'
wal_keep_size = '512MB'
max_wal_senders = 20
hot_standby_feedback = off
wal_receiver_status_interval = '1s'
wal_retrieve_retry_interval = '100ms'
autovacuum_naptime = '5s'
log_checkpoints = off
";

/// Ends the servers of the directory and removes it, as soon as its input ends. A process is one of them only if its
/// command names the directory: the number in a file may long be somebody else's.
const WATCH: &str = r#"
cd /
read -r _
command_of() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || ps -p "$1" -o args= 2>/dev/null; }
is_ours() { case "$(command_of "$1")" in *"$directory"*) true ;; *) false ;; esac; }
directory=$1
for signal in QUIT KILL; do
    for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        left=
        for file in "$directory"/*/data/postmaster.pid; do
            [ -f "$file" ] && read -r pid <"$file" && is_ours "$pid" || continue
            left=yes
            [ "$attempt" = 1 ] && kill -CONT "$pid" && kill -"$signal" "$pid"
        done
        [ -z "$left" ] && break 2
        sleep 0.2
    done
done
rm -rf "$directory"
"#;

/// A server of a cluster, by the part it had when the cluster was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Primary,
    /// Counted from 0.
    Replica(usize),
}

/// A primary and its replicas.
pub struct Cluster {
    directory: PathBuf,
    /// The primary, then the replicas.
    servers: Vec<Mutex<Option<Child>>>,
    /// Its input is the pipe that it waits for.
    watch: Child,
}

/// A database of a test's own, with nothing in it.
#[derive(Clone, Debug)]
pub struct Database {
    pub name: String,
    pub primary: String,
    pub replicas: Vec<String>,
}

/// The cluster that tests share which leave its servers alone: with two replicas, asynchronous. `None`, after a loud
/// complaint, where PostgreSQL is not installed.
///
/// # Panics
/// If PostgreSQL is not installed and this is CI.
pub fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(|| is_there().then(|| Cluster::start(2, false))).as_ref()
}

/// Whether there is PostgreSQL; if not, it is said loudly what was not tested.
///
/// # Panics
/// If there is none and this is CI.
pub fn is_there() -> bool {
    static COMPLAINED: OnceLock<()> = OnceLock::new();
    if PROGRAMS.is_some() {
        return true;
    }
    let complaint = "What needs PostgreSQL was NOT tested: there is none on PATH or under /usr/lib/postgresql.";
    assert!(std::env::var_os("CI").is_none(), "{complaint}");
    // Not `eprintln`, which is hidden where a test passes.
    COMPLAINED.get_or_init(|| drop(writeln!(io::stderr(), "\n*** {complaint} ***\n")));
    false
}

impl Cluster {
    /// Starts a primary and so many replicas. A commit of a synchronous cluster waits until one of them has applied it.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, or does not start.
    pub fn start(replicas: usize, synchronous: bool) -> Self {
        Self::start_by(replicas, synchronous, &[], "")
    }

    /// The same, with lines for the configuration of all of its servers.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, or does not start.
    pub fn start_with(replicas: usize, settings: &str) -> Self {
        Self::start_by(replicas, false, &[], settings)
    }

    /// A primary alone whose files may be small: see [`Self::limit_files`].
    pub fn start_small() -> Self {
        Self::start_by(0, false, &["--wal-segsize=1"], "")
    }

    fn start_by(replicas: usize, synchronous: bool, of_initdb: &[&str], settings: &str) -> Self {
        let began = Instant::now();
        let directory = tempfile::Builder::new().prefix("lungo-pg-").tempdir().expect("a temporary directory").keep();
        // What its owner may read is checked by the servers themselves.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
        give(&directory);
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "watch"]).arg(&directory).stdin(Stdio::piped());
        // In a group of its own: whoever interrupts the tests from a terminal must not interrupt it.
        watch.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watch = watch.spawn().expect("there is a shell");
        let servers = (0..=replicas).map(|_| Mutex::new(None)).collect();
        let cluster = Self { directory, servers, watch };
        cluster.create_primary(of_initdb, settings);
        let created = began.elapsed();
        thread::scope(|scope| {
            for replica in 0..replicas {
                scope.spawn({
                    let cluster = &cluster;
                    move || cluster.create_replica(replica)
                });
            }
        });
        if synchronous {
            let names: Vec<String> = (0..replicas).map(|replica| Node::Replica(replica).name()).collect();
            let names = names.join(", ");
            // On the replicas as well: whichever is promoted waits for another.
            for node in cluster.nodes() {
                cluster.set(node, "synchronous_commit", "remote_apply");
            }
            cluster.set(Node::Primary, "synchronous_standby_names", &format!("ANY 1 ({names})"));
            cluster.wait("a standby is synchronous", || {
                let ask = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
                (cluster.psql(Node::Primary, ask) != "0").then_some(())
            });
        }
        println!("PostgreSQL: primary after {created:.1?}, with {replicas} replicas after {:.1?}", began.elapsed());
        cluster
    }

    /// The address of the database `postgres` on the primary.
    pub fn primary_url(&self) -> String {
        self.url(Node::Primary, "postgres")
    }

    /// The same on a replica.
    pub fn replica_url(&self, replica: usize) -> String {
        self.url(Node::Replica(replica), "postgres")
    }

    pub fn url(&self, node: Node, database: &str) -> String {
        format!("postgres://{OWNER}@/{database}?host={}&port=5432", self.home(node).display())
    }

    /// The address of a database on whichever of the servers takes writes.
    pub fn whichever_is_primary(&self, database: &str) -> String {
        let list = |of: &dyn Fn(Node) -> String| self.nodes().map(of).collect::<Vec<_>>().join(",");
        let (hosts, ports) = (list(&|node| self.home(node).display().to_string()), list(&|_| "5432".into()));
        format!("postgres://{OWNER}@/{database}?host={hosts}&port={ports}&target_session_attrs=read-write")
    }

    /// Where a server listens.
    pub fn socket(&self, node: Node) -> PathBuf {
        self.home(node).join(".s.PGSQL.5432")
    }

    /// Creates a database, and waits until every replica that runs and replays has it.
    pub fn fresh_database(&self) -> Database {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql(Node::Primary, &format!("CREATE DATABASE {name}"));
        for node in self.nodes().filter(|node| *node != Node::Primary && self.is_running(*node)) {
            let seen = format!(
                "SELECT count(*) FROM pg_database
                 WHERE datname = '{name}' OR pg_get_wal_replay_pause_state() <> 'not paused'"
            );
            self.wait("a replica has the database", || (self.psql(node, &seen) != "0").then_some(()));
        }
        let replicas = self.nodes().skip(1).map(|node| self.url(node, &name)).collect();
        Database { primary: self.url(Node::Primary, &name), replicas, name }
    }

    /// Runs statements in the database `postgres`; the rows' columns are separated by `|`.
    #[track_caller]
    pub fn psql(&self, node: Node, sql: &str) -> String {
        ask(&self.url(node, "postgres"), sql).unwrap_or_else(|fault| panic!("{node:?}: {sql}: {fault}"))
    }

    /// The replica goes on receiving, and shows nothing new.
    pub fn pause_replay(&self, replica: usize) {
        let node = Node::Replica(replica);
        self.psql(node, "SELECT pg_wal_replay_pause()");
        self.wait("the replay is paused", || {
            (self.psql(node, "SELECT pg_get_wal_replay_pause_state()") == "paused").then_some(())
        });
    }

    pub fn resume_replay(&self, replica: usize) {
        self.psql(Node::Replica(replica), "SELECT pg_wal_replay_resume()");
    }

    /// Stops a replica: in order, or as in a crash that tells nobody.
    pub fn stop_replica(&self, replica: usize, immediate: bool) {
        let node = Node::Replica(replica);
        let mut server = self.server(node).take().expect("it runs");
        signal(&server, if immediate { "QUIT" } else { "INT" });
        self.wait("the replica stops", || server.try_wait().expect("it can be asked"));
    }

    /// Starts a replica again after [`Self::stop_replica`].
    pub fn start_replica(&self, replica: usize) {
        self.run(Node::Replica(replica)).unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// The processes of a server stand still, and its connections stay open: nobody is told anything.
    pub fn freeze(&self, node: Node) {
        self.signal_all(node, "STOP");
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self, node: Node) {
        self.signal_all(node, "CONT");
    }

    /// Ends the primary as a power cut would.
    pub fn kill_primary(&self) {
        let mut server = self.server(Node::Primary).take().expect("it runs");
        // Its children notice that it is gone, but not at once: a commit must not go on in one of them.
        let mut all = with_children(server.id());
        all.retain(|process| *process != server.id());
        server.kill().expect("it can be killed");
        server.wait().expect("it ends");
        let all = all.iter().map(u32::to_string);
        let _ = Command::new("kill").arg("-KILL").args(all).stderr(Stdio::null()).status();
    }

    /// Starts the primary again after [`Self::kill_primary`].
    pub fn start_primary(&self) {
        // The last of the old one's processes may still be on its way out.
        self.wait("the primary starts again", || self.run(Node::Primary).ok());
    }

    /// Makes a replica the primary, whatever has become of the old one; the other replicas follow it.
    pub fn promote(&self, replica: usize) {
        let node = Node::Replica(replica);
        assert_eq!(self.psql(node, "SELECT pg_promote(true, 60)"), "t", "{node:?} is promoted");
        for other in self.nodes().skip(1).filter(|other| *other != node && self.is_running(*other)) {
            self.set(other, "primary_conninfo", &self.connection_info(node, other));
        }
    }

    /// Promotes that of two replicas which has received more: each acknowledged commit is there, and the other replica can
    /// follow it. It acknowledges no commit before that one has it. The primary sends nothing any more.
    pub fn promote_the_one_ahead(&self) {
        let received = |replica: usize| {
            let ask = "SELECT (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::bigint";
            self.psql(Node::Replica(replica), ask).parse::<i64>().expect("a place")
        };
        let read = || (received(0), received(1));
        // What the primary sent last may still be on its way.
        let (mut earlier, mut places) = (read(), read());
        while earlier != places {
            (earlier, places) = (places, read());
        }
        let (ahead, behind) = if places.0 >= places.1 { (0, 1) } else { (1, 0) };
        self.promote(ahead);
        self.set(Node::Replica(ahead), "synchronous_standby_names", &format!("ANY 1 (replica_{behind})"));
    }

    /// Changes a setting of a server, for which it need not start again.
    pub fn set(&self, node: Node, name: &str, value: &str) {
        self.psql(node, &format!("ALTER SYSTEM SET {name} = '{}'", value.replace('\'', "''")));
        self.psql(node, "SELECT pg_reload_conf()");
    }

    /// Lets the primary write files of no more than so many bytes, as if its disk were full then; `None` lifts that.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let postmaster = self.server(Node::Primary).as_ref().expect("it runs").id();
        let limit = bytes.map_or("unlimited".into(), |bytes| bytes.to_string());
        // Twice: a child may have been on its way meanwhile.
        for process in [with_children(postmaster), with_children(postmaster)].concat() {
            // Even root may not do that to others. A child may have ended.
            let mut prlimit = self.by_owner(Path::new("prlimit"));
            prlimit.arg(format!("--pid={process}")).arg(format!("--fsize={limit}:")).stderr(Stdio::null());
            prlimit.status().expect("there is a prlimit");
        }
        let limits = fs::read_to_string(format!("/proc/{postmaster}/limits")).expect("it runs");
        let is_set = |line: &str| line.starts_with("Max file size") && line.contains(&limit);
        assert!(limits.lines().any(is_set), "{limits}");
    }

    /// Has the primary let in whom this line of `pg_hba.conf` names, before any other line is looked at.
    pub fn admit(&self, line: &str) {
        let file = self.data(Node::Primary).join("pg_hba.conf");
        let lines = fs::read_to_string(&file).expect("initdb wrote it");
        fs::write(&file, format!("{line}\n{lines}")).expect("there is room");
        let words: Vec<&str> = line.split_whitespace().collect();
        let seen = format!("SELECT count(*) FROM pg_hba_file_rules WHERE '{}' = ANY(user_name)", words[2]);
        assert_ne!(self.psql(Node::Primary, &seen), "0", "{line}");
        self.psql(Node::Primary, "SELECT pg_reload_conf()");
    }

    /// Has the primary speak TLS at an address of this machine, with a certificate of its own.
    #[cfg(feature = "tls")]
    pub fn secure(&self, host: &str) {
        let data = self.data(Node::Primary);
        let (certificate, key) = (data.join("server.crt"), data.join("server.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lungo"]);
        openssl.args(["-addext", &format!("subjectAltName=IP:{host}")]);
        finish(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate), "openssl");
        [certificate, key].iter().for_each(|file| give(file));
        self.set(Node::Primary, "ssl", "on");
        self.set(Node::Primary, "listen_addresses", host);
        self.kill_primary();
        self.start_primary();
    }

    /// The certificate of [`Self::secure`].
    #[cfg(feature = "tls")]
    pub fn certificate(&self) -> PathBuf {
        self.data(Node::Primary).join("server.crt")
    }

    /// Waits until a replica has applied all that the primary has written by now.
    pub fn catch_up(&self, replica: usize) {
        let place = self.psql(Node::Primary, "SELECT pg_current_wal_lsn()");
        let ask = format!("SELECT pg_last_wal_replay_lsn() >= '{place}'");
        let node = Node::Replica(replica);
        self.wait("the replica has caught up", || (self.psql(node, &ask) == "t").then_some(()));
    }

    /// What a server has logged.
    pub fn log(&self, node: Node) -> String {
        fs::read_to_string(self.log_file(node)).unwrap_or_default()
    }

    /// Leaves a note among the files of the cluster.
    pub fn mark(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).expect("there is room");
    }

    /// All processes of the servers that run.
    pub fn processes(&self) -> Vec<u32> {
        let servers = self.nodes().filter_map(|node| self.server(node).as_ref().map(Child::id));
        servers.flat_map(with_children).collect()
    }

    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        let replicas = self.servers.len() - 1;
        std::iter::once(Node::Primary).chain((0..replicas).map(Node::Replica))
    }

    fn create_primary(&self, of_initdb: &[&str], more: &str) {
        let data = self.create_home(Node::Primary);
        let mut initdb = self.program("initdb");
        initdb.arg("-D").arg(&data).args(["-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        initdb.args(of_initdb);
        finish(&mut initdb, "initdb");
        let mut settings = File::options().append(true).open(data.join("postgresql.conf")).expect("initdb wrote it");
        settings.write_all(format!("{SETTINGS}{more}").as_bytes()).expect("there is room");
        self.run(Node::Primary).unwrap_or_else(|fault| panic!("{fault}"));
    }

    fn create_replica(&self, replica: usize) {
        let node = Node::Replica(replica);
        let mut backup = self.program("pg_basebackup");
        backup.arg("-D").arg(self.create_home(node)).args([
            "-R",
            "-X",
            "stream",
            "--checkpoint=fast",
            "--no-sync",
            "-d",
        ]);
        finish(backup.arg(self.connection_info(Node::Primary, node)), "pg_basebackup");
        self.run(node).unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// How one server finds another.
    fn connection_info(&self, to: Node, from: Node) -> String {
        let host = self.home(to);
        format!("host={} port=5432 user={OWNER} application_name={}", host.display(), from.name())
    }

    /// Starts a server and waits until it answers. The error is what it logged before it gave up.
    fn run(&self, node: Node) -> Result<(), String> {
        let (home, data) = (self.home(node), self.data(node));
        let log = File::options().create(true).append(true).open(self.log_file(node)).expect("a file for the log");
        let mut server = self.program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&home);
        server.stdout(log.try_clone().expect("one more handle")).stderr(log);
        let mut server = server.spawn().expect("it was found");
        let pid = server.id().to_string();
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The file's last line says whether the server of its first line answers.
            let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let answers = file.lines().nth(7).is_some_and(|state| ["ready", "standby"].contains(&state.trim()));
            if file.lines().next() == Some(pid.as_str()) && answers {
                *self.server(node) = Some(server);
                return Ok(());
            }
            let ended = server.try_wait().expect("it can be asked").is_some();
            if ended || Instant::now() > deadline {
                let _ = server.kill();
                return Err(format!("{node:?} did not start:\n{}", self.log(node)));
            }
            thread::sleep(LOOK);
        }
    }

    fn is_running(&self, node: Node) -> bool {
        self.server(node).is_some()
    }

    fn server(&self, node: Node) -> MutexGuard<'_, Option<Child>> {
        let place = match node {
            Node::Primary => 0,
            Node::Replica(replica) => replica + 1,
        };
        self.servers[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its socket is.
    fn home(&self, node: Node) -> PathBuf {
        self.directory.join(node.name())
    }

    fn data(&self, node: Node) -> PathBuf {
        self.home(node).join("data")
    }

    fn create_home(&self, node: Node) -> PathBuf {
        fs::create_dir(self.home(node)).expect("there is room");
        give(&self.home(node));
        self.data(node)
    }

    fn log_file(&self, node: Node) -> PathBuf {
        self.directory.join(format!("{}.log", node.name()))
    }

    /// A program of PostgreSQL, by a user that it does not refuse.
    fn program(&self, name: &str) -> Command {
        self.by_owner(&programs().join(name))
    }

    /// A program, by the user that the servers run as.
    fn by_owner(&self, path: &Path) -> Command {
        let mut command = match *ACCOUNT {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg(path);
                command
            }
            None => Command::new(path),
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.current_dir(&self.directory).stdin(Stdio::null()).process_group(0);
        command
    }

    fn signal_all(&self, node: Node, name: &str) {
        let postmaster = self.server(node).as_ref().expect("it runs").id();
        let all = with_children(postmaster);
        let sent = Command::new("kill").arg(format!("-{name}")).args(all.iter().map(u32::to_string)).output();
        // A child may have ended meanwhile; the first is the postmaster.
        assert!(sent.is_ok(), "there is a kill");
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "in vain: {what}");
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for node in self.nodes() {
                let log = self.log(node);
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {node:?} ---\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
        }
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
        for server in &self.servers {
            if let Some(mut server) = server.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = server.wait();
            }
        }
    }
}

impl Node {
    fn name(self) -> String {
        match self {
            Self::Primary => "primary".into(),
            Self::Replica(replica) => format!("replica_{replica}"),
        }
    }
}

impl Database {
    /// Runs statements on the primary of the database.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        ask(&self.primary, sql).unwrap_or_else(|fault| panic!("{sql}: {fault}"))
    }
}

/// Runs statements at an address; the rows' columns are separated by `|`. The error is what psql says.
pub fn ask(url: &str, sql: &str) -> Result<String, String> {
    let mut psql = Command::new(programs().join("psql"));
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).env("PGCONNECT_TIMEOUT", "10");
    let output = psql.stdin(Stdio::null()).output().expect("psql runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}

/// Runs a file of statements with these variables. The error is what psql says.
pub fn run_file(url: &str, file: &Path, variables: &[(&str, &str)]) -> Result<(), String> {
    let mut psql = Command::new(programs().join("psql"));
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"]).arg(file);
    for (name, value) in variables {
        psql.arg("-v").arg(format!("{name}={value}"));
    }
    let output = psql.output().expect("psql runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Where PostgreSQL's programs are.
///
/// # Panics
/// If it is not installed.
pub fn programs() -> &'static Path {
    PROGRAMS.as_deref().expect("PostgreSQL is installed")
}

static PROGRAMS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter_map(|folder| {
        // What stands on PATH may be a link to one of several versions.
        Some(fs::canonicalize(folder.join("initdb")).ok()?.parent()?.to_owned())
    });
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path()).collect();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let installed = versions.into_iter().rev().map(|version| version.join("bin"));
    on_path.chain(installed).find(|folder| {
        ["initdb", "postgres", "pg_basebackup", "psql"].iter().all(|program| folder.join(program).exists())
    })
});

/// The user and group that servers run as, where this is root: PostgreSQL refuses to run as root.
static ACCOUNT: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
    let id = |flag: &str, user: &[&str]| -> Option<u32> {
        let output = Command::new("id").arg(flag).args(user).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id("-u", &[]) != Some(0) {
        return None;
    }
    let account = ["postgres", "nobody"].iter().find_map(|user| Some((id("-u", &[user])?, id("-g", &[user])?)));
    Some(account.expect("there is a user `postgres` or `nobody`"))
});

/// Gives a directory to the user that the servers run as.
fn give(directory: &Path) {
    if let Some((user, group)) = *ACCOUNT {
        chown(directory, Some(user), Some(group)).expect("root may give away");
    }
}

fn finish(command: &mut Command, what: &str) {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|fault| panic!("{what}: {fault}"));
    let said = [stdout, stderr].concat();
    assert!(status.success(), "{what}: {}", String::from_utf8_lossy(&said));
}

fn signal(server: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(server.id().to_string()).status();
    assert!(sent.expect("there is a kill").success());
}

/// A process, and the children that it has now.
fn with_children(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    std::iter::once(process).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}
