//! Works off what operators do to many orders at once, evenly, so that everybody else still comes to their turn and
//! whoever sees it go wrong can stop it.
//!
//! Nothing is remembered here: whatever ran when the service died is found running, and gone on with.
//!
//! What needs nobody outside, and what the gateway is asked for, are worked off side by side, a job of each at a time: a
//! gateway that does not answer holds up nothing else, and ends the job that asks it.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::logs::failing;
use crate::order::{Instant, OrderId};
use crate::store::{self, Asks, BulkJob, Duty, Entry, Store};

/// Whether a look-up was news; `None` if there is no such order, and why not if nothing was found out.
pub type LookedUp = Result<Option<bool>, String>;

/// How often somebody looks for a job that was started.
const LOOK_ROUND: Duration = Duration::from_millis(500);
/// A gateway that has left so many look-ups unanswered, one after the other, is not asked for the rest.
const SILENT_AFTER: usize = 20;
/// How often some orders are acted on, where `per_second` allows more than one at a time.
const STEP: Duration = Duration::from_millis(100);

/// Works until told to stop, on `per_second` orders at most. `look_up` tells an order what has become of its payment at
/// the gateway: see `app::Books`. `clock` gives the present instant.
pub async fn run<L: Future<Output = LookedUp>>(
    store: Store,
    per_second: NonZeroU32,
    look_up: impl Fn(OrderId) -> L,
    clock: fn() -> Instant,
    mut stop: watch::Receiver<bool>,
) {
    let work = async |asks: Asks| {
        let mut unanswered = 0;
        loop {
            match step(&store, asks, per_step(per_second), &look_up, &mut unanswered, clock).await {
                Ok(true) => sleep(pause(per_second)).await,
                Ok(false) => sleep(LOOK_ROUND).await,
                Err(fault) => {
                    failing!("bulk.step_failed", fault);
                    sleep(LOOK_ROUND).await;
                }
            }
        }
    };
    tokio::select! {
        // The sender is gone only when the process is on its way out.
        _ = stop.wait_for(|stopped| *stopped) => {}
        () = async { futures_util::join!(work(Asks::Nobody), work(Asks::TheGateway)); } => {}
    }
}

/// Orders that are acted on at once.
fn per_step(per_second: NonZeroU32) -> usize {
    (f64::from(per_second.get()) * STEP.as_secs_f64()).max(1.0) as usize
}

fn pause(per_second: NonZeroU32) -> Duration {
    Duration::from_secs_f64(per_step(per_second) as f64 / f64::from(per_second.get()))
}

/// Whether there was something to do in the oldest running job of these. `unanswered` counts the look-ups, one after the
/// other, that came to nothing.
async fn step<L: Future<Output = LookedUp>>(
    store: &Store,
    asks: Asks,
    limit: usize,
    look_up: impl Fn(OrderId) -> L,
    unanswered: &mut usize,
    clock: fn() -> Instant,
) -> store::Result<bool> {
    if store.is_withheld() {
        return Ok(false);
    }
    let Some(job) = store.running_bulk(asks).await? else {
        *unanswered = 0;
        return Ok(false);
    };
    if !store.on_duty(Duty::Act, clock()).await? {
        return Ok(false);
    }
    if asks == Asks::Nobody {
        return Ok(store.work_bulk(job.id, limit, clock()).await? > 0);
    }
    let next = store.next_of_bulk(&job, limit).await?;
    let asked = next.into_iter().map(|(order, not)| {
        let answer = not.is_none().then(|| look_up(order));
        async move {
            match answer {
                None => (order, not, None),
                Some(answer) => {
                    let answer = answer.await;
                    let is_answered = answer.is_ok();
                    (order, unresolved(answer), Some(is_answered))
                }
            }
        }
    });
    let became = join_all(asked).await;
    for is_answered in became.iter().filter_map(|(.., is_answered)| *is_answered) {
        *unanswered = if is_answered { 0 } else { *unanswered + 1 };
    }
    let became = became.into_iter().map(|(order, not, _)| (order, not)).collect();
    let passed = store.pass_bulk(&job, became, clock()).await?;
    let is_over = job.place + i64::try_from(passed).unwrap_or(i64::MAX) >= job.total;
    if *unanswered >= SILENT_AFTER && !is_over {
        let entry = silence(&job, *unanswered, clock());
        let by = format!("{}, because {}", entry.user_name, entry.reason.as_deref().unwrap_or_default());
        let stopped = store.recording(entry).stop_bulk(job.id, by, clock()).await?;
        tracing::warn!(job = %job.id, unanswered, stopped, "bulk.gateway_silent");
        *unanswered = 0;
    }
    Ok(passed > 0)
}

