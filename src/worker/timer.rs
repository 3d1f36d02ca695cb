//! The timer: decides the orders whose deadline has come, unless no word could arrive before it (see `gaps`).

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::clock::{self, now};
use crate::gaps::{Decides, Gap, Gaps};
use crate::logs::millis;
use crate::order;
use crate::store::{self, Store};

/// How often it is tried whether the database takes a write: words from outside are writes.
const SEE_EVERY: Duration = Duration::from_secs(1);
/// How long one look waits for that; it goes on meanwhile, and the next look has the answer.
const LOOK: Duration = Duration::from_millis(200);
/// Deadlines that one transaction decides.
const BATCH: usize = 250;

pub(super) struct Timer {
    store: Store,
    gaps: Gaps,
    /// Whether the database takes a write, as it was last asked, and when.
    asked: Option<JoinHandle<store::Result<()>>>,
    asked_at: Option<Instant>,
    /// What was written by a clock that was wrong is to be put right before anything is decided.
    is_to_rearm: bool,
}

impl Timer {
    pub fn new(store: Store, grace: Duration) -> Self {
        Self { store, gaps: Gaps::new(grace), asked: None, asked_at: None, is_to_rearm: true }
    }

    /// Decides what is due, if the first deadline has come.
    ///
    /// # Errors
    /// Why not. It is to be asked again.
    pub async fn look(&mut self, first_deadline: Option<order::Instant>) -> store::Result<()> {
        let has_seen = self.see().await?;
        if self.is_to_rearm && has_seen {
            let rearmed = self.store.rearm(now()).await?;
            self.is_to_rearm = false;
            if rearmed > 0 {
                tracing::warn!(orders = rearmed, "worker.rearmed: they waited for a time that a wrong clock had set");
            }
        }
        let since = match self.gaps.decides(Instant::now()) {
            Decides::All => None,
            // All that waits is read each time.
            Decides::CreatedSince(gap_ended) if has_seen => Some(gap_ended),
            Decides::CreatedSince(_) | Decides::Nothing => return Ok(()),
        };
        match first_deadline {
            Some(deadline) if deadline <= now() => self.decide(since).await,
            _ => Ok(()),
        }
    }

    /// Whether the database has just taken a write.
    async fn see(&mut self) -> store::Result<bool> {
        if self.asked.is_none() && self.asked_at.is_none_or(|at| at.elapsed() >= SEE_EVERY) {
            let store = self.store.clone();
            self.asked_at = Some(Instant::now());
            self.asked = Some(tokio::spawn(async move { store.takes_a_write().await }));
        }
        let Some(asked) = &mut self.asked else { return Ok(false) };
        let Ok(answer) = tokio::time::timeout(LOOK, asked).await else { return Ok(false) };
        self.asked = None;
        answer.unwrap_or_else(|fault| Err(store::Error::Unavailable(fault.to_string())))?;
        let gap = self.gaps.sees(Instant::now(), now(), clock::steps());
        if let Some(gap) = gap {
            self.is_to_rearm |= matches!(gap, Gap::Start | Gap::ClockStep);
            let grace_ms = millis(self.gaps.grace());
            tracing::info!(%gap, grace_ms, "worker.gap: deadlines wait, so that what was kept is heard first");
        }
        Ok(true)
    }

    /// A transaction at a time, so that others come in between.
    async fn decide(&mut self, since: Option<order::Instant>) -> store::Result<()> {
        loop {
            let decided = self.store.expire(BATCH as i64, now(), since).await?;
            if decided.len() < BATCH {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::demo::LUNGO_CENTRAL;
    use crate::lifecycle::{Actor, Event, Status};
    use crate::order::OrderId;
    use crate::web::harness::House;

    /// Has a timer look until it has seen the database take a write, and then once more.
    async fn look(house: &House, grace: Duration) {
        let mut timer = Timer::new(house.app.store.clone(), grace);
        while timer.gaps.decides(Instant::now()) == Decides::Nothing {
            timer.look(Some(now())).await.unwrap();
        }
        timer.look(Some(now())).await.unwrap();
    }

    #[actix_web::test]
    async fn after_a_start_deadlines_wait_and_words_are_heard() {
        let house = House::open().await;
        let an_hour_ago = now() - chrono::Duration::hours(1);
        let place = async || house.place_at(house.request(LUNGO_CENTRAL), an_hour_ago).await;
        let status = async |id: OrderId| house.app.store.order(id).await.unwrap().unwrap().0.status;
        let [spoken, silent] = [place().await, place().await];
        look(&house, Duration::from_secs(600)).await;
        assert_eq!((status(spoken).await, status(silent).await), (Status::New, Status::New));
        house.hear(spoken, Actor::Partner, Event::CustomerCancelled).await;
        look(&house, Duration::ZERO).await;
        assert_eq!((status(spoken).await, status(silent).await), (Status::Cancelled, Status::Failed));
    }
}
