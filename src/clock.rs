//! The one place where the wall clock is read. Only `web`, `worker` and the wiring call it; everything below is
//! given `now`.
//!
//! Leases and deadlines are written by several instances into one database: then all of them follow its clock, each by
//! its own steady count since it last looked, so that neither skew nor a clock that is set ends a lease early.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant as Monotonic;

use chrono::{DateTime, SubsecRound, Utc};

use crate::order::Instant;

/// The beginning of this process's own count.
static BEGAN: LazyLock<Monotonic> = LazyLock::new(Monotonic::now);
/// What the database's clock is ahead of that count, in milliseconds; [`ITS_OWN`] if none is followed.
static AHEAD_MS: AtomicI64 = AtomicI64::new(ITS_OWN);
const ITS_OWN: i64 = i64::MIN;

/// The present instant, at the precision at which instants are stored.
pub fn now() -> Instant {
    match AHEAD_MS.load(Ordering::Relaxed) {
        ITS_OWN => Utc::now().trunc_subsecs(3),
        ahead => DateTime::from_timestamp_millis(ahead.saturating_add(counted(Monotonic::now()))).unwrap_or_default(),
    }
}

/// Follows a clock that showed `theirs` at that moment of the process's own count.
pub fn follow(theirs: Instant, at: Monotonic) {
    AHEAD_MS.store(theirs.timestamp_millis() - counted(at), Ordering::Relaxed);
}

fn counted(at: Monotonic) -> i64 {
    i64::try_from(at.saturating_duration_since(*BEGAN).as_millis()).unwrap_or(i64::MAX)
}
