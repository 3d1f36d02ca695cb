//! What is counted of an event of an order, once it is committed.

use super::{ByTimer, METERS};
use crate::lifecycle::{Actor, Event, EventKind, Reason, Status};
use crate::state::Order;

/// An event in a transaction that may yet be rolled back.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    kind: EventKind,
    by: Actor,
    /// The status that was left, and for how many seconds the order had stood in it.
    left: Option<(Status, f64)>,
    ended: Option<(Status, Option<Reason>)>,
    /// Seconds from creation to acceptance.
    accepted_after: Option<f64>,
}

impl Happened {
    pub fn new(before: Option<&Order>, after: &Order, event: &Event, by: Actor) -> Self {
        let seconds = |span: chrono::Duration| span.num_milliseconds() as f64 / 1000.0;
        let kind = event.kind();
        let left = before.filter(|before| before.status != after.status);
        let is_prompt = kind == EventKind::ShopAccepted && after.pickup.at.is_none();
        Self {
            kind,
            by,
            left: left.map(|before| (before.status, seconds(after.entered_at - before.entered_at))),
            ended: left
                .filter(|before| before.is_ongoing() && !after.is_ongoing())
                .map(|_| (after.status, after.reason)),
            accepted_after: is_prompt.then(|| seconds(after.entered_at - after.created_at)),
        }
    }

    /// Counts it: it is committed.
    pub fn count(&self) {
        METERS.order_events.of(self.kind).increment(1);
        if self.by == Actor::Timer {
            METERS.deadlines.of(ByTimer(self.kind)).increment(1);
        }
        if let Some((status, seconds)) = self.left {
            METERS.status_duration.of(status).record(seconds);
        }
        if let Some(ended) = self.ended {
            METERS.orders_ended.of(ended).increment(1);
        }
        if let Some(seconds) = self.accepted_after {
            METERS.acceptance_duration.of(()).record(seconds);
        }
    }
}
