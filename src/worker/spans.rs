//! The spans of a worker: how long an order waited for its turn, and what was done for it.

use std::time::Instant;

use super::order;
use crate::lifecycle::Stage;
use crate::state::Order;
use crate::store::{Claim, Outcome};
use crate::trace::{Kind, Moment, OrderTrace, Span, SpanId};
use crate::tracer;
use crate::turns::Peer;

/// An attempt of a stage that is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    trace: OrderTrace,
    pub span_id: SpanId,
    stage: Stage,
    number: i32,
    began: Instant,
}

impl Attempt {
    /// Begins an attempt now, and ends the wait for it.
    pub fn begin(claim: &Claim) -> Option<Self> {
        let trace = tracer::recorded(claim.order())?;
        let (stage, number) = (claim.stage(), claim.order().task.attempts);
        let attempt = Self { trace, span_id: tracer::new_span(), stage, number, began: Instant::now() };
        attempt.waited(claim, None);
        Some(attempt)
    }

    /// The claim has waited for its turn since its work was due.
    fn waited(&self, claim: &Claim, ended: Option<&'static str>) {
        let Some(due) = claim.due() else { return };
        let span = self.span("queue", Kind::Internal, (Moment::At(due), Moment::Steady(self.began)));
        tracer::emit(match ended {
            Some(how) => span.with("outcome", how),
            None => span,
        });
    }

    /// What came of it.
    pub fn acted(&self, peer: &Peer, outcome: &Outcome) {
        let time = (Moment::Steady(self.began), Moment::Steady(Instant::now()));
        let event = outcome.event.as_ref().map_or("none", |event| event.kind().word());
        let mut span = self.span("attempt", Kind::Client, time).with("dependency", peer.to_string());
        span = span.with("order.event", event);
        span.span_id = self.span_id;
        span.fault = outcome.again.as_ref().filter(|_| outcome.event.is_none()).map(|again| again.why.clone());
        tracer::emit(span);
    }

    /// The result was not committed.
    pub fn not_committed(&self, began: Instant, why: String) {
        let span = self.span("commit", Kind::Internal, (Moment::Steady(began), Moment::Steady(Instant::now())));
        tracer::emit(Span { parent: Some(self.span_id), fault: Some(why), ..span });
    }

    /// The order is left alone until the next attempt is due, if it is to be attempted again.
    pub fn backs_off(&self, after: &Order, now: order::Instant) {
        let due = after.task.next_attempt_at.filter(|due| *due > now && after.task.leased_until.is_none());
        if let Some(due) = due.filter(|_| after.task.stage == Some(self.stage)) {
            tracer::emit(self.span("backoff", Kind::Internal, (Moment::At(now), Moment::At(due))));
        }
    }

    fn span(&self, what: &str, kind: Kind, time: (Moment, Moment)) -> Span {
        let name = format!("{what} {}", self.stage.word());
        Span::below(&self.trace, tracer::new_span(), kind, name, time)
            .with("stage", self.stage.word())
            .with("attempt", i64::from(self.number))
    }
}

/// The claim is given back because its turn did not come in time.
pub(super) fn put_off(claim: &Claim) {
    if let Some(trace) = tracer::recorded(claim.order()) {
        let (stage, number) = (claim.stage(), claim.order().task.attempts);
        let span_id = tracer::new_span();
        Attempt { trace, span_id, stage, number, began: Instant::now() }.waited(claim, Some("put_off"));
    }
}
