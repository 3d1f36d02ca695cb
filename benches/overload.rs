//! What the service does when more is asked of it than it can do, next to what it does otherwise:
//! `cargo bench --bench overload` (about three minutes; `-- --seconds 30` for longer stretches).
//!
//! 1. *peak*: orders completed a second in a closed loop, which is more than any clock can ask for without waiting;
//! 2. *sustainable*: the highest rate by the clock, in steps of a twentieth of that, at which nobody is turned away and
//!    all is completed a second after the last order was sent;
//! 3. *burst*: the sustainable rate, then twice as much, then half of it, on one server. All the while customers cancel
//!    and the shop starts to make orders that were placed before, at a small steady rate;
//! 4. *a silent bank*: a rate that leaves room for all, without and with a fifth more orders whose payment method is
//!    never answered.
//!
//! Every run checks itself as `lungo load` does. Generator and server share the same cores: what the generator takes
//! at twice the rate is taken from the server, so that the first goal is met with less than the whole machine.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use eyre::{Result, bail, eyre};
use hyper::{StatusCode, Uri};
use lungo::lifecycle::Status;
use lungo::load::client::{Connection, Pool, Target};
use lungo::load::drive::{Sending, located};
use lungo::load::plan::{Arrivals, Plan};
use lungo::load::report::{Machine, Quantiles};
use lungo::load::server::{Server, Setup};
use lungo::load::{Run, run_plan};
use tokio::task::JoinSet;
use uuid::Uuid;

/// More orders than any run sends.
const ENDLESS: u64 = 5_000_000;
/// More than may wait for the writer at once, by far: otherwise the generator would wait, and nobody be turned away.
const MANY: usize = 1_024;
/// Cancellations a second, and as many orders that the shop starts to make.
const WORDS: f64 = 50.0;
/// How finely the time after the burst is looked at.
const BUCKET: Duration = Duration::from_millis(500);
/// Deadlines that a run can wait for.
const SOON: &[&str] = &["--authorization-deadline=20s", "--unknown-outcome-deadline=25s"];

