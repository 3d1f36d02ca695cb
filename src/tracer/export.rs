//! The way of spans to the collector: batches in OTLP's protobuf, one at a time.
//!
//! A batch that the collector does not take now is tried again until it is taken, while others wait in the queue. One that
//! it will never take is counted and forgotten. An outage is one WARN line, and its end is one line more.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use reqwest::{Client, Request, StatusCode, redirect};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Collector;
use crate::logs;
use crate::meters::{METERS, SpanResult};
use crate::trace::{Context, Kind, Moment, Span, Value};

/// Spans of one request.
const BATCH: usize = 512;
/// How long a span waits for others that go with it.
const GATHERING: Duration = Duration::from_secs(1);
/// The longest that a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two tries of a batch: the first one, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// No answer is longer that is read. Bytes.
const LONGEST: usize = 64 * 1024;
/// What is done about a collector that fails.
const ACTION: &str = "orders go on; spans wait in a bounded queue, and those that find no room are counted and dropped";

/// Why a batch was not taken.
enum Fault {
    /// It may be taken later, at the earliest after the pause that the collector asked for.
    Later { why: String, after: Option<Duration> },
    /// It will never be.
    Refused(String),
}

pub(super) struct Exporter {
    http: Client,
    collector: Collector,
    failures: u32,
    failing_since: Option<Instant>,
}

