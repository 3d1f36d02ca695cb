//! The trace of an order: what a span is, and which trace, parent and root an order's spans have. Plain data.
//!
//! All spans of an order are in one trace, whichever instance makes them and however often it restarts. Nothing has to be
//! remembered for that: the `traceparent` of the creating request is part of what was accepted, and the id of the root
//! span follows from the id of the order. The root is the span of the request that created the order.
//!
//! Source of the format: W3C Trace Context, level 1. Source of what a span is: the OpenTelemetry specification.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant as Steady;

use crate::order::{Instant, OrderId};
use crate::state::Order;

/// A trace, shown as 32 hexadecimal digits. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// A span of a trace, shown as 16 hexadecimal digits. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The bit of the flags by which a caller says that it records its part of the trace.
const SAMPLED: u8 = 1;

/// A span as other services name it, in the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub flags: u8,
}

impl Context {
    /// Reads version 00 and, by its first four parts, any later version; `None` for what is not valid.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |part: &str, digits: usize| {
            let is_hex = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            is_hex.then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        let mut parts = text.splitn(5, '-');
        let version = hex(parts.next()?, 2).filter(|version| *version != 0xff)?;
        let trace_id = hex(parts.next()?, 32).filter(|id| *id != 0)?;
        let span_id = hex(parts.next()?, 16).filter(|id| *id != 0)?;
        let flags = hex(parts.next()?, 2)?;
        if version == 0 && parts.next().is_some() {
            return None;
        }
        Some(Self { trace_id: TraceId(trace_id), span_id: SpanId(span_id as u64), flags: flags as u8 })
    }

    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The place of an order in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderTrace {
    pub order_id: OrderId,
    pub trace_id: TraceId,
    /// The span of the caller that created the order; `None` where the trace begins here.
    pub parent: Option<SpanId>,
    flags: u8,
}

impl OrderTrace {
    /// Where the order was created with a valid `traceparent`, or this service chose to record it.
    pub fn of(order: &Order) -> Option<Self> {
        let context = Context::parse(order.placed.traceparent.as_deref()?)?;
        let root = root_of(order.id);
        let parent = (context.span_id != root).then_some(context.span_id);
        Some(Self { order_id: order.id, trace_id: context.trace_id, parent, flags: context.flags })
    }

    /// The span of the request that created the order. All other spans are below it.
    pub fn root(&self) -> SpanId {
        root_of(self.order_id)
    }

    /// Whether its spans are recorded. The first service of a trace decides that for all.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// A span of this trace, as the next service is told of it.
    pub fn context(&self, span_id: SpanId) -> Context {
        Context { trace_id: self.trace_id, span_id, flags: self.flags }
    }
}

/// The id of an order's root span: the second half of the order's id. Its variant bits keep it from being 0.
fn root_of(order_id: OrderId) -> SpanId {
    SpanId(order_id.0.as_u64_pair().1)
}

/// What is stored as the `traceparent` of an order that begins a trace of its own. The trace has the id of the order, and
/// the root span stands in the place of the caller's span, because there is none.
pub fn new_trace(order_id: OrderId) -> Context {
    Context { trace_id: TraceId(order_id.0.as_u128()), span_id: root_of(order_id), flags: SAMPLED }
}

/// The trace id of an order, for log lines: 32 hexadecimal digits.
pub fn id_of(order: &Order) -> Option<TraceId> {
    OrderTrace::of(order).map(|trace| trace.trace_id)
}

/// When a span began or ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// By the clock that all instances follow, as it stands in the database.
    At(Instant),
    /// By the steady count of this process: exact to the nanosecond.
    Steady(Steady),
}

/// On which side of a call a span stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Internal,
    /// Answers a request.
    Server,
    /// Waits for another service.
    Client,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Something that took its time, in the life of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<SpanId>,
    /// A span of another trace that caused this one.
    pub link: Option<Context>,
    pub kind: Kind,
    /// Of few different ones: what tells orders apart is an attribute.
    pub name: Cow<'static, str>,
    pub began: Moment,
    pub ended: Moment,
    /// By the names that log lines use for the same things.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it came to nothing.
    pub fault: Option<String>,
}

impl Span {
    /// A span below the root of an order's trace. Its attributes begin with the order.
    pub fn below(
        trace: &OrderTrace,
        span_id: SpanId,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        time: (Moment, Moment),
    ) -> Self {
        Self {
            trace_id: trace.trace_id,
            span_id,
            parent: Some(trace.root()),
            link: None,
            kind,
            name: name.into(),
            began: time.0,
            ended: time.1,
            attributes: vec![("order.id", trace.order_id.to_string().into())],
            fault: None,
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::order_in;
    use crate::lifecycle::Status;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_written_as_it_is_read() {
        for valid in [CALLER, "00-00000000000000000000000000000001-0000000000000001-00"] {
            assert_eq!(Context::parse(valid).unwrap().to_string(), valid);
        }
        let later = format!("cc-{}-what-comes-later", &CALLER[3..]);
        assert_eq!(Context::parse(&later).unwrap().to_string(), CALLER);
        for invalid in ["", "00", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &CALLER.to_uppercase()] {
            assert_eq!(Context::parse(invalid), None, "{invalid}");
        }
        for at in 0..CALLER.len() {
            let mut damaged = CALLER.as_bytes().to_vec();
            damaged[at] = b'+';
            assert_eq!(Context::parse(std::str::from_utf8(&damaged).unwrap()), None, "at {at}");
            assert_eq!(Context::parse(&CALLER[..at]), None, "{at} characters");
        }
    }

    #[test]
    fn the_trace_of_an_order_is_its_callers_or_its_own() {
        let mut order = order_in(Status::New);
        assert_eq!(OrderTrace::of(&order), None);
        order.placed.traceparent = Some(CALLER.into());
        let caller = Context::parse(CALLER).unwrap();
        let trace = OrderTrace::of(&order).unwrap();
        assert_eq!((trace.trace_id, trace.parent, trace.is_sampled()), (caller.trace_id, Some(caller.span_id), true));
        assert_ne!(trace.root(), caller.span_id);
        order.placed.traceparent = Some(format!("{}00", &CALLER[..CALLER.len() - 2]));
        assert!(!OrderTrace::of(&order).unwrap().is_sampled());

        order.id = OrderId::new();
        order.placed.traceparent = Some(new_trace(order.id).to_string());
        let own = OrderTrace::of(&order).unwrap();
        assert_eq!((own.parent, own.is_sampled()), (None, true));
        assert_eq!(own.trace_id.to_string(), order.id.0.simple().to_string());
        let told = Context::parse(&own.context(SpanId(7)).to_string()).unwrap();
        assert_eq!((told.trace_id, told.span_id, told.flags), (own.trace_id, SpanId(7), 1));
    }
}
