//! What the service makes of this machine, and next to it, in the same run, what the machine would allow:
//! `cargo bench --bench orders` (20,000 orders; 100,000 with `LUNGO_BENCH=full`; `-- --orders N` for another number).
//!
//! - *service*: `lungo load` against a server in the same process, at several numbers of connections;
//! - *bare handler*: actix-web returning the same bytes for the same requests, and nothing else;
//! - *store alone*: the same rows, written and carried to the shop's acceptance in batches by one task, no HTTP.
//!
//! All of it shares the same cores, and all writes are as durable as in production.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, DATE};
use actix_web::{App, HttpResponse, HttpServer, web};
use chrono::Utc;
use clap::Parser;
use color_eyre::eyre::{Result, bail, eyre};
use futures_util::future::try_join_all;
use hyper::Uri;
use lungo::catalogue::Catalogue;
use lungo::catalogue::demo::{LUNGO_CENTRAL, PARTNER, demo};
use lungo::lifecycle::{Event, Stage};
use lungo::load::client::{Answer, Connection, Target};
use lungo::load::plan::{Arrivals, Plan};
use lungo::load::report::{Machine, Quantiles, Report};
use lungo::load::server::Server;
use lungo::load::{LoadArgs, run, send_only};
use lungo::order::{CustomerId, Instant as At, Money, NewOrder, OnUnavailable, OrderId, Pickup, RequestedLine};
use lungo::store::{Accept, Claim, Claims, Options, Outcome, Policy, Store};

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
/// Orders that the store alone is given at once: what its writer takes into one transaction.
const BATCH: usize = 128;

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
    for connections in CONNECTIONS {
        let orders = if connections == 1 { (orders / 10).max(100) } else { orders };
        let Report { accepted_per_s, completed_per_s, acceptance_ms, .. } = service(connections, orders)?;
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
    Ok(())
}

fn service(connections: usize, orders: u64) -> Result<Report> {
    let (connections, orders) = (connections.to_string(), orders.to_string());
    let flags = ["load", "--connections", &connections, "--orders", &orders, "--mix", "visa=1"];
    let report = run(&Load::try_parse_from(flags)?.args)?;
    if !report.is_sound() || !report.errors.is_empty() {
        bail!("these figures are of no use:\n{report}");
    }
    Ok(report)
}

fn plan(connections: usize, orders: u64) -> Result<Plan> {
    let mix = "visa=1".parse().map_err(|fault: String| eyre!(fault))?;
    Ok(Plan::new(orders, connections, Arrivals::WhenAnswered, mix, Duration::from_secs(600)))
}

/// A 202 as the service gives it.
fn one_answer() -> Result<Answer> {
    let server = Server::start(None, &[])?;
    let plan = plan(1, 1)?;
    let customer = plan.customer(0);
    let mut connection = Connection::new(server.target.clone());
    let answer = async { connection.order(&Uri::from_static("/v1/orders"), &customer, plan.body(0, &customer)).await };
    let answer = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(answer);
    answer.map_err(|silence| eyre!("no answer: {silence:?}"))
}

/// Orders answered a second by a handler that does nothing but read the body.
fn bare_handler(sample: &Answer, connections: usize, orders: u64) -> Result<(f64, Quantiles)> {
    let body = sample.body.clone();
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
                    let mut answer = HttpResponse::build(StatusCode::ACCEPTED);
                    headers.iter().for_each(|(name, value)| {
                        answer.insert_header((name.as_str(), value.as_slice()));
                    });
                    std::future::ready(answer.body(body.clone()))
                };
                App::new().service(web::resource("/v1/orders").route(web::post().to(answer)))
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
    let (sending, rate, latencies) = send_only(plan(connections, orders)?, &Target::new(address, "none")?)?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(handle.stop(false));
    thread.join().map_err(|_| eyre!("the bare server panicked"))??;
    if sending.accepted.len() as u64 != orders {
        bail!("the bare handler failed: {:?}", sending.errors);
    }
    Ok((rate, latencies))
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
        clock: now,
    };
    let (store, mut claims) = Store::open(directory.path(), options)?;
    let demo = demo();
    let catalogue = Catalogue::new(demo.shops.clone(), demo.items.clone(), demo.shop_items.clone(), Default::default());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        store.seed(demo, Vec::new(), now()).await?;
        let started = Instant::now();
        let mut number = 0;
        while number < orders {
            let until = orders.min(number + BATCH as u64);
            let accepts = (number..until).map(|number| store.accept(accept(&catalogue, number)));
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

fn now() -> At {
    Utc::now()
}

fn accept(catalogue: &Catalogue, number: u64) -> Accept {
    let euro = "EUR".parse().expect("the euro is a known currency");
    let customer = format!("bench-{number}");
    let request = NewOrder {
        customer_id: CustomerId(customer.clone()),
        shop_id: LUNGO_CENTRAL,
        lines: vec![RequestedLine { item_id: "lungo".into(), options: vec!["milk_oat".into()], quantity: 2 }],
        total: Some(Money { amount: 820, currency: euro }),
        payment_method: "pm_card_visa".into(),
        pickup: Pickup::default(),
        on_unavailable: OnUnavailable::Cancel,
        metadata: Default::default(),
        replaces_order_id: None,
    };
    let now = now();
    Accept {
        order_id: OrderId::new(),
        partner_id: PARTNER,
        catalogue: catalogue.verdict(PARTNER, &request, now, None),
        request,
        idempotency_key: Some(customer),
        seen: None,
        draft: None,
        now,
    }
}

/// The claims that the store handed over: those of the batch that was just committed.
async fn take(claims: &mut Claims, stage: Stage, count: usize) -> Result<Vec<Claim>> {
    let (_, queue) = claims.0.iter_mut().find(|(known, _)| *known == stage).expect("every stage has a queue");
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(queue.recv().await.ok_or_else(|| eyre!("the store has ended"))?);
    }
    Ok(taken)
}

fn event(stage: Stage, claim: &Claim) -> Event {
    match stage {
        Stage::Authorize => Event::PaymentAuthorized {
            amount: claim.order().placed.total.amount,
            reference: format!("sim_{:032x}", claim.order().id.0.as_u128()),
            capture_before: Some(now() + chrono::Duration::days(7)),
        },
        _ => Event::ShopAccepted { minutes: None, dropped_lines: Vec::new() },
    }
}