impl Exporter {
    pub fn new(collector: Collector) -> Result<Self, String> {
        crate::tls::install();
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("lungo/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|fault| format!("no connection to a collector can be secured: {fault}"))?;
        let exporter = Self { http, collector, failures: 0, failing_since: None };
        // What cannot even be asked is refused at the start, not found out with the first order.
        exporter.request(Vec::new()).map_err(|fault| format!("otlp-endpoint cannot be asked: {fault}"))?;
        Ok(exporter)
    }

    /// Sends spans until it is told to stop; then what waits, without a second try.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Span>, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_stopping = *stop.borrow();
            if is_stopping {
                queue.close();
            }
            tokio::select! {
                biased;
                taken = gather(&mut queue, &mut batch) => if taken == 0 { return },
                _ = stop.wait_for(|stopped| *stopped), if !is_stopping => {}
            }
            if !batch.is_empty() {
                self.deliver(&mut batch, &mut stop).await;
            }
        }
    }

    /// Has a batch taken, or gives it up because it is refused or the process ends.
    async fn deliver(&mut self, batch: &mut Vec<Span>, stop: &mut watch::Receiver<bool>) {
        let count = batch.len() as u64;
        let body = self.written(batch.drain(..)).encode_to_vec();
        let mut pause = PAUSES.0;
        loop {
            let is_last = *stop.borrow();
            match self.send(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    METERS.trace_spans.of(SpanResult::Exported).increment(count - rejected);
                    METERS.trace_spans.of(SpanResult::Rejected).increment(rejected);
                    if let Some(since) = self.failing_since.take() {
                        logs::recovered("otlp", self.failures, since.elapsed());
                    }
                    self.failures = 0;
                    return;
                }
                Err(Fault::Refused(why)) => {
                    METERS.trace_spans.of(SpanResult::Rejected).increment(count);
                    self.note(&why, pause);
                    return;
                }
                Err(Fault::Later { why, after }) => {
                    pause = after.unwrap_or(pause).min(PAUSES.1);
                    self.note(&why, pause);
                    if is_last {
                        METERS.trace_spans.of(SpanResult::Dropped).increment(count);
                        return;
                    }
                    // A stop ends the pause: there is one more try then.
                    let _ = timeout(pause, stop.wait_for(|stopped| *stopped)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// One line for each outage, whatever number of batches meets it.
    fn note(&mut self, why: &str, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failing_since.is_none() {
            self.failing_since = Some(Instant::now());
            logs::not_responding("otlp", self.failures, pause, &format!("{ACTION} ({why})"));
        }
    }

    fn request(&self, body: Vec<u8>) -> Result<Request, reqwest::Error> {
        let request = self.http.post(&self.collector.url).header("content-type", "application/x-protobuf").body(body);
        let headers = self.collector.headers.iter();
        headers.fold(request, |request, (name, value)| request.header(name, value)).build()
    }

    /// How many of the spans were refused.
    async fn send(&self, body: Vec<u8>) -> Result<u64, Fault> {
        let later = |fault: reqwest::Error| Fault::Later { why: fault.without_url().to_string(), after: None };
        let mut answer = self.http.execute(self.request(body).map_err(later)?).await.map_err(later)?;
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(later)? {
            read.extend_from_slice(&chunk);
            if read.len() > LONGEST {
                break;
            }
        }
        match status {
            StatusCode::OK => {
                let partial =
                    ExportTraceServiceResponse::decode(read.as_slice()).ok().and_then(|said| said.partial_success);
                Ok(partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
            }
            // Those that the specification of OTLP names as passing.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Err(Fault::Later { why: format!("it answered {status}"), after: retry_after.map(Duration::from_secs) })
            }
            status => Err(Fault::Refused(format!("it answered {status}"))),
        }
    }

    fn written(&self, spans: impl Iterator<Item = Span>) -> ExportTraceServiceRequest {
        let attributes = vec![
            text("service.name", "lungo"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &self.collector.instance),
        ];
        let scope = InstrumentationScope { name: "lungo".into(), ..InstrumentationScope::default() };
        let spans = spans.map(|span| written(span, self.collector.unix_nanos)).collect();
        ExportTraceServiceRequest {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_spans: vec![otlp::ScopeSpans { scope: Some(scope), spans, ..otlp::ScopeSpans::default() }],
                ..otlp::ResourceSpans::default()
            }],
        }
    }
}

/// Waits for spans, and a little longer for others that go with them. How many there are: none at the end.
///
/// Dropped while it waits, it leaves what it took in the batch.
async fn gather(queue: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> usize {
    if batch.is_empty() && queue.recv_many(batch, BATCH).await == 0 {
        return 0;
    }
    let more = async {
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if queue.recv_many(batch, room).await == 0 {
                return;
            }
        }
    };
    let _ = timeout(GATHERING, more).await;
    batch.len()
}

fn written(span: Span, unix_nanos: fn(Instant) -> u64) -> otlp::Span {
    let nanos = |moment: Moment| match moment {
        Moment::At(at) => u64::try_from(at.timestamp_nanos_opt().unwrap_or_default()).unwrap_or_default(),
        Moment::Steady(at) => unix_nanos(at),
    };
    let (began, ended) = (nanos(span.began), nanos(span.ended));
    let kind = match span.kind {
        Kind::Internal => otlp::span::SpanKind::Internal,
        Kind::Server => otlp::span::SpanKind::Server,
        Kind::Client => otlp::span::SpanKind::Client,
    };
    let status = span.fault.map(|message| otlp::Status { message, code: otlp::status::StatusCode::Error.into() });
    let link = |context: Context| otlp::span::Link {
        trace_id: context.trace_id.0.to_be_bytes().to_vec(),
        span_id: context.span_id.0.to_be_bytes().to_vec(),
        flags: context.flags.into(),
        ..otlp::span::Link::default()
    };
    otlp::Span {
        trace_id: span.trace_id.0.to_be_bytes().to_vec(),
        span_id: span.span_id.0.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.0.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: began,
        // A clock that was stepped in between must not make it end before it began.
        end_time_unix_nano: ended.max(began),
        attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        links: span.link.map(link).into_iter().collect(),
        status,
        ..otlp::Span::default()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::StringValue(text.into_owned()),
        Value::Number(number) => Any::IntValue(number),
    };
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(name: &str, value: &str) -> KeyValue {
    attribute(name, value.to_owned().into())
}
