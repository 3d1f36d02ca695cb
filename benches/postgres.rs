#[path = "support/sending.rs"]
mod sending;
#[path = "../tests/support/postgres.rs"]
mod servers;

use clap::Parser;
use color_eyre::eyre::Result;
use lungo::load::plan::Arrivals;
use lungo::load::report::Machine;
use lungo::load::run_plan;
use lungo::load::server::{Server, Setup};
use sending::{plan, useful};
use servers::{Cluster, Node};
use std::time::Duration;

#[derive(Parser)]
struct Cli {
    #[arg(long, default_value_t = 20_000)]
    orders: u64,
    #[arg(long, default_value_t = 0)]
    replicas: usize,
    #[arg(long, default_value = "64")]
    connections: Vec<usize>,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    println!("{}", Machine::here());
    let cluster = Cluster::start_with(cli.replicas, "shared_preload_libraries = 'pg_stat_statements'\nmax_wal_size = '4GB'\n");
    if std::env::var("EXTRA").is_ok() { for line in std::env::var("EXTRA")?.split(';') { let (a,b)=line.split_once('=').unwrap(); cluster.set(Node::Primary, a, b); } }
    cluster.psql(Node::Primary, "CREATE EXTENSION pg_stat_statements");
    for connections in cli.connections {
        let database = cluster.fresh_database();
        let mut flags = vec![format!("--database={}", database.primary)];
        flags.extend(database.replicas.iter().map(|url| format!("--replica={url}")));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start(None, Setup { flags: &flags, ..Setup::default() })?;
        let orders = if connections == 1 { cli.orders / 10 } else { cli.orders };
        let before = cpu();
        let report = useful(run_plan(plan(connections, orders, Arrivals::WhenAnswered)?, Duration::from_secs(60), &server)?.report)?;
        println!("{connections}: {:.0} accepted/s {:.0} completed/s {} generator {:.2}", report.accepted_per_s, report.completed_per_s, report.acceptance_ms, report.generator_core_share);
        let after = cpu();
        for (name, ticks) in after { let d = ticks - before.get(&name).copied().unwrap_or(0.0); if d * 1e6 / orders as f64 > 1.0 { print!("{name} {:.0}, ", d * 1e6 / orders as f64); } }
        println!();
        println!("{}", cluster.psql(Node::Primary, &format!("SELECT calls, round(total_exec_time::numeric) ms, round((total_exec_time*1000/{orders})::numeric,1) us_per_order, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 150) FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 22")));
        cluster.psql(Node::Primary, "SELECT pg_stat_statements_reset()");
    }
    if std::env::var("HOLD").is_ok() { println!("{}", cluster.primary_url()); std::thread::sleep(Duration::from_secs(std::env::var("HOLD")?.parse()?)); }
    Ok(())
}

fn cpu() -> std::collections::BTreeMap<String, f64> {
    let mut all = std::collections::BTreeMap::new();
    let mut add = |path: std::path::PathBuf, prefix: &str| {
        let stat = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        let ns: f64 = stat.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        *all.entry(format!("{prefix}{name}")).or_insert(0.0) += ns / 1e9;
    };
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() { add(task.path(), ""); }
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let first = command.split(['\0', ':']).next().unwrap_or("").to_owned();
        if command.contains("lungo-pg") || first == "postgres" {
            let what = command.replace('\0', " ");
            let what: String = what.split_whitespace().skip(1).take(1).collect();
            add(process.path(), &format!("pg {} ", if what.starts_with('-') { "master" } else { &what }));
        }
    }
    all
}
