//! The service on PostgreSQL, all of it on this machine: `cargo bench --bench postgres` (20,000 orders a measurement;
//! `-- --orders N` for another number).
//!
//! - *one instance*: orders over HTTP at several numbers of connections, without replicas, and at the usual number with
//!   two of them; and what an order took of the processor's time, by who took it;
//! - *two instances* on one database, next to one that is measured in the same way: they share the cores, so that they
//!   can hardly be faster, but must not be slower; and how often one of their transactions waited for another's lock;
//! - *lists*: getOngoingOrders from a replica, and `pgbench` with the same statement, as the replica's log has it.
//!
//! Commits wait for the disk (`synchronous_commit = on`), and the servers are those of the tests.

#[path = "support/sending.rs"]
mod sending;
#[path = "../tests/support/postgres.rs"]
mod servers;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use eyre::{Result, bail, eyre};
use hyper::Uri;
use lungo::load::client::{Connection, Target};
use lungo::load::plan::Arrivals;
use lungo::load::report::{Machine, Report};
use lungo::load::server::{Server, Setup};
use lungo::load::{run_plan, send_only};
use sending::{USUAL, on_one_thread, plan, read_lists, useful};
use servers::{Cluster, Database, Node, ask, programs};

const CONNECTIONS: [usize; 4] = [1, 16, USUAL, 256];
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Customers whose lists are read.
const LISTED: u64 = 2_000;
/// A server that is not alone in the world: room for its pages, checkpoints that come by the clock, and pages that are
/// compressed when they go into the log as a whole.
const SETTINGS: &str = "shared_buffers = '512MB'\nmax_wal_size = '4GB'\nwal_compression = 'lz4'\n\
    deadlock_timeout = '10ms'\nlog_lock_waits = on\n";

#[derive(Parser)]
struct Cli {
    /// Orders of each measurement; a tenth of it over a single connection
    #[arg(long, default_value_t = 20_000)]
    orders: u64,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let Cli { orders, .. } = Cli::parse();
    println!("{}, {orders} orders", Machine::here());
    let alone = Cluster::start_with(0, SETTINGS);
    println!(
        "{:>11}  {:>10} {:>11} {:>8} {:>8} {:>8}   processor time of an order, in microseconds",
        "connections", "accepted/s", "completed/s", "p50 ms", "p99 ms", "p99.9 ms"
    );
    for connections in CONNECTIONS {
        let orders = if connections == 1 { (orders / 10).max(100) } else { orders };
        one_instance(&alone, connections, orders)?;
    }
    two_instances(&alone, orders)?;
    drop(alone);
    let replicated = Cluster::start_with(2, SETTINGS);
    println!("with two replicas:");
    one_instance(&replicated, USUAL, orders)?;
    lists(&replicated, orders)
}

fn flags(database: &Database) -> Vec<String> {
    let replicas = database.replicas.iter().map(|url| format!("--replica={url}"));
    [format!("--database={}", database.primary)].into_iter().chain(replicas).collect()
}

fn start(flags: &[String]) -> Result<Server> {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Server::start(None, Setup { flags: &flags, ..Setup::default() })
}

fn one_instance(cluster: &Cluster, connections: usize, orders: u64) -> Result<()> {
    let server = start(&flags(&cluster.fresh_database()))?;
    let before = processor_times(cluster);
    let run = run_plan(plan(connections, orders, Arrivals::WhenAnswered)?, PATIENCE, &server)?;
    let took = processor_times(cluster);
    let Report { accepted_per_s, completed_per_s, acceptance_ms, .. } = useful(run.report)?;
    print!(
        "{connections:>11}  {accepted_per_s:>10.0} {completed_per_s:>11.0} {:>8.1} {:>8.1} {:>8.1}  ",
        acceptance_ms.p50, acceptance_ms.p99, acceptance_ms.p999
    );
    for (who, ended) in took {
        let micros = (ended - before.get(&who).copied().unwrap_or_default()) * 1e6 / orders as f64;
        if micros >= 1.0 {
            print!(" {who} {micros:.0}");
        }
    }
    println!();
    Ok(())
}

