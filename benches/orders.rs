//! What the service makes of this machine, and next to it, in the same run, what the machine would allow:
//! `cargo bench --bench orders` (20,000 orders; 100,000 with `LUNGO_BENCH=full`; `-- --orders N` for another number).
//!
//! - *service*: `lungo load` against a server in the same process, at several numbers of connections;
//! - *bare handler*: actix-web returning the same bytes for the same requests, and nothing else;
//! - *store alone*: the same rows, written and carried to the shop's acceptance in batches by one task, no HTTP;
//! - *in calm*: the waits at 100 orders a second, and at 70 % of what 64 connections reached; and what the disk takes
//!   for three durable writes in a row, which is how often an order has to wait for it until its shop has accepted it;
//! - *lists*: getOngoingOrders of customers who have an order, and a bare handler that returns the same bytes.
//!
//! All of it shares the same cores, and all writes are as durable as in production.

#[path = "support/lives.rs"]
mod lives;
#[path = "support/sending.rs"]
mod sending;

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, DATE};
use actix_web::{App, HttpResponse, HttpServer, web};
use clap::Parser;
use eyre::{Result, bail, eyre};
use futures_util::future::try_join_all;
use hyper::Uri;
use lives::{accept, catalogue, event, now, take};
use lungo::catalogue::demo::demo;
use lungo::lifecycle::Stage;
use lungo::load::client::{Answer, Connection, Target};
use lungo::load::plan::Arrivals;
use lungo::load::report::{Machine, Quantiles, Report};
use lungo::load::server::{Server, Setup};
use lungo::load::{LoadArgs, Run, run, run_plan, send_only};
use lungo::store::{Options, Outcome, Policy, Store};
use sending::{USUAL, on_one_thread, plan, read_lists, useful};

const CONNECTIONS: [usize; 4] = [1, 16, USUAL, 256];
/// Orders that the store alone is given at once: what its writer takes into one transaction.
const BATCH: usize = 128;
/// Orders a second of a shop that is not busy, and for how many seconds they come.
const CALM: f64 = 100.0;
const CALM_S: f64 = 10.0;
/// Before each measurement: the disk still has the database of the one before to clear away.
const REST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
/// Customers whose lists are read.
const LISTED: u64 = 2_000;

#[derive(Parser)]
struct Cli {
    /// Orders of each measurement; a tenth of it over a single connection
    #[arg(long)]
    orders: Option<u64>,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Parser)]
struct Load {
    #[command(flatten)]
    args: LoadArgs,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let is_full = std::env::var("LUNGO_BENCH").is_ok_and(|kind| kind == "full");
    let orders = cli.orders.unwrap_or(if is_full { 100_000 } else { 20_000 });
    println!("{}, {orders} orders", Machine::here());

    let sample = one_answer()?;
    let store = store_alone(orders)?;
    println!("store alone, one task, batches of {BATCH}: {store:.0} lives/s\n");
    println!(
        "{:>11}  {:>10} {:>11} {:>8} {:>8} {:>8}  {:>10} {:>8}  {:>9} {:>9}",
        "connections",
        "accepted/s",
        "completed/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "bare/s",
        "p99 ms",
        "of bare",
        "of store"
    );
    let mut reached = 0.0;
    for connections in CONNECTIONS {
        let orders = if connections == 1 { (orders / 10).max(100) } else { orders };
        let flags = ["--connections", &connections.to_string(), "--orders", &orders.to_string()];
        let Report { accepted_per_s, completed_per_s, acceptance_ms, .. } = service(&flags)?;
        if connections == USUAL {
            reached = completed_per_s;
        }
        let (bare, bare_ms) = bare_handler(&sample, connections, orders)?;
        println!(
            "{connections:>11}  {accepted_per_s:>10.0} {completed_per_s:>11.0} {:>8.1} {:>8.1} {:>8.1}  {bare:>10.0} {:>8.1}  {:>7.1} % {:>7.1} %",
            acceptance_ms.p50,
            acceptance_ms.p99,
            acceptance_ms.p999,
            bare_ms.p99,
            accepted_per_s / bare * 100.0,
            completed_per_s / store * 100.0,
        );
    }
    println!();
    for rate in [CALM, (reached * 0.7_f64).floor()] {
        let Report { acceptance_ms, new_to_accepted_ms, .. } = in_calm(rate)?;
        println!(
            "{rate} orders/s, at random: acceptance ms {acceptance_ms}; new→accepted by the shop ms {new_to_accepted_ms}"
        );
    }
    println!("three durable writes in a row, at {CALM}/s and alone: ms {}", three_writes()?);
    lists(orders)
}

/// Orders by the clock, at random, for some seconds. As in the closed loop, the feed is not read meanwhile.
fn in_calm(rate: f64) -> Result<Report> {
    thread::sleep(REST);
    let orders = (rate * CALM_S) as u64;
    let arrivals = Arrivals::at_rate(rate, orders, true);
    let Run { report, .. } =
        run_plan(plan(USUAL, orders, arrivals)?, PATIENCE, &Server::start(None, Setup::default())?)?;
    useful(report)
}

/// What this disk takes for as many durable writes as an order waits for, each as large as a small commit.
fn three_writes() -> Result<Quantiles> {
    const COMMIT: usize = 6 * 4096;
    let file = tempfile::tempfile()?;
    // Like a log that has reached its length: what is there is written over.
    let room = 256 * COMMIT as u64;
    file.write_all_at(&vec![1; room as usize], 0)?;
    file.sync_all()?;
    let mut took = Vec::new();
    for order in 0..(CALM * CALM_S) as u64 {
        let started = Instant::now();
        for commit in 0..3 {
            file.write_all_at(&[order as u8; COMMIT], (order * 3 + commit) * COMMIT as u64 % room)?;
            file.sync_data()?;
        }
        took.push(started.elapsed());
        thread::sleep(Duration::from_secs_f64(1.0 / CALM).saturating_sub(started.elapsed()));
    }
    Ok(Quantiles::of(took))
}

