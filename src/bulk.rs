//! Works off what operators do to many orders at once, evenly, so that everybody else still comes to their turn and
//! whoever sees it go wrong can stop it.
//!
//! Nothing is remembered here: whatever ran when the service died is found running, and gone on with.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::order::Instant;
use crate::store::{self, Duty, Store};

/// How often somebody looks for a job that was started.
const LOOK_ROUND: Duration = Duration::from_millis(500);
/// How often some orders are acted on, where `per_second` allows more than one at a time.
const STEP: Duration = Duration::from_millis(100);

/// Works until told to stop, on `per_second` orders at most. `clock` gives the present instant.
pub async fn run(store: Store, per_second: NonZeroU32, clock: fn() -> Instant, mut stop: watch::Receiver<bool>) {
    let per_step = (f64::from(per_second.get()) * STEP.as_secs_f64()).max(1.0) as usize;
    let pause = Duration::from_secs_f64(per_step as f64 / f64::from(per_second.get()));
    let work = async {
        loop {
            match step(&store, per_step, clock).await {
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
async fn step(store: &Store, limit: usize, clock: fn() -> Instant) -> store::Result<bool> {
    match store.running_bulk().await? {
        Some(_) if !store.on_duty(Duty::Act, clock()).await? => Ok(false),
        Some(job) => Ok(store.work_bulk(job, limit, clock()).await? > 0),
        None => Ok(false),
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
    use crate::order::OrderId;
    use crate::store::{AuditFilter, BulkJob, BulkState, Counted, Deed, Entry, Lot, Sieve, Started};
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
        assert_eq!(store.running_bulk().await.unwrap(), None, "nothing happens before it is confirmed");

        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Done);
        assert_eq!(store.start_bulk(job.id, by(user, now())).await.unwrap(), Started::Already);
        let accepted = Event::ShopAccepted { minutes: None, dropped_lines: vec![] };
        house.hear(orders[1], Actor::Shop, accepted).await;
        assert!(step(store, 2, now).await.unwrap());
        assert_eq!((read(&house, job.id).await.place, read(&house, job.id).await.state), (2, BulkState::Running));
        assert!(step(store, 2, now).await.unwrap());
        assert!(!step(store, 2, now).await.unwrap(), "it is done");

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
        assert!(step(store, 1, now).await.unwrap());
        assert!(store.stop_bulk(job.id, "eve".into(), now()).await.unwrap());
        assert!(!step(store, 1, now).await.unwrap());
        assert_eq!(store.work_bulk(job.id, 1, now()).await.unwrap(), 0, "also for whoever had seen it run");
        let stopped = read(&house, job.id).await;
        assert_eq!((stopped.state, stopped.place, stopped.stopped_by.as_deref()), (BulkState::Stopped, 1, Some("eve")));

        assert_eq!(store.start_bulk(job.id, by(other, late)).await.unwrap(), Started::Done);
        assert!(step(store, 9, now).await.unwrap());
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
}
