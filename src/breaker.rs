//! A circuit breaker: stops asking a dependency that does not answer, and tries it again one call at a time.

use std::time::{Duration, Instant};

/// Failures in a row after which nobody is asked any more.
const THRESHOLD: u32 = 10;

/// State of one dependency. The clock is an argument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// When the first of these failures was seen.
    failing_since: Option<Instant>,
    open_until: Option<Instant>,
}

impl Breaker {
    /// `Err` says how long to wait. Once the pause is over, one caller is let through and the others wait on.
    pub fn ask(&mut self, now: Instant, pause: Duration) -> Result<(), Duration> {
        match self.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) => {
                self.open_until = Some(now + pause);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The dependency answered (whatever it said), or did not.
    pub fn tell(&mut self, answered: bool, now: Instant, pause: Duration) {
        if answered {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        if self.failures >= THRESHOLD {
            self.open_until = Some(now + pause);
        }
    }

    /// Whether nobody would be let through now.
    pub fn is_pausing(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// How long it has not answered.
    pub fn failing_for(&self, now: Instant) -> Duration {
        self.failing_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How often in a row it did not answer.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_with_one_answer() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..THRESHOLD - 1 {
            breaker.tell(false, start, PAUSE);
        }
        assert_eq!(breaker.ask(start, PAUSE), Ok(()));
        breaker.tell(false, start, PAUSE);
        assert_eq!(breaker.ask(start + PAUSE / 5, PAUSE), Err(PAUSE / 5 * 4));
        assert!(breaker.is_pausing(start + PAUSE / 5) && !breaker.is_pausing(start + PAUSE));
        assert_eq!(breaker.ask(start + PAUSE, PAUSE), Ok(()), "one is let through");
        assert!(breaker.ask(start + PAUSE, PAUSE).is_err(), "the others are not");
        breaker.tell(true, start + PAUSE, PAUSE);
        assert_eq!(breaker.ask(start + PAUSE, PAUSE), Ok(()));
    }

    #[test]
    fn an_answer_now_and_then_keeps_it_closed() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for i in 0..100 {
            breaker.tell(i % 5 == 0, start, PAUSE);
        }
        assert!(!breaker.is_open());
    }
}
