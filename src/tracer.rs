//! Takes the spans of orders to a collector, by OTLP over HTTP, and knows on whose behalf this task works just now.
//!
//! **No order waits for this, and none fails by it.** A span is made from facts when they are known, and put into a bounded
//! queue. A span that finds no room is counted and forgotten (`lungo_trace_spans_total`). Without a collector in the
//! settings no span is made at all.

#[cfg(feature = "otlp")]
mod export;

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::meters::{METERS, SpanResult};
use crate::order::OrderId;
use crate::state::Order;
use crate::trace::{Context, OrderTrace, Span, SpanId, TraceId, new_trace};

/// Spans that wait for the collector. With what is under way they take a few megabytes.
#[cfg(feature = "otlp")]
const QUEUE: usize = 8_192;

static TRACER: OnceLock<Tracer> = OnceLock::new();

/// What this process does with spans, once it does anything.
struct Tracer {
    queue: mpsc::Sender<Span>,
    /// The share of orders without a caller's trace that are recorded.
    sample: f64,
}

impl Tracer {
    /// Queues a span, or counts it as lost. Whether it was queued.
    fn take(&self, span: Span) -> bool {
        let is_taken = self.queue.try_send(span).is_ok();
        if !is_taken {
            METERS.trace_spans.of(SpanResult::Dropped).increment(1);
        }
        is_taken
    }
}

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Collector {
    /// The address of OTLP's traces: `…/v1/traces`.
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// The name of this instance in what it sends.
    pub instance: String,
    /// The clock that spans are told by, in nanoseconds since 1970.
    pub unix_nanos: fn(Instant) -> u64,
}

/// The exporter. It is to be stopped when no more spans are made.
#[must_use]
pub struct Exporting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what waits, within that time.
    pub async fn stop(self, patience: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            tracing::warn!("tracer.spans_left: the collector did not take all spans before the end");
        }
    }
}

/// Records orders from now on, until the process ends. `sample` is the share of orders that are recorded although no
/// caller asked for it, from 0 to 1.
///
/// # Errors
/// When the collector cannot be spoken to from here, whatever it answers; or spans go somewhere already.
#[cfg(feature = "otlp")]
pub fn start(collector: Collector, sample: f64) -> Result<Exporting, String> {
    let (queue, spans) = mpsc::channel(QUEUE);
    let (stop, stopped) = watch::channel(false);
    let exporter = export::Exporter::new(collector)?;
    TRACER.set(Tracer { queue, sample }).map_err(|_| "this process sends its spans somewhere already".to_owned())?;
    Ok(Exporting { stop, task: tokio::spawn(exporter.run(spans, stopped)) })
}

/// Fails: this build has no exporter.
///
/// # Errors
/// Always.
#[cfg(not(feature = "otlp"))]
pub fn start(_: Collector, _: f64) -> Result<Exporting, String> {
    Err("this build cannot send traces: it was built without the feature `otlp`".into())
}

/// Whether anything is recorded.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// The trace of an order whose spans are recorded; `None` for all others.
pub fn recorded(order: &Order) -> Option<OrderTrace> {
    TRACER.get()?;
    OrderTrace::of(order).filter(OrderTrace::is_sampled)
}

/// A name for a span that begins now.
pub fn new_span() -> SpanId {
    SpanId(rand::random_range(1..=u64::MAX))
}

/// Gives a span to the collector, or counts it as lost.
pub fn emit(span: Span) {
    if let Some(tracer) = TRACER.get() {
        tracer.take(span);
    }
}

/// The `traceparent` that is stored with a new order. A caller's own is respected, sampled or not; of the other orders the
/// chosen share begins a trace.
pub fn of_new_order(order_id: OrderId, caller: Option<String>) -> Option<String> {
    caller.or_else(|| {
        let is_chosen = rand::random::<f64>() < TRACER.get()?.sample;
        is_chosen.then(|| new_trace(order_id).to_string())
    })
}

