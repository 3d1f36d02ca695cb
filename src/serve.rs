//! `lungo serve`: opens the store, connects the outside world, starts the worker and the web, and stops them in
//! the right order.

mod data;
mod demo;
mod drills;
mod gateway;
mod letters;
mod outside;
mod upkeep;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web as actix;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};

use crate::admission::Rules;
use crate::app::App;
use crate::clock::now;
use crate::config::{Endpoint, InForce, Pace, Settings};
use crate::drills::Drills;
use crate::foreign::{self, Caller, SystemResolver};
use crate::gateway::simulator::GatewaySimulator;
use crate::lifecycle::Stage;
use crate::lost::Lost;
use crate::meters::{self, METERS};
use crate::notify::Notifier;
use crate::pace::Expectations;
use crate::recovery::Recovery;
use crate::shop::simulator::ShopSimulator;
use crate::stages::Ports;
use crate::state::Order;
use crate::store::{self, Policy, Store};
use crate::terminal::Refusal;
use crate::tracer::{self, Collector, Exporting};
use crate::web::wire::KEEP_ALIVE;
use crate::{access, bulk, instance, web, worker, zones};

pub(crate) use data::{address, hold};

/// Where the simulated gateway keeps its ledger, in the data directory.
pub const GATEWAY_LEDGER: &str = "gateway-ledger.jsonl";
/// Where the simulated shops keep their journal, in the data directory.
pub const SHOP_JOURNAL: &str = "shop-journal.jsonl";

/// A line that orders two coffees at the demo's first shop, with the variables of `demo.env`.
pub const DEMO_CURL: &str = r#"curl -i "$LUNGO_URL/v1/orders" -H "Authorization: Bearer $LUNGO_PARTNER_KEY" -H 'Content-Type: application/json' -d '{"customer_id":"cus_82f1","shop_id":"01970000-0000-7000-8000-000000000011","lines":[{"item_id":"lungo","quantity":2,"options":["milk_oat"]}],"total":{"amount":820,"currency":"EUR"},"payment":{"method":"pm_card_visa"}}'"#;
/// A line that shows the customer's ongoing orders.
pub const DEMO_WATCH: &str =
    r#"curl "$LUNGO_URL/v1/orders/ongoing?customer_id=cus_82f1" -H "Authorization: Bearer $LUNGO_PARTNER_KEY""#;

/// A stop takes less than 25 s in all, whatever the settings say and whoever does not answer: this much for all that
/// is waited for …
const STOP_WITHIN: Duration = Duration::from_secs(24);
/// … of which this much at most until connections are refused …
const MOST_UNREADY: Duration = Duration::from_secs(5);
/// … and this much for the requests under way.
const GRACE_SECONDS: u64 = 5;
/// … and so much for the collector to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(3);
/// The stop waits so much longer for idle connections than they are kept.
const SLACK: Duration = Duration::from_millis(250);
/// How long a connection may wait for its client to read on. A client that sends requests and reads no answer would
/// otherwise hold its connection, and what waits to be sent, for ever.
const READING_PATIENCE: Duration = Duration::from_secs(30);
/// Connections that may wait to be let in: as many as Linux allows by default.
const BACKLOG: u32 = 4_096;
/// What a partner may ask at once, against what it may ask in a second.
const TWICE: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("these settings do not fit together: {0}")]
    Settings(String),
    #[error("{0}")]
    Lost(#[source] Refusal),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{what}: {fault}")]
    Io { what: String, fault: io::Error },
    #[error("{what} ended by itself: {why}")]
    Ended { what: &'static str, why: String },
}

/// The service once it answers requests: what is told to whoever started it.
pub struct Running<'a> {
    pub address: SocketAddr,
    pub settings: &'a Settings,
    pub store: &'a Store,
    /// Where it is simulated within this process.
    pub gateway: Option<&'a Arc<GatewaySimulator>>,
    /// Where the first user of the console chooses a password, if there is none. It is shown nowhere else, and works for
    /// all who read it: it is not for a log.
    pub console_link: Option<String>,
    /// A demo partner was made just now, in a database that was empty.
    pub is_new_demo: bool,
}

