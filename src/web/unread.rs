//! A body that nobody reads must not hold its connection.
//!
//! Once the payload of a chunked request is dropped, actix-http reads on to its end, however slowly that comes and
//! without any timer. While the payload is alive it closes the connection after the answer instead. So the answer
//! keeps the payload alive until it is sent. (Bodies with a Content-Length are closed upon anyway.)

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::Stream;

/// The payload of a request, shared by its handler and its answer.
#[derive(Clone)]
pub struct Held(Rc<RefCell<Payload>>);

impl Held {
    /// Takes hold of the request's payload; the handler reads it as before. `None` if there is no need to.
    pub fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let held = Self(Rc::new(RefCell::new(request.take_payload())));
        request.set_payload(Payload::Stream { payload: Box::pin(held.clone()) });
        Some(held)
    }

    /// The body, which keeps the payload alive until it was sent.
    pub fn until_sent(self, body: BoxBody) -> BoxBody {
        BoxBody::new(Holding { body, _payload: self })
    }
}

impl Stream for Held {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

struct Holding {
    body: BoxBody,
    _payload: Held,
}

impl MessageBody for Holding {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use actix_web::dev::ServerHandle;
    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpResponse, HttpServer, web};

    use crate::web::body::{Body, Limits};
    use crate::web::create_order::CreateOrder;
    use crate::web::edge;

    fn start() -> (SocketAddr, ServerHandle) {
        let limits = Limits { within: Duration::from_millis(300), ..Limits::default() };
        let server = HttpServer::new(move || {
            let read = |_: Body<CreateOrder>| async { HttpResponse::Ok().finish() };
            let ignore = || async { HttpResponse::Ok().finish() };
            App::new()
                .wrap(from_fn(edge::serve))
                .app_data(limits)
                .service(web::resource("/read").route(web::post().to(read)))
                .service(web::resource("/ignore").route(web::post().to(ignore)))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        (address, handle)
    }

    const COUNTED: &str = "content-length: 1000";
    const CHUNKED: &str = "transfer-encoding: chunked";

    /// What a real server answers to a body of which a byte comes now and then, until it closes the connection.
    async fn trickle(path: &'static str, framing: &'static str) -> String {
        let (address, handle) = start();
        let answer = web::block(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            let head = "HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
            stream.write_all(format!("POST {path} {head}\r\n{framing}\r\n\r\n").as_bytes()).unwrap();
            let mut writer = stream.try_clone().unwrap();
            std::thread::spawn(move || {
                let piece: &[u8] = if framing == CHUNKED { b"1\r\n \r\n" } else { b" " };
                while writer.write_all(piece).is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let mut answer = Vec::new();
            let mut piece = [0; 1024];
            loop {
                match stream.read(&mut piece) {
                    Ok(n @ 1..) => answer.extend(&piece[..n]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("never closed"),
                    // A reset after the answer is an end as well.
                    _ => break String::from_utf8(answer).unwrap(),
                }
            }
        })
        .await
        .unwrap();
        handle.stop(false).await;
        answer
    }

    #[actix_web::test]
    async fn a_body_that_trickles_in_is_cut_off() {
        for framing in [COUNTED, CHUNKED] {
            let answer = trickle("/read", framing).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
            assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
            assert!(answer.contains("request_timeout"), "{answer}");
        }
    }

    #[actix_web::test]
    async fn a_body_that_nobody_reads_holds_no_connection() {
        for framing in [COUNTED, CHUNKED] {
            assert!(trickle("/ignore", framing).await.starts_with("HTTP/1.1 200"));
            assert!(trickle("/nothing", framing).await.starts_with("HTTP/1.1 404"));
        }
    }

    #[actix_web::test]
    async fn a_chunked_body_that_is_read_keeps_the_connection() {
        let (address, handle) = start();
        let answers = web::block(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let request = format!(
                "POST /read HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{CHUNKED}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
            );
            let mut answers = String::new();
            for _ in 0..2 {
                stream.write_all(request.as_bytes()).unwrap();
                let mut piece = [0; 8192];
                while !answers.ends_with('}') || answers.is_empty() {
                    let n = stream.read(&mut piece).unwrap();
                    answers += std::str::from_utf8(&piece[..n]).unwrap();
                }
                answers.push('\n');
            }
            answers
        })
        .await
        .unwrap();
        handle.stop(false).await;
        assert_eq!(answers.matches("HTTP/1.1 400").count(), 2, "{answers}");
        assert!(!answers.to_lowercase().contains("connection: close"), "{answers}");
    }
}
