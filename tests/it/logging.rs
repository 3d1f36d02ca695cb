//! What the service logs, and that nothing about its log ever ends or stops it.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{BY_HAND, Client, GatewayProcess, IMPATIENT, Server, demo_env, fresh, lungo, teas, text, until};

/// A service whose standard error is whatever a test makes of it.
struct Service {
    partner: Client,
    operator: Client,
    child: Child,
    _data: TempDir,
}

impl Service {
    fn start(errors: impl Into<Stdio>, flags: &[&str]) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        let mut command = lungo();
        command.args(flags).arg("--data").arg(data.path()).args(["--listen", "127.0.0.1:0"]).stderr(errors);
        let mut child = command.spawn().expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let line = out.find(|line| line.contains("listening on ")).expect("it says where it listens");
        std::thread::spawn(move || out.for_each(drop));
        let url = line.split("listening on ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        let keys = demo_env(data.path());
        let client = |key: &str| Client { url: url.to_owned(), key: Some(keys[key].clone()) };
        let (partner, operator) = (client("LUNGO_PARTNER_KEY"), client("LUNGO_ADMIN_KEY"));
        Self { partner, operator, child, _data: data }
    }

    fn order(&self, method: &str) -> String {
        text(&self.partner.created(&teas(&fresh("cus"), 1, method, None))["order_id"])
    }

    /// Lines that found no room.
    fn lost(&self) -> f64 {
        let http = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
        let request =
            http.get(format!("{}/metrics", self.operator.url)).bearer_auth(self.operator.key.as_ref().expect("one"));
        let metrics = request.send().and_then(|answer| answer.text()).expect("an answer");
        let value = metrics.lines().find_map(|line| line.strip_prefix("lungo_log_lines_lost_total "));
        value.expect("the metric").parse().expect("a number")
    }

    fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("there is a kill").success());
        until("it stops", || self.child.try_wait().expect("it can be asked"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything is logged: whatever happens to a line happens at once, and often.
const ALL: &[&str] = &["--log=trace", "--pace=zero"];

/// Orders, and lives on.
#[track_caller]
fn lives_through(mut service: Service) {
    for _ in 0..10 {
        let order = service.order("pm_card_visa");
        service.partner.wait_for_status(&order, "accepted");
    }
    assert_eq!(service.child.try_wait().expect("it can be asked"), None);
    assert!(service.stop().success());
}

#[test]
fn a_closed_log_stream_ends_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    let service = Service::start(writer, ALL);
    service.order("pm_card_visa");
    drop(reader);
    lives_through(service);
}

#[test]
fn a_full_disk_ends_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("Linux");
    lives_through(Service::start(full, ALL));
}

#[test]
fn a_log_that_is_not_read_stops_nothing_and_what_was_lost_is_said() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let mut service = Service::start(writer, ALL);
    until("lines find no room", || {
        service.order("pm_card_visa");
        (service.lost() > 0.0).then_some(())
    });
    let order = service.order("pm_card_visa");
    service.partner.wait_for_status(&order, "accepted");
    // It is read again.
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("UTF-8");
        said
    });
    until("there is room again", || {
        let before = service.lost();
        service.order("pm_card_visa");
        (service.lost() == before).then_some(())
    });
    assert!(service.stop().success());
    drop(service);
    assert!(said.join().expect("it is read").contains("log.lines_lost"));
}

#[test]
fn a_log_that_is_never_read_does_not_delay_the_end() {
    let (_reader, writer): (PipeReader, _) = pipe().expect("a pipe");
    let service = Service::start(writer, ALL);
    until("lines find no room", || {
        service.order("pm_card_visa");
        (service.lost() > 0.0).then_some(())
    });
    lives_through(service);
}

/// The lines of a log in JSON, of which every one must be an object with the fields that each line has.
fn lines(log: &str) -> Vec<Value> {
    let lines: Vec<Value> = log.lines().filter(|line| line.starts_with('{')).map(read).collect();
    assert!(!lines.is_empty(), "{log}");
    lines
}

fn read(line: &str) -> Value {
    let read: Value = serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"));
    for field in ["timestamp", "level", "target", "message"] {
        assert!(read[field].is_string(), "no {field}: {line}");
    }
    read
}

fn named<'l>(lines: &'l [Value], name: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["message"] == name).collect()
}

const JSON: [&str; 2] = ["--log-format=json", "--log=lungo=debug"];

