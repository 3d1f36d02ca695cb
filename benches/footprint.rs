//! What the service takes of a machine: `cargo bench --bench footprint` (50,000 orders; 1,000,000 with
//! `LUNGO_BENCH=full`, which takes a quarter of an hour; `-- --orders N --rate R` for others).
//!
//! The service runs as it is installed, as a process of its own, with the simulated bank's ledger and the shops' journal
//! in files, at the fast pace: an order is handed over some seconds after it was placed. Orders come by the clock, in
//! five parts; printed is the resident memory before, after each part, and once all are handed over, and then how much
//! of a core the service takes with nothing to do. The simulators' own memory is part of it.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::Parser;
use eyre::{Result, bail, eyre};
use lungo::load::client::{Target, loopback};
use lungo::load::report::Machine;
use lungo::load::server::make_room;
use lungo::load::{LoadArgs, run};

/// Goal, in MB, for what is resident in the end.
const MOST_MB: f64 = 150.0;
/// Goal for the share of a core that doing nothing takes.
const MOST_IDLE: f64 = 0.01;
/// How long doing nothing is watched.
const IDLE: Duration = Duration::from_secs(20);
/// Looks at the memory while orders come.
const PARTS: u64 = 5;
/// Ticks a second in `/proc/*/stat`: the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

#[derive(Parser)]
struct Cli {
    #[arg(long)]
    orders: Option<u64>,
    /// Orders a second
    #[arg(long, default_value_t = 1_500)]
    rate: u32,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Parser)]
struct Load {
    #[command(flatten)]
    args: LoadArgs,
}

/// The service, ended when it is dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    fn start(data: &Path) -> Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_lungo"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--pace",
                "fast",
                "--partner-rate",
                "1000000",
                "--log",
                "warn",
                "--data",
            ])
            .arg(data)
            // The simulated bank takes its time: at this rate it has to be asked many things at once.
            .args(["--authorize-limit", "4096", "--offer-limit", "4096", "--capture-limit", "4096"])
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// What `/proc` says of this process.
    fn proc(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.0.id()))?)
    }

    fn resident_mb(&self) -> Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(|| eyre!("no VmRSS"))?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1000.0)
    }

    /// Seconds of processor time so far.
    fn cpu_s(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        let (_, after_name) = stat.rsplit_once(')').ok_or_else(|| eyre!("another form of stat"))?;
        let mut fields = after_name.split_whitespace().skip(11);
        let mut ticks = || -> Result<f64> { Ok(fields.next().unwrap_or_default().parse()?) };
        Ok((ticks()? + ticks()?) / TICKS)
    }
}

/// The variables that the first start writes.
fn variables(data: &Path) -> Result<impl Fn(&str) -> Result<String>> {
    let until = Instant::now() + Duration::from_secs(10);
    let text = loop {
        match fs::read_to_string(data.join("demo.env")) {
            Ok(text) if text.ends_with('\n') => break text,
            _ if Instant::now() > until => bail!("the service did not start"),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    };
    Ok(move |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(str::to_owned).ok_or_else(|| eyre!("demo.env holds no {name}"))
    })
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let is_full = std::env::var("LUNGO_BENCH").is_ok_and(|kind| kind == "full");
    let orders = cli.orders.unwrap_or(if is_full { 1_000_000 } else { 50_000 });
    let directory = tempfile::tempdir()?;
    let service = Service::start(directory.path())?;
    let variable = variables(directory.path())?;
    thread::sleep(Duration::from_secs(1));
    println!(
        "{}, {orders} orders at {} a second\nat the start: {:.0} MB",
        Machine::here(),
        cli.rate,
        service.resident_mb()?
    );

    let (url, key) = (variable("LUNGO_URL")?, variable("LUNGO_PARTNER_KEY")?);
    on_one_thread(make_room(Target::new(
        loopback(&url).map_err(|fault| eyre!(fault))?,
        &variable("LUNGO_ADMIN_KEY")?,
    )?))?;
    let (part, rate) = ((orders / PARTS).max(1).to_string(), cli.rate.to_string());
    let flags = ["load", "--url", &url, "--partner-key", &key, "--orders", &part, "--rate", &rate, "--mix", "visa=1"];
    let load = Load::try_parse_from(flags.iter().chain(&["--within", "2h"]))?.args;
    let mut most = 0.0_f64;
    for part in 1..=PARTS {
        let report = run(&load)?;
        if !report.is_sound() || !report.errors.is_empty() {
            bail!("these figures are of no use:\n{report}");
        }
        let busy = service.resident_mb()?;
        most = most.max(busy);
        println!("{} accepted by their shop: {busy:.0} MB", part * load.orders);
    }
    // Simulated baristas work on for a while.
    thread::sleep(Duration::from_secs(30));
    let before = service.cpu_s()?;
    thread::sleep(IDLE);
    let idle = (service.cpu_s()? - before) / IDLE.as_secs_f64();
    let rests = service.resident_mb()?;
    println!("with nothing to do: {rests:.0} MB, {:.2} % of a core\n", idle * 100.0);

    let goals = [
        (most.max(rests) < MOST_MB, format!("resident memory stays below {MOST_MB:.0} MB")),
        (idle < MOST_IDLE, format!("doing nothing takes less than {:.0} % of a core", MOST_IDLE * 100.0)),
    ];
    for (is_met, what) in &goals {
        println!("goal {}: {what}", if *is_met { "met   " } else { "MISSED" });
    }
    Ok(if goals.iter().all(|(is_met, _)| *is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
