//! Carries orders on: claim → act → commit, one limit for each stage, and a timer.
//!
//! Within a stage each payment method and each shop waits in a line of its own (`turns`), so that one that does not
//! answer holds up only itself. A claim that waits too long for its turn is put off before its lease ends.
//!
//! Nothing here is needed for correctness: whatever this process holds when it dies lapses, and is simply due
//! again.

mod spans;
mod timer;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock::now;
use crate::controls::AtWork;
use crate::lifecycle::Stage;
use crate::logs::failing;
use crate::machine;
use crate::meters::{Acted, METERS, Taken, Trouble};
use crate::order;
use crate::stages::{self, Ports, backoff};
use crate::store::{Again, Claim, Claims, Committed, Outcome, Store, Strike};
use crate::turns::{Crowd, Peer, Turns};
use crate::{trace, tracer};
use spans::Attempt;
use timer::Timer;

/// How often somebody looks for work that nobody was told of, for example after another process died, and at who has
/// waited too long.
const LOOK_ROUND: Duration = Duration::from_millis(250);
/// Rows one claim takes.
const BATCH: usize = 250;
/// A claim takes at least so many, so that a busy stage does not pay a transaction for every row.
const SMALL_BATCH: usize = 16;
/// Claims that may wait for their turn at a stage: a few seconds' work, in a few megabytes.
const ROOM: usize = 4_096;
/// How soon it is tried again to end a lease whose result could not be written.
const SOON: Duration = Duration::from_secs(1);
/// How long a shutdown waits for the acts under way.
const DRAIN: Duration = Duration::from_secs(20);

