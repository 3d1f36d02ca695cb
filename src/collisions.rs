//! `lungo collisions`: replays the crash that orders the second coffee, over real HTTP, against four designs.
//!
//! A customer wants one coffee. The app lists the ongoing orders, sees none, orders, and crashes at a random time
//! after that, before or after the answer. It restarts after a random time, lists again and, if it sees nothing, orders
//! again, with a new key: it lost everything. What a crashed app had sent arrives all the same. Every design meets the
//! same customers with the same fates; what differs is the service:
//!
//! - *waiting*: an order exists once payment and shop have taken it, and only then the creation is answered;
//! - *at once*: an order exists, in `new`, as soon as its creation is answered;
//! - *position*: the same, and the app keeps the position of its last answer across the crash;
//! - *admission*: at once, nothing kept, and admission on the primary. The service as it is.
//!
//! Coffees are counted in the database, not by what the apps believe. Admission is switched off by a rule of the store
//! that no setting reaches, in servers that are started here, on temporary databases.

pub mod app;
mod barista;
mod naive;
mod report;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use eyre::Result;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;
use strum::{EnumCount, IntoStaticStr, VariantArray};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::catalogue::demo::LUNGO_CENTRAL;
use crate::config::{Pace, Span};
use crate::load::feed::{Life, Reader};
use crate::load::on_one_thread;
use crate::load::report::Machine;
use crate::load::server::{Server, Setup};
use crate::terminal::{self, say};
use app::{App, Fate};
use report::Report;

/// How long the simulated bank takes on average; the rest of an order's creation is the shop's.
const BANK: Duration = Duration::from_millis(175);

/// The options of `lungo collisions`.
#[derive(Args, Clone, Debug)]
pub struct CollisionsArgs {
    /// Customers, in each design and under each condition
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=5_000), value_name = "COUNT")]
    pub clients: u64,

    /// Customers of one design that come in a second: so few that nothing but what is measured keeps them waiting
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "COUNT")]
    pub rate: u32,

    /// Decides when each app starts, crashes and restarts
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,

    /// How old a replica's list may be, one after the other
    #[arg(long, value_delimiter = ',', default_value = "0s,500ms,1s,2s,4s", value_name = "TIMES")]
    pub lags: Vec<Span>,

    /// How long payment and shop take together, on average, one after the other
    #[arg(long, value_delimiter = ',', default_value = "250ms,500ms,1s,2s,4s", value_name = "TIMES")]
    pub creations: Vec<Span>,

    /// The replica's lag while the time of creation varies
    #[arg(long, default_value = "1s", value_name = "TIME")]
    pub lag: Span,

    /// The time of creation while the replica's lag varies
    #[arg(long, default_value = "1s", value_name = "TIME")]
    pub creation: Span,

    /// An app crashes at any time up to this after it ordered
    #[arg(long, default_value = "1s", value_name = "TIME")]
    pub crash: Span,

    /// … and is opened again at any time from 200 ms up to this after the crash
    #[arg(long, default_value = "3s", value_name = "TIME")]
    pub restart: Span,

    /// Where the temporary databases are made
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Draw the share of second coffees as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Print machine-readable JSON
    #[arg(long)]
    pub json: bool,

    /// What is logged, of the servers too
    #[arg(long, default_value = "error", value_name = "FILTER")]
    pub log: String,
}

/// What stands between a crash and the second coffee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, VariantArray, IntoStaticStr, EnumCount)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Design {
    Waiting,
    AtOnce,
    Position,
    Admission,
}

/// What surrounds the apps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// How old a replica's list may be; none is read if it is zero.
    pub lag: Duration,
    /// How long payment and shop take together, on average.
    pub creation: Duration,
}

/// What became of the customers of one design under one condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Count {
    pub customers: usize,
    /// Orders beyond the first of each.
    pub second_coffees: usize,
    /// Customers without any order.
    pub without: usize,
}

