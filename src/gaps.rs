//! Gaps in time, after which the outside world speaks first. Pure: it is told what the time is.
//!
//! The rule: a deadline is decided only by a timer that could have heard the words that would have come before it. While
//! nothing ran, the database stood still or the clock was wrong, no word could arrive; what a tablet kept meanwhile
//! arrives a moment later. So after a gap the deadlines of orders that were there before wait for a grace, in which a
//! word from outside wins. An order that was created after the gap has missed nothing, and waits for nothing.

use std::fmt;
use std::time::{Duration, Instant as Monotonic};

use crate::order::Instant;

/// A timer that has not seen the database take a write for longer has missed something.
pub const GAP: Duration = Duration::from_secs(5);
/// Gaps that follow each other prolong a grace to this many times its length, and no more: each order is decided in the
/// end, however slow the database is.
const MOST: u32 = 5;

/// Why no word from outside could arrive for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// This process has just begun.
    Start,
    /// The database took no write for so long.
    Silence(Duration),
    /// The clock was set, or its database was: what was in the future is in the past now, or the other way round.
    ClockStep,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Silence(span) => write!(f, "silence of {} ms", span.as_millis()),
            Self::ClockStep => f.write_str("clock_step"),
        }
    }
}

/// Whose deadlines may be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    All,
    /// Only those of orders that were created then or later.
    CreatedSince(Instant),
    /// None: whether anybody can be heard is not known.
    Nothing,
}

/// What a timer has seen without a gap.
#[derive(Debug)]
pub struct Gaps {
    grace: Duration,
    /// When the database last took a write, and how often the clock had stepped by then.
    seen: Option<(Monotonic, u64)>,
    waits: Option<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    /// When the first of the gaps ended that followed each other.
    began: Monotonic,
    until: Monotonic,
    /// When the last gap ended.
    since: Instant,
}

impl Gaps {
    /// Nothing has been seen yet.
    pub fn new(grace: Duration) -> Self {
        Self { grace, seen: None, waits: None }
    }

    /// The database has just taken a write, `at` by this process's own count and `now` by the clock, which has stepped so
    /// often. Returns the gap that ends with it, if there was one.
    pub fn sees(&mut self, at: Monotonic, now: Instant, clock_steps: u64) -> Option<Gap> {
        let gap = match self.seen.replace((at, clock_steps)) {
            None => Some(Gap::Start),
            Some((_, steps)) if steps != clock_steps => Some(Gap::ClockStep),
            Some((before, _)) => {
                let silence = at.saturating_duration_since(before);
                (silence > GAP).then_some(Gap::Silence(silence))
            }
        }?;
        let follows_another = |wait: &Wait| at <= wait.until + self.grace;
        let began = self.waits.filter(follows_another).map_or(at, |wait| wait.began);
        let until = (at + self.grace).min(began + self.grace * MOST);
        self.waits = Some(Wait { began, until, since: now });
        Some(gap)
    }

    /// Whose deadlines may be decided at this moment.
    pub fn decides(&self, at: Monotonic) -> Decides {
        match (self.seen, self.waits) {
            (None, _) => Decides::Nothing,
            (Some((seen, _)), _) if at.saturating_duration_since(seen) > GAP => Decides::Nothing,
            (_, Some(wait)) if at < wait.until => Decides::CreatedSince(wait.since),
            _ => Decides::All,
        }
    }

    /// How long deadlines wait after a gap.
    pub fn grace(&self) -> Duration {
        self.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    const GRACE: Duration = Duration::from_secs(60);

    /// A timer whose life began so many seconds ago, without a gap since, and the moment at which it began.
    fn watching(seconds: u64) -> (Gaps, Monotonic) {
        let (mut gaps, began) = (Gaps::new(GRACE), Monotonic::now());
        for second in 0..=seconds {
            gaps.sees(began + Duration::from_secs(second), at(second as i64), 0);
        }
        (gaps, began)
    }

    fn after(began: Monotonic, seconds: u64) -> Monotonic {
        began + Duration::from_secs(seconds)
    }

    /// The same timer, which goes on seeing the database take a write in each second until then.
    fn on_until(gaps: &mut Gaps, began: Monotonic, seconds: std::ops::RangeInclusive<u64>, steps: u64) {
        for second in seconds {
            assert_eq!(gaps.sees(after(began, second), at(second as i64), steps), None);
        }
    }

    #[test]
    fn after_a_start_the_outside_speaks_first() {
        let (mut gaps, began) = (Gaps::new(GRACE), Monotonic::now());
        assert_eq!(gaps.decides(began), Decides::Nothing);
        assert_eq!(gaps.sees(began, at(0), 0), Some(Gap::Start));
        on_until(&mut gaps, began, 1..=59, 0);
        assert_eq!(gaps.decides(after(began, 59)), Decides::CreatedSince(at(0)));
        on_until(&mut gaps, began, 60..=60, 0);
        assert_eq!(gaps.decides(after(began, 60)), Decides::All);
        let mut without = Gaps::new(Duration::ZERO);
        without.sees(began, at(0), 0);
        assert_eq!(without.decides(began), Decides::All);
    }

    #[test]
    fn a_database_that_stood_still_and_a_clock_that_stepped_are_gaps_and_a_slow_round_is_none() {
        let (mut gaps, began) = watching(100);
        assert_eq!(gaps.sees(after(began, 105), at(105), 0), None);
        assert_eq!(gaps.decides(after(began, 105)), Decides::All);
        assert_eq!(gaps.decides(after(began, 111)), Decides::Nothing, "a word that comes now is too late");
        assert_eq!(gaps.sees(after(began, 120), at(120), 0), Some(Gap::Silence(Duration::from_secs(15))));
        on_until(&mut gaps, began, 121..=179, 0);
        assert_eq!(gaps.decides(after(began, 179)), Decides::CreatedSince(at(120)));
        on_until(&mut gaps, began, 180..=180, 0);
        assert_eq!(gaps.decides(after(began, 180)), Decides::All);

        let (mut gaps, began) = watching(100);
        assert_eq!(gaps.sees(after(began, 101), at(3 * 3600), 1), Some(Gap::ClockStep));
        on_until(&mut gaps, began, 102..=102, 1);
        assert_eq!(gaps.decides(after(began, 102)), Decides::CreatedSince(at(3 * 3600)));
    }

    #[test]
    fn a_database_that_is_always_slow_leaves_no_order_undecided_for_ever() {
        let (mut gaps, began) = (Gaps::new(GRACE), Monotonic::now());
        let mut decided = (0..100).map(|round| round * 6).filter(|second| {
            gaps.sees(after(began, *second), at(0), 0);
            gaps.decides(after(began, *second)) == Decides::All
        });
        assert_eq!(decided.next(), Some(300));
    }
}
