//! Trouble on purpose, to see what it looks like: the simulated gateway and shops become slow, silent or unwilling for a
//! while. Only where they are simulators: whoever has real ones has no drills.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use strum::{Display, EnumString, VariantArray};

/// How much longer a slow one takes: less than the longest call, so that it is still answered.
pub const SLOW: Duration = Duration::from_secs(3);

/// Who is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Actor {
    Gateway,
    Shops,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Manner {
    Slow,
    Silent,
    Rejecting,
}

/// The drills that are on.
#[derive(Debug, Default)]
pub struct Drills(Mutex<HashMap<Actor, (Manner, Instant)>>);

impl Drills {
    /// Begins one, in place of another of the same actor. It ends by itself.
    pub fn begin(&self, actor: Actor, manner: Manner, until: Instant) {
        self.present().insert(actor, (manner, until));
    }

    /// Ends one. False if there is none.
    pub fn end(&self, actor: Actor) -> bool {
        self.present().remove(&actor).is_some()
    }

    /// What an actor is to be like now.
    pub fn manner(&self, actor: Actor, now: Instant) -> Option<Manner> {
        self.present().get(&actor).filter(|(_, until)| now < *until).map(|(manner, _)| *manner)
    }

    /// Those that are on, with the time that is left of each.
    pub fn on(&self, now: Instant) -> Vec<(Actor, Manner, Duration)> {
        let present = self.present();
        let on = Actor::VARIANTS.iter().filter_map(|actor| Some((*actor, *present.get(actor)?)));
        on.filter(|(_, (_, until))| now < *until).map(|(actor, (manner, until))| (actor, manner, until - now)).collect()
    }

    /// Plays a part before an actor is asked: takes its time, or never comes back. Whether it is to refuse.
    pub async fn play(&self, actor: Actor, now: Instant) -> bool {
        match self.manner(actor, now) {
            None => false,
            Some(Manner::Slow) => {
                tokio::time::sleep(SLOW).await;
                false
            }
            Some(Manner::Silent) => pending().await,
            Some(Manner::Rejecting) => true,
        }
    }

    fn present(&self) -> std::sync::MutexGuard<'_, HashMap<Actor, (Manner, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drill_ends_by_itself_or_by_hand() {
        let (drills, now, later) = (Drills::default(), Instant::now(), Instant::now() + SLOW);
        assert!(!drills.play(Actor::Gateway, now).await);
        drills.begin(Actor::Gateway, Manner::Silent, later);
        drills.begin(Actor::Gateway, Manner::Rejecting, later);
        assert!(drills.play(Actor::Gateway, now).await && !drills.play(Actor::Shops, now).await);
        assert_eq!(drills.on(now).len(), 1);
        assert!(!drills.play(Actor::Gateway, later).await && drills.on(later).is_empty());
        assert!(drills.end(Actor::Gateway) && !drills.end(Actor::Gateway));
    }
}
