//! What each tile of Live says: a number with its last minutes, what is wrong with it, and the way to what is behind it.

use std::collections::HashSet;
use std::fmt::Write;

use chrono::Duration;
use strum::VariantArray;

use crate::app::App;
use crate::config::Settings;
use crate::instance::together;
use crate::lifecycle::{Stage, Status};
use crate::order::Instant;
use crate::pulse::Sample;
use crate::store::{InStage, Instance};
use crate::web::console::show;

/// More failures than this part of those that ended are too many, if enough ended to tell.
const TOO_MANY_FAILURES: f64 = 0.05;
const ENOUGH_TO_TELL: i64 = 20;
/// Money that was owed for longer has been tried to give back several times.
const OWED_TOO_LONG: Duration = Duration::minutes(15);
/// A gateway that leaves so many outcomes open has trouble of its own …
const TOO_MANY_UNKNOWN: i64 = 10;
/// … and one that is open for longer than every deadline is found out by nobody.
const UNKNOWN_TOO_LONG: Duration = Duration::minutes(15);
/// Work on an order that was due for so long has been repeated in vain.
const STUCK: Duration = Duration::minutes(15);
/// The timer is late, or the worker.
const OVERDUE: Duration = Duration::seconds(5);
/// A replica this far beyond the lag that was asked for, in seconds.
const REPLICA_TOO_OLD: f64 = 1.0;

/// All tiles, by what they are about.
pub fn groups(app: &App, samples: &[Sample], last: &Sample) -> Vec<(&'static str, Vec<Tile>)> {
    let instances = app.instances(last.reading.instances.clone(), last.at);
    let mut flow = flow(samples, last, &app.settings);
    flow.push(of_instances(&instances, samples, last.at));
    vec![
        ("Orders under way", statuses(samples, last, &app.settings)),
        ("Flow and instances", flow),
        ("Worker", worker(app, &instances, samples, last)),
        ("Money", money(samples, last)),
    ]
}

/// A number that somebody watches.
pub struct Tile {
    pub name: String,
    pub value: String,
    pub note: String,
    /// What is wrong with it.
    pub broken: Option<String>,
    pub link: Option<String>,
    pub spark: Spark,
}

/// The last minutes of a value, as a small picture.
pub struct Spark(Vec<f64>);

impl askama::filters::HtmlSafe for Spark {}

impl std::fmt::Display for Spark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SIZE: (f64, f64) = (200.0, 36.0);
        let most = self.0.iter().copied().fold(0.0, f64::max).max(1e-9);
        let step = SIZE.0 / (self.0.len().max(2) - 1) as f64;
        let mut points = String::new();
        for (i, value) in self.0.iter().enumerate() {
            let _ = write!(points, "{:.1},{:.1} ", i as f64 * step, (SIZE.1 - 2.0) - value / most * (SIZE.1 - 4.0));
        }
        write!(
            f,
            "<svg class=\"spark\" viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <polyline points=\"{}\"/></svg>",
            SIZE.0,
            SIZE.1,
            points.trim_end()
        )
    }
}

/// What may stand in a status no longer than this: the clock would have decided by then.
fn patience(status: Status, settings: &Settings) -> Option<Duration> {
    let deadlines = settings.deadlines();
    Some(match status {
        Status::New => deadlines.unknown_outcome.max(deadlines.authorization),
        Status::ActionRequired => deadlines.payment_action,
        Status::AwaitingShop => deadlines.acceptance,
        Status::Accepted | Status::Preparing => deadlines.preparation,
        Status::Ready => deadlines.collection,
        _ => return None,
    })
}

fn statuses(samples: &[Sample], last: &Sample, settings: &Settings) -> Vec<Tile> {
    let count = |sample: &Sample, status| sample.reading.ongoing.get(&status).map_or(0, |(count, _)| *count);
    let ongoing = Status::VARIANTS.iter().copied().filter(|status| status.is_ongoing());
    let tile = |status: Status| {
        let oldest = last.reading.ongoing.get(&status).and_then(|(_, since)| *since).map(|since| last.at - since);
        let limit = patience(status, settings);
        let broken = oldest.zip(limit).filter(|(oldest, limit)| oldest > limit);
        Tile {
            name: show::plain(status.word()),
            value: show::grouped(count(last, status)),
            note: oldest.map_or_else(String::new, |oldest| format!("oldest {}", show::span(oldest))),
            broken: broken.map(|(_, limit)| format!("longer than {}", show::span(limit))),
            link: Some(format!("/console/orders?tab=in_flight&q=status%3A{status}")),
            spark: Spark(samples.iter().map(|sample| count(sample, status) as f64).collect()),
        }
    };
    let parked = Tile {
        name: "parked".into(),
        value: show::grouped(last.reading.parked),
        note: if last.reading.parked > 0 { "" } else { "wait for an operator" }.into(),
        broken: (last.reading.parked > 0).then(|| "somebody has to look".into()),
        link: Some("/console/orders?tab=parked".into()),
        spark: Spark(samples.iter().map(|sample| sample.reading.parked as f64).collect()),
    };
    ongoing.map(tile).chain([parked]).collect()
}

