//! Durations in fixed memory: counts in buckets that grow geometrically, in a ring of windows, so that what is old
//! is forgotten.

use std::sync::LazyLock;

use crate::order::Instant;

/// Each bucket is this much longer than the one before: a quantile is off by at most half of that, about 6 %.
const GROWTH: f64 = 1.12;
/// Everything shorter falls into the first bucket.
const SHORTEST_MS: f64 = 20.0;
/// Enough for three hours; everything longer falls into the last one.
const BUCKETS: usize = 118;
/// Windows in the ring.
pub const WINDOWS: usize = 6;

/// How long something took, over the last windows of time.
#[derive(Clone, Debug)]
pub struct Sketch {
    windows: Box<[Window; WINDOWS]>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    /// Which window of time these counts are of.
    epoch: i64,
    total: u32,
    counts: [u16; BUCKETS],
}

const EMPTY: Window = Window { epoch: i64::MIN, total: 0, counts: [0; BUCKETS] };

impl Default for Sketch {
    fn default() -> Self {
        Self { windows: Box::new([EMPTY; WINDOWS]) }
    }
}

impl Sketch {
    /// Counts a duration that ended at `at`. What is older than the ring is ignored.
    pub fn record(&mut self, millis: i64, at: Instant, window: chrono::Duration) {
        let epoch = epoch(at, window);
        let slot = &mut self.windows[usize::try_from(epoch.rem_euclid(WINDOWS as i64)).unwrap_or(0)];
        if epoch < slot.epoch {
            return;
        }
        if epoch > slot.epoch {
            *slot = Window { epoch, ..EMPTY };
        }
        let bucket = &mut slot.counts[bucket(millis as f64)];
        if *bucket < u16::MAX {
            *bucket += 1;
            slot.total += 1;
        }
    }

    /// The counts of the windows that are still in the ring at `now`.
    pub fn view(&self, now: Instant, window: chrono::Duration) -> View {
        let newest = epoch(now, window);
        let mut view = View::default();
        for slot in self.windows.iter().filter(|slot| (newest - WINDOWS as i64 + 1..=newest).contains(&slot.epoch)) {
            view.total += u64::from(slot.total);
            view.counts.iter_mut().zip(slot.counts).for_each(|(sum, count)| *sum += u32::from(count));
        }
        view
    }
}

fn epoch(at: Instant, window: chrono::Duration) -> i64 {
    at.timestamp_millis().div_euclid(window.num_milliseconds().max(1))
}

fn bucket(millis: f64) -> usize {
    if millis <= SHORTEST_MS {
        return 0;
    }
    (((millis / SHORTEST_MS).ln() / GROWTH.ln()) as usize).min(BUCKETS - 1)
}

/// Where a bucket begins. Kept, because every answer about a waiting order asks for all of them.
fn start_of(bucket: usize) -> f64 {
    static STARTS: LazyLock<[f64; BUCKETS + 1]> = LazyLock::new(|| {
        std::array::from_fn(|bucket| match i32::try_from(bucket) {
            Ok(steps @ 1..) => SHORTEST_MS * GROWTH.powi(steps),
            _ => 0.0,
        })
    });
    STARTS[bucket]
}

/// A distribution of durations.
#[derive(Clone, Debug)]
pub struct View {
    total: u64,
    counts: [u32; BUCKETS],
}

impl Default for View {
    fn default() -> Self {
        Self { total: 0, counts: [0; BUCKETS] }
    }
}

impl View {
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The duration, in milliseconds, that a share `q` of those that lasted longer than `elapsed` did not exceed:
    /// the `q`-quantile of T given T > elapsed. `None` if too few of them lasted that long to say.
    pub fn quantile_after(&self, elapsed: f64, q: f64, at_least: u64) -> Option<f64> {
        let mut wanted = self.longer_than(elapsed, at_least)? * q;
        for Stretch { start, end, count } in self.after(elapsed).filter(|stretch| stretch.count > 0.0) {
            if wanted <= count {
                return Some(start + (end - start) * (wanted / count));
            }
            wanted -= count;
        }
        Some(start_of(BUCKETS))
    }

    /// How many milliseconds from `elapsed` on those that lasted longer have been over for `mean` milliseconds on
    /// average, those that are not over yet counted as 0: the `w` for which E[max(0, w − (T − elapsed))] = `mean`,
    /// given T > elapsed. `None` if too few of them lasted that long to say.
    pub fn unnoticed_for(&self, mean: f64, elapsed: f64, at_least: u64) -> Option<f64> {
        let longer = self.longer_than(elapsed, at_least)?;
        // The mean grows with time by the share that is over: it is the area under that share.
        let (mut left, mut over) = (mean, 0.0);
        for Stretch { start, end, count } in self.after(elapsed) {
            let (length, share) = (end - start, count / longer);
            let area = (over + share / 2.0) * length;
            if left <= area {
                let slope = share / length;
                let into =
                    if slope > 0.0 { ((over * over + 2.0 * slope * left).sqrt() - over) / slope } else { left / over };
                return Some(start + into - elapsed);
            }
            left -= area;
            over += share;
        }
        Some(start_of(BUCKETS).max(elapsed) + left - elapsed)
    }

