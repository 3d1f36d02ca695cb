//! Whether there is room on the database's disk. While there is none new orders stay outside: what little is left, or
//! becomes free, is for what ends orders and gives money back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use super::Error;

/// How long nobody new is let in after a write found no room. The next one finds out.
const SHUT_FOR: Duration = Duration::from_secs(1);

/// How the engines say it: PostgreSQL of a table, and of any file; SQLite. Its code (53100) does not come through diesel.
/// A server that speaks another language than English (`lc_messages`) sheds nothing then, and loses nothing either.
const WORDS: [&str; 3] = ["could not extend file", "No space left on device", "database or disk is full"];

/// What is known of the room.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Mutex<Option<Monotonic>>>);

impl Room {
    /// Whether a write found none a moment ago.
    pub fn is_short(&self, now: Monotonic) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }

    /// Looks at why a write failed.
    pub fn note(&self, fault: &Error, now: Monotonic) {
        let (Error::Unavailable(why) | Error::OutcomeUnknown(why)) = fault else { return };
        if !WORDS.iter().any(|words| why.contains(words)) {
            return;
        }
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now + SHUT_FOR);
        if before.is_none_or(|until| until <= now) {
            tracing::error!(%why, "store.disk_full");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_for_a_while_after_a_full_disk_and_after_nothing_else() {
        let (room, now) = (Room::default(), Monotonic::now());
        for other in [Error::Overloaded, Error::Unavailable("server closed the connection".into())] {
            room.note(&other, now);
            assert!(!room.is_short(now), "{other}");
        }
        let full = "could not extend file \"base/16384/16463\": No space left on device";
        room.note(&Error::Unavailable(full.into()), now);
        assert!(room.is_short(now) && room.clone().is_short(now + SHUT_FOR / 2) && !room.is_short(now + SHUT_FOR));
        room.note(&Error::OutcomeUnknown("database or disk is full".into()), now + SHUT_FOR);
        assert!(room.is_short(now + SHUT_FOR));
    }
}
