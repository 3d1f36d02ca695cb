//! What the service tells systemd, or a supervisor like it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::server::{PATIENCE, Server};

/// The next word on the supervisor's socket.
fn hear(socket: &UnixDatagram) -> String {
    let mut word = [0; 4096];
    let length = socket.recv(&mut word).expect("a word in time");
    String::from_utf8_lossy(&word[..length]).into_owned()
}

#[test]
fn a_supervisor_hears_that_the_service_is_ready_is_alive_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let patience = Duration::from_millis(500).as_micros().to_string();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", &patience)];
    let mut server = Server::start_with(&[], &environment);
    let mut words = String::new();
    while words.matches("WATCHDOG=1").count() < 3 || !words.contains("READY=1") {
        words += &hear(&socket);
    }
    let address = server.url.strip_prefix("http://").unwrap();
    assert!(words.contains(&format!("STATUS=Listening on {address}")) && !words.contains("STOPPING"), "{words}");
    assert!(server.stop().success());
    while !words.contains("STOPPING=1") {
        words += &hear(&socket);
    }
}

#[test]
fn a_supervisor_that_is_gone_stops_nothing() {
    let mut server = Server::start_with(&[], &[("NOTIFY_SOCKET", "/nowhere/notify"), ("WATCHDOG_USEC", "100000")]);
    server.get("/readyz").expect(200);
    assert!(server.log().contains("supervisor.not_told"), "{}", server.log());
    assert!(server.stop().success());
}
