//! Works off what operators do to many orders at once, evenly, so that everybody else still comes to their turn and
//! whoever sees it go wrong can stop it.
//!
//! Nothing is remembered here: whatever ran when the service died is found running, and gone on with.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::order::{Instant, OrderId};
use crate::store::{self, Deed, Duty, Store};

/// Whether a look-up was news; `None` if there is no such order, and why not if nothing was found out.
pub type LookedUp = Result<Option<bool>, String>;

/// How often somebody looks for a job that was started.
const LOOK_ROUND: Duration = Duration::from_millis(500);
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
    let per_step = (f64::from(per_second.get()) * STEP.as_secs_f64()).max(1.0) as usize;
    let pause = Duration::from_secs_f64(per_step as f64 / f64::from(per_second.get()));
    let work = async {
        loop {
            match step(&store, per_step, &look_up, clock).await {
                Ok(true) => sleep(pause).await,
                Ok(false) => sleep(LOOK_ROUND).await,
                Err(fault) => {
                    tracing::warn!(%fault, "bulk.step_failed");
                    sleep(LOOK_ROUND).await;
                }
            }
        }
    };
    tokio::select! {
        // The sender is gone only when the process is on its way out.
        _ = stop.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

/// Whether there was something to do.
async fn step<L: Future<Output = LookedUp>>(
    store: &Store,
    limit: usize,
    look_up: impl Fn(OrderId) -> L,
    clock: fn() -> Instant,
) -> store::Result<bool> {
    match store.running_bulk().await? {
        Some(_) if !store.on_duty(Duty::Act, clock()).await? => Ok(false),
        Some(job) if job.deed == Deed::LookUpPayment => {
            let next = store.next_of_bulk(&job, limit).await?;
            let asked = next.into_iter().map(|(order, not)| {
                let answer = not.is_none().then(|| look_up(order));
                async move {
                    match answer {
                        None => (order, not),
                        Some(answer) => (order, unresolved(answer.await)),
                    }
                }
            });
            let became = join_all(asked).await;
            Ok(store.pass_bulk(&job, became, clock()).await? > 0)
        }
        Some(job) => Ok(store.work_bulk(job.id, limit, clock()).await? > 0),
        None => Ok(false),
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
    use crate::store::{AuditFilter, BulkJob, BulkState, Counted, Entry, Lot, Sieve, Started};
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
        assert!(store.running_bulk().await.unwrap().is_none(), "nothing happens before it is confirmed");

        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Done);
        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Already);
        let accepted = Event::ShopAccepted { minutes: None, dropped_lines: vec![] };
        house.hear(orders[1], Actor::Shop, accepted).await;
        assert!(step(store, 2, nobody, now).await.unwrap());
        assert_eq!((read(&house, job.id).await.place, read(&house, job.id).await.state), (2, BulkState::Running));
        assert!(step(store, 2, nobody, now).await.unwrap());
        assert!(!step(store, 2, nobody, now).await.unwrap(), "it is done");

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
        assert!(step(store, 1, nobody, now).await.unwrap());
        assert!(store.stop_bulk(job.id, "eve".into(), now()).await.unwrap());
        assert!(!step(store, 1, nobody, now).await.unwrap());
        assert_eq!(store.work_bulk(job.id, 1, now()).await.unwrap(), 0, "also for whoever had seen it run");
        let stopped = read(&house, job.id).await;
        assert_eq!((stopped.state, stopped.place, stopped.stopped_by.as_deref()), (BulkState::Stopped, 1, Some("eve")));

        assert_eq!(store.start_bulk(job.id, by(other, late)).await.unwrap(), Started::Done);
        assert!(step(store, 9, nobody, now).await.unwrap());
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
        assert_eq!(orders, [id], "it waits to be offered");
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
        assert_eq!((ids.as_slice(), counted.sums[0].uncertain), (orders.as_slice(), 3 * total));
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
        assert!(step(store, 2, look_up, now).await.unwrap());
        // Stopped while the last one is asked for: that it was asked is not forgotten.
        let running = store.running_bulk().await.unwrap().unwrap();
        assert!(store.stop_bulk(job.id, "eve".into(), now()).await.unwrap());
        let became = vec![(orders[2], unresolved(look_up(orders[2]).await))];
        assert_eq!(store.pass_bulk(&running, became.clone(), now()).await.unwrap(), 1);
        assert_eq!(store.pass_bulk(&running, became, now()).await.unwrap(), 0, "nobody passes the same place twice");
        assert!(!step(store, 2, look_up, now).await.unwrap());
        assert_eq!(*asked.lock().unwrap(), [orders[0], orders[2]], "what is known meanwhile is not asked for");
        let done = read(&house, job.id).await;
        assert_eq!((done.state, done.done, done.refused), (BulkState::Done, 1, 2));
        let told = ["it no longer fits the filter", "the gateway did not answer"].map(str::to_owned);
        assert_eq!(done.refusals, [(orders[1], told[0].clone()), (orders[2], told[1].clone())]);
    }
}
