//! What history costs: `cargo bench --bench history` (200,000 finished orders; 1,000,000 with `LUNGO_BENCH=full`;
//! `-- --finished N` for another number).
//!
//! Two stores side by side, one empty and one with that many finished orders of a fifth as many customers, do the
//! same work in turns: accepting orders of customers who are new and of customers who have history, claiming, writing
//! results, listing. Printed is the median time of one operation in each, and how much more it is with history. All of
//! the history was made by the store itself, order by order. It fits into the operating system's memory, but not into
//! that of a connection.

#[path = "support/lives.rs"]
mod lives;

use std::time::{Duration, Instant};

use clap::Parser;
use color_eyre::eyre::{Result, bail, eyre};
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use lives::{accept, catalogue, event, now, take};
use lungo::catalogue::Catalogue;
use lungo::catalogue::demo::{PARTNER, demo};
use lungo::lifecycle::{Actor, Event, Stage};
use lungo::load::report::Machine;
use lungo::order::{CustomerId, Instant as At};
use lungo::store::{Admitted, Claim, Claims, Options, Outcome, Policy, Received, Scope, Store, Word};
use tempfile::TempDir;

/// Orders that are given to the writer at once.
const BATCH: u64 = 128;
/// Turns that each of the two stores gets.
const ROUNDS: u64 = 40;
/// Orders that each customer of the history has.
const ORDERS_PER_CUSTOMER: u64 = 5;

#[derive(Parser)]
struct Cli {
    /// Finished orders in the one store
    #[arg(long)]
    finished: Option<u64>,
    /// Where the databases are made [default: the directory for temporary files]
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: std::path::PathBuf,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A store with nobody around it.
struct Alone {
    store: Store,
    claims: Claims,
    catalogue: Catalogue,
    directory: TempDir,
}

impl Alone {
    async fn open(directory: TempDir, local_queue: u64) -> Result<Self> {
        let options = Options {
            policy: Policy::default(),
            readers: 1,
            queue: 4096,
            local_queue: usize::try_from(local_queue)?,
            commit_patience: Duration::from_secs(60),
            replica_lag: None,
            durability: None,
            max_staleness: std::time::Duration::from_millis(100),
            clock: now,
            follow_clock: lungo::clock::follow,
        };
        let (store, claims) = Store::open(directory.path(), options)?;
        store.seed(demo(), Vec::new(), now()).await?;
        Ok(Self { store, claims, catalogue: catalogue(), directory })
    }

    async fn accept(&self, customers: &[String], at: At) -> Result<Vec<Admitted>> {
        let accepts = customers.iter().map(|customer| {
            let mut order = accept(&self.catalogue, customer.clone(), now());
            order.now = at;
            order.idempotency_key = Some(format!("{customer}-{}", at.timestamp_millis()));
            self.store.accept(order)
        });
        let admitted = try_join_all(accepts).await?;
        match admitted.iter().find(|admitted| admitted.order.is_none()) {
            Some(refused) => bail!("an order was refused: {:?}", refused.verdict),
            None => Ok(admitted),
        }
    }

    async fn commit(&self, held: Vec<Claim>, stage: Stage, at: At) -> Result<()> {
        try_join_all(held.into_iter().map(|claim| {
            let outcome = Outcome { event: Some(event(stage, &claim)), again: None };
            self.store.commit(claim, outcome, at)
        }))
        .await?;
        Ok(())
    }

    /// Carries orders from their creation to the customer's hands.
    async fn live(&mut self, customers: &[String], at: At) -> Result<()> {
        let born = self.accept(customers, at).await?;
        let count = born.len();
        for stage in [Stage::Authorize, Stage::Offer] {
            let held = take(&mut self.claims, stage, count).await?;
            self.commit(held, stage, at).await?;
        }
        for event in [Event::Made, Event::Collected] {
            let orders = born.iter().filter_map(|admitted| admitted.order.as_ref());
            let words = orders.map(|order| {
                self.store.receive(Word {
                    order_id: order.id,
                    scope: Scope::Everyone,
                    actor: Actor::Shop,
                    event: event.clone(),
                    version: None,
                    now: at,
                })
            });
            if let Some(heard) = try_join_all(words).await?.iter().find(|it| !matches!(it, Received::Changed(..))) {
                bail!("{event:?} was not heard: {heard:?}");
            }
        }
        let held = take(&mut self.claims, Stage::Capture, count).await?;
        self.commit(held, Stage::Capture, at).await
    }

