//! The one place where the wall clock is read. Only `web`, `worker` and the wiring call it; everything below is
//! given `now`.
//!
//! Time here is this process's own steady count, put right by a clock that it follows. Leases and deadlines are written
//! by several instances into one database: then all of them follow its clock, so that no skew ends a lease early.
//! A service that has its database to itself follows the clock of its machine.
//!
//! The rule: a clock that steps is not believed at once. Its step is logged, the count goes on as before, and only a
//! step that has lasted for [`BELIEVED_AFTER`] is followed. A clock that is set an hour ahead and back moves nothing; one
//! that is put right moves everything once, and that counts as a gap in time (see `gaps`).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant as Monotonic};

use chrono::{DateTime, SubsecRound, Utc};

use crate::order::Instant;

/// What a clock may go ahead of or behind the count between two looks without having stepped: clocks that are slewed,
/// answers that took their time.
const TOLERANCE_MS: i64 = 1_000;
/// How long a step must have lasted until it is followed.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);
/// How often the machine's clock is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A look that took longer says nothing: the process was stopped in its middle.
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// The beginning of this process's own count.
static BEGAN: LazyLock<Monotonic> = LazyLock::new(Monotonic::now);
/// What the clock that is followed is ahead of that count, in milliseconds; [`NOT_FOLLOWED`] until it was first seen.
static AHEAD_MS: AtomicI64 = AtomicI64::new(NOT_FOLLOWED);
const NOT_FOLLOWED: i64 = i64::MIN;
/// Steps that were followed.
static STEPS: AtomicU64 = AtomicU64::new(0);
static FOLLOWED: Mutex<Followed> = Mutex::new(Followed { ahead_ms: None, astray: None });

/// The present instant, at the precision at which instants are stored.
pub fn now() -> Instant {
    match AHEAD_MS.load(Ordering::Relaxed) {
        NOT_FOLLOWED => Utc::now().trunc_subsecs(3),
        ahead => DateTime::from_timestamp_millis(ahead.saturating_add(counted(Monotonic::now()))).unwrap_or_default(),
    }
}

/// A moment of this process's own count, by the clock that is followed: nanoseconds since 1970.
pub fn unix_nanos(at: Monotonic) -> u64 {
    let nanos = match AHEAD_MS.load(Ordering::Relaxed) {
        NOT_FOLLOWED => Utc::now().timestamp_nanos_opt().map(|now| now - nanos_of(at.elapsed())),
        ahead => ahead.checked_mul(1_000_000).map(|ahead| ahead + nanos_of(at.saturating_duration_since(*BEGAN))),
    };
    nanos.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or_default()
}

fn nanos_of(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX / 2)
}

/// How often [`now`] has stepped: what was written before may lie in a future, or a past, that never was.
pub fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// Follows a clock that showed `theirs` at that moment of the process's own count.
pub fn follow(theirs: Instant, at: Monotonic) {
    let ahead_ms = theirs.timestamp_millis() - counted(at);
    let mut followed = FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner);
    match followed.sees(ahead_ms, at) {
        Seen::Steady => {}
        Seen::Astray(by_ms) => tracing::warn!(
            by_ms,
            followed_after_seconds = BELIEVED_AFTER.as_secs(),
            "clock.stepped: the clock was set; it is followed if it stays like that"
        ),
        Seen::Back => tracing::warn!("clock.stepped_back: it was set right again before it was followed"),
        Seen::Stepped(by_ms) => {
            STEPS.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(by_ms, "clock.step_followed: deadlines wait for a grace");
        }
    }
    AHEAD_MS.store(followed.ahead_ms.unwrap_or(ahead_ms), Ordering::Relaxed);
}

/// Follows the clock of this machine from now on, for as long as the process lives.
///
/// # Errors
/// When no thread can be started.
pub fn follow_own() -> std::io::Result<()> {
    static FOLLOWING: Once = Once::new();
    let mut started = Ok(());
    FOLLOWING.call_once(|| {
        look_at_own();
        let look = || loop {
            thread::sleep(LOOK_EVERY);
            look_at_own();
        };
        started = thread::Builder::new().name("clock".into()).spawn(look).map(drop);
    });
    started
}

