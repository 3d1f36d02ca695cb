//! Lines that several parts of the service say in the same words, and how often such lines may come.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lifecycle::{Actor, EventKind, PaymentStatus, Reason, Status};
use crate::order::{OrderId, PartnerId, ShopId};
use crate::trace::TraceId;

/// Lines about work that is repeated by itself come at most so often, all kinds of them together: in an outage of the
/// database every part of the service has the same thing to say several times a second.
const EVERY: Duration = Duration::from_secs(1);

/// A dependency has stopped to answer. One line, whatever number of calls meets it. `unanswered` counts the calls in a row,
/// and `action` says what the service does about it.
pub fn not_responding(peer: impl Display, unanswered: u32, pause: Duration, action: &str) {
    tracing::warn!(%peer, unanswered, pause_ms = millis(pause), action, "peer.not_responding");
}

/// A dependency that was said to be [`not_responding`] answers again.
pub fn recovered(peer: impl Display, unanswered: u32, lasted: Duration) {
    tracing::info!(%peer, unanswered, lasted_ms = millis(lasted), "peer.recovered");
}

/// How an order ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub order_id: OrderId,
    pub trace_id: Option<TraceId>,
    pub partner_id: PartnerId,
    pub shop_id: ShopId,
    pub status: Status,
    pub reason: Option<Reason>,
    /// The event that ended it, and its actor.
    pub event: EventKind,
    pub by: Actor,
    pub payment: PaymentStatus,
    /// From its creation to its end.
    pub total_ms: i64,
    /// From its creation until it was offered to the shop, and until it was ready; `None` if it never was.
    pub offered_after_ms: Option<i64>,
    pub ready_after_ms: Option<i64>,
}

/// The deadline of an order came before its event, and what the timer decided is committed.
pub fn deadline_decided(order_id: OrderId, trace_id: Option<TraceId>, event: EventKind) {
    let trace_id = trace_id.map(tracing::field::display);
    tracing::info!(order.id = %order_id, trace.id = trace_id, order.event = event.word(), "order.deadline");
}

/// An order has ended, and that is committed.
pub fn order_ended(ended: &Ended) {
    tracing::info!(
        order.id = %ended.order_id,
        trace.id = ended.trace_id.map(tracing::field::display),
        order.status = ended.status.word(),
        order.reason = ended.reason.map(Reason::word),
        order.event = ended.event.word(),
        order.by = ended.by.word(),
        payment.status = ended.payment.word(),
        partner.id = %ended.partner_id,
        shop.id = %ended.shop_id,
        total_ms = ended.total_ms,
        offered_after_ms = ended.offered_after_ms,
        ready_after_ms = ended.ready_after_ms,
        "order.ended"
    );
}

/// Says at WARN that something has failed which is tried again by itself, unless another such line was said within a
/// second. `unsaid` counts those that were not.
macro_rules! failing {
    ($event:literal, $fault:expr $(, $($field:tt)+)?) => {
        if let Some(unsaid) = $crate::logs::may_say_again() {
            tracing::warn!(fault = %$fault, unsaid, $($($field)+,)? $event);
        }
    };
}
pub(crate) use failing;

struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Said {
    fn may_say(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Whether a line may be said now that is said through `failing!`, and how many were not since the last one.
pub fn may_say_again() -> Option<u64> {
    static SAID: Mutex<Said> = Mutex::new(Said { last: None, unsaid: 0 });
    SAID.lock().unwrap_or_else(PoisonError::into_inner).may_say(Instant::now())
}

/// Whole milliseconds, as log lines have all spans.
pub fn millis(span: Duration) -> u64 {
    span.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_said_once_a_second_with_its_count() {
        let (mut said, start) = (Said { last: None, unsaid: 0 }, Instant::now());
        assert_eq!(said.may_say(start), Some(0));
        for ms in [1, 400, 999] {
            assert_eq!(said.may_say(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(said.may_say(start + EVERY), Some(3));
        assert_eq!(said.may_say(start + EVERY * 2), Some(0));
    }
}