#[derive(Parser)]
struct Cli {
    /// How long each stretch lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(6..=120))]
    seconds: u64,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let stretch = Duration::from_secs(cli.seconds);
    println!("{}, stretches of {} s\n", Machine::here(), cli.seconds);
    let rate = sustainable(peak(stretch)?, stretch)?;
    let goals = [burst(rate, stretch)?, silent_bank(rate, stretch * 2)?].concat();
    println!();
    for Goal { what, is_met } in &goals {
        println!("goal {}: {what}", if *is_met { "met   " } else { "MISSED" });
    }
    Ok(if goals.iter().all(|goal| goal.is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Clone)]
struct Goal {
    what: String,
    is_met: bool,
}

fn goal(is_met: bool, what: String) -> Goal {
    Goal { what, is_met }
}

/// Orders completed a second when clients each send their next order as soon as the last was answered: with as many of
/// them as do best.
fn peak(stretch: Duration) -> Result<f64> {
    let mut peak = 0.0_f64;
    for connections in [64, 256] {
        let server = Server::start(None, Setup::default())?;
        let run = sound(run_plan(plan("visa=1", connections, Arrivals::WhenAnswered, stretch)?, PATIENCE, &server)?)?;
        let per_s = run.report.completed_per_s;
        println!("{connections} connections: {per_s:.0} completed/s; acceptance ms {}", run.report.acceptance_ms);
        peak = peak.max(per_s);
    }
    Ok(peak)
}

/// Orders a second that the service keeps up with.
fn sustainable(peak: f64, stretch: Duration) -> Result<f64> {
    for twentieths in (8..20).rev() {
        let rate = peak * f64::from(twentieths) / 20.0;
        let server = Server::start(None, Setup::default())?;
        let run = sound(run_plan(plan("visa=1", MANY, timetable(&[(rate, stretch)]), stretch)?, PATIENCE, &server)?)?;
        let turned_away = run.sending.turned_away.len();
        let settled = settled(&run, stretch);
        println!(
            "{rate:.0} orders/s: {turned_away} turned away, all completed {:.1} s after the last; acceptance ms {}",
            settled.as_secs_f64(),
            run.report.acceptance_ms
        );
        if turned_away == 0 && settled <= Duration::from_secs(1) {
            return Ok(rate);
        }
    }
    bail!("the service keeps up with no rate: the machine has other things to do")
}

/// From this time of a run to the completion of the last order that was due before it.
fn settled(run: &Run, since: Duration) -> Duration {
    let before = run.sending.accepted.iter().filter(|one| one.intended - run.sending.started < since);
    before.filter_map(|one| ended(run, one.order_id)).max().unwrap_or_default().saturating_sub(since)
}

fn burst(rate: f64, stretch: Duration) -> Result<Vec<Goal>> {
    let server = Server::start(None, Setup::default())?;
    let ends = [stretch, stretch * 2, stretch * 3];
    let arrivals = timetable(&[(rate, stretch), (rate * 2.0, stretch), (rate / 2.0, stretch)]);
    let words = Words::prepare(&server, (WORDS * ends[2].as_secs_f64()) as u64)?;
    let speaking = thread::spawn(move || on_one_thread(words.say()));
    let run = run_plan(plan("visa=1", MANY, arrivals, ends[2])?, PATIENCE, &server)?;
    let said = speaking.join().map_err(|_| eyre!("those who cancel and start panicked"))??;
    let run = sound(run)?;

    let sending = &run.sending;
    let at = |offset: Duration| sending.started + offset;
    let accepted = |from: Duration, to: Duration| {
        let times = sending.accepted.iter().map(|one| (one.intended - sending.started, one.answered - one.intended));
        times.filter(move |(sent, _)| (from..to).contains(sent)).map(|(_, took)| took)
    };
    let turned_away = |from: Duration, to: Duration| {
        sending.turned_away.iter().filter(|at| (from..to).contains(&(**at - sending.started))).count()
    };
    let mut starts = Duration::ZERO;
    for (name, end) in ["the sustainable rate", "twice as much", "half of it"].into_iter().zip(ends) {
        let seconds = (end - starts).as_secs_f64();
        println!(
            "\n{name}: {:.0} completed/s, {:.0} accepted/s, {:.0} turned away/s\n  acceptance ms  {}\n  cancel ms      {}\n  start ms       {}",
            completed(&run, starts, end) as f64 / seconds,
            accepted(starts, end).count() as f64 / seconds,
            turned_away(starts, end) as f64 / seconds,
            Quantiles::of(accepted(starts, end)),
            said.quantiles(Word::Cancel, at(starts), at(end)),
            said.quantiles(Word::Start, at(starts), at(end)),
        );
        starts = end;
    }
    let [calm, burst, _] = ends;
    let normal = Quantiles::of(accepted(Duration::ZERO, calm)).p99;
    // What was asked for in a stretch of time after the burst was answered as before it.
    let is_normal = |from: Duration| {
        let to = from + BUCKET;
        turned_away(from, to) == 0 && Quantiles::of(accepted(from, to)).p99 <= 2.0 * normal
    };
    // Twice in a row, so that it is not by chance; `None` if that was never so.
    let mut buckets = (0..).map(|number| burst + BUCKET * number).take_while(|from| *from + BUCKET * 2 <= ends[2]);
    let recovered = buckets.find(|from| is_normal(*from) && is_normal(*from + BUCKET)).map(|from| from - burst);
    let recovered_after = recovered.map_or("at no time".into(), |after| format!("after {:.1} s", after.as_secs_f64()));
    let settled = settled(&run, burst);
    let settled_after = format!("after {:.1} s", settled.as_secs_f64());
    println!(
        "\nafter the burst: its last order is completed {settled_after}; acceptance is as before {recovered_after}"
    );

    let kept = completed(&run, calm, burst) as f64 / completed(&run, Duration::ZERO, calm) as f64;
    let ratio = |during: Quantiles, before: Quantiles| during.p99 / before.p99;
    let of_words = |word| {
        let during = said.quantiles(word, at(calm), at(burst));
        ratio(during, said.quantiles(word, at(Duration::ZERO), at(calm)))
    };
    let (cancels, started) = (of_words(Word::Cancel), of_words(Word::Start));
    Ok(vec![
        goal(kept >= 0.9, format!("at twice the sustainable rate {:.0} % as much is completed (90 %)", kept * 100.0)),
        goal(turned_away(calm, burst) > 0, "what is too much is turned away".into()),
        goal(cancels <= 2.0, format!("p99 of cancellations is {cancels:.1} times that before (2)")),
        goal(started <= 2.0, format!("p99 of what the shop does is {started:.1} times that before (2)")),
        goal(said.refused == 0, format!("none of these is refused ({} were)", said.refused)),
        goal(
            recovered.is_some_and(|after| after.max(settled) <= Duration::from_secs(5)),
            format!(
                "after the burst acceptance is as before {recovered_after}, all is completed {settled_after} (5 s)"
            ),
        ),
    ])
}

/// What becomes of the other orders while one payment method is silent, at a rate that leaves room for all.
fn silent_bank(sustainable: f64, stretch: Duration) -> Result<Vec<Goal>> {
    let rate = sustainable * 0.7;
    let measure = |mix: &str, rate: f64| {
        let server = Server::start(None, Setup { flags: SOON, ..Setup::default() })?;
        let run = run_plan(plan(mix, MANY, timetable(&[(rate, stretch)]), stretch)?, PATIENCE, &server)?;
        let run = sound(run)?;
        let served = served(&run, stretch) as f64 / stretch.as_secs_f64();
        println!(
            "\n{mix}, {rate:.0} orders/s: {served:.0} accepted by the shop/s; new→accepted ms {}; {} turned away",
            run.report.new_to_accepted_ms,
            run.sending.turned_away.len()
        );
        Ok::<_, eyre::Report>(served)
    };
    let without = measure("visa=1", rate)?;
    let with = measure("visa=5,silent=1", rate * 1.2)?;
    let ratio = with / without;
    let what = format!("while one method is silent the others keep {:.1} % of their speed (95 %)", ratio * 100.0);
    Ok(vec![goal(ratio >= 0.95, what)])
}

/// How long the last completions may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn plan(mix: &str, connections: usize, arrivals: Arrivals, within: Duration) -> Result<Plan> {
    let orders = match &arrivals {
        Arrivals::At(offsets) => offsets.len() as u64,
        Arrivals::WhenAnswered => ENDLESS,
    };
    let mix = mix.parse().map_err(|fault: String| eyre!(fault))?;
    Ok(Plan::new(orders, connections, arrivals, mix, within))
}