/// The counts of all designs under one condition.
#[derive(Clone, Debug)]
pub struct Found {
    pub condition: Condition,
    /// How long payment and shop really took, in the middle, where nothing was refused.
    pub took: Duration,
    /// In the order of [`Design::VARIANTS`].
    pub counts: [Count; Design::COUNT],
}

/// Runs the experiment and prints it. The exit code says whether the service as it is gave everybody one coffee.
///
/// # Errors
/// When it could not be run to its end.
pub fn collisions(args: &CollisionsArgs) -> Result<ExitCode> {
    let report = run(args)?;
    if let Some(file) = &args.plot {
        fs::write(file, report.figure().svg()?)?;
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        terminal::print(format_args!("{report}"))?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets every design meet the same customers under every condition.
///
/// # Errors
/// When a server does not start, or its database cannot be read.
pub fn run(args: &CollisionsArgs) -> Result<Report> {
    let lags: Vec<Condition> =
        args.lags.iter().map(|lag| Condition { lag: lag.0, creation: args.creation.0 }).collect();
    let creations: Vec<Condition> =
        args.creations.iter().map(|creation| Condition { lag: args.lag.0, creation: creation.0 }).collect();
    let mut all: Vec<Found> = Vec::new();
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} conditions, {elapsed}");
    let bar = ProgressBar::new((lags.len() + creations.len()) as u64).with_style(style.expect("the template is valid"));
    let bar = bar.with_finish(ProgressFinish::AndClear);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut sweep = |conditions: Vec<Condition>| -> Result<Vec<Found>> {
        let mut swept = Vec::new();
        for condition in conditions {
            let found = match all.iter().find(|found| found.condition == condition) {
                Some(found) => found.clone(),
                None => under(args, condition)?,
            };
            all.push(found.clone());
            swept.push(found);
            bar.inc(1);
        }
        Ok(swept)
    };
    let (over_lag, over_creation) = (sweep(lags)?, sweep(creations)?);
    Ok(Report { machine: Machine::here(), clients: args.clients, seed: args.seed, over_lag, over_creation })
}

fn under(args: &CollisionsArgs, condition: Condition) -> Result<Found> {
    let setup =
        Setup { pace: Pace::Fast, replica_lag: Some(condition.lag).filter(|lag| !lag.is_zero()), ..Setup::default() };
    let guarded = Server::start(args.data.as_deref(), setup)?;
    let unguarded = Server::start(args.data.as_deref(), Setup { refuse_similar: false, ..setup })?;
    on_one_thread(async {
        let takes = condition.creation.saturating_sub(BANK);
        let start = Duration::from_secs_f64(args.clients as f64 / f64::from(args.rate));
        for server in [&guarded, &unguarded] {
            server.make_room().await?;
        }
        barista::run(&guarded, takes, args.seed)?;
        let taken = barista::run(&unguarded, takes, args.seed)?;
        let waiting = unguarded.target.at(naive::serve(&unguarded.target, taken).await?);

        let mut apps = JoinSet::new();
        for design in Design::VARIANTS {
            let target = match design {
                Design::Waiting => &waiting,
                Design::AtOnce | Design::Position => &unguarded.target,
                Design::Admission => &guarded.target,
            };
            for client in 0..args.clients {
                let seed = args.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ client;
                let app = App {
                    target: target.clone(),
                    customer: customer(*design, client),
                    fate: Fate::draw(seed, start, args.crash.0, args.restart.0),
                    keeps_position: *design == Design::Position,
                    shop: LUNGO_CENTRAL.to_string(),
                };
                apps.spawn(app.run());
            }
        }
        while let Some(ended) = apps.join_next().await {
            ended.expect("an app does not panic");
        }

        let mut coffees: HashMap<String, usize> = HashMap::new();
        for server in [&guarded, &unguarded] {
            let (orders, _) = server.books().await?;
            orders.into_iter().for_each(|order| *coffees.entry(order.customer_id.0).or_default() += 1);
        }
        let count = |design: Design| {
            let of = (0..args.clients).map(|client| coffees.get(&customer(design, client)).copied().unwrap_or(0));
            of.fold(Count::default(), |count, coffees| Count {
                customers: count.customers + 1,
                second_coffees: count.second_coffees + coffees.saturating_sub(1),
                without: count.without + usize::from(coffees == 0),
            })
        };
        let took = creation_time(&unguarded).await?;
        Ok(Found { condition, took, counts: std::array::from_fn(|i| count(Design::VARIANTS[i])) })
    })
}

/// The median from an order's creation to the shop's acceptance.
async fn creation_time(server: &Server) -> Result<Duration> {
    let mut lives: HashMap<Uuid, Life> = HashMap::new();
    Reader::new(&server.target).read_all(|event| lives.entry(event.order_id).or_default().add(&event)).await?;
    let mut took: Vec<_> = lives.values().filter_map(|life| life.until_acceptance()?.to_std().ok()).collect();
    took.sort();
    Ok(took.get(took.len() / 2).copied().unwrap_or_default())
}

fn customer(design: Design, client: u64) -> String {
    format!("{}-{client}", <&str>::from(design))
}

impl Found {
    pub fn of(&self, design: Design) -> Count {
        self.counts[design as usize]
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn args(flags: &[&str]) -> std::result::Result<CollisionsArgs, clap::Error> {
        let command = CollisionsArgs::augment_args(clap::Command::new("collisions")).no_binary_name(true);
        CollisionsArgs::from_arg_matches(&command.try_get_matches_from(flags)?)
    }

    #[test]
    fn without_admission_there_are_second_coffees_and_with_it_none() {
        let few = ["--clients", "40", "--rate", "40", "--crash", "500ms", "--restart", "700ms"];
        let args = args(
            &[&few[..], &["--lags", "1500ms", "--creations", "1500ms", "--creation", "1500ms", "--lag", "0s"]].concat(),
        );
        let report = run(&args.unwrap()).unwrap();
        let (lagging, fresh) = (&report.over_lag[0], &report.over_creation[0]);
        for found in [lagging, fresh] {
            assert!(found.of(Design::Waiting).second_coffees > 20, "{report}");
            assert_eq!(found.of(Design::Admission).second_coffees, 0, "{report}");
            assert!(Design::VARIANTS.iter().all(|design| found.of(*design).without == 0), "{report}");
        }
        // What is in `new` at once is seen, unless the list is old and the app has lost its position.
        assert!(lagging.of(Design::AtOnce).second_coffees > lagging.of(Design::Position).second_coffees, "{report}");
        assert_eq!(fresh.of(Design::AtOnce).second_coffees, 0, "{report}");
        assert!(report.is_sound() && report.figure().svg().unwrap().contains("admission"));
    }

    #[test]
    fn a_second_coffee_of_the_service_as_it_is_would_be_reported() {
        let count = |second_coffees, without| Count { customers: 10, second_coffees, without };
        let condition = Condition { lag: Duration::ZERO, creation: Duration::from_secs(1) };
        let report = |waiting, admission| Report {
            machine: Machine::here(),
            clients: 10,
            seed: 1,
            over_lag: vec![Found {
                condition,
                took: condition.creation,
                counts: [waiting, count(0, 0), count(0, 0), admission],
            }],
            over_creation: Vec::new(),
        };
        assert!(report(count(9, 0), count(0, 0)).is_sound());
        assert!(!report(count(0, 0), count(1, 0)).is_sound());
        assert!(!report(count(0, 1), count(0, 0)).is_sound());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in [["--clients", "0"], ["--clients", "1000000"], ["--lags", "old"], ["--crash", "-1s"]] {
            assert!(args(&flags).is_err(), "{flags:?}");
        }
    }
}
