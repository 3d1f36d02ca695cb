//! `lungo load`: orders many coffees over real HTTP, measures it, and checks that none was lost or made twice.
//!
//! What the figures mean:
//! - **Acceptance** is measured from the instant at which an order *should* have been sent. With `--rate` that is
//!   the timetable's, so that an order which waits because every connection is busy counts with its wait; what a
//!   stalled server keeps from being sent is not forgotten (coordinated omission). The timetable is kept to the
//!   timer's millisecond, and that counts too.
//! - **Completion** (accepted by the shop, or failed for good) is not asked for order by order: it is read from the
//!   partner's feed. *new→accepted* lies between the instants of two events, which the server takes just before
//!   it commits them. With `--rate` one reader follows the feed meanwhile, and *sent→seen* is what an outsider sees,
//!   commits and the reader's rest of up to 20 ms included.
//! - Generator and reader run on one thread, and share the machine with the server: the report says how much of a
//!   core they took. The feed's pages are the server's work, too.
//!
//! The load goes to loopback only, and is bounded in number and in time.

pub mod client;
pub mod drive;
pub mod feed;
pub mod plan;
pub mod policies;
pub mod polling;
pub mod report;
pub mod server;
mod verify;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use clap::Args;
use eyre::Result;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use uuid::Uuid;

use crate::config::Span;
use crate::lifecycle::Status;
use crate::order::{self, ShopId};
use crate::terminal::{self, say};
use client::Target;
use drive::Sending;
use feed::{Life, Reader, Seen};
use plan::{Arrivals, Mix, Plan};
use polling::{PollEvery, Polled, Polling};
use report::{Machine, Polls, Quantiles, Report};
use server::{Server, Setup};

const NO_POLLS: Polling = Polling { most: 0, every: PollEvery::Obey };

/// Connections, where their number is not given.
const CONNECTIONS: usize = 64;

/// The options of `lungo load`. Every order is by a new customer.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// A running server on loopback, best with --pace zero; without it, one is started here on a temporary database
    #[arg(long, value_name = "URL", requires = "partner_key", value_parser = client::loopback)]
    pub url: Option<SocketAddr>,

    /// The partner's key at that server
    #[arg(long, env = "LUNGO_PARTNER_KEY", hide_env_values = true, value_name = "KEY")]
    pub partner_key: Option<String>,

    /// Start a server here, on a temporary database, with simulators that take no time (the default)
    #[arg(long, conflicts_with = "url")]
    pub serve: bool,

    /// Where the temporary database is made: a real disk, for figures that mean something
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub data: Option<PathBuf>,

    /// How many orders
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000), value_name = "COUNT")]
    pub orders: u64,

    /// Connections; without a rate, each sends its next order as soon as its last is answered [default: 64]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096), value_name = "COUNT")]
    pub connections: Option<u16>,

    /// Orders a second by the clock, whether or not the server keeps up
    #[arg(long, value_parser = rate, value_name = "PER SECOND")]
    pub rate: Option<f64>,

    /// With a rate: random arrivals, as of independent customers, instead of even ones
    #[arg(long, requires = "rate")]
    pub poisson: bool,

    /// Ask about each order, at most so many times, until it is completed
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub polls: u32,

    /// When to ask: `obey` (when the answers say) or every `1s`, `2s`, `5s`
    #[arg(long, default_value = "obey", value_name = "TIME")]
    pub poll: PollEvery,

    /// What becomes of the orders, in parts: visa, declined, flaky, slow, silent, timeout_after_charge
    #[arg(long, default_value = "visa=96,declined=4", value_name = "PARTS")]
    pub mix: Mix,

    /// The shop that is ordered from [default: the demo's first]
    #[arg(long, value_name = "UUID")]
    pub shop: Option<ShopId>,

    /// Stop sending after this time, whatever is left
    #[arg(long, default_value = "10m", value_name = "TIME")]
    pub within: Span,

    /// How long to wait for the last completions after the last answer
    #[arg(long, default_value = "1m", value_name = "TIME")]
    pub patience: Span,

    /// Print machine-readable JSON
    #[arg(long)]
    pub json: bool,

    /// What is logged, of the server too where it is started here
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=1_000_000.0).contains(&rate) { Ok(rate) } else { Err("must be between 0.1 and 1000000".into()) }
}

impl LoadArgs {
    pub fn plan(&self) -> Plan {
        let arrivals = match self.rate {
            Some(rate) => Arrivals::at_rate(rate, self.orders, self.poisson),
            None => Arrivals::WhenAnswered,
        };
        let connections = self.connections.map_or(CONNECTIONS, usize::from);
        let plan = Plan::new(self.orders, connections, arrivals, self.mix.clone(), self.within.0);
        match self.shop {
            Some(shop) => plan.at_shop(shop),
            None => plan,
        }
    }
}

