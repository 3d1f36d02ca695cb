//! `lungo polls`: what it is worth to come back when one is told to. The same simulated orders are each watched by
//! several apps at once, from the 202 until they are ready (or over): one obeys `next_poll_at`, the others ask at
//! fixed intervals.
//!
//! A change is noticed when an answer first shows it, or something later; its instant is the server's, on the same
//! machine. Every change of status counts, that of the payment like that of the coffee. The first orders are watched
//! by nobody: from them the service learns how long things take at the shop.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use eyre::Result;
use hyper::Uri;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{Connection, Pool};
use super::drive::located;
use super::feed::{FeedEvent, Reader};
use super::on_one_thread;
use super::plan::{Arrivals, Mix, Plan};
use super::polling::{PollEvery, Polled, Polling, poll};
use super::report::Machine;
use super::server::{Server, Setup};
use crate::config::{Pace, Span};
use crate::lifecycle::Status;
use crate::plot::{Axis, Figure, Panel, Point, Series};
use crate::terminal::{self, Refusal, say};

/// In seconds: what an app without advice would choose from.
const INTERVALS: [u64; 4] = [1, 2, 5, 10];
/// Connections that all polls share.
const CONNECTIONS: usize = 32;

/// The options of `lungo polls`.
#[derive(Args, Clone, Debug)]
pub struct PollsArgs {
    /// Orders that are watched
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=5_000), value_name = "COUNT")]
    pub orders: u64,

    /// Orders before them that nobody watches: from them the service learns how long things take
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=5_000), value_name = "COUNT")]
    pub unwatched: u64,

    /// How long it takes until all are ordered
    #[arg(long, default_value = "5m", value_name = "TIME")]
    pub over: Span,

    /// When to stop, counted from the last order: what is not ready by then is left out
    #[arg(long, default_value = "25m", value_name = "TIME")]
    pub within: Span,

    /// How fast the simulated bank and shop are
    #[arg(long, value_enum, default_value = "real")]
    pub pace: Pace,

    /// Where the temporary database is made
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// Draw polls against delay as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Print machine-readable JSON
    #[arg(long)]
    pub json: bool,

    /// What is logged, of the server too
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub machine: Machine,
    pub pace: String,
    /// Watched, and ready (or over) in time.
    pub orders: usize,
    /// Left out, because they were not.
    pub unfinished: usize,
    pub obeying: Row,
    pub fixed: Vec<Row>,
    /// What a fixed interval would need to notice as early, in the middle, as who obeys.
    pub as_early: Option<AsEarly>,
}

/// One way to poll. Delays are from a change to the answer that showed it, in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub policy: String,
    pub polls_per_order: f64,
    pub delay_p50_s: f64,
    pub delay_p90_s: f64,
    /// The median delay of the changes that led to a status.
    pub delay_p50_s_of: Vec<(Status, f64)>,
}

/// Interpolated between the two intervals that notice a little earlier and a little later.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AsEarly {
    pub interval_s: f64,
    pub polls_per_order: f64,
    /// The polls of who obeys, as a share of these.
    pub share: f64,
}

