//! The server under load, where it is started by the load itself: the whole service in this process, on a fresh
//! database, fully durable, with simulators that take no time and keep their ledger in memory.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use clap::{Args, FromArgMatches};
use color_eyre::eyre::{Result, eyre};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::client::Target;
use crate::config::Settings;
use crate::gateway::simulator::{Entry, GatewaySimulator};
use crate::order::OrderId;
use crate::serve;
use crate::state::Order;
use crate::store::Store;

/// Rows read at once when all of them are.
const ROWS: i64 = 10_000;

/// A running server. It stops, and its database is deleted, when it is dropped.
pub struct Server {
    pub target: Target,
    /// Median of one small write that is made durable, in milliseconds: what the disk allows.
    pub fsync_ms: f64,
    store: Option<Store>,
    gateway: Arc<GatewaySimulator>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Server {
    /// Starts the service on a random port of loopback, with its database in a new folder of `parent`. Its other
    /// settings come from the environment, as always.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
        let directory = tempfile::Builder::new().prefix("lungo-load-").tempdir_in(parent)?;
        let fsync_ms = fsync_ms(directory.path())?;
        let flags = ["lungo", "--listen", "127.0.0.1:0", "--pace", "zero", "--demo", "true", "--gateway", "simulator"];
        // Only what the service can do is to limit the load.
        let flags = flags.into_iter().chain(["--partner-rate", "1000000", "--data"]);
        let flags = flags.map(Into::into).chain([directory.path().as_os_str().to_owned()]);
        let matches = Settings::augment_args(clap::Command::new("lungo")).try_get_matches_from(flags)?;
        let settings = Settings::from_arg_matches(&matches)?;

        let (stop, stopped) = oneshot::channel::<()>();
        let (started, starting) = mpsc::channel();
        let failed = started.clone();
        let work = async move {
            let announce = move |running: serve::Running| {
                let gateway = running.gateway.cloned().expect("its settings simulate the gateway");
                let _ = started.send(Ok((running.address, running.store.clone(), gateway)));
            };
            serve::serve(settings, Vec::new(), async { drop(stopped.await) }, announce).await
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
            target: Target::new(address, &partner_key(directory.path())?)?,
            fsync_ms,
            store: Some(store),
            gateway,
            stop: Some(stop),
            thread: Some(thread),
            _directory: directory,
        })
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

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.store.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("load.server_panicked");
        }
    }
}

/// The key that the first start wrote for people to try things with.
fn partner_key(directory: &Path) -> Result<String> {
    let text = fs::read_to_string(directory.join("demo.env"))?;
    let key = text.lines().find_map(|line| line.strip_prefix("LUNGO_PARTNER_KEY="));
    key.map(str::to_owned).ok_or_else(|| eyre!("demo.env holds no partner key"))
}

fn fsync_ms(directory: &Path) -> Result<f64> {
    let path = directory.join("fsync");
    let file = fs::File::create(&path)?;
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