/// Runs the load and prints what was measured. The exit code says whether every check holds.
///
/// # Errors
/// When the load could not be run to its end.
pub fn load(args: &LoadArgs) -> Result<ExitCode> {
    let report = run(args)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        terminal::print(format_args!("{report}"))?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the load, against a server of its own unless a URL is given.
///
/// # Errors
/// When there is no server, or its feed cannot be read.
pub fn run(args: &LoadArgs) -> Result<Report> {
    let (server, target) = match args.url {
        Some(address) => (None, Target::new(address, args.partner_key.as_deref().unwrap_or_default())?),
        None => {
            let server = Server::start(args.data.as_deref(), Setup::default())?;
            let target = server.target.clone();
            (Some(server), target)
        }
    };
    let polling = Polling { most: args.polls, every: args.poll };
    let feed = if args.rate.is_some() { Feed::Followed } else { Feed::ReadLater };
    let run = on_one_thread(measure(args.plan(), polling, args.patience.0, &target, server.as_ref(), feed))?;
    Ok(Report { rate: args.rate, ..run.report })
}

/// All that is known of one run.
pub struct Run {
    pub report: Report,
    pub sending: Sending,
    /// What the feed says of every order since the run began.
    pub lives: HashMap<Uuid, Life>,
}

/// Runs one plan against a server that was started for it, and waits for the last completions for `patience`.
///
/// # Errors
/// When the feed or the books cannot be read.
pub fn run_plan(plan: Plan, patience: Duration, server: &Server) -> Result<Run> {
    on_one_thread(measure(plan, NO_POLLS, patience, &server.target, Some(server), Feed::ReadLater))
}

/// Sends a plan to a server that only answers, without following what becomes of the orders: for measuring what
/// HTTP and this generator allow.
///
/// # Errors
/// When the generator cannot start.
pub fn send_only(plan: Plan, target: &Target) -> Result<(Sending, f64, Quantiles)> {
    on_one_thread(async {
        let sending = drive::send(&Arc::new(plan), target, NO_POLLS, &Arc::default()).await;
        let rate = sending.accepted.len() as f64 / (sending.ended - sending.started).as_secs_f64();
        let latencies = acceptance(&sending);
        Ok((sending, rate, latencies))
    })
}

pub(crate) fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// When the feed is read. That is work for the server, too: where the question is how much it can do, it waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// While orders are sent: what an outsider sees of them, and when.
    Followed,
    /// Once all of them are sent.
    ReadLater,
}

async fn measure(
    plan: Plan,
    polling: Polling,
    patience: Duration,
    target: &Target,
    server: Option<&Server>,
    feed: Feed,
) -> Result<Run> {
    let plan = Arc::new(plan);
    let start = Reader::new(target).read_all(drop).await?;
    let seen = Seen::default();
    let earlier = match server {
        Some(server) => server.books().await?.0.len(),
        None => 0,
    };
    let follow = || {
        let seen = seen.clone();
        tokio::spawn(feed::follow(Reader::at(target, start.clone()), move |events| seen.add(events)))
    };
    let is_followed = feed == Feed::Followed;
    let following = is_followed.then(follow);
    let answered = Arc::new(AtomicU64::new(0));
    let progress = tokio::spawn(show(plan.orders, answered.clone(), seen.clone()));

    let cpu_before = cpu_of_this_thread();
    let mut sending = drive::send(&plan, target, polling, &answered).await;
    let cpu = cpu_of_this_thread().saturating_sub(cpu_before);
    let until = tokio::time::Instant::now() + patience;
    let following = following.unwrap_or_else(follow);
    let polled = tokio::time::timeout_at(until, stop_polling(&mut sending)).await.unwrap_or_default();
    wait_for_completions(&sending, &seen, until).await;
    progress.abort();
    following.abort();
    if let Ok(Err(fault)) = following.await {
        return Err(fault);
    }

    let mut lives: HashMap<Uuid, Life> = HashMap::new();
    Reader::at(target, start).read_all(|event| lives.entry(event.order_id).or_default().add(&event)).await?;
    let mut checks = verify::against_feed(&sending, &lives);
    checks.push(verify::no_order_beyond(&plan, target, &sending, &lives).await?);
    if let Some(server) = server {
        let (orders, charges) = server.books().await?;
        let now = SystemTime::now().into();
        checks.extend(verify::against_books(&sending, &orders, &charges, earlier, now));
    }

    let ours: Vec<&Life> = sending.accepted.iter().filter_map(|accepted| lives.get(&accepted.order_id)).collect();
    let ended: Vec<(Status, order::Instant)> = ours.iter().filter_map(|life| life.ended).collect();
    let sending_s = (sending.ended - sending.started).as_secs_f64();
    let last_end = ended.iter().map(|(_, at)| SystemTime::from(*at)).max();
    // By the wall clock, since the server's instants are: the same clock on the same machine.
    let after_sending = last_end.and_then(|last| last.duration_since(sending.ended_at).ok()).unwrap_or_default();
    let in_time = ended.iter().filter(|(_, at)| SystemTime::from(*at) <= sending.ended_at).count();
    let map = seen.map();
    let report = Report {
        machine: Machine::here(),
        target: target.address.to_string(),
        in_process: server.is_some(),
        fsync_ms: server.map(|server| server.fsync_ms),
        connections: plan.connections,
        rate: None,
        mix: plan.mix.to_string(),
        orders: plan.orders,
        accepted: sending.accepted.len() as u64,
        errors: sending.errors.clone(),
        sending_s,
        accepted_per_s: sending.accepted.len() as f64 / sending_s,
        completed: ended.len() as u64,
        failed: ours.iter().filter(|life| life.ended.is_some() && life.until_acceptance().is_none()).count() as u64,
        completed_per_s: ended.len() as f64 / (sending_s + after_sending.as_secs_f64()),
        backlog_at_end_of_sending: (sending.accepted.len() - in_time) as u64,
        acceptance_ms: acceptance(&sending),
        new_to_accepted_ms: Quantiles::of(ours.iter().filter_map(|life| life.until_acceptance()?.to_std().ok())),
        sent_to_seen_ms: is_followed.then(|| {
            Quantiles::of(
                sending.accepted.iter().filter_map(|one| Some(map.get(&one.order_id)?.into_std() - one.intended)),
            )
        }),
        polls: (polling.most > 0).then(|| polls(&polled, &lives)),
        generator_core_share: cpu.as_secs_f64() / sending_s,
        checks,
    };
    Ok(Run { report, sending, lives })
}