fn flow(samples: &[Sample], last: &Sample, settings: &Settings) -> Vec<Tile> {
    let curve = |value: fn(&Sample) -> f64| Spark(samples.iter().map(value).collect());
    let overdue = |sample: &Sample| {
        sample.reading.first_deadline.map_or(Duration::zero(), |at| (sample.at - at).max(Duration::zero()))
    };
    let slow = settings.deadlines().acceptance / 3;
    let p95 = last.acceptance_p95;
    let rate = last.failure_rate();
    let mut tiles = vec![
        Tile {
            name: "new orders".into(),
            value: format!("{:.1} /s", last.created_per_second),
            note: "accepted by us".into(),
            broken: None,
            link: Some("/console/orders?tab=in_flight&q=age%3C1m".into()),
            spark: curve(|sample| sample.created_per_second),
        },
        Tile {
            name: "completed".into(),
            value: format!("{:.1} /s", last.completed_per_second),
            note: "handed over".into(),
            broken: None,
            link: Some("/console/orders?tab=done&q=status%3Acompleted".into()),
            spark: curve(|sample| sample.completed_per_second),
        },
        Tile {
            name: "acceptance p95".into(),
            value: p95.map_or_else(|| "–".into(), |seconds| format!("{seconds:.1} s")),
            note: if p95.is_some() { "by shops, in 5 min" } else { "none in 5 min" }.into(),
            broken: p95
                .filter(|seconds| *seconds > slow.num_seconds() as f64)
                .map(|_| format!("slower than {}", show::span(slow))),
            link: Some("/console/orders?tab=in_flight&q=status%3Aawaiting_shop".into()),
            spark: curve(|sample| sample.acceptance_p95.unwrap_or(0.0)),
        },
        Tile {
            name: "failure rate".into(),
            value: rate.map_or_else(|| "–".into(), |rate| format!("{:.1} %", rate * 100.0)),
            note: match rate {
                Some(_) => format!("{} of {} in 5 min", show::grouped(last.failed), show::grouped(last.ended)),
                None => "none ended in 5 min".into(),
            },
            broken: rate
                .filter(|rate| *rate > TOO_MANY_FAILURES && last.ended >= ENOUGH_TO_TELL)
                .map(|_| format!("more than {:.0} %", TOO_MANY_FAILURES * 100.0)),
            link: Some("/console/orders?tab=done&q=status%3Afailed".into()),
            spark: curve(|sample| sample.failure_rate().unwrap_or(0.0)),
        },
        Tile {
            name: "overdue".into(),
            value: show::span(overdue(last)),
            note: "the first deadline".into(),
            broken: (overdue(last) > OVERDUE).then(|| "the timer does not keep up".into()),
            link: Some("/console/orders?tab=in_flight".into()),
            spark: Spark(samples.iter().map(|sample| overdue(sample).num_seconds() as f64).collect()),
        },
    ];
    let wanted = settings.replica_lag.map_or(0.0, |lag| lag.0.as_secs_f64());
    tiles.push(Tile {
        name: "replica lag".into(),
        value: last.reading.replica_age.map_or_else(|| "–".into(), |age| format!("{age:.1} s")),
        note: if last.reading.replicas > 0 { "" } else { "no replica" }.into(),
        broken: match last.reading.replicas_unproven {
            0 => last
                .reading
                .replica_age
                .filter(|age| *age > wanted * 2.0 + REPLICA_TOO_OLD)
                .map(|_| format!("more than the {wanted:.1} s that were asked for")),
            unproven => Some(format!("nothing proven of {unproven} of {}", last.reading.replicas)),
        },
        link: Some("/console/stages#replicas".into()),
        spark: curve(|sample| sample.reading.replica_age.unwrap_or(0.0)),
    });
    tiles
}

