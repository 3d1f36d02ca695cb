//! What a strict server makes of bytes that are no proper requests, over real connections.
//!
//! Each shape is followed by `/livez?second`. A proxy that reads the shape as one request must never see a second
//! answer, so a refused shape gets one answer, a problem document, and the end of its connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::server::{Client, PATIENCE, Server, ordinary};

/// What a strict server does with a shape, and with the good request that follows it.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// One problem document with 400, and the end.
    Refuse,
    /// The handler of the shape answers with this status, and the connection ends with that.
    Close(u16),
    /// The handler of the shape answers with this status, and the good request is answered.
    Go(u16),
}
use Then::{Close, Go, Refuse};

const SECOND: &str = "GET /livez?second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A POST to an address that reads its body and needs no key.
macro_rules! post {
    ($head:literal, $body:literal) => {
        concat!("POST /v1/callbacks/stripe HTTP/1.1\r\nHost: x\r\n", $head, "\r\n", $body)
    };
}

macro_rules! get {
    ($head:literal) => {
        concat!("GET /livez HTTP/1.1\r\nHost: x\r\n", $head, "\r\n")
    };
}

#[rustfmt::skip]
const SHAPES: &[(&str, &str, Then)] = &[
    ("a good request", get!(""), Go(200)),
    ("an empty line before", concat!("\r\n", get!("")), Go(200)),
    ("two empty lines before", concat!("\r\n\r\n", get!("")), Refuse),
    ("bare LF everywhere", "GET /livez HTTP/1.1\nHost: x\n\n", Refuse),
    ("bare LF after the request line", "GET /livez HTTP/1.1\nHost: x\r\n\r\n", Refuse),
    ("bare LF after a field", "GET /livez HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", Refuse),
    ("bare LF for the empty line", "GET /livez HTTP/1.1\r\nHost: x\r\n\n", Refuse),
    ("bare LF before", concat!("\n", get!("")), Refuse),
    ("bare CR in a value", get!("A: b\rc\r\n"), Refuse),
    ("CR CR LF", get!("A: b\r\r\n"), Refuse),
    ("NUL in a value", get!("A: b\0c\r\n"), Refuse),
    ("DEL in a value", get!("A: b\x7fc\r\n"), Refuse),
    ("NUL in a name", get!("A\0: b\r\n"), Refuse),
    ("space before the colon", get!("Content-Length : 5\r\n"), Refuse),
    ("tab before the colon", get!("Content-Length\t: 5\r\n"), Refuse),
    ("space in a name", get!("Content Length: 5\r\n"), Refuse),
    ("no name", get!(": b\r\n"), Refuse),
    ("no colon", get!("Content-Length\r\n"), Refuse),
    ("folded by a space", get!("A: b\r\n c\r\n"), Refuse),
    ("folded by a tab", get!("A: b\r\n\tc\r\n"), Refuse),
    ("space before the first field", "GET /livez HTTP/1.1\r\n Host: x\r\n\r\n", Refuse),
    ("no Host", "GET /livez HTTP/1.1\r\n\r\n", Refuse),
    ("two Hosts", get!("Host: x\r\n"), Refuse),
    ("a list of Hosts", "GET /livez HTTP/1.1\r\nHost: x, y\r\n\r\n", Refuse),
    ("a Host that is none", "GET /livez HTTP/1.1\r\nHost: x/y@z\r\n\r\n", Refuse),
    ("an empty Host", "GET /livez HTTP/1.1\r\nHost:\r\n\r\n", Go(200)),
    ("both lengths", post!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refuse),
    ("both lengths, turned", post!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), Refuse),
    ("two lengths", post!("Content-Length: 2\r\nContent-Length: 5\r\n", "{}"), Refuse),
    ("the same length twice", post!("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), Refuse),
    ("a list of lengths", post!("Content-Length: 2, 2\r\n", "{}"), Refuse),
    ("a length with a sign", post!("Content-Length: +2\r\n", "{}"), Refuse),
    ("a negative length", post!("Content-Length: -2\r\n", "{}"), Refuse),
    ("a hexadecimal length", post!("Content-Length: 0x2\r\n", "{}"), Refuse),
    ("an empty length", post!("Content-Length:\r\n", "{}"), Refuse),
    ("a length with a space", post!("Content-Length: 2 2\r\n", "{}"), Refuse),
    ("a length beyond all numbers", post!("Content-Length: 18446744073709551616\r\n", "{}"), Refuse),
    ("xchunked", post!("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), Refuse),
    ("chunked in quotes", post!("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), Refuse),
    ("gzip and chunked", post!("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), Refuse),
    ("chunked twice", post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Refuse),
    ("identity", post!("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "{}"), Refuse),
    ("chunked with a vertical tab", post!("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"), Refuse),
    ("chunked with an underscore", post!("Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", "{}"), Go(400)),
    ("a good length", post!("Content-Length: 2\r\n", "{}"), Go(400)),
    ("good chunks", post!("Transfer-Encoding: chunked\r\n", "2;a=b\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"), Go(400)),
    ("a chunk size with a sign", post!("Transfer-Encoding: chunked\r\n", "+2\r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("a chunk size in 0x", post!("Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("a chunk size and a space", post!("Transfer-Encoding: chunked\r\n", "2 \r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("a chunk size beyond all", post!("Transfer-Encoding: chunked\r\n", "10000000000000002\r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("no chunk size", post!("Transfer-Encoding: chunked\r\n", "\r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("bare LF after a chunk size", post!("Transfer-Encoding: chunked\r\n", "2\n{}\r\n0\r\n\r\n"), Close(400)),
    ("bare LF after a chunk", post!("Transfer-Encoding: chunked\r\n", "2\r\n{}\n0\r\n\r\n"), Close(400)),
    ("a chunk longer than told", post!("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("bare LF in an extension", post!("Transfer-Encoding: chunked\r\n", "2;\n{}\r\n0\r\n\r\n"), Close(400)),
    ("bare CR in an extension", post!("Transfer-Encoding: chunked\r\n", "2;a\rb\r\n{}\r\n0\r\n\r\n"), Close(400)),
    ("bare LF after the last chunk", post!("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\n\n"), Close(400)),
    ("bare LF in the trailer", post!("Transfer-Encoding: chunked\r\n", "0\r\nA: b\n\r\n"), Close(400)),
    ("a length in the trailer", post!("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 5\r\n\r\n"), Close(400)),
    ("chunks of HTTP/1.0", "POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refuse),
    ("a POST of HTTP/1.0 without a length", "POST /livez HTTP/1.0\r\n\r\n", Refuse),
    ("HTTP/1.0", "GET /livez HTTP/1.0\r\n\r\n", Close(200)),
    ("HTTP/1.0 that stays", "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Go(200)),
    ("the last request", get!("Connection: close\r\n"), Close(200)),
    ("HTTP/0.9", "GET /livez\r\n", Refuse),
    ("HTTP/1.2", "GET /livez HTTP/1.2\r\nHost: x\r\n\r\n", Refuse),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refuse),
    ("http/1.1", "GET /livez http/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("a space after the version", "GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n", Refuse),
    ("two spaces", "GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("a tab for a space", "GET\t/livez HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("a space in the target", "GET /li vez HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("a fragment", "GET /livez#a HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("a target without a slash", "GET livez/x HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("a whole address", "GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", Go(200)),
    ("a method that is no name", "GE(T /livez HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("an unknown method", "BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n", Go(405)),
    ("CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", Refuse),
    ("an upgrade to WebSocket", get!("Connection: upgrade\r\nUpgrade: websocket\r\n"), Refuse),
    ("an upgrade to HTTP/2", get!("Connection: upgrade\r\nUpgrade: h2c\r\n"), Go(200)),
    ("a secret between the lines", get!("A: b\r\n\r\nGET /livez?hidden HTTP/1.1\nHost: x\n"), Go(200)),
    ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}", Refuse),
];

fn ask(server: &Client, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // What is refused early may not be taken whole.
    let _ = stream.write_all(bytes);
    rest_of(stream)
}

/// All that comes until the server closes the connection.
fn rest_of(mut stream: TcpStream) -> String {
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(count @ 1..) => answer.extend(&piece[..count]),
            Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection is never closed"),
            _ => return String::from_utf8(answer).unwrap(),
        }
    }
}

/// The status of each answer.
fn statuses(answers: &str) -> Vec<u16> {
    // Words of a problem may name the version as well.
    answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect()
}

/// The last answer is a problem document in order.
#[track_caller]
fn assert_refused(what: &str, answers: &str, status: u16, code: &str) {
    let answer = &answers[answers.rfind("HTTP/1.1 4").unwrap_or_else(|| panic!("{what}: {answers:?}"))..];
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{what}: {answer}");
    for header in
        ["connection: close", "date: ", "x-content-type-options: nosniff", &format!("content-length: {}", body.len())]
    {
        assert!(head.contains(header), "{what}: {answer}");
    }
    assert!(head.contains("content-type: application/problem+json"), "{what}: {answer}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{what}");
    let id = problem["request_id"].as_str().unwrap();
    assert!(!id.is_empty() && head.contains(&format!("x-request-id: {id}")), "{what}: {answer}");
}

#[test]
fn each_shape_has_one_meaning_and_is_refused_if_it_could_have_two() {
    let server = ordinary();
    assert!(SHAPES.len() >= 40);
    for (what, shape, then) in SHAPES {
        let answers = ask(&server, format!("{shape}{SECOND}").as_bytes());
        match then {
            Refuse => {
                assert_eq!(statuses(&answers).len(), 1, "{what}: {answers}");
                assert_refused(what, &answers, 400, "malformed_request");
            }
            Close(status) => assert_eq!(statuses(&answers), [*status], "{what}: {answers}"),
            // What is hidden in the request that goes on is the next one, and bad.
            Go(status) if shape.contains("hidden") => {
                assert_eq!(statuses(&answers), [*status, 400], "{what}: {answers}");
            }
            Go(status) => assert_eq!(statuses(&answers), [*status, 200], "{what}: {answers}"),
        }
    }
}

#[test]
fn a_shape_means_the_same_after_a_good_request_and_byte_by_byte() {
    let server = ordinary();
    let refused = SHAPES.iter().filter(|(.., then)| matches!(then, Refuse)).step_by(7);
    for (what, shape, _) in refused {
        let answers = ask(&server, [get!(""), shape, SECOND].concat().as_bytes());
        assert_eq!(statuses(&answers), [200, 400], "{what}: {answers}");
        assert_refused(what, &answers, 400, "malformed_request");

        let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for byte in shape.as_bytes() {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
        }
        let _ = stream.write_all(SECOND.as_bytes());
        assert_eq!(statuses(&rest_of(stream)), [400], "{what}");
    }
}

#[test]
fn a_head_has_an_end_and_so_has_its_time() {
    let server = ordinary();
    let long = |count: usize| "a".repeat(count);
    for (what, request) in [
        ("a long address", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(70_000))),
        ("a long header", format!("GET /livez HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", long(200_000))),
        ("many headers", format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(150))),
        ("a line without an end", long(200_000)),
    ] {
        assert_refused(what, &ask(&server, request.as_bytes()), 400, "malformed_request");
    }
    let partly = |before: &str| {
        let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{before}GET /livez HTTP/1.1\r\nHo").as_bytes()).unwrap();
        rest_of(stream)
    };
    thread::scope(|scope| {
        for before in ["", get!("")] {
            scope.spawn(move || {
                let answers = partly(before);
                assert_eq!(statuses(&answers).len(), 1 + usize::from(!before.is_empty()), "{answers}");
                assert_refused("a slow head", &answers, 408, "request_timeout");
            });
        }
        let idle = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        idle.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(rest_of(idle), "", "a client that said nothing is owed nothing");
    });
}

#[test]
fn a_scanner_is_counted_and_raises_no_alarm() {
    let mut server = Server::start_with(&[], &[("LUNGO_LOG", "info"), ("LUNGO_LOG_FORMAT", "json")]);
    for (_, shape, then) in SHAPES {
        if matches!(then, Refuse) {
            ask(&server, format!("{shape}{SECOND}").as_bytes());
        }
    }
    let refused = SHAPES.iter().filter(|(.., then)| matches!(then, Refuse)).count();
    let key = server.with_key("LUNGO_ADMIN_KEY").key.expect("a key");
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ";
    let metrics = ask(&server, format!("{metrics}{key}\r\n\r\n").as_bytes());
    let counted = metrics.lines().find_map(|line| {
        line.strip_prefix(r#"lungo_http_requests_total{route="unmatched",method="other",status="4xx"} "#)
    });
    assert_eq!(counted, Some(&*refused.to_string()));
    thread::sleep(Duration::from_millis(200));
    server.stop();
    let log = server.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let is_malformed = |line: &&Value| line.to_string().contains("malformed_request");
    let told: Vec<&Value> = lines.iter().filter(is_malformed).collect();
    assert_eq!(told.len(), refused, "{log}");
    for line in &lines {
        assert!(line["level"] != "ERROR" && line["level"] != "WARN" || !line.to_string().contains("actix"), "{line}");
    }
    assert!(told.iter().all(|line| line["level"] == "INFO" && line.to_string().contains("127.0.0.1")), "{log}");
}