fn acceptance(sending: &Sending) -> Quantiles {
    Quantiles::of(sending.accepted.iter().map(|accepted| accepted.answered - accepted.intended))
}

async fn stop_polling(sending: &mut Sending) -> Vec<Polled> {
    let mut polled = Vec::new();
    for apps in &mut sending.polling {
        while let Some(app) = apps.join_next().await {
            polled.extend(app);
        }
    }
    polled
}

async fn wait_for_completions(sending: &Sending, seen: &Seen, until: tokio::time::Instant) {
    let mut waiting = sending.accepted.iter().map(|accepted| accepted.order_id).peekable();
    while tokio::time::Instant::now() < until {
        {
            let map = seen.map();
            while waiting.next_if(|id| map.contains_key(id)).is_some() {}
        }
        if waiting.peek().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn polls(polled: &[Polled], lives: &HashMap<Uuid, Life>) -> Polls {
    let noticed_after = polled.iter().filter_map(|one| {
        let (_, at) = lives.get(&one.order_id)?.ended?;
        // The server's instants are whole milliseconds: what was noticed within the same one took no time.
        Some(one.ended_at?.duration_since(at.into()).unwrap_or_default())
    });
    Polls {
        orders: polled.len() as u64,
        per_order: polled.iter().map(|one| f64::from(one.polls)).sum::<f64>() / polled.len().max(1) as f64,
        given_up: polled.iter().filter(|one| one.ended_at.is_none()).count() as u64,
        noticed_after_ms: Quantiles::of(noticed_after),
    }
}

/// A progress bar on a terminal; nothing otherwise. It is wiped when this is dropped, so that the report stands alone.
async fn show(orders: u64, answered: Arc<AtomicU64>, seen: Seen) {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} answered{msg}, {per_sec}, {eta}");
    let bar = ProgressBar::new(orders).with_style(style.expect("the template is valid"));
    let bar = bar.with_finish(ProgressFinish::AndClear);
    loop {
        bar.set_position(answered.load(Ordering::Relaxed));
        if let seen @ 1.. = seen.map().len() {
            bar.set_message(format!(", {seen} completed"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Processor time that the calling thread has used so far; zero where it cannot be told.
fn cpu_of_this_thread() -> Duration {
    /// The kernel counts in ticks of this many a second, on every architecture that is still in use.
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    // Behind the thread's name, which may hold anything: user and system time are the 12th and 13th field.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn args(flags: &[&str]) -> std::result::Result<LoadArgs, clap::Error> {
        let command = LoadArgs::augment_args(clap::Command::new("load")).no_binary_name(true);
        LoadArgs::from_arg_matches(&command.try_get_matches_from(flags)?)
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in [
            &["--url", "http://192.0.2.1", "--partner-key", "x"][..],
            &["--url", "http://127.0.0.1:1", "--partner-key", "x", "--serve"],
            &["--poisson"],
            &["--rate", "0"],
            &["--rate", "NaN"],
            &["--orders", "0"],
            &["--mix", "gold=1"],
        ] {
            assert!(args(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn a_small_load_is_sound_and_measured() {
        for kind in [&["--connections", "4"][..], &["--rate", "100", "--poisson", "--polls", "3", "--poll", "100ms"]] {
            let flags = [&["--orders", "50", "--mix", "visa=9,declined=1"][..], kind].concat();
            let report = run(&args(&flags).unwrap()).unwrap();
            assert!(report.is_sound() && report.errors.is_empty(), "{report}");
            assert_eq!((report.accepted, report.completed), (50, 50), "{report}");
            assert!((4..=6).contains(&report.failed), "{report}");
            assert!(
                report.acceptance_ms.p50 > 0.0
                    && report.sent_to_seen_ms.is_none_or(|seen| seen.p50 >= report.acceptance_ms.p50)
            );
            if let Some(polls) = report.polls {
                assert!(polls.orders == 50 && polls.per_order >= 1.0 && polls.given_up == 0, "{polls:?}");
            }
        }
    }
}