    async fn list(&self, customers: &[String]) -> Result<()> {
        let since = now() - chrono::Duration::minutes(15);
        let lists = customers
            .iter()
            .map(|customer| self.store.present(PARTNER, CustomerId(customer.clone()), None, since, now()));
        for list in futures_util::future::join_all(lists).await {
            list.map_err(|fault| eyre!("no list: {fault:?}"))?;
        }
        Ok(())
    }

    /// The same work for every store, measured part by part.
    async fn round(&self, round: u64, customers: u64) -> Result<[Duration; 6]> {
        let strangers: Vec<_> = (0..BATCH).map(|n| format!("new-{round}-{n}")).collect();
        let mut known: Vec<_> = (0..BATCH).map(|_| customer(rand::random_range(0..customers))).collect();
        known.sort_unstable();
        known.dedup();
        let mut took = [Duration::ZERO; 6];
        let of = |began: Instant, operations: usize| began.elapsed() / u32::try_from(operations).unwrap_or(1).max(1);

        let began = Instant::now();
        self.accept(&strangers, now()).await?;
        took[0] = of(began, strangers.len());
        let began = Instant::now();
        self.accept(&known, now()).await?;
        took[1] = of(began, known.len());
        let began = Instant::now();
        let held = self.store.claim(Stage::Authorize, i64::try_from(strangers.len() + known.len())?, now()).await?;
        let claimed = held.len();
        took[2] = of(began, claimed);
        let began = Instant::now();
        self.commit(held, Stage::Authorize, now()).await?;
        took[3] = of(began, claimed);
        let began = Instant::now();
        self.list(&strangers).await?;
        took[4] = of(began, strangers.len());
        let began = Instant::now();
        self.list(&known).await?;
        took[5] = of(began, known.len());
        Ok(took)
    }
}

fn customer(number: u64) -> String {
    format!("cus-{number}")
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let is_full = std::env::var("LUNGO_BENCH").is_ok_and(|kind| kind == "full");
    let finished = cli.finished.unwrap_or(if is_full { 1_000_000 } else { 200_000 });
    let customers = (finished / ORDERS_PER_CUSTOMER).max(BATCH);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut old = Alone::open(tempfile::tempdir_in(&cli.data)?, BATCH).await?;
        let bar = ProgressBar::new(finished);
        let mut made = 0;
        // Each customer is back about every second day: nobody orders the same thing twice in a hurry.
        let first = now() - chrono::Duration::days(10);
        while made < finished {
            let until = finished.min(made + BATCH);
            let batch: Vec<_> = (made..until).map(|order| customer(spread(order, customers))).collect();
            let share = made as f64 / finished as f64;
            old.live(&batch, first + chrono::Duration::seconds((share * 9.0 * 86_400.0) as i64)).await?;
            made = until;
            bar.set_position(made);
        }
        bar.finish_and_clear();
        let size = std::fs::metadata(old.directory.path().join(lungo::store::FILE))?.len() as f64 / 1e9;
        println!("{}; {finished} finished orders of {customers} customers, {size:.1} GB", Machine::here());

        // From here on rows are not handed to a worker: they wait to be claimed.
        let old = Alone::open(old.directory, 1).await?;
        let empty = Alone::open(tempfile::tempdir_in(&cli.data)?, 1).await?;
        let mut took: [[Vec<Duration>; 6]; 2] = Default::default();
        for round in 0..ROUNDS {
            for (store, took) in [&empty, &old].into_iter().zip(&mut took) {
                let measured = store.round(round, customers).await?;
                took.iter_mut().zip(measured).for_each(|(took, one)| took.push(one));
            }
        }
        println!("{:<34} {:>9} {:>13} {:>7}", "median of one, in batches of 128", "empty µs", "with them µs", "ratio");
        let [without, with] = took;
        let names = [
            "accept, new customer",
            "accept, customer with history",
            "claim",
            "commit a result",
            "list, new customer",
            "list, customer with history",
        ];
        for (name, (without, with)) in names.into_iter().zip(without.into_iter().zip(with)) {
            let (without, with) = (median(without), median(with));
            println!("{name:<34} {without:>9.1} {with:>13.1} {:>7.2}", with / without);
        }
        Ok(())
    })
}

/// Walks over all customers in an order that is not that of their names: 1,000,003 is prime.
fn spread(order: u64, customers: u64) -> u64 {
    order.wrapping_mul(1_000_003) % customers
}

/// In microseconds.
fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e6
}
