//! What history costs: `cargo bench --bench history` (200,000 finished orders; 1,000,000 with `LUNGO_BENCH=full`;
//! `-- --finished N --ongoing M` for other numbers; `-- --engine postgres` on PostgreSQL).
//!
//! Two stores side by side, one empty and one with that many orders of a fifth as many customers, do the same work in
//! turns: accepting orders of customers who are new and of customers who have history, claiming, writing results,
//! listing. Printed is the median time of one operation in each, and how much more it is with history. Customers come
//! in no order, so that each is met on a page of its own.
//!
//! - SQLite: all of the history was made by the store itself, order by order. It fits into the operating system's
//!   memory, but not into that of a connection.
//! - PostgreSQL, a primary alone with both databases, made in `TMPDIR` (3 GB for each million of orders): the store
//!   made some hundred orders, and the server made the history of them, as `support/multiplied.rs` has it. Then there
//!   is a checkpoint, so that the first change of each page is at its dearest: the whole page goes into the log. The
//!   indexes are in the server's memory (4 GB), as in one that has run for days, and the rows in the operating system's.
//!
//! What is ongoing waits: for the bank and the shop, who are to be asked again in a day, for the barista, and to be
//! collected. Nothing of it is due, but it stands in the indexes of what is.

#[path = "support/lives.rs"]
mod lives;
#[path = "support/multiplied.rs"]
mod multiplied;
#[path = "../tests/support/postgres.rs"]
mod servers;

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use eyre::{Result, bail, eyre};
use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use lives::{accept, catalogue, event, now, take};
use lungo::admission::Verdict;
use lungo::catalogue::Catalogue;
use lungo::catalogue::demo::{PARTNER, demo};
use lungo::lifecycle::{Event, Stage};
use lungo::load::report::Machine;
use lungo::order::{CustomerId, Instant as At, OrderId};
use lungo::store::{
    Admitted, Again, Claim, Claims, Committed, FILE, Options, Outcome, Policy, Received, Scope, Sender, Store, Strike,
    Word,
};
use rand::seq::index::sample;
use servers::{Cluster, Database, ask};
use tempfile::TempDir;

/// Orders that are given to the writer at once.
const BATCH: u64 = 128;
/// Turns that each of the two stores gets.
const ROUNDS: u64 = 40;
/// Turns before those, if no other number is asked for.
const WARMING: u64 = 10;
/// Orders that each customer of the history has.
const ORDERS_PER_CUSTOMER: u64 = 5;
/// What the customers of the history are called, before their numbers.
const CUSTOMER: &str = "cus-";
/// Walks over all customers in an order that is not that of their names: it is prime.
const SPREAD: u64 = 1_000_003;
/// Finished orders that the server multiplies, and as many ongoing ones.
const TEMPLATES: u64 = BATCH;
/// A server of its own machine, as deploy/postgres/patroni.yml has it: room for its indexes, checkpoints that come by the
/// clock, and pages that are compressed when they go into the log as a whole.
const SETTINGS: &str =
    "shared_buffers = '4GB'\nmax_wal_size = '8GB'\ncheckpoint_timeout = '15min'\nwal_compression = 'lz4'\n";

#[derive(Parser)]
struct Cli {
    #[arg(long, value_enum, default_value_t = Engine::Sqlite)]
    engine: Engine,
    /// Finished orders in the one store
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    finished: Option<u64>,
    /// Ongoing orders in the one store
    #[arg(long, default_value_t = 0)]
    ongoing: u64,
    /// Turns that each store gets before those that are measured: the more, the fewer pages are touched for the first time
    #[arg(long, default_value_t = WARMING, value_parser = clap::value_parser!(u64).range(..=1_000))]
    warming: u64,
    /// Where the databases of SQLite are made [default: the directory for temporary files]
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Afterwards, leave the servers of PostgreSQL as they are until Enter is pressed, to be looked at
    #[arg(long)]
    stay: bool,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

/// The orders of the one store, in the order in which they were born: the finished ones, then the ongoing ones.
struct History {
    finished: u64,
    ongoing: u64,
    customers: u64,
    /// Turns in which some of the customers who have no ongoing order come back.
    rounds: u64,
    until: At,
}

impl History {
    /// So many customers that none has two ongoing orders, and that enough have none.
    fn of(finished: u64, ongoing: u64, rounds: u64) -> Self {
        let customers = ((finished + ongoing) / ORDERS_PER_CUSTOMER).max(ongoing + rounds * BATCH);
        Self { finished, ongoing, customers, rounds, until: now() }
    }

