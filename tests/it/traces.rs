//! The traces of orders, from outside: a real server, and a collector that decodes what it is sent.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use serde_json::{Value, json};

use crate::receiver::{ALLOW_LOOPBACK, Manner, Receiver};
use crate::server::{Client, GatewayProcess, Server, fresh, lungo, run, teas, text, until};

/// A caller's trace, and the caller's span in it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A span as the collector has it.
#[derive(Clone, Debug)]
struct Seen {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: i32,
    lasted: Duration,
    attributes: HashMap<String, String>,
    links: Vec<String>,
    has_failed: bool,
    instance: String,
}

impl Seen {
    fn order(&self) -> &str {
        &self.attributes["order.id"]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(all: Vec<KeyValue>) -> HashMap<String, String> {
    let value = |one: KeyValue| match one.value.and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    all.into_iter().map(|one| (one.key.clone(), value(one))).collect()
}

fn seen(span: otlp::Span, instance: &str) -> Seen {
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0, "{span:?}");
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        lasted: Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano),
        attributes: attributes(span.attributes),
        links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
        has_failed: span.status.is_some_and(|status| status.code == otlp::status::StatusCode::Error as i32),
        instance: instance.into(),
    }
}

/// What a collector does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Take,
    Answer(u16),
    Hang,
}

/// A collector on loopback. It listens until the tests end.
#[derive(Clone)]
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Seen>>>,
    heads: Arc<Mutex<Vec<String>>>,
    /// The next one stands last; the last one stays.
    does: Arc<Mutex<Vec<Does>>>,
}

impl Collector {
    fn start(does: &[Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let does = Arc::new(Mutex::new(does.iter().rev().copied().collect()));
        let collector = Self { endpoint, spans: Arc::default(), heads: Arc::default(), does };
        let ours = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ours = ours.clone();
                thread::spawn(move || while ours.exchange(&stream).is_some() {});
            }
        });
        collector
    }

    fn exchange(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let from = head.len();
            reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
            let line = head[from..].trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok()?,
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        self.heads.lock().unwrap().push(head.clone());
        let does = {
            let mut does = self.does.lock().unwrap();
            if does.len() > 1 { does.pop() } else { does.last().copied() }
        };
        let status = match does? {
            Does::Hang => {
                thread::sleep(Duration::from_secs(20));
                return None;
            }
            Does::Answer(status) => status,
            Does::Take => {
                assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
                assert!(head.contains("content-type: application/x-protobuf"), "{head}");
                self.take(&body);
                200
            }
        };
        write!(stream, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n").ok()
    }

    fn take(&self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        for of_one in request.resource_spans {
            let resource = attributes(of_one.resource.expect("a resource").attributes);
            assert_eq!(resource["service.name"], "lungo");
            let instance = &resource["service.instance.id"];
            let spans = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| seen(span, instance)));
        }
    }

    fn of(&self, order: &str) -> Vec<Seen> {
        self.spans.lock().unwrap().iter().filter(|span| span.order() == order).cloned().collect()
    }

    /// Waits for a span of an order.
    #[track_caller]
    fn sees(&self, order: &str, what: &str, is_it: impl Fn(&Seen) -> bool) -> Seen {
        until(what, || self.of(order).into_iter().find(|span| is_it(span)))
    }
}

/// Stands between a server and its gateway, and writes down what the gateway is asked.
struct Tap {
    url: String,
    target: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (target, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(Vec::new())));
        let (to, heard) = (target.clone(), asked.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let address = to.lock().unwrap().clone();
                let Ok(gateway) = TcpStream::connect(address) else { continue };
                let (from, back) = (client.try_clone().expect("a socket"), gateway.try_clone().expect("a socket"));
                let heard = heard.clone();
                thread::spawn(move || pump(from, gateway, |bytes| heard.lock().unwrap().extend_from_slice(bytes)));
                thread::spawn(move || pump(back, client, |_| {}));
            }
        });
        Self { url, target, asked }
    }

    /// The contexts that the gateway was told, as trace and span.
    fn contexts(&self) -> HashSet<(String, String)> {
        let asked = String::from_utf8_lossy(&self.asked.lock().unwrap()).into_owned();
        asked
            .lines()
            .filter_map(|line| line.strip_prefix("traceparent: "))
            .map(|context| context_in(context.trim()))
            .collect()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut bytes = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        look(&bytes[..read]);
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// The trace and the span of a `traceparent`.
fn context_in(text: &str) -> (String, String) {
    let parts: Vec<&str> = text.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[3]), (4, "00", "01"), "{text}");
    (parts[1].into(), parts[2].into())
}

