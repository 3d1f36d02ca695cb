//! A stop tells every client that keeps its connection, and cuts no request off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server, fresh, two_lungos, until};

/// A client that sends one request after the other on one connection.
struct KeepAlive {
    stream: BufReader<TcpStream>,
    key: String,
}

/// What one request came to.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    says_close: bool,
}

impl KeepAlive {
    fn connect(url: &str, key: &str) -> Self {
        let stream = TcpStream::connect(url.strip_prefix("http://").expect("an address")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self { stream: BufReader::new(stream), key: key.to_owned() }
    }

    /// # Panics
    /// If the connection ends before the whole answer is there: the request was cut off.
    fn ask(&mut self, route: &str, body: &str) -> Answered {
        let key = &self.key;
        let length = body.len();
        let request = format!(
            "{route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             idempotency-key: {}\r\ncontent-length: {length}\r\n\r\n{body}",
            fresh("draining")
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("it is still open");
        self.answer()
    }

    fn answer(&mut self) -> Answered {
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the request is not cut off");
            assert!(line.ends_with("\r\n"), "cut off after `{line}`");
            line.trim_end().to_ascii_lowercase()
        };
        let first = line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let (mut says_close, mut length) = (false, 0);
        loop {
            let line = line();
            match line.split_once(": ") {
                Some(("connection", value)) => says_close = value == "close",
                Some(("content-length", value)) => length = value.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the whole body");
        Answered { status, says_close }
    }

    /// # Panics
    /// Unless the server closes the connection in order.
    fn assert_closed(mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("it is closed, not reset");
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}

#[test]
fn every_client_that_keeps_its_connection_is_told_to_go_and_no_request_is_cut_off() {
    let mut server = Server::start(&["--pace=zero"]);
    let (url, key) = (server.url.clone(), server.partner.key.clone().expect("a key"));
    let begun = AtomicUsize::new(0);
    let mut idle = KeepAlive::connect(&url, &key);
    assert_eq!(idle.ask("GET /livez", ""), Answered { status: 200, says_close: false });
    let mut watching = KeepAlive::connect(&url, &key);
    assert!(!watching.ask("GET /readyz", "").says_close);
    let told = Instant::now();
    thread::scope(|scope| {
        for client in 0..20 {
            let (url, key, begun) = (&url, &key, &begun);
            scope.spawn(move || {
                let mut one = KeepAlive::connect(url, key);
                for round in 0.. {
                    // Some write and some read: a commit under way is answered as well.
                    let answered = if client % 4 == 0 {
                        one.ask("POST /v1/orders", &two_lungos(&fresh("cus")).to_string())
                    } else {
                        one.ask("GET /v1/orders/ongoing?customer_id=none", "")
                    };
                    if round == 0 {
                        begun.fetch_add(1, Ordering::SeqCst);
                    }
                    assert!([200, 202, 429, 503].contains(&answered.status), "{answered:?}");
                    if answered.says_close {
                        one.assert_closed();
                        break;
                    }
                }
            });
        }
        until("every client has begun", || (begun.load(Ordering::SeqCst) == 20).then_some(()));
        server.terminate();
        until("it heard", || server.log().contains("serve.stopping").then_some(()));
        // By now `--unready-for` (500 ms) is over.
        thread::sleep(Duration::from_millis(700));
        let answered = idle.ask("GET /livez", "");
        assert_eq!(answered, Answered { status: 200, says_close: true }, "an idle client is told as well");
        idle.assert_closed();
        let answered = watching.ask("GET /readyz", "");
        assert_eq!(answered, Answered { status: 503, says_close: true });
        watching.assert_closed();
    });
    assert!(server.wait().success());
    assert!(told.elapsed() < Duration::from_secs(25), "{:?}", told.elapsed());
}
