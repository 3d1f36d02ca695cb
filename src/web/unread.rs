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
use futures_core::Stream;

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
