//! What clients are told of time, and what it is worth: the same orders, watched by those who come when they are told
//! to and by those who come at fixed intervals, in a time that passes at once.

use std::time::Duration as Std;

use rstest::rstest;

use super::*;
use crate::fixtures::{at, order, order_in};
use crate::simulator::draw;

const EXPECTED: Expectations = Expectations {
    authorization: Duration::seconds(1),
    payment_action: Duration::seconds(25),
    acceptance: Duration::seconds(25),
    queue: Duration::seconds(90),
    collection: Duration::seconds(180),
    simulated_making: None,
};

/// Medians and 95th percentiles of the steps of an order, in milliseconds, as the simulators have them.
const REAL: [(u64, u64); 4] = [(800, 2_500), (25_000, 100_000), (90_000, 360_000), (120_000, 300_000)];

fn pace() -> Pace {
    Pace::new(EXPECTED, Duration::hours(6))
}

/// When an order leaves each status of its way.
fn life() -> [Instant; 4] {
    let mut now = at(0);
    REAL.map(|(p50, p95)| {
        now += Duration::from_std(draw(Std::from_millis(p50), Std::from_millis(p95))).unwrap();
        now
    })
}

fn taught(pace: &mut Pace, shop_id: ShopId, life: [Instant; 4]) {
    let mut since = at(0);
    for (i, at) in life.into_iter().enumerate() {
        let to = WAY.get(i + 1).copied().unwrap_or(Status::Ready);
        pace.record(&Passed { shop_id, from: WAY[i], to, millis: (at - since).num_milliseconds(), at });
        since = at;
    }
}

/// Polls an order until it is ready, and how late each of its changes was noticed, in seconds.
fn watch(life: [Instant; 4], mut wait: impl FnMut(&Order, Instant) -> Duration) -> (usize, Vec<f64>) {
    let (mut now, mut polls, mut delays, mut order) = (at(0), 0, Vec::new(), order());
    while delays.len() < life.len() {
        now += wait(&order, now);
        polls += 1;
        while let Some(changed) = life.get(delays.len()).filter(|changed| **changed <= now) {
            delays.push((now - *changed).as_seconds_f64());
            order.entered_at = *changed;
            order.status = WAY.get(delays.len()).copied().unwrap_or(Status::Ready);
        }
    }
    (polls, delays)
}

/// Polls an order, and the median delay.
fn watch_all(lives: &[[Instant; 4]], wait: impl Fn(&Order, Instant) -> Duration) -> (f64, f64) {
    let watched: Vec<_> = lives.iter().map(|life| watch(*life, &wait)).collect();
    let polls: usize = watched.iter().map(|(polls, _)| polls).sum();
    let mut delays: Vec<f64> = watched.into_iter().flat_map(|(_, delays)| delays).collect();
    delays.sort_by(f64::total_cmp);
    (polls as f64 / lives.len() as f64, delays[delays.len() / 2])
}

#[test]
fn obeying_takes_at_most_half_the_polls_of_the_fixed_interval_with_the_same_median_delay() {
    let mut pace = pace();
    let shop = order().shop_id;
    (0..500).for_each(|_| taught(&mut pace, shop, life()));
    let lives: Vec<_> = (0..500).map(|_| life()).collect();
    let (polls, delay) = watch_all(&lives, |order, now| {
        pace.waiting(&Order { shop_id: shop, ..order.clone() }, rand::random(), now).next_poll_at.unwrap() - now
    });
    let fixed = |tenths: i64| watch_all(&lives, |_, _| Duration::milliseconds(tenths * 100));
    let (fixed_polls, _) = (10..).step_by(5).map(fixed).find(|(_, as_late)| *as_late >= delay).unwrap();
    assert!(polls <= fixed_polls / 2.0, "{polls} against {fixed_polls} polls, noticed after {delay} s");
}

#[rstest]
#[case::of_a_second(Status::New, 0, 1_000)]
#[case::of_half_a_minute(Status::AwaitingShop, 0, 5_000)]
#[case::that_is_overdue(Status::AwaitingShop, 100, 10_000)]
fn before_anything_was_measured_the_wait_grows_as_the_root_of_the_duration(
    #[case] status: Status,
    #[case] elapsed: i64,
    #[case] millis: i64,
) {
    let waiting = pace().waiting(&order_in(status), 0.0, at(elapsed));
    assert_eq!(waiting.next_poll_at, Some(at(elapsed) + Duration::milliseconds(millis)));
}

#[test]
fn the_header_is_never_before_the_instant_and_never_less_than_a_second() {
    for millis in [1, 999, 1_000, 1_001, 299_999] {
        let next_poll_at = Some(at(0) + Duration::milliseconds(millis));
        let seconds = Waiting { next_poll_at, ..Waiting::default() }.retry_after(at(0)).unwrap();
        assert!(seconds >= 1 && (0..1_000).contains(&(seconds * 1_000 - millis)), "{millis}: {seconds}");
    }
    for status in [Status::New, Status::Preparing, Status::Ready] {
        for jitter in [0.0, 0.5, 0.999] {
            let wait = pace().waiting(&order_in(status), jitter, at(0)).next_poll_at.unwrap() - at(0);
            assert!(SHORTEST_POLL <= wait && wait <= LONGEST_POLL * 6 / 5, "{status}: {wait}");
        }
    }
}

#[test]
fn whoever_waits_for_a_slot_is_told_the_slot() {
    let waiting = pace().waiting(&order_in(Status::Scheduled), 0.0, at(3_590));
    assert_eq!(waiting.next_poll_at, Some(at(3_600)));
    assert_eq!(pace().waiting(&order_in(Status::Rejected), 0.0, at(1)).next_poll_at, None);
}
