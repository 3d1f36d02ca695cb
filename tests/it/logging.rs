//! What the service logs, and that nothing about its log ever ends or stops it.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::server::{Client, demo_env, fresh, lungo, teas, text, until};

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