/// How the worker is now: what waits at each stage, and what keeps it from its work. That has no curve, and every one of
/// these is too many.
fn worker(app: &App, instances: &[Instance], samples: &[Sample], last: &Sample) -> Vec<Tile> {
    let now = std::time::Instant::now();
    let heard = instances.iter().filter(|instance| !instance.is_silent(last.at));
    let silent: HashSet<&str> = heard.flat_map(|one| &one.report.silent).map(|peer| &*peer.subject).collect();
    let abandoned = Stage::VARIANTS.iter().filter(|stage| together(instances, **stage, last.at).is_none()).count();
    let counted = [
        ("do not answer", silent.len(), "gateways and shops", "left alone for now"),
        ("held", app.controls.held(now), "stages, gateways, shops", "by an operator"),
        ("abandoned", abandoned, "stages, of all instances", "nobody works there"),
    ];
    let tile = |(name, count, note, broken): (&str, usize, &str, &str)| Tile {
        name: name.into(),
        value: count.to_string(),
        note: note.into(),
        broken: (count > 0).then(|| broken.into()),
        link: Some("/console/stages".into()),
        spark: Spark(Vec::new()),
    };
    let waiting = last.reading.stages.iter().map(|queue| at_stage(queue, samples, last.at));
    waiting.chain(counted.map(tile)).collect()
}

fn of_instances(instances: &[Instance], samples: &[Sample], now: Instant) -> Tile {
    let there = |instances: &[Instance], at| instances.iter().filter(|instance| !instance.is_silent(at)).count();
    let silent = instances.len() - there(instances, now);
    Tile {
        name: "instances".into(),
        value: there(instances, now).to_string(),
        note: "work on this database".into(),
        broken: (silent > 0).then(|| format!("nothing heard of {silent}")),
        link: Some("/console/stages#instances".into()),
        spark: Spark(samples.iter().map(|sample| there(&sample.reading.instances, sample.at) as f64).collect()),
    }
}

fn at_stage(queue: &InStage, samples: &[Sample], now: Instant) -> Tile {
    let stage = queue.stage;
    let depth = |sample: &Sample| {
        let then = sample.reading.stages.iter().find(|then| then.stage == stage);
        then.map_or(0.0, |then| then.depth as f64)
    };
    let oldest = Duration::milliseconds((queue.oldest_seconds * 1000.0) as i64);
    let due = queue.next_attempt.map_or(Duration::zero(), |at| now - at);
    let (broken, link) = if due > OVERDUE {
        (Some(format!("not begun for {}", show::span(due))), "/console/stages".to_owned())
    } else {
        let stuck = (oldest > STUCK).then(|| format!("longer than {}", show::span(STUCK)));
        (stuck, format!("/console/orders?tab=struggling&q=stage%3A{stage}"))
    };
    Tile {
        name: format!("to {}", show::plain(stage.word())),
        value: show::grouped(queue.depth),
        note: if oldest > Duration::zero() { format!("oldest {}", show::span(oldest)) } else { String::new() },
        broken,
        link: Some(link),
        spark: Spark(samples.iter().map(depth).collect()),
    }
}

/// Payments of which the gateway has not said what became of them.
fn unknown(samples: &[Sample], last: &Sample) -> Tile {
    let (count, first) = last.reading.unknown;
    let oldest = first.map(|first| last.at - first);
    let too_long = oldest.filter(|oldest| *oldest > UNKNOWN_TOO_LONG);
    Tile {
        name: "unknown".into(),
        value: show::grouped(count),
        note: oldest.map_or_else(|| "outcomes".into(), |oldest| format!("outcomes, oldest {}", show::span(oldest))),
        broken: if count >= TOO_MANY_UNKNOWN {
            Some(format!("{TOO_MANY_UNKNOWN} or more"))
        } else {
            too_long.map(|_| format!("for longer than {}", show::span(UNKNOWN_TOO_LONG)))
        },
        link: Some("/console/money#unknown".into()),
        spark: Spark(samples.iter().map(|sample| sample.reading.unknown.0 as f64).collect()),
    }
}

