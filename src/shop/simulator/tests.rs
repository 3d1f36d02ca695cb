//! What every caller of the simulated shops may rely on, one promise a test. Time is paused wherever it matters.

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;

use rstest::rstest;
use tokio::runtime::Builder;
use tokio::time::{Instant as Clock, timeout};

use super::*;
use crate::order::PartnerId;

const LONG: Duration = Duration::from_secs(24 * 3600);

/// Takes every report, unless told otherwise, and remembers when it came.
#[derive(Default)]
struct Notebook {
    began: Mutex<Option<Clock>>,
    reports: Mutex<Vec<(OrderId, Event, Duration)>>,
    answers: Mutex<VecDeque<Result<(), Report>>>,
    since: Mutex<Vec<Option<Instant>>>,
}

impl Notebook {
    fn answering(answers: impl IntoIterator<Item = Result<(), Report>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    fn start(&self) {
        *self.began.lock().unwrap() = Some(Clock::now());
    }

    fn events(&self) -> Vec<Event> {
        self.reports.lock().unwrap().iter().map(|(_, event, _)| event.clone()).collect()
    }

    fn times(&self) -> Vec<Duration> {
        self.reports.lock().unwrap().iter().map(|(_, _, at)| *at).collect()
    }
}

#[async_trait]
impl Counter for Notebook {
    async fn report(&self, _: ShopId, order_id: OrderId, event: Event, since: Option<Instant>) -> Result<(), Report> {
        self.since.lock().unwrap().push(since);
        let elapsed = self.began.lock().unwrap().map(|began| began.elapsed()).unwrap_or_default();
        self.reports.lock().unwrap().push((order_id, event, elapsed));
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))
    }
}

fn offer(simulate: Option<&str>) -> Offer {
    Offer {
        order_id: OrderId::new(),
        partner_id: PartnerId::new(),
        shop_id: ShopId::new(),
        lines: 2,
        on_unavailable: OnUnavailable::Cancel,
        make_seconds: 120,
        pickup_at: None,
        traceparent: None,
        simulate: simulate.map(str::to_owned),
    }
}

fn accepted(dropped_lines: Vec<usize>) -> Event {
    Event::ShopAccepted { minutes: None, dropped_lines }
}

fn whole_life(dropped_lines: Vec<usize>) -> Vec<Event> {
    vec![accepted(dropped_lines), Event::PreparationStarted, Event::Made, Event::Collected]
}

/// Everything that is reported on one offer, by shops that keep nothing.
async fn play(speed: Speed, offer: &Offer, counter: Arc<Notebook>) -> Arc<Notebook> {
    let shops = ShopSimulator::open(None, speed).unwrap();
    shops.run(counter.clone());
    counter.start();
    assert_eq!(shops.offer(offer).await, Ok(Answer::Received));
    sleep(LONG).await;
    counter
}

/// Runs in a world with its own clock that ends like a killed process: whatever is unfinished stops.
fn until_killed<T>(work: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(work)
}

/// Waits until it becomes true: on the paused clock for the baristas, on the real one for the journal's thread.
async fn eventually(until: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
        sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came true");
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shops.jsonl");
    (folder, path)
}

#[rstest]
#[case::normal(None, OnUnavailable::Cancel, 2, whole_life(vec![]))]
#[case::unknown_word(Some("whatever"), OnUnavailable::Cancel, 2, whole_life(vec![]))]
#[case::slow(Some("shop_slow"), OnUnavailable::Cancel, 2, whole_life(vec![]))]
#[case::silent(Some("shop_silent"), OnUnavailable::Cancel, 2, vec![])]
#[case::reject(Some("shop_reject"), OnUnavailable::Cancel, 2,
    vec![Event::ShopRejected { reason: Reason::CannotFulfilRequest }])]
#[case::sold_out(Some("sold_out"), OnUnavailable::Cancel, 2,
    vec![Event::ShopRejected { reason: Reason::ItemUnavailable }])]
