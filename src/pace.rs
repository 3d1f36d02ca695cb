//! How long an order will still take, and when it is worth asking again.

use crate::order::Instant;

/// What a client that waits for an order is told of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Elapsed ÷ expected duration, 0–99; 100 only when the order is ready; `None` where nothing is known.
    pub percent: Option<u8>,
    /// When the order is expected to be ready.
    pub expected_ready_at: Option<Instant>,
    /// Past the 95th percentile of what such orders take.
    pub late: bool,
    /// When asking again is likely to show something new; `None` once nothing more will happen.
    pub next_poll_at: Option<Instant>,
}