fn money(samples: &[Sample], last: &Sample) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for (currency, held, taken) in &last.reading.held_and_taken {
        let of = |sample: &Sample, which: fn(&(String, i64, i64)) -> i64| {
            sample.reading.held_and_taken.iter().find(|(other, ..)| other == currency).map_or(0, which) as f64
        };
        for (name, amount, which, about, payment) in [
            ("authorized", held, (|row| row.1) as fn(&(String, i64, i64)) -> i64, "held, not taken yet", "authorized"),
            ("captured", taken, |row| row.2, "taken, under way", "captured"),
        ] {
            tiles.push(Tile {
                name: format!("{name}, {currency}"),
                value: show::number(*amount, currency),
                note: about.into(),
                broken: None,
                link: Some(format!("/console/orders?tab=in_flight&q=payment%3A{payment}")),
                spark: Spark(samples.iter().map(|sample| of(sample, which)).collect()),
            });
        }
    }
    tiles.push(unknown(samples, last));
    for (currency, amount, since) in &last.reading.owed {
        let age = since.map(|since| last.at - since);
        let of = |sample: &Sample| {
            sample.reading.owed.iter().find(|(other, ..)| other == currency).map_or(0, |(_, amount, _)| *amount) as f64
        };
        tiles.push(Tile {
            name: format!("owed, {currency}"),
            value: show::number(*amount, currency),
            note: age.map_or_else(String::new, |age| format!("oldest {}", show::span(age))),
            broken: age
                .filter(|age| *age > OWED_TOO_LONG)
                .map(|_| format!("for longer than {}", show::span(OWED_TOO_LONG))),
            link: Some("/console/money".into()),
            spark: Spark(samples.iter().map(of).collect()),
        });
    }
    if last.reading.owed.is_empty() {
        tiles.push(Tile {
            name: "owed".into(),
            value: "nothing".into(),
            note: "to customers".into(),
            broken: None,
            link: Some("/console/money".into()),
            spark: Spark(
                samples
                    .iter()
                    .map(|sample| sample.reading.owed.iter().map(|(_, amount, _)| *amount as f64).sum())
                    .collect(),
            ),
        });
    }
    tiles
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::Tiles;
    use super::*;
    use crate::fixtures::at;
    use crate::store::Reading;

    fn sample(reading: Reading) -> Sample {
        Sample {
            at: at(1000),
            reading,
            created_per_second: 0.0,
            completed_per_second: 0.0,
            acceptance_p95: None,
            ended: 0,
            failed: 0,
        }
    }

    #[test]
    fn many_unknown_outcomes_are_red_and_so_is_one_that_nobody_finds_out() {
        for (count, first, broken) in [
            (0, None, None),
            (9, Some(900), None),
            (10, Some(990), Some("10 or more")),
            (1, Some(99), Some("for longer than 15 min")),
        ] {
            let last = sample(Reading { unknown: (count, first.map(at)), ..Reading::default() });
            let tile = unknown(std::slice::from_ref(&last), &last);
            assert_eq!((tile.broken.as_deref(), tile.link.as_deref()), (broken, Some("/console/money#unknown")));
        }
    }

    /// How a queue at the stage of captures is drawn, at second 1000.
    fn drawn(next_attempt: Option<i64>, oldest_seconds: f64) -> String {
        let next_attempt = next_attempt.map(at);
        let queue = InStage { stage: Stage::Capture, depth: 1200, parked: 0, next_attempt, oldest_seconds };
        let reading = Reading { stages: vec![queue.clone()], ..Reading::default() };
        let tile = at_stage(&queue, &[sample(reading)], at(1000));
        Tiles { groups: vec![("Worker", vec![tile])], at: Some(at(1000)), is_blind: false, durability: "" }
            .render()
            .unwrap()
    }

    #[test]
    fn a_stage_is_red_once_its_work_is_not_begun_or_is_repeated_in_vain_and_leads_to_the_cause() {
        let [struggling, stages] =
            ["href=\"/console/orders?tab=struggling&#38;q=stage%3Acapture\"", "href=\"/console/stages\""];
        for (next, oldest, broken, told, link) in [
            (None, 0.0, false, "1,200", struggling),
            (Some(995), 3.0, false, "oldest 3 s", struggling),
            (Some(994), 3.0, true, "not begun for 6 s", stages),
            (Some(1010), 901.0, true, "longer than 15 min", struggling),
            (Some(994), 901.0, true, "not begun for 6 s", stages),
        ] {
            let html = drawn(next, oldest);
            assert_eq!(html.contains("class=\"tile broken\""), broken, "{html}");
            assert!(html.contains(told) && html.contains(link), "{told}, {link}: {html}");
        }
    }
}
