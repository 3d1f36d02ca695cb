//! When a receiver is asked again. Pure; chance is an argument, from 0 to 1.

use std::time::Duration;

/// The longest that a receiver is left alone which fails all the time.
pub const LONGEST_REST: Duration = Duration::from_secs(60);
const FIRST_REST: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 3600);

/// Until the next attempt of a delivery that was tried in vain so many times before this one: 5 s, doubled each time up
/// to 2 h, of which chance takes up to a half.
pub fn pause(before: i32, chance: f64) -> Duration {
    spread(FIRST_PAUSE, u32::try_from(before).unwrap_or(0), LONGEST_PAUSE, chance)
}

/// How long a receiver is left alone as a whole that has failed so many times beyond what counts as failing.
pub fn rest(beyond: u32, chance: f64) -> Duration {
    spread(FIRST_REST, beyond, LONGEST_REST, chance)
}

fn spread(first: Duration, doublings: u32, longest: Duration, chance: f64) -> Duration {
    let whole = first.saturating_mul(1 << doublings.min(20)).min(longest);
    whole.mul_f64(1.0 - chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_never_beyond_two_hours() {
        let seconds: Vec<u64> = (0..12).map(|before| pause(before, 0.0).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 7200]);
        assert_eq!((pause(0, 1.0).as_millis(), pause(i32::MAX, 1.0).as_secs()), (2500, 3600));
        let attempts_in_three_days = (0..1000).scan(0, |sum, before| {
            *sum += pause(before, 0.5).as_secs();
            (*sum < 3 * 24 * 3600).then_some(())
        });
        assert_eq!(attempts_in_three_days.count(), 57);
    }

    #[test]
    fn a_failing_receiver_is_asked_once_a_minute() {
        assert_eq!([0, 1, 5, 6, 99].map(|beyond| rest(beyond, 0.0).as_secs()), [1, 2, 32, 60, 60]);
    }
}