fn look_at_own() {
    let (before, theirs, after) = (Monotonic::now(), Utc::now(), Monotonic::now());
    let took = after.saturating_duration_since(before);
    if took <= LONGEST_LOOK {
        follow(theirs, before + took / 2);
    }
}

fn counted(at: Monotonic) -> i64 {
    i64::try_from(at.saturating_duration_since(*BEGAN).as_millis()).unwrap_or(i64::MAX)
}

/// A clock, as far as it is believed.
#[derive(Debug)]
struct Followed {
    /// What it is ahead of the count; nothing until it was first seen.
    ahead_ms: Option<i64>,
    /// What it has been ahead of the count lately, if that is something else, and since when.
    astray: Option<(i64, Monotonic)>,
}

/// What a look at the clock has shown.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing new.
    Steady,
    /// It has just stepped by so much, and is not believed.
    Astray(i64),
    /// It is again as it was before.
    Back,
    /// It stepped by so much, and is believed from now on.
    Stepped(i64),
}

impl Followed {
    fn sees(&mut self, ahead_ms: i64, at: Monotonic) -> Seen {
        let is_near = |other: i64| ahead_ms.abs_diff(other) <= TOLERANCE_MS.unsigned_abs();
        let Some(known) = self.ahead_ms.replace(ahead_ms) else { return Seen::Steady };
        if is_near(known) {
            return if self.astray.take().is_some() { Seen::Back } else { Seen::Steady };
        }
        match self.astray {
            Some((astray, since)) if is_near(astray) => {
                if at.saturating_duration_since(since) >= BELIEVED_AFTER {
                    self.astray = None;
                    return Seen::Stepped(ahead_ms.saturating_sub(known));
                }
                self.ahead_ms = Some(known);
                Seen::Steady
            }
            _ => {
                self.astray = Some((ahead_ms, at));
                self.ahead_ms = Some(known);
                Seen::Astray(ahead_ms.saturating_sub(known))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// What is seen of a clock that is so far ahead at these seconds.
    fn seen(looks: &[(u64, i64)]) -> (Vec<Seen>, Option<i64>) {
        let mut followed = Followed { ahead_ms: None, astray: None };
        let began = Monotonic::now();
        let seen = looks.iter().map(|(second, ahead)| followed.sees(*ahead, began + Duration::from_secs(*second)));
        (seen.collect(), followed.ahead_ms)
    }

    #[test]
    fn a_clock_that_is_set_ahead_and_back_moves_nothing() {
        let (seen, ahead) = seen(&[(0, 5), (1, HOUR_MS), (30, HOUR_MS + 2), (59, HOUR_MS), (60, 4)]);
        assert_eq!(seen, [Seen::Steady, Seen::Astray(HOUR_MS - 5), Seen::Steady, Seen::Steady, Seen::Back]);
        assert_eq!(ahead, Some(4));
    }

    #[test]
    fn a_step_that_lasts_is_followed_once() {
        for step in [HOUR_MS, -HOUR_MS] {
            let (seen, ahead) = seen(&[(0, 0), (1, step), (60, step), (61, step), (62, step)]);
            assert_eq!(
                seen,
                [Seen::Steady, Seen::Astray(step), Seen::Steady, Seen::Stepped(step), Seen::Steady],
                "{step}"
            );
            assert_eq!(ahead, Some(step));
        }
    }

    #[test]
    fn a_clock_that_jumps_about_is_not_followed_and_one_that_is_slewed_is() {
        let (jumps, ahead) = seen(&[(0, 0), (1, HOUR_MS), (50, 3 * HOUR_MS), (100, HOUR_MS), (101, 0)]);
        assert!(!jumps.iter().any(|seen| matches!(seen, Seen::Stepped(_))), "{jumps:?}");
        assert_eq!(ahead, Some(0));
        let slewed: Vec<_> = (0..100).map(|second| (second, second as i64 * 900)).collect();
        let (seen, ahead) = seen(&slewed);
        assert!(seen.iter().all(|seen| *seen == Seen::Steady));
        assert_eq!(ahead, Some(99 * 900));
    }
}