/// What stands in the audit log when a job is stopped because nobody answers.
fn silence(job: &BulkJob, unanswered: usize, at: Instant) -> Entry {
    Entry {
        at,
        user_id: None,
        user_name: "lungo".into(),
        action: "stop_bulk".into(),
        subject: format!("bulk:{}", job.id),
        reason: Some(format!("the gateway left the last {unanswered} look-ups unanswered")),
        detail: serde_json::json!({}),
        request_id: job.request_id.clone(),
    }
}

/// Why an order knows no more after it was looked up.
fn unresolved(answer: LookedUp) -> Option<String> {
    match answer {
        Ok(Some(true)) => None,
        Ok(Some(false)) => Some("the gateway says nothing new".into()),
        Ok(None) => Some("there is no such order".into()),
        Err(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::clock::now;
    use crate::lifecycle::{Actor, Event, Reason, Refund, Status};
    use crate::store::{AuditFilter, BulkState, Counted, Deed, Lot, Sieve, Started};
    use crate::web::harness::House;

    const CANCEL: Deed = Deed::CancelOrder { why: Reason::EquipmentFailure, refund: Refund::Full };

    fn by(user_id: Uuid, at: Instant) -> Entry {
        Entry {
            at,
            user_id: Some(user_id),
            user_name: "ada".into(),
            action: "run_bulk".into(),
            subject: "bulk:test".into(),
            reason: Some("the machine broke".into()),
            detail: json!({}),
            request_id: "r".into(),
        }
    }

    /// An order whose authorization was not answered.
    async fn unknown(house: &House) -> OrderId {
        let id = house.place(house.request(crate::catalogue::demo::LUNGO_CENTRAL)).await;
        house.hear(id, Actor::Worker, Event::PaymentUnanswered).await;
        id
    }

    async fn nobody(_: OrderId) -> LookedUp {
        panic!("nobody is asked")
    }

    /// One step of what needs nobody outside.
    async fn acted(store: &Store, limit: usize) -> store::Result<bool> {
        step(store, Asks::Nobody, limit, nobody, &mut 0, now).await
    }

    /// Counts and proposes to cancel what waits for its shop.
    async fn proposed(house: &House, user: Uuid) -> BulkJob {
        let sieve = Sieve { status: Some(Status::AwaitingShop), ..Sieve::default() };
        let store = &house.app.store;
        let (orders, counted) = store.count_bulk(CANCEL, Lot::InFlight, sieve.clone(), now()).await.unwrap();
        let meant = (Lot::InFlight, "status:awaiting_shop".to_owned(), sieve);
        let job = BulkJob::proposed(CANCEL, meant, (orders.len(), counted), (user, "ada".into()), now());
        store.propose_bulk(job.clone(), orders).await.unwrap();
        job
    }

    async fn status(house: &House, id: OrderId) -> Status {
        house.app.store.order(id).await.unwrap().unwrap().0.status
    }

    async fn read(house: &House, id: Uuid) -> BulkJob {
        house.app.store.bulk_job(id).await.unwrap().unwrap()
    }

    #[actix_web::test]
    async fn each_order_is_acted_on_once_and_what_went_on_meanwhile_is_left_alone() {
        let (house, user) = (House::open().await, Uuid::now_v7());
        let orders = [house.awaiting().await, house.awaiting().await, house.awaiting().await];
        let store = &house.app.store;
        let job = proposed(&house, user).await;
        let due = store.order(orders[0]).await.unwrap().unwrap().0.amount_due();
        assert_eq!((job.total, job.counted.left_out, job.counted.sums[0].void), (3, 0, 3 * due));
        assert!(store.running_bulk(Asks::Nobody).await.unwrap().is_none(), "nothing happens before it is confirmed");

        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Done);
        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Already);
        let accepted = Event::ShopAccepted { minutes: None, dropped_lines: vec![] };
        house.hear(orders[1], Actor::Shop, accepted).await;
        assert!(acted(store, 2).await.unwrap());
        assert_eq!((read(&house, job.id).await.place, read(&house, job.id).await.state), (2, BulkState::Running));
        assert!(acted(store, 2).await.unwrap());
        assert!(!acted(store, 2).await.unwrap(), "it is done");

        let done = read(&house, job.id).await;
        assert_eq!((done.state, done.done, done.refused), (BulkState::Done, 2, 1));
        assert_eq!(done.refusals, [(orders[1], "it no longer fits the filter".to_owned())]);
        let now_are =
            [status(&house, orders[0]).await, status(&house, orders[1]).await, status(&house, orders[2]).await];
        assert_eq!(now_are, [Status::Cancelled, Status::Accepted, Status::Cancelled]);
        for (order, is_done) in orders.iter().zip([true, false, true]) {
            let filter = AuditFilter { subject: Some(format!("order:{order}")), ..AuditFilter::default() };
            let logged = store.audit(filter, 10).await.unwrap();
            assert_eq!((logged.len(), logged[0].done), (1, is_done));
            assert_eq!(
                (logged[0].entry.action.as_str(), &logged[0].entry.detail["bulk"]),
                ("cancel_order", &json!(job.id))
            );
        }
    }

    /// It still fits the filter; that is not enough: what was confirmed was counted of another version.
    #[actix_web::test]
    async fn an_order_that_has_moved_since_it_was_counted_is_left_alone() {
        let (house, user) = (House::open().await, Uuid::now_v7());
        let (moved, other) = (house.awaiting().await, house.awaiting().await);
        let (store, job) = (&house.app.store, proposed(&house, user).await);
        house.hear(moved, Actor::Partner, Event::Arrived).await;
        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Done);
        assert!(acted(store, 9).await.unwrap());
        let done = read(&house, job.id).await;
        assert_eq!((done.done, done.refused), (1, 1));
        assert_eq!(done.refusals, [(moved, "the order had changed: it has version 3 now".to_owned())]);
        assert_eq!(
            [status(&house, moved).await, status(&house, other).await],
            [Status::AwaitingShop, Status::Cancelled]
        );
    }

    #[actix_web::test]
    async fn it_is_stopped_between_two_orders_and_gone_on_with() {
        let (house, user, other) = (House::open().await, Uuid::now_v7(), Uuid::now_v7());
        let orders = [house.awaiting().await, house.awaiting().await];
        let (store, job) = (&house.app.store, proposed(&house, user).await);
        assert!(!store.stop_bulk(job.id, "ada".into(), now()).await.unwrap(), "it does not run yet");
        assert_eq!(store.start_bulk(job.id, by(other, now())).await.unwrap(), Started::Foreign);
        let late = now() + TimeDelta::minutes(16);
        assert_eq!(store.start_bulk(job.id, by(user, late)).await.unwrap(), Started::Stale);
        assert_eq!(store.start_bulk(Uuid::now_v7(), by(user, now())).await.unwrap(), Started::Unknown);
        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Done);
        assert!(acted(store, 1).await.unwrap());
        assert!(store.stop_bulk(job.id, "eve".into(), now()).await.unwrap());
        assert!(!acted(store, 1).await.unwrap());
        assert_eq!(store.work_bulk(job.id, 1, now()).await.unwrap(), 0, "also for whoever had seen it run");
        let stopped = read(&house, job.id).await;
        assert_eq!((stopped.state, stopped.place, stopped.stopped_by.as_deref()), (BulkState::Stopped, 1, Some("eve")));

        assert_eq!(store.start_bulk(job.id, by(other, late)).await.unwrap(), Started::Done);
        assert!(acted(store, 9).await.unwrap());
        let done = read(&house, job.id).await;
        assert_eq!((done.state, done.done, done.user_id), (BulkState::Done, 2, other));
        for order in orders {
            assert_eq!(status(&house, order).await, Status::Cancelled);
        }
    }

    #[actix_web::test]
    async fn what_cannot_be_done_is_not_part_of_it() {
        let house = House::open().await;
        let id = house.awaiting().await;
        let store = &house.app.store;
        let sieve = Sieve { status: Some(Status::AwaitingShop), ..Sieve::default() };
        let (orders, counted) =
            store.count_bulk(Deed::ForceComplete, Lot::InFlight, sieve.clone(), now()).await.unwrap();
        assert_eq!((orders.len(), counted.left_out, counted.sums.len()), (0, 1, 0));
        let (orders, _) = store.count_bulk(Deed::RetryOrder, Lot::InFlight, sieve, now()).await.unwrap();
        assert_eq!(orders.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id], "it waits to be offered");
    }

    #[actix_web::test]
    async fn proposals_that_nobody_confirmed_are_forgotten() {
        let (house, user) = (House::open().await, Uuid::now_v7());
        house.awaiting().await;
        let (store, first) = (&house.app.store, proposed(&house, user).await);
        let meant = (Lot::InFlight, "status:new".to_owned(), Sieve::default());
        let tomorrow = first.created_at + TimeDelta::hours(25);
        let later = BulkJob::proposed(CANCEL, meant, (0, Counted::default()), (user, "ada".into()), tomorrow);
        store.propose_bulk(later.clone(), Vec::new()).await.unwrap();
        let known: Vec<Uuid> = store.bulk_jobs(10).await.unwrap().iter().map(|job| job.id).collect();
        assert_eq!(known, [later.id]);
    }

    #[actix_web::test]
    async fn unknown_outcomes_are_looked_up_together_and_what_stays_unknown_says_why() {
        let (house, user) = (House::open().await, Uuid::now_v7());
        let orders = [unknown(&house).await, unknown(&house).await, unknown(&house).await];
        let (store, deed, lot) = (&house.app.store, Deed::LookUpPayment, Lot::Unknown);
        let known = house.awaiting().await;
        let (ids, counted) = store.count_bulk(deed, lot, Sieve::default(), now()).await.unwrap();
        let total = store.order(known).await.unwrap().unwrap().0.placed.total.amount;
        let found: Vec<_> = ids.iter().map(|(id, _)| *id).collect();
        assert_eq!((found.as_slice(), counted.sums[0].uncertain), (orders.as_slice(), 3 * total));
        let meant = (lot, "payment:unknown".to_owned(), Sieve::default());
        let job = BulkJob::proposed(deed, meant, (ids.len(), counted), (user, "ada".into()), now());
        store.propose_bulk(job.clone(), ids).await.unwrap();
        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Done);

        house.hear(orders[1], Actor::Gateway, Event::PaymentDeclined { refusal: "no".into() }).await;
        let asked = std::sync::Mutex::new(Vec::new());
        let look_up = async |order| {
            asked.lock().unwrap().push(order);
            if order == orders[0] { Ok(Some(true)) } else { Err("the gateway did not answer".into()) }
        };
        assert!(step(store, Asks::TheGateway, 2, look_up, &mut 0, now).await.unwrap());
        // Stopped while the last one is asked for: that it was asked is not forgotten.
        let running = store.running_bulk(Asks::TheGateway).await.unwrap().unwrap();
        assert!(store.stop_bulk(job.id, "eve".into(), now()).await.unwrap());
        let became = vec![(orders[2], unresolved(look_up(orders[2]).await))];
        assert_eq!(store.pass_bulk(&running, became.clone(), now()).await.unwrap(), 1);
        assert_eq!(store.pass_bulk(&running, became, now()).await.unwrap(), 0, "nobody passes the same place twice");
        assert!(!step(store, Asks::TheGateway, 2, look_up, &mut 0, now).await.unwrap());
        assert_eq!(*asked.lock().unwrap(), [orders[0], orders[2]], "what is known meanwhile is not asked for");
        let done = read(&house, job.id).await;
        assert_eq!((done.state, done.done, done.refused), (BulkState::Done, 1, 2));
        let told = ["it no longer fits the filter", "the gateway did not answer"].map(str::to_owned);
        assert_eq!(done.refusals, [(orders[1], told[0].clone()), (orders[2], told[1].clone())]);
    }

    #[actix_web::test]
    async fn a_silent_gateway_ends_the_job_that_asks_it_and_holds_up_no_other() {
        let (house, user) = (House::open().await, Uuid::now_v7());
        let store = &house.app.store;
        for _ in 0..SILENT_AFTER + 5 {
            unknown(&house).await;
        }
        let (ids, counted) =
            store.count_bulk(Deed::LookUpPayment, Lot::Unknown, Sieve::default(), now()).await.unwrap();
        let meant = (Lot::Unknown, "payment:unknown".to_owned(), Sieve::default());
        let asking = BulkJob::proposed(Deed::LookUpPayment, meant, (ids.len(), counted), (user, "ada".into()), now());
        store.propose_bulk(asking.clone(), ids).await.unwrap();
        store.start_bulk(asking.id, by(user, now())).await.unwrap();
        house.awaiting().await;
        let other = proposed(&house, user).await;
        store.start_bulk(other.id, by(user, now())).await.unwrap();
        // As long as the gateway says nothing, whatever asks it waits.
        let (mut none, silent) = (0, |_| std::future::pending());
        let waits = step(store, Asks::TheGateway, 9, silent, &mut none, now);
        assert!(tokio::time::timeout(Duration::from_millis(200), waits).await.is_err());
        assert!(acted(store, 9).await.unwrap());
        assert_eq!(read(&house, other.id).await.state, BulkState::Done);

        let mut unanswered = 0;
        let mut ask = async |limit, answer: LookedUp| {
            let look_up = |_| std::future::ready(answer.clone());
            step(store, Asks::TheGateway, limit, look_up, &mut unanswered, now).await.unwrap()
        };
        let silent = || Err("the gateway did not answer".to_owned());
        assert!(ask(1, silent()).await && ask(1, Ok(Some(false))).await && ask(SILENT_AFTER - 1, silent()).await);
        assert_eq!(read(&house, asking.id).await.state, BulkState::Running, "it answered in between");
        assert!(ask(1, silent()).await);
        let stopped = read(&house, asking.id).await;
        assert_eq!((stopped.state, stopped.total - stopped.place), (BulkState::Stopped, 3), "{stopped:?}");
        assert!(stopped.stopped_by.unwrap().contains("the last 20 look-ups unanswered"));
    }
}