    /// How many lasted longer, if they are enough.
    fn longer_than(&self, elapsed: f64, at_least: u64) -> Option<f64> {
        let longer = self.after(elapsed).map(|stretch| stretch.count).sum();
        (longer >= at_least.max(1) as f64).then_some(longer)
    }

    /// The buckets behind `elapsed`; the one that it falls into is taken as evenly filled.
    fn after(&self, elapsed: f64) -> impl Iterator<Item = Stretch> {
        self.counts.iter().enumerate().filter_map(move |(i, count)| {
            let (start, end) = (start_of(i).max(elapsed), start_of(i + 1));
            let count = f64::from(*count) * (end - start) / (end - start_of(i));
            (end > elapsed).then_some(Stretch { start, end, count })
        })
    }
}

/// So many durations lie between these two.
struct Stretch {
    start: f64,
    end: f64,
    count: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: chrono::Duration = chrono::Duration::minutes(10);

    fn at(minutes: i64) -> Instant {
        Instant::from_timestamp_millis(1_800_000_000_000 + minutes * 60_000).unwrap()
    }

    #[test]
    fn quantiles_are_within_the_width_of_a_bucket() {
        let mut sketch = Sketch::default();
        (1..=1000).for_each(|i| sketch.record(i * 100, at(0), WINDOW));
        let view = sketch.view(at(1), WINDOW);
        assert_eq!(view.count(), 1000);
        for (q, exact) in [(0.1, 10_000.0), (0.5, 50_000.0), (0.95, 95_000.0)] {
            let quantile = view.quantile_after(0.0, q, 1).unwrap();
            assert!((quantile / exact - 1.0).abs() < 0.07, "{q}: {quantile} against {exact}");
        }
    }

    #[test]
    fn what_has_lasted_already_counts() {
        let mut sketch = Sketch::default();
        (0..500).for_each(|_| sketch.record(1_000, at(0), WINDOW));
        (0..500).for_each(|_| sketch.record(60_000, at(0), WINDOW));
        let view = sketch.view(at(0), WINDOW);
        assert!(view.quantile_after(0.0, 0.4, 1).unwrap() < 1_200.0);
        assert!(view.quantile_after(5_000.0, 0.1, 1).unwrap() > 50_000.0);
        assert_eq!(view.quantile_after(120_000.0, 0.5, 10), None);
    }

    #[test]
    fn nobody_asks_before_anything_can_have_happened_nor_long_after_it_did() {
        let mut sketch = Sketch::default();
        (0..1_000).for_each(|i| sketch.record(60_000 + i, at(0), WINDOW));
        let view = sketch.view(at(0), WINDOW);
        let wait = |elapsed| view.unnoticed_for(500.0, elapsed, 1).unwrap();
        assert!((55_000.0..70_000.0).contains(&wait(0.0)), "{}", wait(0.0));
        assert!((wait(0.0) - 20_000.0 - wait(20_000.0)).abs() < 1.0);
        assert_eq!(view.unnoticed_for(500.0, 90_000.0, 1), None);
    }

    #[test]
    fn with_a_steady_chance_the_wait_grows_as_the_root_of_the_duration() {
        let mut sketch = Sketch::default();
        (1..10_000).for_each(|i| sketch.record((-20_000.0 * (f64::from(i) / 1e4).ln()) as i64, at(0), WINDOW));
        let view = sketch.view(at(0), WINDOW);
        for (worth, elapsed) in [(100.0, 0.0), (100.0, 10_000.0), (400.0, 25_000.0)] {
            let (wait, exact) = (view.unnoticed_for(worth, elapsed, 1).unwrap(), f64::sqrt(2.0 * worth * 20_000.0));
            assert!((wait / exact - 1.0).abs() < 0.1, "{wait} against {exact}");
        }
    }

    #[test]
    fn what_is_old_is_forgotten_and_what_is_too_old_is_ignored() {
        let mut sketch = Sketch::default();
        sketch.record(1_000, at(0), WINDOW);
        assert_eq!(sketch.view(at(59), WINDOW).count(), 1);
        assert_eq!(sketch.view(at(60), WINDOW).count(), 0);
        sketch.record(1_000, at(65), WINDOW);
        sketch.record(1_000, at(0), WINDOW);
        assert_eq!(sketch.view(at(65), WINDOW).count(), 1);
    }

    #[test]
    fn nothing_is_too_short_or_too_long() {
        let mut sketch = Sketch::default();
        for millis in [-5, 0, 1, i64::MAX] {
            sketch.record(millis, at(0), WINDOW);
        }
        let view = sketch.view(at(0), WINDOW);
        assert_eq!(view.count(), 4);
        assert!(view.quantile_after(0.0, 1.0, 1).unwrap() > 3.0 * 3_600_000.0);
    }
}
