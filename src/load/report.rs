//! What was measured, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::verify::Check;

/// The result of one run. Times are milliseconds where the name says so.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub target: String,
    /// Whether the server ran in this process, on these cores.
    pub in_process: bool,
    /// Median of one small durable write beside the database; null for a server elsewhere.
    pub fsync_ms: Option<f64>,
    pub connections: usize,
    /// Orders a second that were to be sent; null in a closed loop.
    pub rate: Option<f64>,
    pub mix: String,
    pub orders: u64,
    pub accepted: u64,
    pub errors: BTreeMap<String, u64>,
    /// From the first order that was sent to the last answer.
    pub sending_s: f64,
    pub accepted_per_s: f64,
    /// Accepted by the shop, or failed for good.
    pub completed: u64,
    pub failed: u64,
    /// From the first order that was sent to the last completion.
    pub completed_per_s: f64,
    /// Accepted but not yet completed when the last answer came.
    pub backlog_at_end_of_sending: u64,
    /// From the intended start to the 202.
    pub acceptance_ms: Quantiles,
    /// Between the events, by the server's clock.
    pub new_to_accepted_ms: Quantiles,
    /// From the intended start to the moment the feed told of the completion: durable, and with up to 20 ms of the
    /// reader's own rest.
    pub sent_to_seen_ms: Option<Quantiles>,
    pub polls: Option<Polls>,
    /// What the generator itself took of one core: it is taken from the server.
    pub generator_core_share: f64,
    pub checks: Vec<Check>,
}

/// What the apps saw that asked about their orders.
#[derive(Clone, Debug, Serialize)]
pub struct Polls {
    pub orders: u64,
    pub per_order: f64,
    /// Orders that an app asked about as often as it was allowed to, without seeing them completed.
    pub given_up: u64,
    /// From the completion to the poll that noticed it.
    pub noticed_after_ms: Quantiles,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Quantiles {
    pub fn of(latencies: impl IntoIterator<Item = Duration>) -> Self {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are valid");
        for latency in latencies {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1e3 }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}", self.p50, self.p99, self.p999, self.max)
    }
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub cpu: String,
}

impl Machine {
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(':')).map_or("unknown", |(_, model)| model.trim());
        Self { cores: std::thread::available_parallelism().map_or(1, usize::from), cpu: model.to_owned() }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.cores, self.cpu)
    }
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.in_process { "this process, simulators without delay" } else { &self.target };
        let fsync = self.fsync_ms.map_or_else(String::new, |ms| format!(", one durable write {ms:.2} ms"));
        let loop_kind = match self.rate {
            Some(rate) => format!("{rate} orders/s by the clock (open loop), {} connections", self.connections),
            None => format!("{} connections (closed loop)", self.connections),
        };
        writeln!(f, "server           {place}\nmachine          {}{fsync}", self.machine)?;
        writeln!(f, "load             {} orders, {loop_kind}, {}\n", self.orders, self.mix)?;
        writeln!(f, "accepted/s       {:.0}   ({} in {:.1} s)", self.accepted_per_s, self.accepted, self.sending_s)?;
        writeln!(
            f,
            "completed/s      {:.0}   ({} completed, {} of them failed; backlog at the end of sending {})",
            self.completed_per_s, self.completed, self.failed, self.backlog_at_end_of_sending
        )?;
        writeln!(f, "acceptance ms    {}", self.acceptance_ms)?;
        writeln!(f, "new→accepted ms  {}   (the server's clock)", self.new_to_accepted_ms)?;
        if let Some(seen) = &self.sent_to_seen_ms {
            writeln!(f, "sent→seen ms     {seen}   (in the feed)")?;
        }
        if let Some(polls) = &self.polls {
            writeln!(
                f,
                "polls/order      {:.2}   ({} orders, {} given up); completion noticed after ms {}",
                polls.per_order, polls.orders, polls.given_up, polls.noticed_after_ms
            )?;
        }
        writeln!(f, "generator        {:.0} % of one core", self.generator_core_share * 100.0)?;
        let errors: Vec<String> = self.errors.iter().map(|(code, count)| format!("{count} {code}")).collect();
        writeln!(f, "errors           {}\n", if errors.is_empty() { "none".into() } else { errors.join(", ") })?;
        for check in &self.checks {
            writeln!(f, "{}  {}: {}", if check.ok { "ok   " } else { "WRONG" }, check.what, check.found)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_milliseconds() {
        let found = Quantiles::of((1..=1000).map(Duration::from_millis));
        assert!((found.p50 - 500.0).abs() < 1.0 && (found.p99 - 990.0).abs() < 1.0, "{found}");
        assert!((found.max - 1000.0).abs() < 1.0);
        assert_eq!(Quantiles::of([]), Quantiles::default());
    }
}
