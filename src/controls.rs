//! What operators see of the worker while it works, and what they may do about it: hold a stage, leave somebody outside
//! alone or ask again, and see who is at work.
//!
//! The worker asks here before it begins an act. Nothing here is needed for correctness: whoever is held up keeps its
//! row, loses no attempt, and is decided by its deadline all the same.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use strum::VariantArray;

use crate::breaker::Breaker;
use crate::lifecycle::Stage;
use crate::logs;
use crate::meters::{METERS, Port};
use crate::order::OrderId;
use crate::turns::Peer;

/// Peers whose breaker is remembered, open ones apart.
const REMEMBERED: usize = 1_000;
/// What is done about a peer that does not answer.
const ACTION: &str = "its orders wait until their deadlines; after each pause one call asks it again";
/// A stage that has not been looked at for so long is worked by nobody.
const ABANDONED: Duration = Duration::from_secs(5);

/// What can be held up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Held {
    Stage(Stage),
    Peer(Peer),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(stage) => write!(f, "stage:{stage}"),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

impl FromStr for Held {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("`{text}` is nothing that can be held");
        match text.split_once(':').ok_or_else(unknown)? {
            ("stage", stage) => stage.parse().map(Self::Stage).map_err(|_| unknown()),
            ("shop", shop) => shop.parse().map(|shop| Self::Peer(Peer::Shop(shop))).map_err(|_| unknown()),
            ("method", method) if !method.is_empty() => Ok(Self::Peer(Peer::Method(method.to_owned()))),
            _ => Err(unknown()),
        }
    }
}

/// What a stage of this process was doing when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtWork {
    /// Acts under way, and how many may be at once.
    pub under_way: usize,
    pub limit: usize,
    /// Claims that wait for their turn.
    pub waiting: usize,
}

/// Somebody outside who does not answer, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    pub peer: Peer,
    pub failures: u32,
    /// Nobody is asked now; otherwise one at a time is.
    pub is_pausing: bool,
}

/// Somebody is being asked about an order, for as long as this lives.
pub struct AskedLong<'c> {
    controls: &'c Controls,
    order: OrderId,
}

impl Drop for AskedLong<'_> {
    fn drop(&mut self) {
        self.controls.asking().remove(&self.order);
    }
}

/// Shared by the worker and those who look at it.
#[derive(Default)]
pub struct Controls {
    /// What is held, and until when.
    holds: ArcSwap<HashMap<Held, Instant>>,
    breakers: Mutex<HashMap<Peer, Breaker>>,
    at_work: Mutex<HashMap<Stage, (Instant, AtWork)>>,
    /// Orders about which somebody has been asked for a while, and since when.
    asked_long: Mutex<HashMap<OrderId, Instant>>,
    /// Of each stage, how many results are to be lost.
    losing: [AtomicUsize; Stage::VARIANTS.len()],
}

impl Controls {
    /// Holds these, for so long from `now` on, and nothing else.
    pub fn hold(&self, holds: impl Iterator<Item = (Held, Duration)>, now: Instant) {
        let until = |(held, left): (Held, Duration)| Some((held, now.checked_add(left)?));
        self.holds.store(std::sync::Arc::new(holds.filter_map(until).collect()));
    }

    pub fn holds(&self, held: &Held, now: Instant) -> bool {
        let holds = self.holds.load();
        // Nearly always: nobody holds anything.
        !holds.is_empty() && holds.get(held).is_some_and(|until| now < *until)
    }

    /// How many things are held.
    pub fn held(&self, now: Instant) -> usize {
        self.holds.load().values().filter(|until| now < **until).count()
    }

    /// Whether nobody may begin an act of this stage.
    pub fn holds_stage(&self, stage: Stage, now: Instant) -> bool {
        !self.holds.load().is_empty() && self.holds(&Held::Stage(stage), now)
    }

    fn holds_peer(&self, peer: &Peer, now: Instant) -> bool {
        !self.holds.load().is_empty() && self.holds(&Held::Peer(peer.clone()), now)
    }

