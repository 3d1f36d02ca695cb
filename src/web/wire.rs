//! Connections: what happens before a request has a handler, and when it never gets one.
//!
//! actix-http answers a request that it cannot read with a bare 400, at level ERROR, and reads some that a proxy in
//! front may cut differently. So each connection is [`Guarded`]: what `framing` does not find in order never reaches
//! actix-http. The client is told why in a problem document with a request id. The log has one line at INFO and the
//! metrics count it among the unmatched requests, because a scanner must not wake the person on call.
//!
//! The usual request is read in one piece and checked where it lies: no byte of it is copied.

mod framing;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Extensions, Server};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::clock::now;
use crate::error::{Code, Failure};
use crate::web::edge;
use crate::web::problem::Occurrence;
use framing::{Framing, Refusal};

/// A head must arrive within this time.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// A connection that is idle for so long is closed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// After a refusal the client may send on for so long, and so many bytes: a connection that is closed over unread bytes
/// is reset, and the client may never see why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Serves what `configure` declares, behind the edge, on guarded connections.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(
    listener: TcpListener,
    threads: usize,
    grace_seconds: u64,
    on_connect: impl Fn(&mut Extensions) + Clone + Send + 'static,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    let server = Server::build().workers(threads).shutdown_timeout(grace_seconds).disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let server = server.listen("lungo", listener, move || {
        let (stopping, on_connect) = (stopping.clone(), on_connect.clone());
        let app = actix_web::App::new().wrap(from_fn(edge::serve)).configure(configure.clone());
        let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(HEAD_PATIENCE)
            .client_disconnect_timeout(LINGER)
            .keep_alive(KEEP_ALIVE)
            .on_connect_ext(move |_: &Guarded<TcpStream>, extensions| on_connect(extensions))
            .h1(map_config(app, |()| AppConfig::default()));
        let guard = |io: TcpStream| async move {
            let peer = io.peer_addr().ok();
            Ok::<_, DispatchError>((Guarded::new(io, peer), peer))
        };
        fn_service(guard).and_then(http)
    })?;
    Ok(server.run())
}

/// A connection that hands on only requests that are in order, and answers the first one that is not.
struct Guarded<T> {
    io: T,
    peer: Option<SocketAddr>,
    framing: Framing,
    /// What was read and not handed on: the beginning of a head, or of a line between chunks …
    held: Vec<u8>,
    /// … of which so many bytes are in order.
    passed: usize,
    /// Nothing more is handed on …
    is_over: bool,
    /// … because of a fault in it …
    is_refused: bool,
    /// … which no handler has told the client.
    failure: Option<Failure>,
    closing: Closing,
}

/// How far a connection is in being closed.
enum Closing {
    Not,
    Answering(Vec<u8>, usize),
    Shutting { lingers: bool },
    Lingering(Pin<Box<Sleep>>, usize),
}

impl<T> Guarded<T> {
    fn new(io: T, peer: Option<SocketAddr>) -> Self {
        Self {
            io,
            peer,
            framing: Framing::default(),
            held: Vec::new(),
            passed: 0,
            is_over: false,
            is_refused: false,
            failure: None,
            closing: Closing::Not,
        }
    }

    /// Takes in what `framing` found.
    fn judged(&mut self, refusal: Option<Refusal>) {
        if let Some(refusal) = refusal {
            self.is_refused = true;
            // A fault in a body is told by its handler, which reads that it broke off.
            self.failure = self.framing.is_at_head().then(|| Failure::new(Code::MalformedRequest, refusal.0));
        }
        self.is_over |= self.is_refused || self.framing.is_at_end();
    }

    /// What the client is told at the end, if it is owed an answer that no handler gave.
    fn last_words(&mut self) -> Option<Vec<u8>> {
        if !self.is_over && !self.held.is_empty() && self.framing.is_at_head() {
            let detail = format!("The head of a request must arrive within {} seconds.", HEAD_PATIENCE.as_secs());
            self.failure = Some(Failure::new(Code::RequestTimeout, detail));
        }
        let failure = self.failure.take()?;
        // A proxy's header cannot be believed in a head that cannot be read.
        let client = self.peer.map(|peer| peer.ip().to_canonical());
        let request_id = edge::new_request_id();
        Some(written(&failure, &Occurrence { request_id, instance: "/".into(), client, ..Occurrence::default() }))
    }
}

/// The whole answer, as it goes over the wire.
fn written(failure: &Failure, occurrence: &Occurrence) -> Vec<u8> {
    let answer = edge::refuse_unread(failure, occurrence);
    let (answer, body) = answer.into_parts();
    let body = body.try_into_bytes().unwrap_or_default();
    let date = httpdate::fmt_http_date(SystemTime::from(now()));
    let length = body.len();
    let mut text =
        format!("HTTP/1.1 {}\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {length}\r\n", answer.status())
            .into_bytes();
    for (name, value) in answer.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body);
    text
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.passed > 0 {
                let count = this.passed.min(buf.remaining());
                buf.put_slice(&this.held[..count]);
                this.held.drain(..count);
                this.passed -= count;
                if this.held.is_empty() {
                    // An idle connection keeps no memory.
                    this.held = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            if this.is_over || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(context, buf))?;
            let fresh = &buf.filled()[before..];
            if fresh.is_empty() {
                // The client has said all that it will: there is nothing left to answer.
                this.is_over = true;
                return Poll::Ready(Ok(()));
            }
            if !this.held.is_empty() {
                this.held.extend_from_slice(fresh);
                buf.set_filled(before);
                let (passed, refusal) = this.framing.judge(&this.held);
                this.passed = passed;
                this.judged(refusal);
                continue;
            }
            let (passed, refusal) = this.framing.judge(fresh);
            this.held.extend_from_slice(&fresh[passed..]);
            this.judged(refusal);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.framing.requests() == 0 {
            // No handler has had a request: this is the bare 408 of actix-http, which `last_words` says better.
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    /// actix-http comes here once all answers of handlers are written.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.closing {
                Closing::Not => {
                    this.closing = match this.last_words() {
                        Some(text) => Closing::Answering(text, 0),
                        None => Closing::Shutting { lingers: this.is_refused },
                    };
                }
                Closing::Answering(text, written) if *written < text.len() => {
                    match ready!(Pin::new(&mut this.io).poll_write(context, &text[*written..]))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        count => *written += count,
                    }
                }
                Closing::Answering(..) => {
                    ready!(Pin::new(&mut this.io).poll_flush(context))?;
                    this.closing = Closing::Shutting { lingers: true };
                }
                Closing::Shutting { lingers } => {
                    let lingers = *lingers;
                    ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
                    if !lingers {
                        return Poll::Ready(Ok(()));
                    }
                    this.closing = Closing::Lingering(Box::pin(tokio::time::sleep(LINGER)), 0);
                }
                Closing::Lingering(until, dropped) => {
                    if until.as_mut().poll(context).is_ready() || *dropped > LINGER_BYTES {
                        return Poll::Ready(Ok(()));
                    }
                    let mut space = [std::mem::MaybeUninit::uninit(); 4096];
                    let mut rest = ReadBuf::uninit(&mut space);
                    ready!(Pin::new(&mut this.io).poll_read(context, &mut rest))?;
                    match rest.filled().len() {
                        0 => return Poll::Ready(Ok(())),
                        count => *dropped += count,
                    }
                }
            }
        }
    }
}