fn open_store(settings: &Settings, admission: Rules) -> store::Result<(Store, store::Claims)> {
    let options = store::Options {
        policy: Policy {
            admission,
            deadlines: settings.deadlines(),
            lease: chrono::Duration::from_std(settings.lease.0).expect("spans are at most a year"),
        },
        readers: settings.readers,
        queue: settings.queue,
        // No more than one round of acts, which is shorter than the lease: a claim that waits for its turn must not
        // lapse, or it would count as a crash of whoever holds it.
        local_queue: limits(settings).into_values().min().unwrap_or(1),
        commit_patience: settings.commit_patience.0,
        replica_lag: settings.replica_lag.map(|lag| lag.0),
        durability: settings.servers.durability,
        max_staleness: settings.servers.max_staleness.0,
        clock: now,
        follow_clock: crate::clock::follow,
    };
    match &settings.servers.database {
        Some(url) => {
            let replicas: Vec<&str> = settings.servers.replicas.iter().map(|url| url.expose()).collect();
            Store::connect(url.expose(), &replicas, options)
        }
        None => Store::open(&settings.data, options),
    }
}

/// Serves until `stop` ends. `announce` is called once requests are answered.
///
/// # Errors
/// When the settings do not fit together, something that is needed cannot be opened, or a part of the service ends by
/// itself: the others are stopped then, so that nothing stays ready with nobody working.
pub async fn serve(
    settings: Settings,
    in_force: Vec<InForce>,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(Running),
) -> Result<(), Error> {
    let rules = settings.rules();
    serve_by(rules, settings, in_force, stop, announce).await
}

