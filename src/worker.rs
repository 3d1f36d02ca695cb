//! Carries orders on: claim → act → commit, one queue and one limit for each stage, and a timer.
//!
//! Nothing here is needed for correctness: whatever this process holds when it dies lapses, and is simply due
//! again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::now;
use crate::lifecycle::Stage;
use crate::meters::{Acted, METERS, Taken, Trouble};
use crate::stages::{self, Ports, backoff};
use crate::store::{self, Again, Claim, Claims, Committed, Outcome, Store, Strike};

/// How often somebody looks for work that nobody was told of, for example after another process died.
const LOOK_ROUND: Duration = Duration::from_millis(250);
/// Rows one claim takes, and deadlines one transaction decides.
const BATCH: usize = 250;
/// A claim takes at least so many, so that a busy stage does not pay a transaction for every row.
const SMALL_BATCH: usize = 16;
/// How long a shutdown waits for the acts under way.
const DRAIN: Duration = Duration::from_secs(20);

/// Works until told to stop. `limit` says how many acts of a stage may be under way at once.
pub async fn run(
    store: Store,
    claims: Claims,
    ports: Arc<Ports>,
    limit: impl Fn(Stage) -> usize,
    mut stop: watch::Receiver<bool>,
) {
    let mut stages = JoinSet::new();
    let mut due = Vec::new();
    for (stage, handed_over) in claims.0 {
        let wake = Arc::new(Notify::new());
        due.push((stage, wake.clone()));
        let limit = limit(stage).max(1);
        METERS.stage_limit.of(stage).set(limit as f64);
        stages.spawn(work(store.clone(), ports.clone(), stage, limit, handed_over, wake, stop.clone()));
    }
    tokio::select! {
        // A stage that ends because all do is no fault, and the others are waited for.
        biased;
        () = stopped(&mut stop) => {}
        () = look_round(&store, &due) => {}
        // Nobody would work that stage any more: whoever runs this is told by its end.
        Some(ended) = stages.join_next() => {
            tracing::error!(?ended, "worker.stage_ended");
            return;
        }
    }
    if tokio::time::timeout(DRAIN, async { while stages.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("worker.drain_incomplete");
    }
}

/// Wakes the stages that have something due, and decides the orders whose deadline has come.
async fn look_round(store: &Store, due: &[(Stage, Arc<Notify>)]) {
    loop {
        match store.next_due().await {
            Ok((attempts, deadline)) => {
                let at = now();
                for (stage, _) in attempts.into_iter().filter(|(_, attempt)| *attempt <= at) {
                    due.iter().filter(|(s, _)| *s == stage).for_each(|(_, wake)| wake.notify_one());
                }
                if deadline.is_some_and(|deadline| deadline <= at)
                    && let Err(fault) = decide_the_overdue(store).await
                {
                    tracing::error!(%fault, "worker.timer_failed");
                }
            }
            Err(fault) => tracing::error!(%fault, "worker.look_round_failed"),
        }
        tokio::time::sleep(LOOK_ROUND).await;
    }
}

/// Decides every order whose deadline has come, a transaction at a time, so that others come in between.
async fn decide_the_overdue(store: &Store) -> store::Result<()> {
    loop {
        let decided = store.expire(BATCH as i64, now()).await?;
        for (order, event) in &decided {
            tracing::info!(order.id = %order, order.event = %event, "order.deadline");
        }
        if decided.len() < BATCH {
            return Ok(());
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only when the process is on its way out.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// One stage: takes what this instance accepted itself, and claims what nobody holds.
async fn work(
    store: Store,
    ports: Arc<Ports>,
    stage: Stage,
    limit: usize,
    mut handed_over: mpsc::Receiver<Claim>,
    wake: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limit));
    let mut acts = JoinSet::new();
    loop {
        let place = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        while acts.try_join_next().is_some() {}
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            // Before what was handed over: what only the database holds must not starve behind a full local queue.
            () = wake.notified() => {
                drop(place);
                let places = room.available_permits().clamp(SMALL_BATCH, BATCH);
                match store.claim(stage, places as i64, now()).await {
                    Ok(claims) => {
                        // There may be more where these came from.
                        if claims.len() == places {
                            wake.notify_one();
                        }
                        for claim in claims {
                            METERS.stage_claims.of((stage, Taken::Claimed)).increment(1);
                            let place = room.clone().acquire_owned().await.expect("the semaphore is never closed");
                            acts.spawn(begin(store.clone(), ports.clone(), claim, place));
                        }
                    }
                    Err(fault) => tracing::error!(%fault, %stage, "worker.claim_failed"),
                }
            }
            Some(claim) = handed_over.recv() => {
                METERS.stage_claims.of((stage, Taken::HandedOver)).increment(1);
                acts.spawn(begin(store.clone(), ports.clone(), claim, place));
            }
        }
    }
    handed_over.close();
    while let Some(claim) = handed_over.recv().await {
        give_back(store.clone(), claim).await;
    }
    while acts.join_next().await.is_some() {}
}

/// Works on a claim whose turn has come, unless it waited too long for it: then it would lapse under its own work, and
/// count as a crash.
async fn begin(store: Store, ports: Arc<Ports>, claim: Claim, place: OwnedSemaphorePermit) {
    if claim.lasts(now()) > ports.longest_act() {
        carry_on(store, ports, claim, place).await;
    } else {
        give_back(store, claim).await;
    }
}

/// Gives a claim back that nobody has begun to work on.
async fn give_back(store: Store, claim: Claim) {
    if let Err(fault) = store.give_back(claim, now()).await {
        tracing::warn!(%fault, "worker.give_back_failed");
    }
}

/// One act under one claim.
async fn carry_on(store: Store, ports: Arc<Ports>, claim: Claim, _place: OwnedSemaphorePermit) {
    let (order, stage, attempts) = (claim.order().id, claim.stage(), claim.order().task.attempts);
    METERS.stage_acting.of(stage).increment(1);
    let began = Instant::now();
    let outcome = AssertUnwindSafe(stages::act(&claim, &ports)).catch_unwind().await.unwrap_or_else(|_| Outcome {
        event: None,
        again: Some(Again {
            after: backoff(attempts, chrono::Duration::seconds(15)),
            why: "the act panicked".into(),
            strike: Strike::Panic,
        }),
    });
    let acted = match &outcome {
        Outcome { again: Some(Again { strike: Strike::Panic, .. }), .. } => Acted::Panicked,
        Outcome { event: Some(_), .. } => Acted::Happened,
        Outcome { event: None, .. } => Acted::Again,
    };
    METERS.stage_act.of((stage, acted)).record(began.elapsed());
    METERS.stage_acting.of(stage).decrement(1);
    if acted == Acted::Panicked {
        METERS.stage_retries.of((stage, Trouble::Panic)).increment(1);
    }
    let event = outcome.event.as_ref().map(crate::lifecycle::Event::kind);
    let why = outcome.again.as_ref().map(|again| again.why.clone());
    match store.commit(claim, outcome, now()).await {
        Ok(Committed::Done(after)) => tracing::debug!(
            order.id = %order, %stage, attempts, ?event, why, order.status = %after.status, "stage.done"
        ),
        Ok(Committed::Lost) => {
            METERS.stage_leases_lost.of(stage).increment(1);
            tracing::info!(order.id = %order, %stage, ?event, "stage.lease_lost");
        }
        // The lease lapses, and the stage is tried again under the same key.
        Err(fault) => {
            METERS.stage_commits_failed.of(stage).increment(1);
            tracing::error!(order.id = %order, %stage, %fault, "stage.commit_failed");
        }
    }
}
