//! What the service counts and measures of itself: every metric stands in the one table below, with its labels, unit
//! and meaning, and becomes a field of [`Meters`] there. `/metrics` shows exactly these.
//!
//! Counting costs an atomic or two, because every series is opened once and kept. Labels have few values, all from
//! enums of ours, routes as patterns, or currencies: never an id, a shop or a customer. **What callers ask for cannot
//! make more than 2,000 series**: `web::counted` says what a request is counted as.

mod families;
mod happened;
mod process;
mod words;

use std::sync::LazyLock;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::lifecycle::{Actor, EventKind, Reason, Stage, Status};
pub use families::{ByRoute, Family, Named};
pub use happened::Happened;
pub use words::{
    Acted, ByTimer, Callback, Called, Decision, Door, Freed, LaneTrouble, Ongoing, Port, Receiver, SpanResult, Taken,
    Told, Trouble, Urgency, WordResult,
};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts at 0 with the process.
    Counter,
    /// A present value.
    Gauge,
    /// Counts by size, in buckets.
    Histogram,
}

/// What a value is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Seconds,
    /// From 0 to 1.
    Ratio,
    /// Cents and the like: what a currency has no smaller of.
    MinorUnits,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub unit: Unit,
    pub help: &'static str,
    /// The upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

/// A call within the process, or a commit: 100 µs to 5 s.
const SHORT: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// A call of somebody else, who is given 10 s.
const CALL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// What people take their time for: a second to two hours.
const LONG: &[f64] = &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
/// How far a list may lag behind.
const LAG: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Writes of one transaction.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// From the head of a request to that of its answer. Few, since each route has them.
const ANSWER: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];
const NONE: &[f64] = &[];