#[case::sold_out_droppable(Some("sold_out"), OnUnavailable::RemoveLine, 2, whole_life(vec![0]))]
#[case::sold_out_entirely(Some("sold_out"), OnUnavailable::RemoveLine, 1,
    vec![Event::ShopRejected { reason: Reason::ItemUnavailable }])]
#[tokio::test(start_paused = true)]
async fn the_order_decides_what_is_reported(
    #[values(Speed::Fast, Speed::Real)] speed: Speed,
    #[case] simulate: Option<&str>,
    #[case] on_unavailable: OnUnavailable,
    #[case] lines: usize,
    #[case] expected: Vec<Event>,
) {
    let offer = Offer { on_unavailable, lines, ..offer(simulate) };
    assert_eq!(play(speed, &offer, Arc::default()).await.events(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_fast_life_takes_seconds() {
    let times = play(Speed::Fast, &offer(None), Arc::default()).await.times();
    assert!(times[0] >= Duration::from_millis(250) && times[0] <= Duration::from_millis(900), "{times:?}");
    assert!(times[3] >= Duration::from_millis(2500) && times[3] <= Duration::from_secs(10), "{times:?}");
}

#[rstest]
#[case(Speed::Fast, 60)]
#[case(Speed::Real, 170)]
#[tokio::test(start_paused = true)]
async fn a_slow_shop_accepts_just_in_time(#[case] speed: Speed, #[case] seconds: u64) {
    let first = play(speed, &offer(Some("shop_slow")), Arc::default()).await.times()[0];
    assert!(first.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(1), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_long_before_its_pickup() {
    let scheduled = Offer { pickup_at: Some(Utc::now() + TimeDelta::hours(1)), make_seconds: 600, ..offer(None) };
    let times = play(Speed::Fast, &scheduled, Arc::default()).await.times();
    assert!(times[0] < Duration::from_secs(2), "it is accepted at once: {times:?}");
    assert!(times[1].abs_diff(Duration::from_secs(3000)) < Duration::from_secs(2), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_service_is_tried_again_ever_more_slowly() {
    let down = std::iter::repeat_n(Err(Report::Unavailable), 40);
    let notebook = play(Speed::Fast, &offer(None), Notebook::answering(down)).await;
    let (events, times) = (notebook.events(), notebook.times());
    assert_eq!(events[..41], vec![accepted(vec![]); 41]);
    assert_eq!(events[41..], whole_life(vec![])[1..]);
    let since = notebook.since.lock().unwrap().clone();
    assert!(
        since[0].is_none() && since[1].is_some() && since[1..41].iter().all(|at| *at == since[1]),
        "as it was tapped"
    );
    assert_eq!(since[41..], [None; 3]);
    let pause = |i: usize| times[i + 1] - times[i];
    assert!(pause(0) <= FIRST_RETRY + Duration::from_millis(1));
    assert!(pause(39) >= LAST_RETRY / 2 && pause(39) <= LAST_RETRY + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_order_is_given_up() {
    let notebook = play(Speed::Fast, &offer(None), Notebook::answering([Ok(()), Err(Report::Refused)])).await;
    assert_eq!(notebook.events(), whole_life(vec![])[..2]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_offer_does_nothing_new() {
    let shops = ShopSimulator::open(None, Speed::Fast).unwrap();
    let (offer, counter) = (offer(None), Arc::new(Notebook::default()));
    assert_eq!(shops.offer(&offer).await, Ok(Answer::Received));
    assert_eq!(shops.offer(&offer).await, Ok(Answer::Received));
    sleep(LONG).await;
    assert_eq!(counter.events(), [], "nobody to report to yet");
    shops.run(counter.clone());
    assert_eq!(shops.offer(&offer).await, Ok(Answer::Received));
    sleep(LONG).await;
    assert_eq!(shops.offer(&offer).await, Ok(Answer::Received), "long finished");
    sleep(LONG).await;
    assert_eq!(counter.events(), whole_life(vec![]));
}

#[tokio::test(start_paused = true)]
async fn without_delay_an_offer_is_accepted_in_the_answer() {
    let shops = ShopSimulator::open(None, Speed::Zero).unwrap();
    let counter = Arc::new(Notebook::default());
    shops.run(counter.clone());
    let offer = offer(Some("shop_reject"));
    for _ in 0..2 {
        assert_eq!(shops.offer(&offer).await, Ok(Answer::Accepted { minutes: None, dropped_lines: vec![] }));
    }
    sleep(LONG).await;
    assert_eq!(counter.events(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_offers_of_one_order_are_one_order() {
    let (_folder, path) = place();
    let shops = Arc::new(ShopSimulator::open(Some(&path), Speed::Fast).unwrap());
    let offer = offer(None);
    let offers: Vec<_> = (0..20)
        .map(|_| {
            let (shops, offer) = (shops.clone(), offer.clone());
            tokio::spawn(async move { shops.offer(&offer).await })
        })
        .collect();
    for one in offers {
        // Whoever comes while it is being written down has to come again: it is not durable yet.
        assert!(matches!(one.await.unwrap(), Ok(Answer::Received) | Err(Unreachable { .. })));
    }
    assert_eq!(shops.offer(&offer).await, Ok(Answer::Received));
    assert_eq!(entries(&path).unwrap().len(), 1);
}

#[test]
fn unfinished_orders_go_on_after_a_crash() {
    let (_folder, path) = place();
    let (one, silent) = (offer(None), offer(Some("shop_silent")));
    until_killed(async {
        let shops = ShopSimulator::open(Some(&path), Speed::Fast).unwrap();
        // The service is not there any more when preparation starts.
        let down = std::iter::repeat_n(Err(Report::Unavailable), 100_000);
        shops.run(Notebook::answering([Ok(())].into_iter().chain(down)));
        shops.offer(&one).await.unwrap();
        shops.offer(&silent).await.unwrap();
        eventually(|| entries(&path).unwrap().len() == 3).await;
    });
    let second = Arc::new(Notebook::default());
    until_killed(async {
        let shops = ShopSimulator::open(Some(&path), Speed::Fast).unwrap();
        shops.run(second.clone());
        assert_eq!(shops.offer(&one).await, Ok(Answer::Received));
        assert_eq!(shops.offer(&silent).await, Ok(Answer::Received));
        eventually(|| entries(&path).unwrap().len() == 6).await;
    });
    assert_eq!(second.events(), whole_life(vec![])[1..]);
    let third = Arc::new(Notebook::default());
    until_killed(async {
        let shops = ShopSimulator::open(Some(&path), Speed::Fast).unwrap();
        assert!(shops.floor.orders().waiting.is_empty(), "finished orders are forgotten");
        shops.run(third.clone());
        assert_eq!(shops.offer(&one).await, Ok(Answer::Received), "but not made again");
        assert!(timeout(LONG, std::future::pending::<()>()).await.is_err());
    });
    assert_eq!(third.events(), []);
}

#[test]
fn what_was_given_up_stays_given_up() {
    let (_folder, path) = place();
    until_killed(async {
        let shops = ShopSimulator::open(Some(&path), Speed::Fast).unwrap();
        shops.run(Notebook::answering([Err(Report::Refused)]));
        shops.offer(&offer(None)).await.unwrap();
        eventually(|| entries(&path).unwrap().len() == 2).await;
    });
    assert!(matches!(entries(&path).unwrap()[1].note, Note::GivenUp { .. }));
    let shops = ShopSimulator::open(Some(&path), Speed::Fast).unwrap();
    assert!(shops.floor.orders().waiting.is_empty());
}

#[test]
fn time_that_passed_while_nobody_ran_counts() {
    let now = Utc::now();
    let life = Life { done: 1, ..Life::new(offer(None), now - TimeDelta::hours(1)) };
    assert_eq!(life.wait(Speed::Fast, now), Some(Duration::ZERO));
}