    fn orders(&self) -> u64 {
        self.finished + self.ongoing
    }

    fn is_ongoing(&self, order: u64) -> bool {
        order >= self.finished
    }

    /// Each customer is back about every second day: nobody orders the same thing twice in a hurry. What is ongoing began
    /// within the last hour.
    fn born(&self, order: u64) -> At {
        let (since, share) = match order.checked_sub(self.finished) {
            None => (chrono::Duration::days(9), (self.finished - order) as f64 / self.finished as f64),
            Some(_) => (chrono::Duration::minutes(59), (self.orders() - order) as f64 / self.ongoing.max(1) as f64),
        };
        let least = if self.is_ongoing(order) { chrono::Duration::minutes(1) } else { chrono::Duration::hours(1) };
        self.until - least - chrono::Duration::milliseconds((since.num_milliseconds() as f64 * share) as i64)
    }

    fn customer_of(&self, order: u64) -> String {
        customer(order * SPREAD % self.customers)
    }

    /// All orders in batches of so many, none of which has both finished and ongoing ones.
    fn batches(&self, size: usize) -> impl Iterator<Item = Range<u64>> {
        let of = move |from: u64, until: u64| {
            (from..until).step_by(size).map(move |from| from..until.min(from + size as u64))
        };
        of(0, self.finished).chain(of(self.finished, self.orders()))
    }

    /// Customers with history who have no ongoing order, so many of them in no order, each of them once.
    fn regulars(&self, count: u64) -> Vec<String> {
        let without = (self.customers - self.ongoing) as usize;
        sample(&mut rand::rng(), without, count as usize)
            .into_iter()
            // Who would be next.
            .map(|next| self.customer_of(self.orders() + next as u64))
            .collect()
    }
}

fn customer(number: u64) -> String {
    format!("{CUSTOMER}{number}")
}

/// Where a store keeps its orders.
enum Home {
    Directory(TempDir),
    Database(Database),
}

/// A store with nobody around it.
struct Alone {
    store: Store,
    claims: Claims,
    catalogue: Catalogue,
    home: Home,
}

impl Alone {
    async fn open(home: Home) -> Result<Self> {
        let options = Options {
            policy: Policy::default(),
            readers: 1,
            queue: 4096,
            local_queue: BATCH as usize,
            commit_patience: Duration::from_secs(60),
            replica_lag: None,
            durability: None,
            max_staleness: Duration::from_millis(100),
            clock: now,
            follow_clock: lungo::clock::follow,
        };
        let (store, claims) = match &home {
            Home::Directory(directory) => Store::open(directory.path(), options)?,
            Home::Database(database) => Store::connect(&database.primary, &[], options)?,
        };
        store.seed(demo(), Vec::new(), now()).await?;
        Ok(Self { store, claims, catalogue: catalogue(), home })
    }

    /// What the database takes of the disk.
    fn bytes(&self) -> Result<u64> {
        match &self.home {
            Home::Directory(directory) => Ok(std::fs::metadata(directory.path().join(FILE))?.len()),
            Home::Database(database) => {
                let size = ask(&database.primary, "SELECT pg_database_size(current_database())");
                Ok(size.map_err(|fault| eyre!(fault))?.parse()?)
            }
        }
    }

    async fn accept(&self, customers: &[String], at: At) -> Result<Vec<Admitted>> {
        let accepts = customers.iter().map(|customer| {
            let mut order = accept(&self.catalogue, customer.clone(), now());
            order.now = at;
            order.idempotency_key = Some(format!("{customer}-{}", at.timestamp_millis()));
            self.store.accept(order)
        });
        let admitted = try_join_all(accepts).await?;
        match admitted.iter().find(|admitted| !matches!(admitted.verdict, Verdict::Accept)) {
            Some(refused) => bail!("an order was not accepted: {:?}", refused.verdict),
            None => Ok(admitted),
        }
    }

    async fn commit(&self, held: Vec<Claim>, at: At) -> Result<()> {
        let committed = try_join_all(held.into_iter().map(|claim| {
            let outcome = Outcome { event: Some(event(claim.stage(), &claim)), again: None };
            self.store.commit(claim, outcome, at)
        }));
        match committed.await?.iter().all(|committed| matches!(committed, Committed::Done(_))) {
            true => Ok(()),
            false => bail!("a lease was lost"),
        }
    }