fn subscribe(partner: &Client, receiver: &Receiver) {
    partner.call("POST", "/v1/webhooks").json(&json!({"url": receiver.url})).send().expect(201);
}

fn order(partner: &Client, traceparent: Option<&str>, method: &str) -> String {
    let call = partner.call("POST", "/v1/orders").json(&teas(&fresh("cus"), 1, method, None));
    let call = match traceparent {
        Some(traceparent) => call.header("traceparent", traceparent),
        None => call,
    };
    call.send().expect(202).id()
}

#[test]
fn a_whole_life_is_one_trace_over_retries_a_restart_a_callback_and_webhooks() {
    let (collector, tap, receiver) =
        (Collector::start(&[Does::Take]), Tap::start(), Receiver::start(Manner::Answer(200)));
    let flags = [
        format!("--otlp-endpoint={}", collector.endpoint),
        format!("--stripe-url={}", tap.url),
        ALLOW_LOOPBACK.into(),
        "--trace-sample=0".into(),
        "--log-format=json".into(),
        "--breaker-pause=500ms".into(),
    ];
    let (mut server, mut gateway) = GatewayProcess::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    *tap.target.lock().unwrap() = gateway.address().into();
    subscribe(&server, &receiver);

    gateway.kill_9();
    let order = order(&server, Some(&format!("00-{TRACE}-{CALLER}-01")), "pm_action_required");
    collector.sees(&order, "an attempt in vain", |span| span.name == "attempt authorize" && span.has_failed);
    assert!(server.stop().success());
    gateway.restart();
    server.restart();

    let asked = server.wait_for_status(&order, "action_required");
    let page = text(&asked["payment"]["action"]["url"]);
    let (host, path) = page.split_at(page.find("/simulator").expect("the simulated bank"));
    Client { url: host.into(), key: None }.visit("POST", path, "answer=approve");
    server.wait_for_status(&order, "completed");
    server.wait_for_payment(&order, "captured");
    until("the receiver is told", || (receiver.newest(&order) == server.order(&order)["version"]).then_some(()));
    // Too late, but about this order all the same; and within a trace of the customer's own.
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let cancel = server.call("POST", &format!("/v1/orders/{order}/cancel")).header("traceparent", other);
    cancel.send().problem(409, "too_late");
    let versions = server.order(&order)["version"].as_i64().expect("a version");
    until("all is told", || {
        let (all, told) = (collector.of(&order), receiver.took(&order).len());
        let count = |name: &str| all.iter().filter(|span| span.name == name).count();
        let is_all = count("commit") as i64 == versions && count("webhook") == told;
        (is_all && all.iter().any(|span| span.name.ends_with("/cancel"))).then_some(())
    });

    let spans = collector.of(&order);
    assert!(spans.iter().all(|span| span.trace == TRACE), "one trace: {spans:#?}");
    let ids: HashSet<&str> = spans.iter().map(|span| &*span.id).collect();
    assert_eq!(ids.len(), spans.len(), "each span has an id of its own");
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let [root] = named("POST /v1/orders")[..] else { panic!("not one root: {spans:#?}") };
    assert_eq!((&*root.parent, root.kind, &*root.attributes["http.response.status_code"]), (CALLER, 2, "202"));
    for span in spans.iter().filter(|span| span.id != root.id) {
        assert!(ids.contains(&*span.parent), "an orphan: {span:#?}");
    }
    let instances: HashSet<&str> = spans.iter().map(|span| &*span.instance).collect();
    assert_eq!(instances.len(), 2, "both processes: {instances:?}");
    let first = &root.instance;

    assert_eq!(named("admission").len(), 1);
    let attempts = named("attempt authorize");
    assert!(attempts.iter().any(|span| span.has_failed && span.instance == *first), "{attempts:#?}");
    assert!(attempts.iter().any(|span| !span.has_failed && span.instance != *first), "{attempts:#?}");
    assert!(attempts.iter().all(|span| span.attributes["dependency"] == "method:pm_action_required" && span.kind == 3));
    assert_eq!(named("queue authorize").len(), attempts.len(), "each attempt has waited");
    assert!(named("backoff authorize").iter().any(|span| span.lasted > Duration::ZERO), "{spans:#?}");
    assert_eq!((named("attempt offer").len(), named("attempt capture").len()), (1, 1));
    let callback = named("POST /v1/callbacks/stripe");
    assert!(
        !callback.is_empty() && callback.iter().all(|span| span.parent == root.id && span.kind == 2),
        "{callback:#?}"
    );
    let [cancel] = named("POST /v1/orders/{order_id}/cancel")[..] else { panic!("{spans:#?}") };
    assert_eq!((&*cancel.parent, &*cancel.links), (&*root.id, &["0af7651916cd43dd8448eb211c80319c".to_owned()][..]));

    // The parent of a commit is the span that caused it: a callback, an attempt, or else the root.
    let causes = |event: &str| -> Vec<&str> {
        let of_it = spans.iter().filter(|span| span.name == "commit" && span.attributes["order.event"] == event);
        of_it.filter_map(|commit| spans.iter().find(|span| span.id == commit.parent)).map(|span| &*span.name).collect()
    };
    assert_eq!(causes("created"), ["POST /v1/orders"]);
    assert_eq!(causes("payment_authorized"), ["POST /v1/callbacks/stripe"]);
    assert_eq!(causes("payment_captured"), ["attempt capture"]);
    assert_eq!(causes("made"), ["POST /v1/orders"]);

    let outside: HashSet<&str> = spans.iter().filter(|span| span.kind != 1).map(|span| &*span.id).collect();
    let told: Vec<_> = tap.contexts().into_iter().collect();
    assert!(told.len() >= attempts.iter().filter(|span| span.instance != *first).count(), "{told:?}");
    assert!(told.iter().all(|(trace, span)| trace == TRACE && outside.contains(&**span)), "{told:?}");
    let sent: HashSet<_> = receiver.heard().iter().map(|heard| context_in(heard.header("traceparent"))).collect();
    let webhooks: HashSet<_> = named("webhook").iter().map(|span| (span.trace.clone(), span.id.clone())).collect();
    assert_eq!(sent, webhooks);

    let lines: Vec<Value> = server.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let about: Vec<&Value> = lines.iter().filter(|line| line["order.id"] == *order).collect();
    for name in ["stage.done", "order.ended", "callback.heard", "notify.attempted"] {
        assert!(about.iter().any(|line| line["message"] == name), "no line {name}: {about:#?}");
    }
    assert!(about.iter().all(|line| line["trace.id"] == TRACE), "{about:#?}");
}