/// Completed orders a second of one instance and of two, each with half of the connections.
fn two_instances(cluster: &Cluster, orders: u64) -> Result<()> {
    let mut rates = Vec::new();
    let mut waits = 0;
    for instances in 1..=2 {
        let database = cluster.fresh_database();
        let flags = flags(&database);
        let first = start(&flags)?;
        let texts: Vec<&str> = flags.iter().map(String::as_str).collect();
        let more = (1..instances).map(|_| first.beside(Setup { flags: &texts, ..Setup::default() }));
        let more = more.collect::<Result<Vec<_>>>()?;
        let targets: Vec<&Target> = [&first].into_iter().chain(&more).map(|server| &server.target).collect();
        let waited = lock_waits(cluster);
        let began = Instant::now();
        thread::scope(|scope| -> Result<()> {
            let share = |target| {
                let plan = plan(USUAL / targets.len(), orders / targets.len() as u64, Arrivals::WhenAnswered)?;
                let (sent, ..) = send_only(plan, target)?;
                if sent.errors.is_empty() { Ok(()) } else { Err(eyre!("not all was accepted: {:?}", sent.errors)) }
            };
            let sending: Vec<_> = targets.iter().map(|target| scope.spawn(move || share(target))).collect();
            sending.into_iter().try_for_each(|one| one.join().map_err(|_| eyre!("it panicked"))?)
        })?;
        let waiting = "SELECT count(*) FROM orders WHERE status IN ('new', 'awaiting_shop')";
        while ask(&database.primary, waiting).map_err(|fault| eyre!(fault))? != "0" {
            if began.elapsed() > 10 * PATIENCE {
                bail!("orders are never accepted by their shop");
            }
            thread::sleep(LOOK);
        }
        rates.push(orders as f64 / began.elapsed().as_secs_f64());
        waits = lock_waits(cluster) - waited;
    }
    println!(
        "two instances: {:.0} completed/s, one: {:.0}, ratio {:.2}; {waits} waits of 10 ms or more for a lock between the two",
        rates[1],
        rates[0],
        rates[1] / rates[0]
    );
    Ok(())
}

/// How often a transaction has waited for a lock for longer than `deadlock_timeout`.
fn lock_waits(cluster: &Cluster) -> usize {
    cluster.log(Node::Primary).matches("still waiting for").count()
}

/// Lists from replicas, and what pgbench makes of the same statement on one of them.
fn lists(cluster: &Cluster, lists: u64) -> Result<()> {
    let database = cluster.fresh_database();
    let server = start(&flags(&database))?;
    let plan = plan(USUAL, LISTED, Arrivals::WhenAnswered)?;
    let uris: Arc<[Uri]> = (0..LISTED)
        .map(|number| format!("/v1/orders/ongoing?customer_id={}", plan.customer(number)).parse())
        .collect::<Result<_, _>>()?;
    let name = plan.customer(0);
    let (sending, ..) = send_only(plan, &server.target)?;
    if sending.accepted.len() as u64 != LISTED {
        bail!("the customers' orders were not accepted: {:?}", sending.errors);
    }
    // Who has just written is shown the primary until the replicas have that.
    thread::sleep(Duration::from_secs(2));
    for replica in 0..2 {
        cluster.set(Node::Replica(replica), "log_min_duration_statement", "0");
    }
    thread::sleep(Duration::from_secs(1));
    let from_replicas = on_one_thread(async {
        let mut connection = Connection::new(server.target.clone());
        let mut from_replicas = 0;
        for uri in &uris[..100] {
            let answer = connection.get(uri).await.map_err(|silence| eyre!("no answer: {silence:?}"))?;
            let list: serde_json::Value = serde_json::from_slice(&answer.body)?;
            from_replicas += usize::from(list["source"] == "replica");
        }
        Ok(from_replicas)
    })?;
    let statement = statement(&(cluster.log(Node::Replica(0)) + &cluster.log(Node::Replica(1))), &name)?;
    for replica in 0..2 {
        cluster.set(Node::Replica(replica), "log_min_duration_statement", "-1");
    }
    let (service, service_ms, _) = read_lists(&uris, &server.target, lists)?;
    drop(server);
    let script = tempfile::NamedTempFile::new()?;
    fs::write(script.path(), format!("\\set n random(0, {})\n{statement};\n", LISTED - 1))?;
    let best = [16, USUAL].into_iter().map(|clients| pgbench(&database.replicas[0], script.path(), clients));
    let best = best.collect::<Result<Vec<_>>>()?.into_iter().fold(0.0, f64::max);
    println!(
        "getOngoingOrders, {USUAL} connections, {from_replicas} % from replicas: {service:.0}/s ({service_ms}); pgbench -M prepared with the same \
         statement {best:.0}/s; {:.1} % of it",
        service / best * 100.0
    );
    Ok(())
}