/// What `lungo load` measures with these flags, against a server of its own.
fn service(flags: &[&str]) -> Result<Report> {
    thread::sleep(REST);
    let flags = ["load", "--mix", "visa=1"].iter().chain(flags);
    useful(run(&Load::try_parse_from(flags)?.args)?)
}

/// A 202 as the service gives it.
fn one_answer() -> Result<Answer> {
    let server = Server::start(None, Setup::default())?;
    let plan = plan(1, 1, Arrivals::WhenAnswered)?;
    let customer = plan.customer(0);
    let mut connection = Connection::new(server.target.clone());
    on_one_thread(async {
        let answer = connection.order(&Uri::from_static("/v1/orders"), &customer, plan.body(0, &customer)).await;
        answer.map_err(|silence| eyre!("no answer: {silence:?}"))
    })
}

/// Orders answered a second by a handler that does nothing but read the body.
fn bare_handler(sample: &Answer, connections: usize, orders: u64) -> Result<(f64, Quantiles)> {
    let bare = Bare::start(sample)?;
    let (sending, rate, latencies) =
        send_only(plan(connections, orders, Arrivals::WhenAnswered)?, &Target::new(bare.address, "none")?)?;
    bare.stop()?;
    if sending.accepted.len() as u64 != orders {
        bail!("the bare handler failed: {:?}", sending.errors);
    }
    Ok((rate, latencies))
}

/// A server that gives the same answer to everything.
struct Bare {
    address: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Bare {
    fn start(sample: &Answer) -> Result<Self> {
        let (status, body) = (sample.status.as_u16(), sample.body.clone());
        let headers: Vec<(String, Vec<u8>)> = sample
            .headers
            .iter()
            .filter(|(name, _)| ![CONTENT_LENGTH.as_str(), DATE.as_str()].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        let (started, starting) = mpsc::channel();
        let thread = thread::spawn(move || -> std::io::Result<()> {
            actix_web::rt::System::new().block_on(async {
                let server = HttpServer::new(move || {
                    let (headers, body) = (headers.clone(), body.clone());
                    let answer = move |_read: web::Bytes| {
                        let status = StatusCode::from_u16(status).expect("a server gave it");
                        let mut answer = HttpResponse::build(status);
                        headers.iter().for_each(|(name, value)| {
                            answer.insert_header((name.as_str(), value.as_slice()));
                        });
                        std::future::ready(answer.body(body.clone()))
                    };
                    App::new().default_service(web::to(answer))
                })
                .workers(2)
                .disable_signals()
                .bind("127.0.0.1:0")?;
                let address = server.addrs()[0];
                let server = server.run();
                let _ = started.send((address, server.handle()));
                server.await
            })
        });
        let (address, handle) = starting.recv()?;
        Ok(Self { address, handle, thread })
    }

    fn stop(self) -> Result<()> {
        on_one_thread(async {
            self.handle.stop(false).await;
            Ok(())
        })?;
        Ok(self.thread.join().map_err(|_| eyre!("the bare server panicked"))??)
    }
}

/// How many lists are answered a second, next to a bare handler that returns the same bytes.
fn lists(lists: u64) -> Result<()> {
    let server = Server::start(None, Setup::default())?;
    let plan = plan(USUAL, LISTED, Arrivals::WhenAnswered)?;
    let uris: Arc<[Uri]> = (0..LISTED)
        .map(|number| format!("/v1/orders/ongoing?customer_id={}", plan.customer(number)).parse())
        .collect::<Result<_, _>>()?;
    let (sending, ..) = send_only(plan, &server.target)?;
    if sending.accepted.len() as u64 != LISTED {
        bail!("the customers' orders were not accepted: {:?}", sending.errors);
    }
    let (service, service_ms, sample) = read_lists(&uris, &server.target, lists)?;
    let bare = Bare::start(&sample)?;
    let (alone, alone_ms, _) = read_lists(&uris, &Target::new(bare.address, "none")?, lists)?;
    bare.stop()?;
    println!(
        "getOngoingOrders, {USUAL} connections: {service:.0}/s ({service_ms}); bare handler {alone:.0}/s ({alone_ms}); {:.1} % of it",
        service / alone * 100.0
    );
    Ok(())
}

/// Whole lives a second: created, authorized, accepted by the shop.
fn store_alone(orders: u64) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let options = Options {
        policy: Policy::default(),
        readers: 1,
        queue: 4096,
        local_queue: BATCH,
        commit_patience: Duration::from_secs(10),
        replica_lag: None,
        durability: None,
        max_staleness: Duration::from_millis(100),
        clock: now,
        follow_clock: |_, _| {},
    };
    let (store, mut claims) = Store::open(directory.path(), options)?;
    let catalogue = catalogue();
    on_one_thread(async {
        store.seed(demo(), Vec::new(), now()).await?;
        let started = Instant::now();
        let mut number = 0;
        while number < orders {
            let until = orders.min(number + BATCH as u64);
            let accepts =
                (number..until).map(|number| store.accept(accept(&catalogue, format!("bench-{number}"), now())));
            number = until;
            let created = try_join_all(accepts).await?.len();
            for stage in [Stage::Authorize, Stage::Offer] {
                let held = take(&mut claims, stage, created).await?;
                try_join_all(held.into_iter().map(|claim| {
                    let outcome = Outcome { event: Some(event(stage, &claim)), again: None };
                    store.commit(claim, outcome, now())
                }))
                .await?;
            }
        }
        Ok(orders as f64 / started.elapsed().as_secs_f64())
    })
}
