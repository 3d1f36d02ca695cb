//! The server under load, where it is started by the load itself: the whole service in this process, on a fresh
//! database, fully durable.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{Args, FromArgMatches};
use eyre::{Result, eyre};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::client::{self, Connection, Target};
use crate::admission::Rules;
use crate::catalogue::demo::{LUNGO_CENTRAL, PARTNER};
use crate::config::{Pace, Settings, Span};
use crate::gateway::simulator::{Entry, GatewaySimulator};
use crate::order::OrderId;
use crate::serve;
use crate::state::Order;
use crate::store::Store;

/// Rows read at once when all of them are.
const ROWS: i64 = 10_000;

/// What is different from one server to another. Other settings come from the environment, as always.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// How fast the simulated bank and shops are.
    pub pace: Pace,
    /// How old the snapshot may be that lists are read from.
    pub replica_lag: Option<Duration>,
    /// Whether admission refuses the same coffee.
    pub refuse_similar: bool,
    /// Settings of the service, as they are given to it.
    pub flags: &'a [&'a str],
}

impl Default for Setup<'_> {
    /// The service as it is, with simulators that take no time and keep their ledger in memory.
    fn default() -> Self {
        Self { pace: Pace::Zero, replica_lag: None, refuse_similar: true, flags: &[] }
    }
}

/// A running server. It stops, and its database is deleted, when it is dropped.
pub struct Server {
    pub target: Target,
    /// Median of one small write that is made durable, in milliseconds: what the disk allows.
    pub fsync_ms: f64,
    store: Option<Store>,
    gateway: Arc<GatewaySimulator>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    directory: TempDir,
}

impl Server {
    /// Starts the service on a random port of loopback, with its database in a new folder of `parent`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(parent: Option<&Path>, setup: Setup<'_>) -> Result<Self> {
        Self::start_for(parent, setup, |address, directory| Target::new(address, &key(directory, "LUNGO_PARTNER_KEY")?))
    }

    /// Starts one more instance beside this one, on the database of its flags, which has its keys already.
    ///
    /// # Errors
    /// When it does not start.
    pub fn beside(&self, setup: Setup<'_>) -> Result<Self> {
        Self::start_for(self.directory.path().parent(), setup, |address, _| Ok(self.target.at(address)))
    }

    fn start_for(
        parent: Option<&Path>,
        setup: Setup<'_>,
        target: impl FnOnce(SocketAddr, &Path) -> Result<Target>,
    ) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
        let directory = tempfile::Builder::new().prefix("lungo-load-").tempdir_in(parent)?;
        let fsync_ms = fsync_ms(directory.path())?;
        let own = ["lungo", "--listen", "127.0.0.1:0", "--demo", "true", "--gateway", "simulator"];
        // Only what the service can do is to limit the load.
        let flags = own.into_iter().chain(setup.flags.iter().copied()).chain(["--partner-rate", "1000000", "--data"]);
        let flags = flags.map(std::ffi::OsString::from).chain([directory.path().as_os_str().to_owned()]);
        let matches = Settings::augment_args(clap::Command::new("lungo")).try_get_matches_from(flags)?;
        let settings = Settings {
            pace: setup.pace,
            replica_lag: setup.replica_lag.map(Span),
            // Whoever sends anything knows when it stops.
            unready_for: Span(Duration::ZERO),
            ..Settings::from_arg_matches(&matches)?
        };
        let rules = Rules { refuse_similar: setup.refuse_similar, ..settings.rules() };

        let (stop, stopped) = oneshot::channel::<()>();
        let (started, starting) = mpsc::channel();
        let failed = started.clone();
        let work = async move {
            let announce = move |running: serve::Running| {
                let gateway = running.gateway.cloned().expect("its settings simulate the gateway");
                let _ = started.send(Ok((running.address, running.store.clone(), gateway)));
            };
            serve::serve_by(rules, settings, Vec::new(), async { drop(stopped.await) }, announce).await
        };
        let thread = thread::Builder::new().name("server".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let ended = match runtime {
                Ok(runtime) => runtime.block_on(work).map_err(|fault| fault.to_string()),
                Err(fault) => Err(fault.to_string()),
            };
            if let Err(fault) = ended {
                let _ = failed.send(Err(fault));
            }
        })?;
        let (address, store, gateway): (SocketAddr, _, _) =
            starting.recv()?.map_err(|fault: String| eyre!("the server did not start: {fault}"))?;
        Ok(Self {
            target: target(address, directory.path())?,
            fsync_ms,
            store: Some(store),
            gateway,
            stop: Some(stop),
            thread: Some(thread),
            directory,
        })
    }

    /// The same server, for the tablet of the demo's first shop.
    ///
    /// # Errors
    /// When its key is not where the first start wrote it.
    pub fn for_shop(&self) -> Result<Target> {
        Target::new(self.target.address, &key(self.directory.path(), "LUNGO_SHOP_KEY")?)
    }

    /// Gives the demo's first shop room for as many orders as a shop can have.
    ///
    /// # Errors
    /// When the service refuses it.
    pub async fn make_room(&self) -> Result<()> {
        make_room(Target::new(self.target.address, &key(self.directory.path(), "LUNGO_ADMIN_KEY")?)?).await
    }

    /// All rows of orders, and all charges of the gateway.
    ///
    /// # Errors
    /// When either cannot be read.
    pub async fn books(&self) -> Result<(Vec<Order>, Vec<Entry>)> {
        let store = self.store.as_ref().expect("the store is only let go when the server is dropped");
        let mut orders: Vec<Order> = Vec::new();
        loop {
            let page = store.all_orders(orders.last().map(|order| OrderId(order.id.0)), ROWS).await?;
            let is_last = page.len() < ROWS as usize;
            orders.extend(page);
            if is_last {
                return Ok((orders, self.gateway.snapshot()?));
            }
        }
    }
}

/// Gives the demo's first shop room for as many orders as a shop can have, in the name of an operator.
///
/// # Errors
/// When the service refuses it.
pub async fn make_room(operator: Target) -> Result<()> {
    let uri: Uri = format!("/v1/admin/shops/{LUNGO_CENTRAL}").parse().expect("an id is a path");
    let body = format!(
        r#"{{"partner_id":"{PARTNER}","name":"Lungo Central","currency":"EUR","simulated":true,"max_in_progress":10000}}"#
    );
    let headers = HeaderMap::from_iter([client::json()]);
    let answer = Connection::new(operator).ask(Method::PUT, &uri, headers, body.into()).await;
    let answer = answer.map_err(|silence| eyre!("the shop's settings: {silence}"))?;
    match answer.status {
        StatusCode::OK => Ok(()),
        status => Err(eyre!("the shop's settings: {status} {}", String::from_utf8_lossy(&answer.body))),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.store.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("load.server_panicked");
        }
    }
}

/// A key that the first start wrote for people to try things with.
fn key(directory: &Path, name: &str) -> Result<String> {
    let text = fs::read_to_string(directory.join("demo.env"))?;
    let key = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    key.map(str::to_owned).ok_or_else(|| eyre!("demo.env holds no {name}"))
}

fn fsync_ms(directory: &Path) -> Result<f64> {
    let path = directory.join("fsync");
    let file = crate::files::create_new(&path)?;
    let mut took = Vec::new();
    for place in 0..21 {
        let started = Instant::now();
        file.write_all_at(&[1; 4096], place * 4096)?;
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    took.sort_by(f64::total_cmp);
    Ok(took[took.len() / 2])
}