macro_rules! meters {
    ($($field:ident: $family:ty, $kind:ident $name:literal $labels:expr, $unit:ident, $buckets:ident, $help:literal;)*) => {
        /// Every metric of the service.
        pub const TABLE: &[Meter] = &[$(Meter {
            name: $name, kind: Kind::$kind, labels: &$labels, unit: Unit::$unit, help: $help, buckets: $buckets,
        }),*];

        /// The open series of every metric.
        pub struct Meters {
            $(#[doc = $help] pub $field: $family,)*
            handle: PrometheusHandle,
        }

        impl Meters {
            fn open(recorder: &'static PrometheusRecorder) -> Self {
                let mut lines = TABLE.iter();
                Self {
                    $($field: <$family>::open(recorder, lines.next().expect("the table has a line for every field")),)*
                    handle: recorder.handle(),
                }
            }

            fn open_all(&self) {
                $(self.$field.open_all();)*
            }
        }
    };
}

meters! {
    admissions: Family<Counter, Decision>,
        Counter "lungo_admissions_total" ["verdict"], Count, NONE,
        "Requests to create an order, by what admission decided.";
    received: Family<Counter, (Actor, WordResult)>,
        Counter "lungo_received_total" ["actor", "result"], Count, NONE,
        "Words from outside about an order (customer, shop, gateway, operator), by what became of them.";
    order_events: Family<Counter, EventKind>,
        Counter "lungo_order_events_total" ["event"], Count, NONE,
        "Events committed to the log of orders.";
    deadlines: Family<Counter, ByTimer>,
        Counter "lungo_deadlines_total" ["event"], Count, NONE,
        "Orders that the timer decided, because nobody else had by their deadline.";
    orders_ended: Family<Counter, (Status, Option<Reason>)>,
        Counter "lungo_orders_ended_total" ["status", "reason"], Count, NONE,
        "Orders that ended, by how and why.";
    status_duration: Family<Histogram, Status>,
        Histogram "lungo_status_duration_seconds" ["status"], Seconds, LONG,
        "How long orders had stood in the status that they left.";
    acceptance_duration: Family<Histogram, ()>,
        Histogram "lungo_acceptance_duration_seconds" [], Seconds, LONG,
        "From the creation of an order to its acceptance by the shop; orders for a later pickup are left out.";
    ongoing: Family<Gauge, Ongoing>,
        Gauge "lungo_ongoing_orders" ["status"], Count, NONE,
        "Ongoing orders.";
    made_late: Family<Gauge, ()>,
        Gauge "lungo_orders_made_late" [], Count, NONE,
        "Orders that have been in the making for one and a half times as long as the menu says, or longer.";
    deadline_overdue: Family<Gauge, ()>,
        Gauge "lungo_deadline_overdue_seconds" [], Seconds, NONE,
        "How long the earliest deadline has passed without being decided.";

    stage_depth: Family<Gauge, Stage>,
        Gauge "lungo_stage_depth" ["stage"], Count, NONE,
        "Orders that stand in a stage, due or not, without parked ones.";
    stage_overdue: Family<Gauge, Stage>,
        Gauge "lungo_stage_overdue_seconds" ["stage"], Seconds, NONE,
        "How long the first due order of a stage has waited for anybody to take it.";
    stage_oldest: Family<Gauge, Stage>,
        Gauge "lungo_stage_oldest_age_seconds" ["stage"], Seconds, NONE,
        "How long the oldest order that a stage has tried, or should have, has stood in its status.";
    stage_parked: Family<Gauge, Stage>,
        Gauge "lungo_stage_parked_orders" ["stage"], Count, NONE,
        "Orders set aside for an operator.";
    stage_act: Family<Histogram, (Stage, Acted)>,
        Histogram "lungo_stage_act_duration_seconds" ["stage", "result"], Seconds, CALL,
        "Acts of the worker, without their commit, by what came of them.";
    stage_acting: Family<Gauge, Stage>,
        Gauge "lungo_stage_acts_in_progress" ["stage"], Count, NONE,
        "Acts under way.";
    stage_limit: Family<Gauge, Stage>,
        Gauge "lungo_stage_acts_limit" ["stage"], Count, NONE,
        "Acts that may be under way at once.";
    stage_claims: Family<Counter, (Stage, Taken)>,
        Counter "lungo_stage_claims_total" ["stage", "source"], Count, NONE,
        "Orders taken to work on: handed over in memory, or claimed from the database.";
    stage_put_off: Family<Counter, Stage>,
        Counter "lungo_stage_put_off_total" ["stage"], Count, NONE,
        "Orders given back to the database because they waited too long for their turn.";
    stage_retries: Family<Counter, (Stage, Trouble)>,
        Counter "lungo_stage_retries_total" ["stage", "trouble"], Count, NONE,
        "Attempts that came to nothing and will be repeated, by the trouble.";
    stage_leases_lost: Family<Counter, Stage>,
        Counter "lungo_stage_leases_lost_total" ["stage"], Count, NONE,
        "Results dropped because somebody else had decided meanwhile.";
    stage_commits_failed: Family<Counter, Stage>,
        Counter "lungo_stage_commits_failed_total" ["stage"], Count, NONE,
        "Results that could not be committed; their stage is tried again under the same key.";
    calls: Family<Counter, (Port, Called)>,
        Counter "lungo_calls_total" ["port", "result"], Count, NONE,
        "Calls to the gateway and the shops.";
    callbacks: Family<Counter, Callback>,
        Counter "lungo_callbacks_total" ["result"], Count, NONE,
        "Callbacks of the payment gateway, by what became of them.";
    breakers_open: Family<Gauge, Port>,
        Gauge "lungo_breakers_open" ["port"], Count, NONE,
        "Payment methods or shops that are left alone because they do not answer.";

    deliveries: Family<Counter, (Receiver, Told)>,
        Counter "lungo_webhook_deliveries_total" ["receiver", "result"], Count, NONE,
        "Attempts to tell a receiver of webhooks, by what came of them.";
    delivery_duration: Family<Histogram, Receiver>,
        Histogram "lungo_webhook_delivery_duration_seconds" ["receiver"], Seconds, CALL,
        "What receivers of webhooks take to answer, or to be given up on.";
    deliveries_pending: Family<Gauge, Receiver>,
        Gauge "lungo_webhook_pending_deliveries" ["receiver"], Count, NONE,
        "Deliveries that wait for an attempt, without those of disabled receivers and what still stands in the log.";
    deliveries_oldest: Family<Gauge, Receiver>,
        Gauge "lungo_webhook_oldest_age_seconds" ["receiver"], Seconds, NONE,
        "How long ago the oldest event happened that an enabled receiver has not been told of.";
    webhooks_disabled: Family<Gauge, ()>,
        Gauge "lungo_webhooks_disabled" [], Count, NONE,
        "Receivers of webhooks that nothing is sent to: they answered 410, or somebody switched them off.";

    owed: Named<Gauge>,
        Gauge "lungo_owed_minor_units" ["currency"], MinorUnits, NONE,
        "Money that must still go back to customers.";
    owed_orders: Family<Gauge, ()>,
        Gauge "lungo_owed_orders" [], Count, NONE,
        "Orders whose money must still go back to the customer.";
    owed_oldest: Family<Gauge, ()>,
        Gauge "lungo_owed_oldest_age_seconds" [], Seconds, NONE,
        "How long ago the oldest order ended whose money must still go back.";

    lost_payments: Family<Counter, Freed>,
        Counter "lungo_lost_order_payments_total" ["result"], Count, NONE,
        "Payments whose order was lost, because the database went back: given back, or tried in vain.";

    restored_left: Family<Gauge, ()>,
        Gauge "lungo_restored_orders_left" [], Count, NONE,
        "Orders of a restored backup that are still to be compared with the gateway. While it is above 0 all orders are withheld.";

    lane_batch: Family<Histogram, ()>,
        Histogram "lungo_lane_batch_writes" [], Count, BATCH,
        "Writes that shared one transaction.";
    lane_commit: Family<Histogram, ()>,
        Histogram "lungo_lane_commit_duration_seconds" [], Seconds, SHORT,
        "From the beginning of a batch to its commit on disk.";
    checkpoint_pause: Family<Histogram, ()>,
        Histogram "lungo_lane_checkpoint_duration_seconds" [], Seconds, SHORT,
        "What the writing thread spends on the last pass of a checkpoint; all other passes are beside it.";
    log_lines_lost: Family<Counter, ()>,
        Counter "lungo_log_lines_lost_total" [], Count, NONE,
        "Log lines that found no room because standard error takes none: it is closed, full or not read.";
    trace_spans: Family<Counter, SpanResult>,
        Counter "lungo_trace_spans_total" ["result"], Count, NONE,
        "Spans of orders: taken by the collector, refused by it, or dropped because they found no room in the queue.";
    wal_pages: Family<Gauge, ()>,
        Gauge "lungo_wal_pages" [], Count, NONE,
        "Pages in the write-ahead log. It starts over after a few thousand, unless somebody reads an old snapshot.";
    lane_write: Family<Histogram, Urgency>,
        Histogram "lungo_lane_write_duration_seconds" ["urgency"], Seconds, SHORT,
        "What a caller waits for a write: in the queue, and for the commit.";
    lane_fill: Family<Gauge, Urgency>,
        Gauge "lungo_lane_queue_fill_ratio" ["urgency"], Ratio, NONE,
        "How full the queue to the writing thread is. A full one turns requests away.";
    lane_refused: Family<Counter, Urgency>,
        Counter "lungo_lane_refused_total" ["urgency"], Count, NONE,
        "Writes turned away because the queue was full.";
    lane_troubles: Family<Counter, LaneTrouble>,
        Counter "lungo_lane_troubles_total" ["trouble"], Count, NONE,
        "What went wrong in writing: whole batches, callers whose patience ended, and new orders that a full disk kept out.";

    read_fill: Family<Gauge, ()>,
        Gauge "lungo_read_queue_fill_ratio" [], Ratio, NONE,
        "How full the queue to the reading threads is. A full one turns requests away.";
    read_refused: Family<Counter, ()>,
        Counter "lungo_read_refused_total" [], Count, NONE,
        "Reads turned away because the queue was full.";
    read: Family<Histogram, ()>,
        Histogram "lungo_read_duration_seconds" [], Seconds, SHORT,
        "What a caller waits for a read: in the queue, and for the answer.";
    list_reads: Family<Counter, Door>,
        Counter "lungo_list_reads_total" ["door"], Count, NONE,
        "Customers' lists, by the door that they were read through.";
    list_staleness: Family<Histogram, ()>,
        Histogram "lungo_list_staleness_seconds" [], Seconds, LAG,
        "How old customers' lists were when they were answered from a replica.";
    replica_age: Family<Gauge, ()>,
        Gauge "lungo_replica_age_seconds" [], Seconds, NONE,
        "How old the oldest replica is of which that is known; 0 without a replica.";
    replicas_unproven: Family<Gauge, ()>,
        Gauge "lungo_replicas_unproven" [], Count, NONE,
        "Replicas of which it is not known how far they have come: they do not answer, or lag far behind.";

    http_requests: ByRoute<Counter>,
        Counter "lungo_http_requests_total" ["route", "method", "status"], Count, NONE,
        "HTTP requests, by the pattern of their route (or a group of routes), and by their status or its class.";
    http_duration: ByRoute<Histogram>,
        Histogram "lungo_http_request_duration_seconds" ["route", "method"], Seconds, ANSWER,
        "From the head of a request to the head of its answer, where a handler gave it.";

    build: Named<Gauge>,
        Gauge "lungo_build_info" ["version", "engine"], Count, NONE,
        "Always 1: the version of the program and the engine of its database.";
    started: Family<Gauge, ()>,
        Gauge "lungo_process_start_time_seconds" [], Seconds, NONE,
        "When the process started, in seconds since 1970.";
    ready: Family<Gauge, ()>,
        Gauge "lungo_ready" [], Count, NONE,
        "1 while the service wants requests.";
    sampled: Family<Gauge, ()>,
        Gauge "lungo_sampled_timestamp_seconds" [], Seconds, NONE,
        "When the gauges that need the database were last read from it, in seconds since 1970.";
}

/// Where everything is counted. Opened by its first use, once for the process.
pub static METERS: LazyLock<Meters> = LazyLock::new(|| {
    static RECORDER: LazyLock<PrometheusRecorder> = LazyLock::new(|| {
        let histograms = TABLE.iter().filter(|meter| meter.kind == Kind::Histogram);
        histograms
            .fold(PrometheusBuilder::new(), |builder, meter| {
                let name = Matcher::Full(meter.name.to_owned());
                builder.set_buckets_for_metric(name, meter.buckets).expect("every histogram has buckets")
            })
            .build_recorder()
    });
    Meters::open(&RECORDER)
});

/// Opens the series whose absence would say less than a 0. May be called again.
pub fn install() {
    METERS.open_all();
    METERS.build.of(&[env!("CARGO_PKG_VERSION"), "sqlite"]).set(1.0);
}

/// All that was counted, in Prometheus' text format 0.0.4.
pub fn render() -> String {
    METERS.handle.render() + &process::render()
}

/// Puts what histograms have heard into their buckets. Needed now and then even if nobody asks for it: until then
/// every single value is kept.
pub fn tidy_up() {
    METERS.handle.run_upkeep();
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_is_well_named_and_explained() {
        let mut names = HashSet::new();
        for Meter { name, kind, labels, unit, help, buckets } in TABLE {
            assert!(names.insert(name), "{name} stands twice");
            assert!(name.starts_with("lungo_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}: `_total` is for counters");
            assert_eq!(name.contains("_seconds"), *unit == Unit::Seconds, "{name}: the unit stands in the name");
            assert_eq!(name.ends_with("_ratio"), *unit == Unit::Ratio, "{name}: the unit stands in the name");
            assert_eq!(name.ends_with("_minor_units"), *unit == Unit::MinorUnits, "{name}: the unit is in the name");
            assert!(!["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end)), "{name}");
            assert_eq!(buckets.is_empty(), *kind != Kind::Histogram, "{name}");
            assert!(buckets.is_sorted_by(|a, b| a < b), "{name}: buckets ascend");
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
            assert!(!labels.iter().any(|label| label.ends_with("_id")), "{name}: nothing is counted by id");
        }
    }

    #[test]
    fn what_is_counted_is_shown_and_what_is_not_is_0() {
        install();
        install();
        METERS.calls.of((Port::Shop, Called::BreakerOpen)).increment(2);
        METERS.read.of(()).record(0.003);
        METERS.owed.set_all([("XTS".to_owned(), 7.0)]);
        METERS.owed.set_all([]);
        let text = render();
        let value = |series: &str| {
            let line = text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series}"));
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        assert!(value(r#"lungo_calls_total{port="shop",result="breaker_open"}"#) >= 2.0);
        assert_eq!(value(r#"lungo_stage_retries_total{stage="capture",trouble="panic"}"#), 0.0);
        assert_eq!(value(r#"lungo_owed_minor_units{currency="XTS"}"#), 0.0);
        assert!(value(r#"lungo_read_duration_seconds_bucket{le="0.005"}"#) >= 1.0);
        assert_eq!(value(&format!(r#"lungo_build_info{{version="{}""#, env!("CARGO_PKG_VERSION"))), 1.0);
        assert!(text.contains("# TYPE lungo_read_duration_seconds histogram"), "{text}");
        assert!(text.contains("# HELP lungo_admissions_total Requests to create an order"), "{text}");
    }
}