#[test]
fn callers_decide_what_is_recorded_and_for_the_others_the_sample() {
    let (collector, receiver) = (Collector::start(&[Does::Take]), Receiver::start(Manner::Answer(200)));
    let endpoint = format!("--otlp-endpoint={}", collector.endpoint);
    let start = |sample: &str| Server::start(&[&endpoint, sample, ALLOW_LOOPBACK, "--pace=zero"]);
    let (all, none) = (start("--trace-sample=1"), start("--trace-sample=0"));
    subscribe(&all, &receiver);
    let not_sampled = format!("00-{TRACE}-{CALLER}-00");
    let unsampled = order(&all, Some(&not_sampled), "pm_card_visa");
    let malformed = order(&all, Some(&format!("00-{TRACE}-{CALLER}")), "pm_card_visa");
    let chosen = order(&all, None, "pm_card_visa");
    let left_out = order(&none, None, "pm_card_visa");
    let sampled = order(&none, Some(&format!("00-{TRACE}-{CALLER}-01")), "pm_card_visa");
    for (server, order) in
        [(&all, &unsampled), (&all, &malformed), (&all, &chosen), (&none, &left_out), (&none, &sampled)]
    {
        server.wait_for_status(order, "accepted");
    }
    for order in [&malformed, &chosen] {
        let root = collector.sees(order, "its root", |span| span.name == "POST /v1/orders");
        assert_eq!((root.trace, &*root.parent), (order.replace('-', ""), ""), "a trace of its own");
    }
    collector.sees(&sampled, "its end", |span| span.attributes.get("order.status").is_some_and(|s| s == "accepted"));
    assert!(collector.of(&unsampled).is_empty() && collector.of(&left_out).is_empty());
    let told = |order: &str| {
        let all = receiver.heard().into_iter().filter(|heard| heard.json()["order_id"] == order);
        all.map(|heard| heard.header("traceparent").to_owned()).collect::<HashSet<_>>()
    };
    until("the receiver is told", || (receiver.newest(&unsampled) > 0).then_some(()));
    assert_eq!(told(&unsampled), HashSet::from([not_sampled]), "passed on as it came");
}