/// Arrivals at one rate after the other.
fn timetable(stretches: &[(f64, Duration)]) -> Arrivals {
    let mut starts = Duration::ZERO;
    let mut offsets = Vec::new();
    for (rate, lasts) in stretches {
        let orders = (rate * lasts.as_secs_f64()) as u64;
        offsets.extend((0..orders).map(|order| starts + Duration::from_secs_f64(order as f64 / rate)));
        starts += *lasts;
    }
    Arrivals::At(offsets)
}

/// A run whose every check holds; only such figures mean anything.
fn sound(run: Run) -> Result<Run> {
    if run.report.is_sound() { Ok(run) } else { bail!("these figures are of no use:\n{}", run.report) }
}

/// From the start of the run to the order's completion, by the server's clock, which is this machine's.
fn ended(run: &Run, order: Uuid) -> Option<Duration> {
    let (_, at) = run.lives.get(&order)?.ended?;
    SystemTime::from(at).duration_since(started_at(&run.sending)).ok()
}

fn started_at(sending: &Sending) -> SystemTime {
    sending.ended_at - (sending.ended - sending.started)
}

fn completed(run: &Run, from: Duration, to: Duration) -> usize {
    let ended = run.sending.accepted.iter().filter_map(|one| ended(run, one.order_id));
    ended.filter(|at| (from..to).contains(at)).count()
}

