//! What is counted and logged of an event of an order, once it is committed.

use std::time::Instant as Steady;

use super::{ByTimer, METERS};
use crate::lifecycle::{Actor, Event, EventKind, Status};
use crate::logs::{self, Ended};
use crate::order::{Instant, OrderId};
use crate::state::Order;
use crate::trace::{self, Kind, Moment, OrderTrace, Span, SpanId, TraceId};

/// An event in a transaction that may yet be rolled back.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    kind: EventKind,
    by: Actor,
    /// The status that was left, and for how many seconds the order had stood in it.
    left: Option<(Status, f64)>,
    ended: Option<Ended>,
    /// The order whose deadline the timer decided, and its trace.
    overdue: Option<(OrderId, Option<TraceId>)>,
    /// Seconds from creation to acceptance.
    accepted_after: Option<f64>,
    status: Status,
    trace: Option<Traced>,
}

/// An event whose commit is a span.
#[derive(Clone, Copy, Debug)]
struct Traced {
    trace: OrderTrace,
    span_id: SpanId,
    parent: Option<SpanId>,
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
            ended: left.filter(|before| before.is_ongoing() && !after.is_ongoing()).map(|_| ended(after, kind, by)),
            overdue: (by == Actor::Timer).then(|| (after.id, trace::id_of(after))),
            accepted_after: is_prompt.then(|| seconds(after.entered_at - after.created_at)),
            status: after.status,
            trace: None,
        }
    }

    /// The same, whose commit is a span of that id below the span of the one who caused it. The root caused the creation.
    pub fn traced(self, trace: OrderTrace, span_id: SpanId, cause: Option<SpanId>) -> Self {
        let parent = cause.filter(|_| self.kind != EventKind::Created);
        Self { trace: Some(Traced { trace, span_id, parent }), ..self }
    }

    /// The span of its commit, which took from `began` until `ended`.
    pub fn span(&self, began: Steady, ended: Steady) -> Option<Span> {
        let Traced { trace, span_id, parent } = self.trace?;
        let time = (Moment::Steady(began), Moment::Steady(ended));
        let span = Span::below(&trace, span_id, Kind::Internal, "commit", time)
            .with("order.event", self.kind.word())
            .with("order.by", self.by.word())
            .with("order.status", self.status.word());
        Some(Span { parent: parent.or(span.parent), ..span })
    }

    /// Counts it, and has the log say so of an order that ended: it is committed.
    pub fn count(&self) {
        METERS.order_events.of(self.kind).increment(1);
        if let Some((order_id, trace_id)) = self.overdue {
            METERS.deadlines.of(ByTimer(self.kind)).increment(1);
            logs::deadline_decided(order_id, trace_id, self.kind);
        }
        if let Some((status, seconds)) = self.left {
            METERS.status_duration.of(status).record(seconds);
        }
        if let Some(ended) = self.ended {
            METERS.orders_ended.of((ended.status, ended.reason)).increment(1);
            logs::order_ended(&ended);
        }
        if let Some(seconds) = self.accepted_after {
            METERS.acceptance_duration.of(()).record(seconds);
        }
    }
}

fn ended(after: &Order, event: EventKind, by: Actor) -> Ended {
    let since_creation = |at: Instant| (at - after.created_at).num_milliseconds();
    Ended {
        order_id: after.id,
        trace_id: trace::id_of(after),
        partner_id: after.partner_id,
        shop_id: after.shop_id,
        status: after.status,
        reason: after.reason,
        event,
        by,
        payment: after.payment.status,
        total_ms: since_creation(after.entered_at),
        offered_after_ms: after.offered_at.map(since_creation),
        ready_after_ms: after.ready_at.map(since_creation),
    }
}