#[test]
fn a_payment_method_that_stops_and_recovers_is_one_line_each() {
    let (server, gateway) = GatewayProcess::start(&[IMPATIENT, &JSON[..1]].concat());
    let order = || text(&server.created(&teas(&fresh("cus"), 1, "pm_card_visa", None))["order_id"]);
    let silences = || lines_of(&server, "peer.not_responding");
    server.wait_for_status(&order(), "accepted");
    assert!(silences().is_empty());
    gateway.signal("-STOP");
    let waiting: Vec<String> = (0..20).map(|_| order()).collect();
    until("it is said", || (!silences().is_empty()).then_some(()));
    let decided = |order: &Value| text(&order["status"]) != "new";
    waiting.iter().for_each(|id| drop(server.wait_for(id, "decided", decided)));
    let silent = silences();
    assert_eq!(silent.len(), 1, "{silent:#?}");
    assert_eq!((text(&silent[0]["level"]), text(&silent[0]["peer"])), ("WARN".into(), "method:pm_card_visa".into()));
    assert!(silent[0]["unanswered"].as_u64() >= Some(10) && silent[0]["pause_ms"] == 500, "{silent:#?}");
    assert!(!text(&silent[0]["action"]).is_empty());
    gateway.signal("-CONT");
    server.wait_for_status(&order(), "accepted");
    let recovered = lines_of(&server, "peer.recovered");
    assert_eq!(recovered.len(), 1, "{recovered:#?}");
    assert_eq!((text(&recovered[0]["level"]), &recovered[0]["peer"]), ("INFO".into(), &silent[0]["peer"]));
    assert!(recovered[0]["lasted_ms"].as_u64() > Some(0) && recovered[0]["unanswered"].as_u64() >= Some(10));
    assert_eq!(silences().len(), 1);
}

fn lines_of(server: &Server, name: &str) -> Vec<Value> {
    named(&lines(&server.log()), name).into_iter().cloned().collect()
}

#[test]
fn an_order_that_ends_is_one_line_with_its_reason_and_its_durations() {
    let server = Server::start(&JSON[..1]);
    let order = |method| text(&server.created(&teas(&fresh("cus"), 1, method, None))["order_id"]);
    let (completed, failed) = (order("pm_card_visa"), order("pm_card_declined"));
    let mut by_hand = teas(&fresh("cus"), 1, "pm_card_visa", None);
    by_hand["shop_id"] = BY_HAND.into();
    let cancelled = text(&server.created(&by_hand)["order_id"]);
    server.cancel(&cancelled).expect(200);
    for (id, status) in [(&completed, "completed"), (&failed, "failed"), (&cancelled, "cancelled")] {
        server.wait_for_status(id, status);
        let ended = until("it is logged", || Some(lines_of(&server, "order.ended")).filter(|all| holds(all, id)));
        let [line] = &ended.iter().filter(|line| line["order.id"] == **id).collect::<Vec<_>>()[..] else {
            panic!("not one line: {ended:#?}")
        };
        assert_eq!((text(&line["level"]), text(&line["order.status"])), ("INFO".into(), status.into()), "{line:#}");
        assert!(line["total_ms"].is_u64(), "{line:#}");
        assert_eq!(line["ready_after_ms"].is_u64(), status == "completed", "{line:#}");
        assert_eq!(line["order.reason"], server.order(id)["reason"]["code"], "{line:#}");
    }
}

fn holds(lines: &[Value], id: &str) -> bool {
    lines.iter().any(|line| line["order.id"] == id)
}

#[test]
fn lines_are_json_in_plain_words_and_requests_name_their_order_and_trace() {
    let server = Server::start(&[&JSON[..], &["--pace=zero"]].concat());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let body = teas(&fresh("cus"), 1, "pm_card_visa", None);
    let created = server.call("POST", "/v1/orders").header("traceparent", &parent).json(&body).send().expect(202);
    server.wait_for_status(&created.id(), "accepted");
    // Another request, in no trace or in another one: what it did is in the order's.
    let other = parent.replace(trace, "0af7651916cd43dd8448eb211c80319c");
    let cancel = format!("/v1/orders/{}/cancel", created.id());
    server.call("POST", &cancel).header("traceparent", &other).send().expect(200);
    server.cancel(&created.id()).expect(200);
    server.get("/v1/orders/none").problem(404, "not_found");
    let all = until("the requests are logged", || {
        let all = lines(&server.log());
        named(&all, "request").iter().any(|line| line["http.status"] == 404).then_some(all)
    });
    let requests = named(&all, "request");
    let posted = requests.iter().find(|line| line["http.method"] == "POST").expect("it is logged");
    assert_eq!((text(&posted["order.id"]), text(&posted["trace.id"])), (created.id(), trace.into()), "{posted:#}");
    assert_eq!(posted["client.address"], "127.0.0.1", "{posted:#}");
    let cancelled: Vec<_> = requests.iter().filter(|line| text(&line["http.route"]).ends_with("/cancel")).collect();
    assert_eq!(cancelled.len(), 2);
    assert!(
        cancelled.iter().all(|line| line["trace.id"] == trace && line["order.id"] == created.id()),
        "{cancelled:#?}"
    );
    let got = requests.iter().find(|line| line["http.route"] == "/v1/orders/{order_id}").expect("it is logged");
    assert_eq!(text(&got["order.id"]), created.id());
    for line in &all {
        for (name, value) in line.as_object().expect("an object") {
            let (written, words) = (value.to_string(), ["Some(", "None", "Ok(", "Err(", "Instant {"]);
            assert!(!words.iter().any(|word| written.contains(word)), "{name}: {line:#}");
            let fraction = value.is_f64().then(|| written.split('.').nth(1).map_or(0, str::len));
            assert!(fraction.unwrap_or_default() <= 2, "{name}: {line:#}");
        }
        if text(&line["target"]).starts_with("lungo") {
            let name = text(&line["message"]).split(':').next().map(str::to_owned).unwrap_or_default();
            assert!(!name.is_empty() && !name.contains(' '), "no name: {line:#}");
        }
    }
}