    /// Nobody answers, and whoever it was is to be asked again in a day.
    async fn put_off(&self, held: impl IntoIterator<Item = Claim>, at: At) -> Result<()> {
        try_join_all(held.into_iter().map(|claim| {
            let again = Again {
                after: chrono::Duration::days(1),
                is_spread: false,
                why: "silent".into(),
                strike: Strike::None,
            };
            self.store.commit(claim, Outcome { event: None, again: Some(again) }, at)
        }))
        .await?;
        Ok(())
    }

    /// Says of orders what happened to them outside.
    async fn receive(&self, orders: impl IntoIterator<Item = OrderId>, event: Event, at: At) -> Result<()> {
        let words = orders.into_iter().map(|order_id| {
            let event = event.clone();
            self.store.receive(Word {
                order_id,
                scope: Scope::Everyone,
                sender: Sender::Shop,
                event,
                version: None,
                now: at,
            })
        });
        match try_join_all(words).await?.iter().find(|it| !matches!(it, Received::Changed(..))) {
            Some(heard) => bail!("{event:?} was not heard: {heard:?}"),
            None => Ok(()),
        }
    }

    /// Carries orders from their creation to the customer's hands.
    async fn live(&mut self, customers: &[String], at: At) -> Result<()> {
        let born: Vec<_> =
            self.accept(customers, at).await?.into_iter().filter_map(|admitted| admitted.order).collect();
        for stage in [Stage::Authorize, Stage::Offer] {
            let held = take(&mut self.claims, stage, born.len()).await?;
            self.commit(held, at).await?;
        }
        let ids = || born.iter().map(|order| order.id);
        self.receive(ids(), Event::Made, at).await?;
        let held = take(&mut self.claims, Stage::Capture, born.len()).await?;
        self.commit(held, at).await?;
        self.receive(ids(), Event::Collected, at).await
    }

    /// Carries a quarter of the orders to each of the places where one may wait.
    async fn begin(&mut self, customers: &[String], at: At) -> Result<()> {
        let quarter = customers.len() / 4;
        self.accept(customers, at).await?;
        let mut held = take(&mut self.claims, Stage::Authorize, customers.len()).await?;
        self.put_off(held.drain(..quarter), at).await?;
        let left = held.len();
        self.commit(held, at).await?;
        let mut held = take(&mut self.claims, Stage::Offer, left).await?;
        self.put_off(held.drain(..quarter), at).await?;
        let made: Vec<_> = held.iter().take(quarter).map(|claim| claim.order().id).collect();
        self.commit(held, at).await?;
        self.receive(made, Event::Made, at).await
    }

