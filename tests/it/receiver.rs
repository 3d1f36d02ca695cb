//! A receiver of webhooks on loopback: it keeps what it hears, and behaves as a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// What the settings of a server have to say so that it speaks to receivers here.
pub const ALLOW_LOOPBACK: &str = "--webhook-allow=127.0.0.1";

/// What it does with what it hears.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    Answer(u16),
    /// A status and lines of headers.
    With(u16, &'static str),
    Hang,
    HangUp,
    Garbage,
    /// A status, and then a body without an end.
    Endless(u16),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub manner: Manner,
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("ASCII")
    }

    /// Whether an independent library believes that it was signed with this secret, about now.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        standardwebhooks::Webhook::new(secret).expect("a secret").verify(&self.body, &self.headers).is_ok()
    }
}

type Behaviour = Box<dyn FnMut(&Value) -> Manner + Send>;

/// It listens until the tests end.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Receiver {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let receiver = Self {
            url: format!("http://{}/hooks", listener.local_addr().expect("an address")),
            heard: Arc::default(),
            behaviour: Arc::new(Mutex::new(Box::new(move |_| manner))),
        };
        let ours = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ours = ours.clone();
                thread::spawn(move || while ours.exchange(&stream) {});
            }
        });
        receiver
    }

    /// The same under another URL, where it is not.
    pub fn at(self, url: &str) -> Self {
        Self { url: url.into(), ..self }
    }

    pub fn becomes(&self, manner: Manner) {
        self.behaves(move |_| manner);
    }

    pub fn behaves(&self, behaviour: impl FnMut(&Value) -> Manner + Send + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// What it heard of one order and answered with 2xx.
    pub fn took(&self, order: &str) -> Vec<Value> {
        let taken = |heard: &Heard| matches!(heard.manner, Manner::Answer(200..=299) | Manner::Endless(200..=299));
        let all = self.heard().into_iter().filter(taken).map(|heard| heard.json());
        all.filter(|body| body["order_id"] == order).collect()
    }

    /// The highest version of an order that it took; 0 if it took none.
    pub fn newest(&self, order: &str) -> i64 {
        self.took(order).iter().filter_map(|body| body["version"].as_i64()).max().unwrap_or(0)
    }

    /// One request and its answer. Whether there may be another one on this connection.
    fn exchange(&self, stream: &TcpStream) -> bool {
        let Some((headers, body)) = read(stream) else { return false };
        let manner = self.behaviour.lock().unwrap()(&serde_json::from_slice(&body).expect("a JSON body"));
        self.heard.lock().unwrap().push(Heard { at: Instant::now(), headers, body, manner });
        let mut stream = stream;
        match manner {
            Manner::Answer(status) => write!(stream, "HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\nok").is_ok(),
            Manner::With(status, headers) => {
                write!(stream, "HTTP/1.1 {status} So\r\n{headers}content-length: 0\r\n\r\n").is_ok()
            }
            Manner::Hang => {
                thread::sleep(Duration::from_secs(20));
                false
            }
            Manner::HangUp => false,
            Manner::Garbage => {
                let _ = stream.write_all(b"SMTP ready, how may I help?\r\n\r\n");
                false
            }
            Manner::Endless(status) => {
                let _ = write!(stream, "HTTP/1.1 {status} So\r\ntransfer-encoding: chunked\r\n\r\n");
                while stream.write_all(b"1000\r\n").is_ok() && stream.write_all(&[b'x'; 0x1000]).is_ok() {
                    if stream.write_all(b"\r\n").is_err() {
                        break;
                    }
                }
                false
            }
        }
    }
}

fn read(stream: &TcpStream) -> Option<(HeaderMap, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut headers = HeaderMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?);
    }
    let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((headers, body))
}