    /// Whether the peer may be asked now, while `under_way` others ask it: one that does not answer is left alone, and
    /// then tried by one caller at a time.
    pub fn may_ask(&self, peer: &Peer, under_way: usize, now: Instant) -> bool {
        if self.holds_peer(peer, now) {
            return false;
        }
        let breakers = self.breakers();
        let breaker = breakers.get(peer).filter(|breaker| breaker.is_open());
        breaker.is_none_or(|breaker| !breaker.is_pausing(now) && under_way == 0)
    }

    /// Somebody is about to ask the peer. `Err` says why it must not.
    pub fn ask(&self, peer: &Peer, now: Instant, pause: Duration) -> Result<(), String> {
        if self.holds_peer(peer, now) {
            return Err("not asked: an operator holds it".into());
        }
        self.breaker(peer, |breaker| breaker.ask(now, pause))
            .map_err(|wait| format!("not asked for another {:.1} s: it did not answer", wait.as_secs_f64()))
    }

    /// The peer answered, or did not. The log says when it stops to answer and when it is back, once each.
    pub fn tell(&self, peer: &Peer, answered: bool, now: Instant, pause: Duration) {
        let tell = |breaker: &mut Breaker| {
            let before = *breaker;
            breaker.tell(answered, now, pause);
            (before, *breaker)
        };
        let (before, after) = self.breaker(peer, tell);
        match (before.is_open(), after.is_open()) {
            (false, true) => logs::not_responding(peer, after.failures(), pause, ACTION),
            (true, false) => logs::recovered(peer, before.failures(), before.failing_for(now)),
            _ => {}
        }
    }

    /// Has a peer that did not answer asked again at once, as if it had. False if nobody leaves it alone.
    pub fn close(&self, peer: &Peer) -> bool {
        let was_open = self.breakers().get(peer).is_some_and(Breaker::is_open);
        if was_open {
            self.breaker(peer, |breaker| *breaker = Breaker::default());
            tracing::info!(%peer, "peer.asked_again");
        }
        was_open
    }

    /// Those who are left alone because they did not answer.
    pub fn silent(&self, now: Instant) -> Vec<Silent> {
        let breakers = self.breakers();
        let open = breakers.iter().filter(|(_, breaker)| breaker.is_open());
        open.map(|(peer, breaker)| Silent {
            peer: peer.clone(),
            failures: breaker.failures(),
            is_pausing: breaker.is_pausing(now),
        })
        .collect()
    }