tokio::task_local! {
    static CURRENT: RefCell<Current>;
}

/// On whose behalf a task works: what it does for an order, and asks other services, is the work of that span.
#[derive(Debug)]
struct Current {
    span_id: Option<SpanId>,
    touched: Option<Touched>,
}

/// The order that a request was about.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    pub order_id: OrderId,
    /// `None` for an order without a trace.
    pub trace: Option<OrderTrace>,
    /// The request created it, so that its span is the root.
    pub is_created: bool,
}

/// Works as a span of this id.
pub async fn within<T>(span_id: SpanId, work: impl Future<Output = T>) -> T {
    CURRENT.scope(RefCell::new(Current { span_id: Some(span_id), touched: None }), work).await
}

/// Answers a request, as a span of its own where spans are recorded, and says which order it was about. The last one that
/// was [`touched`] counts.
pub async fn request<T>(span_id: Option<SpanId>, work: impl Future<Output = T>) -> (T, Option<Touched>) {
    let work = async {
        let done = work.await;
        (done, CURRENT.with(|current| current.borrow_mut().touched.take()))
    };
    CURRENT.scope(RefCell::new(Current { span_id, touched: None }), work).await
}

/// The present request is about this order.
pub fn touched(order: &Order, is_created: bool) {
    let touched = || Touched { order_id: order.id, trace: OrderTrace::of(order), is_created };
    let _ = CURRENT.try_with(|current| current.borrow_mut().touched = Some(touched()));
}

/// The trace of the order that the present request is about.
pub fn present_trace() -> Option<TraceId> {
    CURRENT.try_with(|current| current.borrow().touched?.trace.map(|trace| trace.trace_id)).ok().flatten()
}

/// The span that the present task works for, where any is recorded.
pub fn current() -> Option<SpanId> {
    TRACER.get()?;
    CURRENT.try_with(|current| current.borrow().span_id).ok().flatten()
}

/// What another service is told when it is called for an order now: the present span, where that is recorded.
pub fn context(order: &Order) -> Option<Context> {
    let span_id = current()?;
    Some(recorded(order)?.context(span_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::order_in;
    use crate::lifecycle::Status;
    use crate::trace::{Kind, Moment};

    #[test]
    fn a_span_that_finds_no_room_is_dropped_at_once() {
        let (queue, mut spans) = mpsc::channel(2);
        let tracer = Tracer { queue, sample: 1.0 };
        let mut order = order_in(Status::New);
        order.placed.traceparent = Some(new_trace(order.id).to_string());
        let trace = OrderTrace::of(&order).unwrap();
        let now = Moment::Steady(Instant::now());
        let span = || Span::below(&trace, new_span(), Kind::Internal, "queue", (now, now));
        assert_eq!([(); 3].map(|()| tracer.take(span())), [true, true, false]);
        spans.try_recv().unwrap();
        assert_eq!([(); 2].map(|()| tracer.take(span())), [true, false]);
        drop(spans);
        assert!(!tracer.take(span()), "nor by an exporter that has ended");
    }

    #[tokio::test]
    async fn without_a_collector_nothing_is_recorded_and_the_order_of_a_request_is_known() {
        let mut order = order_in(Status::New);
        let (own, caller) =
            (new_trace(OrderId::new()).to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        order.placed.traceparent = Some(own);
        assert!(!is_on() && recorded(&order).is_none() && current().is_none());
        assert_eq!(of_new_order(order.id, None), None);
        assert_eq!(of_new_order(order.id, Some(caller.into())).as_deref(), Some(caller));
        touched(&order, false);
        assert_eq!(present_trace(), None, "there is no request");
        let (trace, seen) = request(None, async {
            touched(&order, true);
            (present_trace(), context(&order))
        })
        .await;
        assert_eq!(trace, (OrderTrace::of(&order).map(|trace| trace.trace_id), None));
        let seen = seen.unwrap();
        assert_eq!((seen.order_id, seen.is_created), (order.id, true));
    }
}
