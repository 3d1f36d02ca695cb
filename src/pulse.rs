//! How the service has been in the last minutes: a few hundred looks at it, for the curves that operators watch.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use chrono::Duration;

use crate::lifecycle::{EventKind, Status};
use crate::logs::failing;
use crate::order::Instant;
use crate::store::{Error, Reading, Store, Tally};

/// Looks that are kept.
const KEPT: usize = 240;
/// A look comes at most so often …
const EVERY: Duration = Duration::seconds(2);
/// … and takes at most this part of the time: where very much happens it comes more seldom …
const SHARE: i32 = 50;
/// … but not more seldom than this.
const LONGEST_REST: Duration = Duration::minutes(1);
/// What is counted over a span is counted over this one.
const SPAN: Duration = Duration::minutes(5);

/// One look, and what follows from it and those before.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Instant,
    pub reading: Reading,
    /// Orders accepted in a second, and handed over or counted as such, since the look before.
    pub created_per_second: f64,
    pub completed_per_second: f64,
    /// How long the slowest of twenty shops took to accept lately, in seconds; `None` if none did.
    pub acceptance_p95: Option<f64>,
    /// Orders that ended lately, and those of them that failed or were rejected.
    pub ended: i64,
    pub failed: i64,
}

impl Sample {
    /// The part of the orders that ended lately that failed or were rejected; `None` if none ended.
    pub fn failure_rate(&self) -> Option<f64> {
        (self.ended > 0).then(|| self.failed as f64 / self.ended as f64)
    }
}

/// The looks of the last minutes.
#[derive(Default)]
pub struct Pulse(RwLock<Looks>);

#[derive(Default)]
struct Looks {
    samples: VecDeque<Sample>,
    /// When the next look may come.
    next_at: Option<Instant>,
    /// The last look failed.
    is_blind: bool,
}

impl Pulse {
    /// Looks, if it is time to, once the ongoing orders have been summed up. What cannot be read now is read the next
    /// time; meanwhile it says so.
    pub async fn look(&self, store: &Store, ongoing: Result<Tally, Error>, clock: fn() -> Instant) {
        let began = clock();
        let last = {
            let looks = self.read();
            if ongoing.is_ok() && looks.next_at.is_some_and(|at| began < at) {
                return;
            }
            looks.samples.back().map(|sample| sample.reading.position)
        };
        let read = match ongoing {
            Ok(ongoing) => store.look(ongoing, last, began).await,
            Err(fault) => Err(fault),
        };
        let took = clock() - began;
        let mut looks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        looks.next_at = Some(began + (took * SHARE).clamp(EVERY, LONGEST_REST));
        looks.is_blind = read.is_err();
        match read {
            Ok(reading) => looks.push(began, reading),
            Err(fault) => failing!("pulse.not_read", fault),
        }
    }

    /// The looks that are kept, oldest first, and whether the last one failed.
    pub fn recent(&self) -> (Vec<Sample>, bool) {
        let looks = self.read();
        (looks.samples.iter().cloned().collect(), looks.is_blind)
    }

    /// When the last look was, and whether it failed: what has not changed need not be drawn anew.
    pub fn mark(&self) -> (Option<Instant>, bool) {
        let looks = self.read();
        (looks.samples.back().map(|sample| sample.at), looks.is_blind)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Looks> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looks {
    fn push(&mut self, at: Instant, reading: Reading) {
        let since = self.samples.back().map(|sample| sample.at);
        let seconds = since.map_or(0.0, |since| (at - since).num_milliseconds() as f64 / 1000.0);
        let rate = |count: i64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let created = reading.happened.get(&EventKind::Created).copied().unwrap_or(0);
        let completed = reading.ended.get(&Status::Completed).copied().unwrap_or(0);
        let lately = || {
            let kept = self.samples.iter().filter(|sample| at - sample.at < SPAN).map(|sample| &sample.reading);
            kept.chain([&reading])
        };
        let ended = |wanted: fn(Status) -> bool| -> i64 {
            lately().flat_map(|look| &look.ended).filter(|(status, _)| wanted(**status)).map(|(_, count)| count).sum()
        };
        let mut acceptances: Vec<i64> = lately().flat_map(|look| look.acceptances.iter().copied()).collect();
        acceptances.sort_unstable();
        let p95 = acceptances.get((acceptances.len() * 95 / 100).min(acceptances.len().saturating_sub(1)));
        let sample = Sample {
            at,
            created_per_second: rate(created),
            completed_per_second: rate(completed),
            acceptance_p95: p95.map(|millis| *millis as f64 / 1000.0),
            ended: ended(|_| true),
            failed: ended(|status| matches!(status, Status::Failed | Status::Rejected)),
            reading,
        };
        self.samples.push_back(sample);
        if self.samples.len() > KEPT {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn rates_are_of_the_last_look_and_shares_of_the_last_minutes() {
        let mut looks = Looks::default();
        looks.push(at(0), Reading::default());
        let mut reading = Reading { acceptances: (1..=100).map(|n| n * 100).collect(), ..Reading::default() };
        reading.happened.insert(EventKind::Created, 30);
        reading.ended.extend([(Status::Completed, 8), (Status::Failed, 1), (Status::Rejected, 1)]);
        looks.push(at(2), reading);
        let last = looks.samples.back().unwrap();
        assert_eq!((last.created_per_second, last.completed_per_second), (15.0, 4.0));
        assert_eq!((last.failure_rate(), last.acceptance_p95), (Some(0.2), Some(9.6)));
        looks.push(at(400), Reading::default());
        let last = looks.samples.back().unwrap();
        assert_eq!((last.failure_rate(), last.acceptance_p95), (None, None));
        (0..1000).for_each(|second| looks.push(at(500 + second), Reading::default()));
        assert_eq!(looks.samples.len(), KEPT);
    }
}