#[test]
fn a_collector_that_is_dead_or_slow_holds_up_no_order_and_no_stop() {
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    for endpoint in [dead, Collector::start(&[Does::Hang]).endpoint] {
        let endpoint = format!("--otlp-endpoint={endpoint}");
        let mut server = Server::start(&[&endpoint, "--trace-sample=1", "--pace=zero"]);
        let orders: Vec<String> = (0..20).map(|_| order(&server, None, "pm_card_visa")).collect();
        orders.iter().for_each(|order| drop(server.wait_for_status(order, "accepted")));
        let outages = || server.log().matches("peer.not_responding").count();
        until("the outage is said", || (outages() > 0).then_some(()));
        assert!(server.stop().success());
        assert_eq!(server.log().matches("peer.not_responding").count(), 1, "one line for an outage");
        assert_eq!(
            server.log().matches(" WARN ").count(),
            1 + server.log().matches("tracer.spans_left").count() + server.log().matches("serve.demo_made").count()
        );
    }
}

#[test]
fn what_a_collector_does_not_take_now_is_sent_again_and_what_it_refuses_is_not() {
    let collector = Collector::start(&[Does::Answer(400), Does::Answer(503), Does::Answer(503), Does::Take]);
    let endpoint = format!("--otlp-endpoint={}/", collector.endpoint);
    let secret = [("LUNGO_OTLP_HEADERS", "api-key=s3cr3t, x-team=coffee shop")];
    let server = Server::start_with(&[&endpoint, "--trace-sample=1", "--pace=zero"], &secret);
    let refused = order(&server, None, "pm_card_visa");
    until("it is refused", || (!collector.heads.lock().unwrap().is_empty()).then_some(()));
    let later = order(&server, None, "pm_card_visa");
    let root = collector.sees(&later, "its root", |span| span.name == "POST /v1/orders");
    until("the outage is over", || server.log().contains("peer.recovered").then_some(()));
    assert_eq!(server.log().matches("peer.not_responding").count(), 1);
    assert!(!collector.of(&refused).iter().any(|span| span.name == "POST /v1/orders"));
    assert_eq!(collector.of(&later).iter().filter(|span| span.id == root.id).count(), 1, "taken once");
    let admin = server.with_key("LUNGO_ADMIN_KEY");
    let http = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
    let request = http.get(format!("{}/metrics", admin.url)).bearer_auth(admin.key.as_ref().expect("a key"));
    let metrics = request.send().and_then(|answer| answer.text()).expect("an answer");
    let count = |result: &str| {
        let name = format!("lungo_trace_spans_total{{result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    assert!(count("rejected") > Some(0) && count("exported") > Some(0), "{metrics}");
    let heads = collector.heads.lock().unwrap().clone();
    assert!(heads.iter().all(|head| head.contains("api-key: s3cr3t") && head.contains("x-team: coffee shop")));
    let shown = server.with_key("LUNGO_ADMIN_KEY").get("/v1/admin/settings").text;
    assert!(!shown.contains("s3cr3t") && !server.log().contains("s3cr3t"));
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    let good = "--otlp-endpoint=http://127.0.0.1:4318";
    for (flags, headers, why) in [
        (&["--otlp-endpoint=collector:4318"][..], None, "does not begin with http:// or https://"),
        (&["--otlp-endpoint=http://user:s3cr3t@collector"], None, "use otlp-headers"),
        (&["--otlp-endpoint="], None, "does not begin with http:// or https://"),
        (&["--trace-sample=2"], None, "no number from 0 to 1"),
        (&["--trace-sample=NaN"], None, "no number from 0 to 1"),
        (&[good], Some("api-key"), "number 1 is not written like `name=value`"),
        (&[good], Some("a=b,x y=s3cr3t"), "number 2 is not written like `name=value`"),
        (&[], Some("api-key=s3cr3t"), "no otlp-endpoint"),
        (&["--otlp-headers=api-key=s3cr3t"], None, "otlp_headers is a secret"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut refused = lungo();
        refused.args(flags).args(["--listen=127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
        refused.envs(headers.map(|headers| ("LUNGO_OTLP_HEADERS", headers)));
        let (status, log) = run(refused);
        assert!(!status.success() && log.contains(why), "{flags:?} {headers:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
        assert!(headers.is_none() || !log.contains("s3cr3t"), "{log}");
    }
}