    /// Makes the history order by order.
    async fn make(&mut self, history: &History) -> Result<()> {
        let bar = ProgressBar::new(history.orders());
        for orders in history.batches(BATCH as usize) {
            let customers: Vec<_> = orders.clone().map(|order| history.customer_of(order)).collect();
            match history.is_ongoing(orders.start) {
                false => self.live(&customers, history.born(orders.start)).await?,
                true => self.begin(&customers, history.born(orders.start)).await?,
            }
            bar.set_position(orders.end);
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn list(&self, customers: &[String]) -> Result<()> {
        let since = now() - chrono::Duration::minutes(15);
        let lists = customers
            .iter()
            .map(|customer| self.store.present(PARTNER, CustomerId(customer.clone()), None, since, now()));
        for list in futures_util::future::join_all(lists).await {
            let list = list.map_err(|fault| eyre!("no list: {fault:?}"))?;
            if list.ongoing.len() != 1 {
                bail!("{} orders are ongoing, not the one that was just accepted", list.ongoing.len());
            }
        }
        Ok(())
    }

    /// The same work for every store, measured part by part. The first orders are handed over in memory, and the next ones
    /// meet a full queue there: they wait to be claimed.
    async fn round(&mut self, strangers: &[String], regulars: &[String]) -> Result<[Duration; PARTS.len()]> {
        let mut took = [Duration::ZERO; PARTS.len()];
        let of = |began: Instant| began.elapsed() / BATCH as u32;

        let began = Instant::now();
        self.accept(strangers, now()).await?;
        took[0] = of(began);
        let began = Instant::now();
        self.accept(regulars, now()).await?;
        took[1] = of(began);
        let began = Instant::now();
        let claimed = self.store.claim(Stage::Authorize, BATCH as i64, now()).await?;
        took[2] = of(began);
        if claimed.len() != regulars.len()
            || claimed.iter().any(|claim| !regulars.contains(&claim.order().customer_id.0))
        {
            bail!("{} orders were claimed, not those that were not handed over", claimed.len());
        }
        let handed_over = take(&mut self.claims, Stage::Authorize, strangers.len()).await?;
        let began = Instant::now();
        self.commit(handed_over, now()).await?;
        took[3] = of(began);
        let began = Instant::now();
        self.commit(claimed, now()).await?;
        took[4] = of(began);
        let began = Instant::now();
        self.list(strangers).await?;
        took[5] = of(began);
        let began = Instant::now();
        self.list(regulars).await?;
        took[6] = of(began);
        // Nobody offers them to their shop: the next round finds empty queues.
        self.claims.0.iter_mut().for_each(|(_, queue)| while queue.try_recv().is_ok() {});
        Ok(took)
    }
}

const PARTS: [&str; 7] = [
    "accept, new customer, handed over",
    "accept, customer with history",
    "claim",
    "commit a result, handed over",
    "commit a result, claimed",
    "list, new customer",
    "list, customer with history",
];

fn main() -> Result<()> {
    let cli = Cli::parse();
    let is_full = std::env::var("LUNGO_BENCH").is_ok_and(|kind| kind == "full");
    let finished = cli.finished.unwrap_or(if is_full { 1_000_000 } else { 200_000 });
    let history = History::of(finished, cli.ongoing, cli.warming + ROUNDS);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match cli.engine {
            Engine::Sqlite => {
                let directory = || tempfile::tempdir_in(&cli.data).map(Home::Directory);
                let mut old = Alone::open(directory()?).await?;
                old.make(&history).await?;
                let empty = Alone::open(directory()?).await?;
                measure(empty, Alone::open(old.home).await?, &history).await
            }
            Engine::Postgres => {
                let cluster = Cluster::start_with(0, SETTINGS);
                let [empty, old] = [cluster.fresh_database(), cluster.fresh_database()];
                let mut first = Alone::open(Home::Database(old.clone())).await?;
                let named = |kind: &str| (0..TEMPLATES).map(|number| format!("{kind}-{number}")).collect::<Vec<_>>();
                first.live(&named("finished"), history.born(0)).await?;
                first.begin(&named("ongoing"), now()).await?;
                multiplied::multiply(&cluster, &old, &history)?;
                let empty = Alone::open(Home::Database(empty)).await?;
                measure(empty, Alone::open(first.home).await?, &history).await?;
                if cli.stay {
                    println!("{}", old.primary);
                    std::io::stdin().read_line(&mut String::new())?;
                }
                Ok(())
            }
        }
    })
}

/// The same work in both stores, in turns.
async fn measure(mut empty: Alone, mut old: Alone, history: &History) -> Result<()> {
    let History { finished, ongoing, customers, rounds, .. } = history;
    let gigabytes = old.bytes()? as f64 / 1e9;
    println!(
        "{}; {finished} finished orders and {ongoing} ongoing ones of {customers} customers, {gigabytes:.1} GB",
        Machine::here()
    );
    let regulars = history.regulars(rounds * BATCH);
    let mut took: [[Vec<Duration>; PARTS.len()]; 2] = Default::default();
    for (round, regulars) in regulars.chunks(BATCH as usize).enumerate() {
        // Their names are among those of the others.
        let beside = |_| format!("{}-{round}", customer(rand::random_range(0..*customers)));
        let mut strangers: Vec<_> = (0..BATCH).map(beside).collect();
        strangers.iter_mut().enumerate().for_each(|(number, name)| name.push_str(&format!("-{number}")));
        for (store, took) in [&mut empty, &mut old].into_iter().zip(&mut took) {
            let measured = store.round(&strangers, regulars).await?;
            if round as u64 + ROUNDS >= *rounds {
                took.iter_mut().zip(measured).for_each(|(took, one)| took.push(one));
            }
        }
    }
    println!("{:<34} {:>9} {:>13} {:>7}", "median of one, in batches of 128", "empty µs", "with them µs", "ratio");
    let [without, with] = took;
    for (name, (without, with)) in PARTS.into_iter().zip(without.into_iter().zip(with)) {
        let (without, with) = (median(without), median(with));
        println!("{name:<34} {without:>9.1} {with:>13.1} {:>7.2}", with / without);
    }
    Ok(())
}

/// In microseconds.
fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e6
}