    /// A stage says what it is doing.
    pub fn note(&self, stage: Stage, doing: AtWork, now: Instant) {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, (now, doing));
    }

    /// Somebody has been asked about an order since then, and has not answered yet.
    pub fn asks_long(&self, order: OrderId, since: Instant) -> AskedLong<'_> {
        self.asking().insert(order, since);
        AskedLong { controls: self, order }
    }

    /// The orders about which somebody has been asked for longest.
    pub fn asked_longest(&self, limit: usize) -> Vec<OrderId> {
        let mut asked: Vec<(Instant, OrderId)> = self.asking().iter().map(|(order, since)| (*since, *order)).collect();
        asked.sort();
        asked.into_iter().take(limit).map(|(_, order)| order).collect()
    }

    fn asking(&self) -> MutexGuard<'_, HashMap<OrderId, Instant>> {
        self.asked_long.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next result of a stage is to be lost, as if whoever found it out had died.
    pub fn lose_next(&self, stage: Stage) {
        self.losing[stage as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this result is lost.
    pub fn loses(&self, stage: Stage) -> bool {
        let losing = &self.losing[stage as usize];
        losing.load(Ordering::Relaxed) > 0
            && losing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// What each stage is doing; `None` where nobody works.
    pub fn at_work(&self, now: Instant) -> Vec<(Stage, Option<AtWork>)> {
        let at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |stage: &Stage| {
            let (at, doing) = at_work.get(stage)?;
            (now.saturating_duration_since(*at) < ABANDONED).then_some(*doing)
        };
        Stage::VARIANTS.iter().map(|stage| (*stage, recent(stage))).collect()
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<Peer, Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker<T>(&self, peer: &Peer, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breakers = self.breakers();
        // Payment methods are the clients' words: nobody may fill the memory with them.
        if breakers.len() > REMEMBERED && !breakers.contains_key(peer) {
            breakers.retain(|_, breaker| breaker.is_open());
        }
        let breaker = breakers.entry(peer.clone()).or_default();
        let was_open = breaker.is_open();
        let done = act(breaker);
        match (was_open, breaker.is_open()) {
            (false, true) => METERS.breakers_open.of(port(peer)).increment(1),
            (true, false) => METERS.breakers_open.of(port(peer)).decrement(1),
            _ => {}
        }
        done
    }
}

/// How the meters call a peer.
pub fn port(peer: &Peer) -> Port {
    match peer {
        Peer::Method(_) => Port::Gateway,
        Peer::Shop(_) => Port::Shop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn visa() -> Peer {
        Peer::Method("pm_card_visa".into())
    }

    #[test]
    fn what_can_be_held_is_read_back_from_its_name() {
        let shop = Held::Peer(Peer::Shop(crate::catalogue::demo::LUNGO_CENTRAL));
        for held in [Held::Stage(Stage::Capture), Held::Peer(visa()), shop] {
            assert_eq!(held.to_string().parse(), Ok(held));
        }
        for wrong in ["", "capture", "stage:nap", "shop:1", "method:", "x:y"] {
            assert!(wrong.parse::<Held>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hold_ends_by_itself_and_is_replaced_as_a_whole() {
        let (controls, now) = (Controls::default(), Instant::now());
        controls.hold([(Held::Stage(Stage::Capture), PAUSE), (Held::Peer(visa()), PAUSE)].into_iter(), now);
        assert!(controls.holds_stage(Stage::Capture, now) && !controls.holds_stage(Stage::Offer, now));
        assert!(!controls.may_ask(&visa(), 0, now) && controls.ask(&visa(), now, PAUSE).is_err());
        assert_eq!((controls.held(now), controls.held(now + PAUSE)), (2, 0));
        assert!(controls.may_ask(&visa(), 0, now + PAUSE) && !controls.holds_stage(Stage::Capture, now + PAUSE));
        controls.hold(std::iter::empty(), now);
        assert!(controls.may_ask(&visa(), 0, now) && !controls.holds_stage(Stage::Capture, now));
    }

    #[test]
    fn an_open_breaker_is_seen_and_closed_by_hand() {
        let (controls, now) = (Controls::default(), Instant::now());
        while controls.silent(now).is_empty() {
            controls.tell(&visa(), false, now, PAUSE);
        }
        let silent = Silent { peer: visa(), failures: 10, is_pausing: true };
        assert_eq!(controls.silent(now), [silent]);
        assert!(!controls.may_ask(&visa(), 0, now));
        assert!(controls.close(&visa()) && controls.may_ask(&visa(), 3, now));
        assert!(!controls.close(&visa()), "it is closed");
    }

    #[test]
    fn as_many_results_are_lost_as_were_asked_for() {
        let controls = Controls::default();
        controls.lose_next(Stage::Capture);
        let lost = [Stage::Offer, Stage::Capture, Stage::Capture].map(|stage| controls.loses(stage));
        assert_eq!(lost, [false, true, false]);
    }

    #[test]
    fn who_is_asked_for_long_is_known_until_it_answers() {
        let (controls, now) = (Controls::default(), Instant::now());
        let (late, early) = (OrderId::new(), OrderId::new());
        let asked = controls.asks_long(late, now + PAUSE);
        let first = controls.asks_long(early, now);
        assert_eq!((controls.asked_longest(1), controls.asked_longest(9)), (vec![early], vec![early, late]));
        drop(first);
        assert_eq!(controls.asked_longest(9), [late]);
        drop(asked);
        assert!(controls.asked_longest(9).is_empty());
    }

    #[test]
    fn a_stage_that_nobody_looks_at_is_worked_by_nobody() {
        let (controls, now) = (Controls::default(), Instant::now());
        let doing = AtWork { under_way: 1, limit: 4, waiting: 2 };
        controls.note(Stage::Offer, doing, now);
        let at = |at| controls.at_work(at).into_iter().find(|(stage, _)| *stage == Stage::Offer).unwrap().1;
        assert_eq!((at(now), at(now + ABANDONED)), (Some(doing), None));
    }
}