/// Runs the comparison and prints it.
///
/// # Errors
/// When it could not be run to its end.
pub fn polls(args: &PollsArgs) -> Result<ExitCode> {
    let comparison = compare(args)?;
    if let Some(file) = &args.plot {
        fs::write(file, comparison.figure().svg()?)?;
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&comparison)?)?;
    } else {
        terminal::print(format_args!("{comparison}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Has all orders watched by all apps, against a server of its own.
///
/// # Errors
/// When the server does not start, or no order was carried to its end in time.
pub fn compare(args: &PollsArgs) -> Result<Comparison> {
    let server = Server::start(args.data.as_deref(), Setup { pace: args.pace, ..Setup::default() })?;
    on_one_thread(async {
        server.make_room().await?;
        let policies: Vec<PollEvery> =
            [PollEvery::Obey].into_iter().chain(INTERVALS.map(|s| PollEvery::Fixed(Duration::from_secs(s)))).collect();
        let watched = watch(args, &server, &policies).await;
        let mut lives: HashMap<Uuid, Vec<FeedEvent>> = HashMap::new();
        Reader::new(&server.target).read_all(|event| lives.entry(event.order_id).or_default().push(event)).await?;
        let complete: Vec<_> = watched.iter().filter(|all| all.iter().all(|one| one.ended_at.is_some())).collect();
        if complete.is_empty() {
            return Err(Refusal::new("no order was ready in time", "Give it more with --within.").into());
        }
        let mut rows = (0..policies.len()).map(|i| {
            let one: Vec<_> = complete.iter().map(|all| (&all[i], &lives[&all[i].order_id][..])).collect();
            Row::of(policies[i], &one)
        });
        let obeying = rows.next().expect("the first policy is to obey");
        let fixed: Vec<Row> = rows.collect();
        Ok(Comparison {
            machine: Machine::here(),
            pace: format!("{:?}", args.pace).to_lowercase(),
            orders: complete.len(),
            unfinished: usize::try_from(args.orders).unwrap_or(usize::MAX) - complete.len(),
            as_early: AsEarly::between(&obeying, &fixed),
            obeying,
            fixed,
        })
    })
}

/// What the apps of each order saw, in the order of the policies.
async fn watch(args: &PollsArgs, server: &Server, policies: &[PollEvery]) -> Vec<Vec<Polled>> {
    let orders = args.unwatched + args.orders;
    let rate = orders as f64 / args.over.0.as_secs_f64().max(0.001);
    let arrivals = Arrivals::at_rate(rate, orders, true);
    let visa: Mix = "visa=1".parse().expect("a mix");
    let plan = Plan::new(orders, 1, arrivals, visa, args.over.0);
    let uri = Uri::from_static("/v1/orders");
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {elapsed}");
    let bar = ProgressBar::new(orders).with_style(style.expect("the template is valid")).with_message("ordered");
    let bar = bar.with_finish(ProgressFinish::AndClear);
    let (started, pool) = (Instant::now(), Pool::new(&server.target, CONNECTIONS));
    let mut connection = Connection::new(server.target.clone());
    let mut apps = JoinSet::new();
    for number in 0..orders {
        tokio::time::sleep_until(started + plan.arrivals.offset(number).unwrap_or_default()).await;
        bar.set_position(number);
        let customer = plan.customer(number);
        let Ok(answer) = connection.order(&uri, &customer, plan.body(number, &customer)).await else { continue };
        let Some(order_id) = located(&answer).filter(|_| number >= args.unwatched) else { continue };
        let each = policies.iter().map(|every| {
            let polling = Polling { most: u32::MAX, every: *every };
            poll(pool.clone(), order_id, answer.clone(), polling, is_ready_or_over)
        });
        apps.spawn(futures_util::future::join_all(each.collect::<Vec<_>>()));
    }
    bar.set_length(args.orders);
    bar.set_message("ready");
    let mut watched = Vec::new();
    let until = Instant::now() + args.within.0;
    while let Ok(Some(all)) = tokio::time::timeout_at(until, apps.join_next()).await {
        watched.push(all.expect("an app does not panic"));
        bar.set_position(watched.len() as u64);
    }
    watched
}

fn is_ready_or_over(status: Status) -> bool {
    status == Status::Ready || !status.is_ongoing()
}

/// The changes of status that an app waits for, with the version that shows them.
fn changes(events: &[FeedEvent]) -> Vec<&FeedEvent> {
    let changed = events.windows(2).filter(|pair| pair[0].to != pair[1].to).map(|pair| &pair[1]);
    let last = events.iter().position(|event| is_ready_or_over(event.to)).map(|last| events[last].version);
    changed.filter(|event| last.is_none_or(|last| event.version <= last)).collect()
}

impl Row {
    fn of(policy: PollEvery, orders: &[(&Polled, &[FeedEvent])]) -> Self {
        let mut delays: Vec<(Status, f64)> = Vec::new();
        for (polled, events) in orders {
            for change in changes(events) {
                let shown = polled.seen.iter().find(|(version, _)| *version >= change.version);
                let (_, at) = shown.expect("who saw the end saw every change");
                // The server's instants are whole milliseconds: what was noticed within the same one took no time.
                let delay = at.duration_since(SystemTime::from(change.at)).unwrap_or_default();
                delays.push((change.to, delay.as_secs_f64()));
            }
        }
        let at = |q: f64, of: Option<Status>| {
            let mut some: Vec<f64> =
                delays.iter().filter(|(to, _)| of.is_none_or(|of| of == *to)).map(|(_, delay)| *delay).collect();
            some.sort_by(f64::total_cmp);
            some.get(((some.len() as f64 * q) as usize).min(some.len().saturating_sub(1))).copied()
        };
        let polls: u32 = orders.iter().map(|(polled, _)| polled.polls).sum();
        let ways = [Status::AwaitingShop, Status::Accepted, Status::Preparing, Status::Ready];
        Self {
            policy: match policy {
                PollEvery::Obey => "obey".into(),
                PollEvery::Fixed(every) => format!("{} s", every.as_secs()),
            },
            polls_per_order: f64::from(polls) / orders.len().max(1) as f64,
            delay_p50_s: at(0.5, None).unwrap_or_default(),
            delay_p90_s: at(0.9, None).unwrap_or_default(),
            delay_p50_s_of: ways.into_iter().filter_map(|to| Some((to, at(0.5, Some(to))?))).collect(),
        }
    }

    /// The seconds between two polls of a fixed interval.
    fn interval_s(&self) -> f64 {
        self.policy.trim_end_matches(" s").parse().unwrap_or_default()
    }
}

impl AsEarly {
    /// Polls go with the inverse of the interval: between two intervals, that is what is interpolated. `None` if who
    /// obeys notices earlier, or later, than all of them.
    fn between(obeying: &Row, fixed: &[Row]) -> Option<Self> {
        let delay = obeying.delay_p50_s;
        let pair = fixed.windows(2).find(|pair| (pair[0].delay_p50_s..=pair[1].delay_p50_s).contains(&delay))?;
        let share = (delay - pair[0].delay_p50_s) / (pair[1].delay_p50_s - pair[0].delay_p50_s).max(f64::EPSILON);
        let between = |of: fn(&Row) -> f64| of(&pair[0]) + share * (of(&pair[1]) - of(&pair[0]));
        let polls_per_order = 1.0 / between(|row| 1.0 / row.polls_per_order);
        let interval_s = between(Row::interval_s);
        Some(Self { interval_s, polls_per_order, share: obeying.polls_per_order / polls_per_order })
    }
}

impl Comparison {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.obeying).chain(&self.fixed)
    }

    fn figure(&self) -> Figure {
        let point = |row: &Row, label: String| Point { x: row.delay_p50_s, y: row.polls_per_order, label };
        let fixed = self.fixed.iter().map(|row| point(row, format!("every {}", row.policy)));
        let obeying = Series { name: "obeying next_poll_at".into(), points: vec![point(&self.obeying, String::new())] };
        let points: Vec<Point> = self.rows().map(|row| point(row, String::new())).collect();
        let least = |of: fn(&Point) -> f64| points.iter().map(of).fold(f64::MAX, f64::min);
        let axis = |label: &str, from: f64, of: fn(&Point) -> f64| Axis {
            label: label.into(),
            from,
            to: points.iter().map(of).fold(0.0, f64::max) * 1.4,
            is_logarithmic: true,
        };
        let title = match &self.as_early {
            Some(as_early) => format!(
                "Coming back when told to takes {:.0} % of the polls of the fixed interval that notices as early",
                as_early.share * 100.0
            ),
            None => "Polls against the delay with which a change is noticed".into(),
        };
        Figure {
            title,
            caption: format!(
                "{} orders until they are ready, each watched by {} apps at once, pace {}; {}; lungo polls",
                self.orders,
                self.fixed.len() + 1,
                self.pace,
                self.machine
            ),
            panels: vec![Panel {
                x: axis(
                    "median delay with which a change of status is noticed, s",
                    least(|point| point.x) * 0.7,
                    |point| point.x,
                ),
                // The marks of a logarithmic axis begin with a power of ten.
                y: axis("polls an order", 10_f64.powf(least(|point| point.y).log10().floor()) * 0.9, |point| point.y),
                series: vec![Series { name: "fixed intervals".into(), points: fixed.collect() }, obeying],
            }],
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine  {}", self.machine)?;
        writeln!(f, "orders   {} until ready, {} left out; pace {}\n", self.orders, self.unfinished, self.pace)?;
        writeln!(f, "| asks again | polls an order | median delay | 90 % within |\n|---|---:|---:|---:|")?;
        for row in self.rows() {
            let name = if row.policy == "obey" { "when told to".into() } else { format!("every {}", row.policy) };
            let Row { polls_per_order, delay_p50_s, delay_p90_s, .. } = row;
            writeln!(f, "| {name} | {polls_per_order:.1} | {delay_p50_s:.2} s | {delay_p90_s:.2} s |")?;
        }
        match self.as_early {
            Some(AsEarly { interval_s, polls_per_order, share }) => writeln!(
                f,
                "\nTo notice as early, a fixed interval would be {interval_s:.1} s and take {polls_per_order:.1} polls: \
                 obeying takes {:.0} % of them.",
                share * 100.0
            ),
            None => writeln!(f, "\nNone of the fixed intervals notices as early: nothing to interpolate between."),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn row(policy: &str, polls_per_order: f64, delay_p50_s: f64) -> Row {
        Row { policy: policy.into(), polls_per_order, delay_p50_s, delay_p90_s: 0.0, delay_p50_s_of: Vec::new() }
    }

    #[test]
    fn polls_are_compared_at_the_same_delay() {
        let fixed = [row("2 s", 50.0, 1.0), row("4 s", 25.0, 2.0)];
        let found = AsEarly::between(&row("obey", 10.0, 1.5), &fixed).unwrap();
        assert!((found.interval_s - 3.0).abs() < 1e-9 && (found.polls_per_order - 100.0 / 3.0).abs() < 1e-9);
        assert!((found.share - 0.3).abs() < 1e-9, "{found:?}");
        assert_eq!(AsEarly::between(&row("obey", 10.0, 0.5), &fixed), None);
    }

    #[test]
    fn every_app_sees_the_same_orders_to_their_end() {
        let command = PollsArgs::augment_args(clap::Command::new("polls")).no_binary_name(true);
        let flags = ["--orders", "6", "--unwatched", "2", "--over", "500ms", "--within", "30s", "--pace", "fast"];
        let args = PollsArgs::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap();
        let found = compare(&args).unwrap();
        assert_eq!((found.orders, found.unfinished), (6, 0), "{found}");
        let [one, two, five, ten] = &found.fixed[..] else { panic!("{found}") };
        assert!(one.polls_per_order > two.polls_per_order && two.polls_per_order > five.polls_per_order, "{found}");
        assert!(ten.polls_per_order == 1.0 && ten.delay_p50_s > 4.0 && one.delay_p50_s < 1.0, "{found}");
        assert!(found.obeying.delay_p90_s < 2.5 && found.obeying.polls_per_order <= one.polls_per_order, "{found}");
        assert!(found.figure().svg().unwrap().contains("every 5 s"));
    }
}