/// Works until told to stop. `limit` says how many acts of a stage may be under way at once. Who should not be given
/// more to do is noted in `crowd`. Deadlines wait for `grace` after a gap in time.
pub async fn run(
    store: Store,
    claims: Claims,
    ports: Arc<Ports>,
    crowd: Arc<Mutex<Crowd>>,
    limit: impl Fn(Stage) -> usize,
    grace: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut stages = JoinSet::new();
    let mut due = Vec::new();
    for (stage, handed_over) in claims.0 {
        let wake = Arc::new(Notify::new());
        due.push((stage, wake.clone()));
        let limit = limit(stage).max(1);
        METERS.stage_limit.of(stage).set(limit as f64);
        let at_stage = AtStage {
            store: store.clone(),
            ports: ports.clone(),
            crowd: crowd.clone(),
            stage,
            limit,
            turns: Turns::new(limit, ROOM),
            acts: JoinSet::new(),
            commits: JoinSet::new(),
            put_off: Vec::new(),
        };
        stages.spawn(at_stage.work(handed_over, wake, stop.clone()));
    }
    tokio::select! {
        () = stopped(&mut stop) => {}
        () = look_round(&store, &due, Timer::new(store.clone(), grace)) => {}
        // Both may be true in one poll: the stop was not there yet when this looked for it, and a stage has ended by it.
        Some(ended) = stages.join_next() => if !is_stopping(&stop) {
            // No other task works on that stage: the caller learns of it by the end of this one.
            let why = ended.err().map_or("it returned".to_owned(), |fault| fault.to_string());
            tracing::error!(why, "worker.stage_ended");
            return;
        }
    }
    if tokio::time::timeout(DRAIN, async { while stages.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("worker.drain_incomplete");
    }
}

/// Wakes the stages that have something due, and the timer.
async fn look_round(store: &Store, due: &[(Stage, Arc<Notify>)], mut timer: Timer) {
    loop {
        if store.is_withheld() {
            tokio::time::sleep(LOOK_ROUND).await;
            continue;
        }
        match store.next_due().await {
            Ok((attempts, deadline)) => {
                let at = now();
                for (stage, _) in attempts.into_iter().filter(|(_, attempt)| *attempt <= at) {
                    due.iter().filter(|(s, _)| *s == stage).for_each(|(_, wake)| wake.notify_one());
                }
                if let Err(fault) = timer.look(deadline).await {
                    failing!("worker.timer_failed", fault);
                }
            }
            Err(fault) => failing!("worker.look_round_failed", fault),
        }
        tokio::time::sleep(LOOK_ROUND).await;
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only when the process is on its way out.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

fn is_stopping(stop: &watch::Receiver<bool>) -> bool {
    // The sender is gone only when the process is on its way out.
    *stop.borrow() || stop.has_changed().is_err()
}

/// One stage: takes what this instance accepted itself, and claims what nobody holds.
struct AtStage {
    store: Store,
    ports: Arc<Ports>,
    crowd: Arc<Mutex<Crowd>>,
    stage: Stage,
    /// Acts that may be under way at once, and results that may wait to be committed.
    limit: usize,
    turns: Turns<Claim>,
    /// Each gives its place back as soon as it is answered: whoever is silent holds places, whoever is answered does not.
    acts: JoinSet<(Peer, Claim, Ended)>,
    commits: JoinSet<()>,
    /// To be given back.
    put_off: Vec<Claim>,
}

impl AtStage {
    async fn work(
        mut self,
        mut handed_over: mpsc::Receiver<Claim>,
        wake: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut look = tokio::time::interval(LOOK_ROUND);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = self.acts.join_next() => {
                    let (peer, claim, acted) = ended.expect("an act neither panics nor is aborted");
                    self.turns.done(&peer);
                    // In a drill: as if this process had died here, its lease has to lapse.
                    if !self.ports.controls.loses(self.stage) {
                        self.commits.spawn(commit(self.store.clone(), claim, acted, wake.clone()).boxed());
                    }
                }
                Some(_) = self.commits.join_next() => {}
                _ = look.tick() => self.look_at_the_lines(),
                // Before what was handed over: what only the database holds must not starve behind it.
                () = wake.notified(), if !self.is_held() => {
                    let places = self.turns.free().clamp(SMALL_BATCH, BATCH);
                    match self.store.claim(self.stage, places as i64, now()).await {
                        Ok(claims) => {
                            // There may be more where these came from.
                            if claims.len() == places {
                                wake.notify_one();
                            }
                            claims.into_iter().for_each(|claim| self.join(claim, Taken::Claimed));
                        }
                        Err(fault) => failing!("worker.claim_failed", fault, stage = %self.stage),
                    }
                }
                Some(claim) = handed_over.recv() => self.join(claim, Taken::HandedOver),
            }
        }
        handed_over.close();
        let mut unused = self.turns.leave(|_| true);
        unused.append(&mut self.put_off);
        while let Some(claim) = handed_over.recv().await {
            unused.push(claim);
        }
        give_back(self.store.clone(), unused, now).await;
        while let Some(ended) = self.acts.join_next().await {
            if let Ok((_, claim, acted)) = ended {
                self.commits.spawn(commit(self.store.clone(), claim, acted, wake.clone()).boxed());
            }
        }
        while self.commits.join_next().await.is_some() {}
    }

    fn join(&mut self, claim: Claim, taken: Taken) {
        METERS.stage_claims.of((self.stage, taken)).increment(1);
        let has_arrived = claim.order().arrived_at.is_some();
        if let Some(last) = self.turns.join(stages::peer(&claim), has_arrived, claim, Instant::now()) {
            self.put_off.push(last);
        }
    }

    /// An operator lets nobody begin here for now: whoever waits is put off before its lease ends.
    fn is_held(&self) -> bool {
        self.ports.controls.holds_stage(self.stage, Instant::now())
    }

    /// The order is to be ended by the timer, which may wait after a gap in time: no money is held and no shop is asked
    /// meanwhile.
    fn is_too_late(&self, claim: &Claim) -> bool {
        let begins = matches!(self.stage, Stage::Authorize | Stage::Offer);
        begins && machine::is_too_late(claim.order(), now(), &self.store.policy().deadlines)
    }

    /// Begins whatever may begin, unless the results come faster than they can be written.
    fn begin(&mut self) {
        if self.is_held() {
            return;
        }
        let at = Instant::now();
        while self.commits.len() < self.limit
            && let Some((peer, claim)) =
                self.turns.next(|peer, under_way| self.ports.controls.may_ask(peer, under_way, at))
        {
            if claim.lasts(now()) > self.ports.longest_act() && !self.is_too_late(&claim) {
                let ports = self.ports.clone();
                // Boxed, as all that is spawned here: a task's future is moved several times before it begins.
                self.acts.spawn(
                    async move {
                        let acted = act(&claim, &peer, &ports).await;
                        (peer, claim, acted)
                    }
                    .boxed(),
                );
            } else {
                self.turns.done(&peer);
                self.put_off.push(claim);
            }
        }
    }

    /// Puts off who has waited too long, and notes in front of whom too many wait.
    fn look_at_the_lines(&mut self) {
        let (under_way, waiting) = (self.limit - self.turns.free(), self.turns.waiting());
        self.ports.controls.note(self.stage, AtWork { under_way, limit: self.limit, waiting }, Instant::now());
        let (at, longest_act) = (now(), self.ports.longest_act());
        // Before the next look they would lapse under their own work, and count as crashes.
        let too_late = |claim: &Claim| claim.lasts(at) <= longest_act + chrono_of(LOOK_ROUND);
        self.put_off.append(&mut self.turns.leave(too_late));
        if !self.put_off.is_empty() {
            METERS.stage_put_off.of(self.stage).increment(self.put_off.len() as u64);
            self.put_off.iter().for_each(spans::put_off);
            // When those who ask now have been answered, or have given up.
            let timeout = self.ports.timeout;
            let due = move || now() + chrono_of(timeout.mul_f64(rand::random_range(0.5..1.5)));
            tokio::spawn(give_back(self.store.clone(), std::mem::take(&mut self.put_off), due));
        }
        // The stages that every new order comes to: what waits at others is no reason to take none.
        if matches!(self.stage, Stage::Authorize | Stage::Offer) {
            let waits = (self.store.policy().lease - longest_act).to_std().unwrap_or_default();
            let at = Instant::now();
            let mut crowd = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
            for peer in self.turns.crowded(waits / 4, at) {
                crowd.note(peer.clone(), at + LOOK_ROUND * 2, at);
            }
        }
    }
}

fn chrono_of(span: Duration) -> chrono::Duration {
    chrono::Duration::from_std(span).unwrap_or(chrono::Duration::MAX)
}

/// Gives claims back that nobody has begun to work on, each to be `due` again then; not all at once, which would fill
/// the way of those who bring results.
async fn give_back(store: Store, claims: Vec<Claim>, due: impl Fn() -> order::Instant) {
    let mut claims = claims.into_iter().peekable();
    while claims.peek().is_some() {
        let some = claims.by_ref().take(BATCH).map(|claim| store.give_back(claim, due()));
        for fault in join_all(some).await.into_iter().filter_map(Result::err) {
            failing!("worker.give_back_failed", fault);
        }
    }
}

/// What came of an act, and the span of it where that is recorded.
struct Ended {
    outcome: Outcome,
    attempt: Option<Attempt>,
}

/// One act under one claim.
async fn act(claim: &Claim, peer: &Peer, ports: &Ports) -> Ended {
    let Some(attempt) = Attempt::begin(claim) else {
        return Ended { outcome: try_to(claim, ports).await, attempt: None };
    };
    let outcome = tracer::within(attempt.span_id, try_to(claim, ports)).await;
    attempt.acted(peer, &outcome);
    Ended { outcome, attempt: Some(attempt) }
}

async fn try_to(claim: &Claim, ports: &Ports) -> Outcome {
    let (stage, attempts) = (claim.stage(), claim.order().task.attempts);
    METERS.stage_acting.of(stage).increment(1);
    let began = Instant::now();
    let outcome = AssertUnwindSafe(stages::act(claim, ports)).catch_unwind().await.unwrap_or_else(|_| Outcome {
        event: None,
        again: Some(Again {
            is_spread: false,
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
    outcome
}

/// Writes what came of an act. Where the order was a suspect, the next ones may be tried now: `wake` says so.
async fn commit(store: Store, claim: Claim, Ended { outcome, attempt }: Ended, wake: Arc<Notify>) {
    let (lease, is_tried, until) = (claim.lease(), claim.is_tried(), claim.order().task.leased_until);
    let (order, stage, attempts) = (claim.order().id, claim.stage(), claim.order().task.attempts);
    let event = outcome.event.as_ref().map(|event| event.kind().word());
    let why = outcome.again.as_ref().map(|again| again.why.clone());
    let (trace_id, began) = (trace::id_of(claim.order()).map(tracing::field::display), Instant::now());
    let committing = store.commit(claim, outcome, now());
    let committed = match &attempt {
        Some(attempt) => tracer::within(attempt.span_id, committing).await,
        None => committing.await,
    };
    match committed {
        Ok(Committed::Done(after)) => {
            if let Some(attempt) = attempt {
                attempt.backs_off(&after, now());
            }
            let status = after.status;
            tracing::debug!(
                order.id = %order, trace.id = trace_id, %stage, attempts, event, why, order.status = %status, "stage.done"
            );
        }
        Ok(Committed::Lost) => {
            METERS.stage_leases_lost.of(stage).increment(1);
            tracing::info!(order.id = %order, trace.id = trace_id, %stage, event, "stage.lease_lost");
            if let Some(attempt) = attempt {
                attempt.not_committed(began, "the lease was lost: another writer had decided".into());
            }
        }
        // The stage is tried again under the same key.
        Err(fault) => {
            METERS.stage_commits_failed.of(stage).increment(1);
            failing!("stage.commit_failed", fault, order.id = %order, trace.id = trace_id, %stage);
            if let Some(attempt) = attempt {
                attempt.not_committed(began, fault.to_string());
            }
            while store.came_back(lease, now()).await.is_err() && until.is_some_and(|until| now() < until) {
                tokio::time::sleep(SOON).await;
            }
        }
    }
    if is_tried {
        wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::demo::LUNGO_CENTRAL;
    use crate::gateway::simulator::GatewaySimulator;
    use crate::lifecycle::{Actor, Event};
    use crate::shop::simulator::ShopSimulator;
    use crate::simulator::Speed;
    use crate::web::harness::House;

    /// A stage at which so many acts may be under way, with calls that may take so long.
    fn at_authorize(house: &House, places: usize, timeout: Duration) -> AtStage {
        let gateway = GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap();
        let shops = ShopSimulator::open(None, Speed::Zero).unwrap();
        let ports = Ports::new(Arc::new(gateway), Arc::new(shops), Box::new(|_| false), timeout, timeout);
        AtStage {
            store: house.app.store.clone(),
            ports: Arc::new(ports),
            crowd: house.app.crowd.clone(),
            stage: Stage::Authorize,
            limit: places,
            turns: Turns::new(places, ROOM),
            acts: JoinSet::new(),
            commits: JoinSet::new(),
            put_off: Vec::new(),
        }
    }

    /// Claims on so many new orders of one method. The house keeps the very first for itself.
    async fn claims(house: &House, count: usize) -> Vec<Claim> {
        for _ in 0..=count {
            house.place(house.request(LUNGO_CENTRAL)).await;
        }
        let claims = house.app.store.claim(Stage::Authorize, BATCH as i64, now()).await.unwrap();
        assert_eq!(claims.len(), count);
        claims
    }

    #[actix_web::test]
    async fn the_order_of_a_customer_who_is_there_goes_first() {
        let house = House::open().await;
        let mut stage = at_authorize(&house, 1, Duration::from_secs(1));
        house.place(house.request(LUNGO_CENTRAL)).await;
        let [first, second] = [house.request(LUNGO_CENTRAL), house.request(LUNGO_CENTRAL)];
        let (first, second) = (house.place(first).await, house.place(second).await);
        house.hear(second, Actor::Partner, Event::Arrived).await;
        let claims = house.app.store.claim(Stage::Authorize, 2, now()).await.unwrap();
        assert_eq!(claims.iter().map(|claim| claim.order().id).collect::<Vec<_>>(), [first, second]);
        claims.into_iter().for_each(|claim| stage.join(claim, Taken::Claimed));
        let (_, next) = stage.turns.next(|_, _| true).unwrap();
        assert_eq!(next.order().id, second);
    }

    #[actix_web::test]
    async fn who_waits_too_long_is_put_off_and_loses_no_attempt() {
        let house = House::open().await;
        // Two of these calls take longer than any lease.
        let mut stage = at_authorize(&house, 1, Duration::from_secs(20));
        for claim in claims(&house, 3).await {
            stage.join(claim, Taken::Claimed);
        }
        stage.look_at_the_lines();
        assert_eq!(stage.turns.leave(|_| true).len(), 0);
        let orders = loop {
            let orders = house.app.store.all_orders(None, 10).await.unwrap();
            if orders.iter().filter(|order| order.task.leased_until.is_none()).count() == 3 {
                break orders;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        for order in orders.iter().filter(|order| order.task.leased_until.is_none()) {
            assert!(order.task.attempts == 0 && order.task.next_attempt_at > Some(now()), "{:?}", order.task);
        }
    }

    #[actix_web::test]
    async fn nothing_is_begun_that_comes_too_late() {
        let house = House::open().await;
        let mut stage = at_authorize(&house, 8, Duration::from_secs(1));
        let three_hours_ago = now() - chrono::Duration::hours(3);
        // The house keeps the very first for itself.
        house.place(house.request(LUNGO_CENTRAL)).await;
        let stale = house.place_at(house.request(LUNGO_CENTRAL), three_hours_ago).await;
        let fresh = house.place(house.request(LUNGO_CENTRAL)).await;
        let claims = house.app.store.claim(Stage::Authorize, 2, now()).await.unwrap();
        claims.into_iter().for_each(|claim| stage.join(claim, Taken::Claimed));
        stage.begin();
        let put_off: Vec<_> = stage.put_off.iter().map(|claim| claim.order().id).collect();
        assert_eq!((put_off, stage.acts.len()), (vec![stale], 1));
        let (_, begun, _) = stage.acts.join_next().await.unwrap().unwrap();
        assert_eq!(begun.order().id, fresh);
    }

    #[actix_web::test]
    async fn a_long_line_that_does_not_move_is_noted() {
        let house = House::open().await;
        let mut stage = at_authorize(&house, 2, Duration::from_secs(1));
        let visa = Peer::Method("pm_card_visa".into());
        let is_noted = |house: &House| house.app.crowd.lock().unwrap().holds(&visa, Instant::now());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(28)).expect("the machine runs for longer");
        for claim in claims(&house, 2).await {
            stage.turns.join(visa.clone(), false, claim, long_ago);
        }
        stage.look_at_the_lines();
        assert!(is_noted(&house));
        stage.stage = Stage::Release;
        house.app.crowd.lock().unwrap().note(visa.clone(), Instant::now(), Instant::now());
        stage.look_at_the_lines();
        assert!(!is_noted(&house), "whose money goes back has nothing to do with new orders");
    }
}