/// The statement of lists, as a server has logged it, for one of the customers that are numbered as the one of this
/// name is: without the arrays, which nobody needs who asks about one.
fn statement(log: &str, name: &str) -> Result<String> {
    const ARRAYS: &str = "unnest($1, $2, $3) WITH ORDINALITY AS c (partner, name, since, place)";
    let logged = log.rsplit_once("SELECT c.place, listed.*").ok_or_else(|| eyre!("no list was logged"))?.1;
    let (text, rest) = logged.split_once("DETAIL:").ok_or_else(|| eyre!("no values were logged"))?;
    let text = text.rsplit_once('\n').map_or(text, |(text, _)| text);
    let values = rest.lines().next().and_then(|line| line.split_once("arameters: ")).ok_or_else(|| eyre!("{rest}"))?.1;
    let values: Vec<&str> =
        values.split('\'').skip(1).step_by(2).map(|array| array.trim_matches(['{', '}', '"'])).collect();
    let [partner, customer, since] = values[..] else { bail!("these are not the values of a list: {values:?}") };
    if !text.contains(ARRAYS) || !customer.starts_with(name.trim_end_matches(|digit: char| digit.is_ascii_digit())) {
        bail!("this is not the statement of lists: {text}");
    }
    let prefix = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let one = format!(
        "(VALUES ('{partner}'::uuid, '{prefix}' || :n, '{since}'::timestamptz, 1)) AS c (partner, name, since, place)"
    );
    Ok(format!("SELECT c.place, listed.*{}", text.replace(ARRAYS, &one)))
}

/// Transactions a second.
fn pgbench(url: &str, script: &Path, clients: usize) -> Result<f64> {
    let clients = clients.to_string();
    let output = Command::new(programs().join("pgbench"))
        .args(["-n", "-M", "prepared", "-T", "6", "-c", &clients, "-f"])
        .arg(script)
        .arg(url)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.ok_or_else(|| eyre!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Processor time in seconds that everybody has had so far: the threads of this process by what they are called, and the
/// processes of the servers.
fn processor_times(cluster: &Cluster) -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    let mut add = |of: &Path, who: &str| {
        let nanos = fs::read_to_string(of.join("schedstat")).ok().and_then(|text| text.split(' ').next()?.parse().ok());
        *times.entry(who.to_owned()).or_insert(0.0) += nanos.unwrap_or(0.0) / 1e9;
    };
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let who = match name.trim().trim_end_matches(|digit: char| digit.is_ascii_digit() || digit == '-') {
            "lane" => "lanes",
            "tokio-rt-worker" => "workers",
            name if name.starts_with("actix") => "http",
            name if name.starts_with("postgres") => "generator",
            _ => "others",
        };
        add(&task.path(), who);
    }
    for process in cluster.processes() {
        add(&Path::new("/proc").join(process.to_string()), "PostgreSQL");
    }
    times
}
