//! The generator's HTTP client: HTTP/1.1 over kept-alive connections, as cheap as it can be, since it shares the
//! machine with the server it measures. Only loopback is ever connected to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eyre::{Result, eyre};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// How long an answer may take before its outcome counts as unknown.
const PATIENCE: Duration = Duration::from_secs(10);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where the load goes, and with whose key.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    host: HeaderValue,
    authorization: HeaderValue,
}

impl Target {
    /// The same partner, at another address.
    pub fn at(&self, address: SocketAddr) -> Self {
        let host = HeaderValue::try_from(address.to_string()).expect("an address is visible ASCII");
        Self { address, host, ..self.clone() }
    }

    /// # Errors
    /// When the key cannot stand in a header.
    pub fn new(address: SocketAddr, partner_key: &str) -> Result<Self> {
        let host = HeaderValue::try_from(address.to_string()).expect("an address is visible ASCII");
        let mut authorization = HeaderValue::try_from(format!("Bearer {partner_key}"))
            .map_err(|_| eyre!("the partner key holds something that no header can"))?;
        authorization.set_sensitive(true);
        Ok(Self { address, host, authorization })
    }
}

/// The address of a URL on loopback. Nothing is resolved: a name could point anywhere.
///
/// # Errors
/// When the URL is not `http://` on loopback: load must never go to somebody else's machine.
pub fn loopback(url: &str) -> Result<SocketAddr, String> {
    let parsed: Uri = url.parse().map_err(|fault| format!("{fault}"))?;
    if parsed.scheme_str() != Some("http") || !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
        return Err("write it like http://127.0.0.1:8080".into());
    }
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip = if host.eq_ignore_ascii_case("localhost") { Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse() };
    match ip {
        Ok(ip) if ip.is_loopback() => Ok(SocketAddr::new(ip, parsed.port_u16().unwrap_or(80))),
        _ => Err("load goes only to loopback (127.0.0.1, [::1], localhost), never to another machine".into()),
    }
}

/// An answer that was read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer: whether the request had an effect is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Silence {
    ConnectionRefused,
    ConnectionLost,
    Timeout,
}

/// One kept-alive connection, made anew when it is lost.
pub struct Connection {
    target: Target,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub fn new(target: Target) -> Self {
        Self { target, sender: None }
    }

    /// Orders with this body under this Idempotency-Key.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn order(&mut self, uri: &Uri, key: &str, body: Bytes) -> Result<Answer, Silence> {
        let key = HeaderValue::try_from(key).expect("keys are visible ASCII");
        self.ask(Method::POST, uri, HeaderMap::from_iter([json(), (IDEMPOTENCY_KEY, key)]), body).await
    }

    /// # Errors
    /// When no answer comes.
    pub async fn get(&mut self, uri: &Uri) -> Result<Answer, Silence> {
        self.ask(Method::GET, uri, HeaderMap::new(), Bytes::new()).await
    }

    /// Asks for something to be done that needs no more words than its address.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post(&mut self, uri: &Uri) -> Result<Answer, Silence> {
        self.ask(Method::POST, uri, HeaderMap::new(), Bytes::new()).await
    }

    /// Asks with this key of the target, whatever the headers say.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn ask(&mut self, method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Answer, Silence> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, self.target.host.clone());
        request.headers_mut().insert(AUTHORIZATION, self.target.authorization.clone());
        self.send(request).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Silence> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(request)).await.unwrap_or(Err(Silence::Timeout));
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Silence> {
        let lost = |_| Silence::ConnectionLost;
        let sender = match &mut self.sender {
            Some(sender) if !sender.is_closed() => sender,
            other => other.insert(connect(self.target.address).await?),
        };
        sender.ready().await.map_err(lost)?;
        let (head, body) = sender.send_request(request).await.map_err(lost)?.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// What says that a body is JSON.
pub fn json() -> (HeaderName, HeaderValue) {
    (CONTENT_TYPE, HeaderValue::from_static("application/json"))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Silence> {
    let refused = |_| Silence::ConnectionRefused;
    let stream = TcpStream::connect(address).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Silence::ConnectionRefused)?;
    // Its errors come back from the exchange that meets them.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

/// A few connections that many share: for what is asked for beside the orders.
#[derive(Clone)]
pub struct Pool {
    room: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Pool {
    pub fn new(target: &Target, connections: usize) -> Self {
        let idle = (0..connections).map(|_| Connection::new(target.clone())).collect();
        Self { room: Arc::new(Semaphore::new(connections)), idle: Arc::new(Mutex::new(idle)) }
    }

    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, uri: &Uri) -> Result<Answer, Silence> {
        self.with(async |connection| connection.get(uri).await).await
    }

    /// # Errors
    /// When no answer comes.
    pub async fn ask(&self, method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Answer, Silence> {
        self.with(async |connection| connection.ask(method, uri, headers, body).await).await
    }

    /// Asks over whichever connection is free first.
    pub async fn with<T>(&self, ask: impl AsyncFnOnce(&mut Connection) -> T) -> T {
        let _place = self.room.acquire().await.expect("the semaphore is never closed");
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = idle().pop().expect("there are as many connections as places");
        let answer = ask(&mut connection).await;
        idle().push(connection);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_goes_to_loopback_only() {
        for (url, address) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.3.2.1:1/", "127.3.2.1:1"),
            ("http://[::1]:9", "[::1]:9"),
            ("http://localhost", "127.0.0.1:80"),
        ] {
            assert_eq!(loopback(url).unwrap(), address.parse().unwrap(), "{url}");
        }
        for url in [
            "http://10.0.0.1:8080",
            "http://example.com",
            "http://localhost.example.com",
            "https://127.0.0.1",
            "http://127.0.0.1/v1",
            "http://0.0.0.0:8080",
            "127.0.0.1:8080",
            "nonsense",
        ] {
            assert!(loopback(url).is_err(), "{url}");
        }
    }
}