/// Serves with other rules of admission than those of the settings: for experiments.
///
/// # Errors
/// As [`serve`].
pub async fn serve_by(
    rules: Rules,
    settings: Settings,
    in_force: Vec<InForce>,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(Running),
) -> Result<(), Error> {
    settings.check().map_err(Error::Settings)?;
    let io = |what: String| move |fault| Error::Io { what, fault };
    if settings.console_url.is_some() && settings.trusted_proxies.is_empty() {
        // Not an error: the proxy may not add the header at all.
        tracing::warn!(hint = "all clients behind the proxy count as one", "serve.no_trusted_proxies");
    }
    let listening = |endpoint: &Endpoint| listen(endpoint).map_err(io(format!("cannot listen on {endpoint}")));
    let listener = listening(&settings.listen)?;
    let metrics_listener = settings.metrics_listener.as_ref().map(listening).transpose()?;
    let address = listener.local_addr().map_err(io("cannot listen".into()))?;
    let base_url = format!("http://{}", reached_at(address));

    meters::install();
    let tracing_orders = start_tracing(&settings).map_err(Error::Settings)?;
    zones::take_newest();
    METERS.started.of(()).set(now().timestamp_millis() as f64 / 1000.0);
    let _held = hold(&settings.data).map_err(io(format!("cannot work in {}", settings.data.display())))?;
    data::check_not_lost(&settings).map_err(Error::Lost)?;
    if settings.servers.database.is_none() {
        crate::clock::follow_own().map_err(io("cannot follow the clock".into()))?;
    }
    let (store, mut claims) = open_store(&settings, rules)?;
    // Nothing is handed over to a stage that works elsewhere.
    claims.0.retain(|(stage, _)| settings.stages.contains(*stage));
    // Before anything is claimed: a restored database is behind its world.
    if !store.is_alone()
        && let Err(fault) = store.watch_history(now(), settings.release_lost_after.chrono()).await
    {
        tracing::warn!(%fault, "serve.history_unknown");
    }
    if store.watch_restored().await?.is_some() {
        tracing::warn!("serve.withheld");
    }
    if store.is_alone() {
        let lapsed = store.lapse_leases(now()).await?;
        if lapsed > 0 {
            tracing::info!(orders = lapsed, "serve.taking_over");
        }
    }
    let is_durable = settings.pace != Pace::Zero;
    let file = |name: &str| is_durable.then(|| settings.data.join(name));
    let drills = Arc::new(Drills::default());
    let gateway = gateway::open(&settings, file(GATEWAY_LEDGER).as_deref(), &base_url, &store, &drills)
        .map_err(io(format!("the gateway, or its ledger in {}", settings.data.display())))?;
    let shops = ShopSimulator::open(file(SHOP_JOURNAL).as_deref(), settings.pace.into())
        .map_err(io(format!("the shops' journal in {}", settings.data.display())))?;
    let shops = Arc::new(shops);
    // Only now: whoever holds these files already has its address in the keys' file.
    let is_new_demo = settings.demo && demo::prepare(&store, &settings.data, &base_url, settings.pace).await?;
    let link = access::secret();
    let has_link = store.add_first_link(access::hash(&link), now()).await?;
    let console_url = settings.console_url.as_deref().unwrap_or(&base_url).to_owned();
    let console_link = has_link.then(|| access::link(&console_url, &link));
    data::say(&settings.data, &data::Address { url: base_url, console_url })
        .map_err(io(format!("cannot write in {}", settings.data.display())))?;
    let (running_store, running_gateway) = (store.clone(), gateway.simulated);

    let mut app =
        App::new(store.clone(), settings.clone(), in_force, expectations(settings.pace), gateway.doors).await?;
    app.drills = running_gateway.is_some().then(|| drills.clone());
    app.learn().await?;
    let app = actix::Data::new(app);
    shops.run(Arc::new(outside::ToStore(store.clone())));

    let caller = Caller::new(
        foreign::Rules::allowing(&settings.webhook_allow),
        Arc::new(SystemResolver),
        settings.webhook_timeout.0,
    );
    let caller = caller.map_err(|fault| io("cannot speak to webhooks".into())(io::Error::other(fault)))?;
    let ports = Ports::new(
        gateway.port,
        Arc::new(outside::Shopfronts {
            app: app.clone().into_inner(),
            simulated: shops,
            drills,
            caller: caller.clone(),
        }),
        auto_accepts(app.clone().into_inner()),
        settings.call_timeout.0,
        settings.breaker_pause.0,
    )
    .under(app.controls.clone());
    let notifier = Arc::new(Notifier {
        store: store.clone(),
        caller,
        letters: Arc::new(letters::InOurWords(app.clone().into_inner())),
        patience: settings.webhook_give_up_after.chrono(),
        // A claim may wait for its turn for as long as it lasts.
        an_offer_takes: settings.lease.chrono(),
    });
    let (stop_worker, stopped) = watch::channel(false);
    let mut notifying = tokio::spawn(notifier.run(stopped.clone()));
    let lost = Lost {
        store: store.clone(),
        gateway: ports.gateway.clone(),
        patience: settings.call_timeout.0,
        wait: settings.release_lost_after.chrono(),
        last_look: settings.last_look.chrono(),
        clock: now,
    };
    let mut reconciling = tokio::spawn(lost.run(stopped.clone()));
    let recovery = Recovery {
        store: store.clone(),
        gateway: ports.gateway.clone(),
        patience: settings.call_timeout.0,
        clock: now,
    };
    let mut recovering = tokio::spawn(recovery.run(stopped.clone()));
    let books = app.payment.books.clone();
    let look_up = move |order| {
        let books = books.clone();
        async move {
            match books {
                Some(books) => books.look_up(order).await,
                None => Err("this gateway cannot be asked from here".into()),
            }
        }
    };
    let mut acting = tokio::spawn(bulk::run(store.clone(), settings.bulk_rate, look_up, now, stopped.clone()));
    let limits = limits(&settings);
    let mut working = tokio::spawn(worker::run(
        store,
        claims,
        Arc::new(ports),
        app.crowd.clone(),
        move |stage| limits[&stage],
        settings.deadline_grace.0,
        stopped,
    ));
    let mut refreshing = tokio::spawn(upkeep::refresh(app.clone().into_inner()));
    let mut watching = tokio::spawn(upkeep::watch(app.clone().into_inner()));
    let saying = tokio::spawn(instance::say(app.clone().into_inner(), now));
    let looking = tokio::spawn(zones::keep_newest());

    let keys = actix::Data::from(app.keys.clone());
    let rate = settings.partner_rate;
    let limits = actix::Data::new(web::limits::Limits::new(rate, rate.saturating_mul(TWICE)));
    let served = app.clone();
    let opened = Arc::new(Connections::default());
    let counted = opened.clone();
    let server = web::wire::serve(
        listener,
        settings.http_threads,
        GRACE_SECONDS,
        move |of_the_connection| drop(of_the_connection.insert(counted.open())),
        move |all| {
            all.app_data(served.clone()).app_data(keys.clone()).app_data(limits.clone()).configure(web::configure);
        },
    )
    .map_err(io("cannot listen".into()))?;
    let handle = server.handle();
    let mut serving = tokio::spawn(server);

    let watched = metrics_listener.map(|listener| serve_metrics(app.clone(), listener)).transpose();
    let watched = watched.map_err(io("cannot listen for the monitoring".into()))?;

    app.set_ready(true);
    let (store, gateway) = (&running_store, running_gateway.as_ref());
    announce(Running { address, settings: &settings, store, gateway, console_link, is_new_demo });
    let ended = |what, why: Result<io::Result<()>, JoinError>| {
        let why = match why {
            Ok(Ok(())) => "it had nothing more to do".into(),
            Ok(Err(fault)) => fault.to_string(),
            Err(fault) => fault.to_string(),
        };
        Some(Error::Ended { what, why })
    };
    let failed = tokio::select! {
        () = stop => None,
        why = &mut working => ended("the worker", why.map(Ok)),
        why = &mut serving => ended("the web server", why),
        why = &mut notifying => ended("the notifier", why.map(Ok)),
        why = &mut refreshing => ended("the refresher", why.map(Ok)),
        why = &mut watching => ended("the watcher", why.map(Ok)),
        why = &mut reconciling => ended("whoever gives back what was lost", why.map(Ok)),
        why = &mut recovering => ended("the comparison after a restore", why.map(Ok)),
        why = &mut acting => ended("whoever acts on many orders at once", why.map(Ok)),
    };
    match &failed {
        None => tracing::info!("serve.stopping"),
        Some(fault) => tracing::error!(%fault, "serve.failed"),
    }
    let until = Instant::now() + STOP_WITHIN;
    app.set_ready(false);
    opened.tell(settings.unready_for.0.min(MOST_UNREADY)).await;
    // The server looks at its grace once a second only.
    let grace = Duration::from_secs(GRACE_SECONDS);
    if tokio::time::timeout(grace, handle.stop(true)).await.is_err() {
        tracing::warn!("serve.requests_cut_off");
    }
    let _ = stop_worker.send(true);
    refreshing.abort();
    watching.abort();
    saying.abort();
    looking.abort();
    let rest = async {
        if !notifying.is_finished()
            && let Err(fault) = notifying.await
        {
            tracing::error!(%fault, "serve.notifier_failed");
        }
        if !working.is_finished()
            && let Err(fault) = working.await
        {
            tracing::error!(%fault, "serve.worker_failed");
        }
        if let Err(fault) = app.store.sign_off().await {
            tracing::warn!(%fault, "serve.not_signed_off");
        }
        if let Some(watched) = watched {
            watched.stop(true).await;
        }
        // Last: all that makes spans has stopped.
        if let Some(tracing_orders) = tracing_orders {
            tracing_orders.stop(LAST_SPANS).await;
        }
    };
    if timeout_at(until, rest).await.is_err() {
        tracing::warn!("serve.stop_incomplete");
    }
    failed.map_or(Ok(()), Err)
}

