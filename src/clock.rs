//! The one place where the wall clock is read. Only `web`, `worker` and the wiring call it; everything below is
//! given `now`.

use chrono::{SubsecRound, Utc};

use crate::order::Instant;

/// The present instant, at the precision at which instants are stored.
pub fn now() -> Instant {
    Utc::now().trunc_subsecs(3)
}