/// Orders that their shop accepted in the first stretch of time.
fn served(run: &Run, within: Duration) -> usize {
    let is_accepted =
        |id: &Uuid| run.lives.get(id).and_then(|life| life.ended).is_some_and(|(to, _)| to == Status::Accepted);
    let ours = run.sending.accepted.iter().map(|one| one.order_id).filter(is_accepted);
    ours.filter_map(|id| ended(run, id)).filter(|at| *at < within).count()
}

/// What is said about orders that were placed before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// By the customer.
    Cancel,
    /// By the shop: the order is being made, which takes the money.
    Start,
}

/// Words to be said at a steady rate, each about an order of its own.
struct Words {
    partner: Target,
    tablet: Target,
    orders: Vec<Uuid>,
}

/// How long each word took that was said, by when it should have been.
#[derive(Default)]
struct Said {
    took: Vec<(Word, Instant, Duration)>,
    /// How many were not answered with 200.
    refused: usize,
}

impl Words {
    /// Places two orders for each turn, one to be cancelled and one to be made, and waits until the shop has them.
    fn prepare(server: &Server, turns: u64) -> Result<Self> {
        let (partner, tablet) = (server.target.clone(), server.for_shop()?);
        let pool = Pool::new(&partner, 16);
        let plan = Arc::new(plan("visa=1", 1, Arrivals::WhenAnswered, PATIENCE)?);
        let orders = on_one_thread(async {
            let mut placing = JoinSet::new();
            for number in 0..turns * 2 {
                let (pool, plan) = (pool.clone(), plan.clone());
                placing
                    .spawn(async move { pool.with(async |connection| place(connection, &plan, number).await).await });
            }
            placing.join_all().await.into_iter().collect::<Result<Vec<Uuid>>>()
        })?;
        Ok(Self { partner, tablet, orders })
    }

    async fn say(self) -> Result<Said> {
        let (partner, tablet) = (Pool::new(&self.partner, 16), Pool::new(&self.tablet, 16));
        let started = Instant::now();
        let mut saying = JoinSet::new();
        for (number, order) in self.orders.into_iter().enumerate() {
            let (word, pool, path) = match number % 2 {
                0 => (Word::Cancel, partner.clone(), format!("/v1/orders/{order}/cancel")),
                _ => (Word::Start, tablet.clone(), format!("/v1/shop/orders/{order}/start")),
            };
            let uri: Uri = path.parse()?;
            let intended = started + Duration::from_secs_f64(number as f64 / (2.0 * WORDS));
            saying.spawn(async move {
                tokio::time::sleep_until(intended.into()).await;
                let answer = pool.with(async |connection| connection.post(&uri).await).await;
                let is_done = answer.is_ok_and(|answer| answer.status == StatusCode::OK);
                (word, intended, intended.elapsed(), is_done)
            });
        }
        let mut said = Said::default();
        for (word, intended, took, is_done) in saying.join_all().await {
            said.took.push((word, intended, took));
            said.refused += usize::from(!is_done);
        }
        Ok(said)
    }
}

impl Said {
    fn quantiles(&self, wanted: Word, from: Instant, to: Instant) -> Quantiles {
        let ours = self.took.iter().filter(|(word, at, _)| *word == wanted && (from..to).contains(at));
        Quantiles::of(ours.map(|(_, _, took)| *took))
    }
}

/// Places an order, and waits until its shop has accepted it.
async fn place(connection: &mut Connection, plan: &Plan, number: u64) -> Result<Uuid> {
    let customer = plan.customer(number);
    let lost = |silence| eyre!("no answer: {silence:?}");
    let body = plan.body(number, &customer);
    let answer = connection.order(&Uri::from_static("/v1/orders"), &customer, body).await.map_err(lost)?;
    let order = located(&answer).ok_or_else(|| eyre!("an order was not accepted: {}", answer.status))?;
    let uri: Uri = format!("/v1/orders/{order}").parse()?;
    loop {
        let answer = connection.get(&uri).await.map_err(lost)?;
        let view: serde_json::Value = serde_json::from_slice(&answer.body)?;
        if view["status"] == Status::Accepted.word() {
            return Ok(order);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