/// Begins to record orders, if the settings name a collector.
fn start_tracing(settings: &Settings) -> Result<Option<Exporting>, String> {
    let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
    let collector = Collector {
        url: endpoint.of_traces(),
        headers: settings.collector_headers()?,
        instance: instance::name().to_owned(),
        unix_nanos: crate::clock::unix_nanos,
    };
    let exporting = tracer::start(collector, settings.trace_sample.0)?;
    tracing::info!(collector = %endpoint, sample = settings.trace_sample.0, "serve.tracing");
    Ok(Some(exporting))
}

/// Waits for connections. While more than [`BACKLOG`] of them wait to be accepted, a further client gets no answer, and
/// its system tries again after a second.
///
/// Of a name's addresses the first that can be had is taken, those of IPv4 before those of IPv6.
fn listen(endpoint: &Endpoint) -> io::Result<std::net::TcpListener> {
    let mut addresses: Vec<SocketAddr> = endpoint.to_string().to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match listen_for(address, READING_PATIENCE) {
            Ok(listener) => return Ok(listener),
            Err(fault) => failed = fault,
        }
    }
    Err(failed)
}

/// Where this machine reaches itself, if it listens everywhere.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn listen_for(address: SocketAddr, patience: Duration) -> io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it. Other systems have no such option.
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(&socket, u32::try_from(patience.as_millis()).unwrap_or(u32::MAX))?;
    #[cfg(not(target_os = "linux"))]
    let _ = patience;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The connections of clients that were not told yet that the service stops.
///
/// An answer that says `Connection: close` tells a client to go elsewhere. A client that waits before its next request
/// must be told as well, or that request meets a connection that is just being closed. So a stop goes on answering until
/// each connection of before has had such an answer, or was idle for [`KEEP_ALIVE`].
#[derive(Default)]
struct Connections {
    open: watch::Sender<usize>,
    is_stopping: AtomicBool,
}

impl Connections {
    /// Counts a connection for as long as what this returns lives.
    fn open(self: &Arc<Self>) -> Option<Open> {
        // A new connection's first answer is its last one already.
        (!self.is_stopping.load(Ordering::SeqCst)).then(|| {
            self.open.send_modify(|open| *open += 1);
            Open(self.clone())
        })
    }

    /// Waits for `at_least`, and longer while a connection of before is open. With nothing to wait for a stop is
    /// immediate.
    async fn tell(&self, at_least: Duration) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        let told = async { drop(open.wait_for(|open| *open == 0).await) };
        let most = if at_least.is_zero() { Duration::ZERO } else { KEEP_ALIVE + SLACK };
        let _ = tokio::join!(tokio::time::sleep(at_least), tokio::time::timeout(most, told));
    }
}

/// One of the [`Connections`].
struct Open(Arc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Serves `/metrics` without a key, on a thread of its own: it answers also while the others are busy.
fn serve_metrics(app: actix::Data<App>, listener: std::net::TcpListener) -> io::Result<ServerHandle> {
    let configure = move |all: &mut actix::ServiceConfig| {
        all.app_data(app.clone()).configure(web::configure_unguarded);
    };
    let server = web::wire::serve(listener, 1, 1, |_| {}, configure)?;
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

fn limits(settings: &Settings) -> HashMap<Stage, usize> {
    HashMap::from([
        (Stage::Authorize, settings.authorize_limit),
        (Stage::LookUp, settings.look_up_limit),
        (Stage::Offer, settings.offer_limit),
        (Stage::Capture, settings.capture_limit),
        (Stage::Release, settings.release_limit),
    ])
}

/// A shop that wants it so accepts by itself while it is open, online and, without this order, below its capacity.
fn auto_accepts(app: Arc<App>) -> Box<dyn Fn(&Order) -> bool + Send + Sync> {
    Box::new(move |order| {
        let catalogue = app.catalogue();
        catalogue
            .shop(order.partner_id, order.shop_id)
            .is_some_and(|shop| shop.auto_accept && catalogue.objection_to_present(shop, now()).is_none())
    })
}

/// What is expected before anything was measured: the simulators' own durations (`domain`'s medians for real).
fn expectations(pace: Pace) -> Expectations {
    let [authorization, payment_action, acceptance, queue, collection] = match pace {
        Pace::Zero | Pace::Fast => [1, 15, 1, 1, 2],
        Pace::Real => [1, 25, 25, 90, 180],
    }
    .map(chrono::Duration::seconds);
    let simulated_making = (pace != Pace::Real).then(|| chrono::Duration::seconds(2));
    Expectations { authorization, payment_action, acceptance, queue, collection, simulated_making }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn many_may_come_at_once_and_wait_to_be_let_in() {
        let listener = listen(&"localhost:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        // Nobody is let in here. One that the system has no room for would try again after a second.
        let waiting: Vec<_> =
            (0..400).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).unwrap()).collect();
        assert_eq!(waiting.len(), 400);
    }

    #[actix_web::test]
    #[cfg(target_os = "linux")]
    async fn a_client_that_does_not_read_does_not_hold_its_connection() {
        use std::io::{Read, Write};

        const SLOW: usize = 20;
        const LONG: usize = 1 << 20;
        // It bounds the test, on however slow a machine.
        const PATIENCE: Duration = Duration::from_secs(60);
        let listener = listen_for("127.0.0.1:0".parse().unwrap(), Duration::from_secs(1)).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Connections::default());
        let mut open = connections.open.subscribe();
        let server = actix_web::HttpServer::new(|| {
            let long = || async { actix_web::HttpResponse::Ok().body(vec![b'x'; LONG]) };
            actix_web::App::new().route("/", actix::get().to(long))
        });
        let server = server
            .workers(1)
            .on_connect(move |_, of_the_connection| drop(of_the_connection.insert(connections.open())))
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
        let handle = server.handle();
        let running = tokio::spawn(server);
        let ask = move |times: usize| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(times).as_bytes()).unwrap();
            client
        };
        let slow: Vec<TcpStream> = (0..SLOW).map(|_| ask(16)).collect();
        tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == SLOW)).await.unwrap().unwrap();
        tokio::time::timeout(PATIENCE, open.wait_for(|open| *open == 0)).await.unwrap().unwrap();
        drop(slow);
        let read = tokio::task::spawn_blocking(move || {
            let (mut client, mut answer, mut part) = (ask(1), 0, [0; 4096]);
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            while answer < LONG {
                answer += client.read(&mut part).unwrap();
            }
        });
        read.await.unwrap();
        handle.stop(false).await;
        running.await.unwrap().unwrap();
    }
}
