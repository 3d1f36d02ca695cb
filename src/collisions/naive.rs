//! The naive design, made of the other one: a proxy behind which an order does not exist until payment and shop have
//! taken it. It withholds the answer to a creation, and hides such orders from lists.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use eyre::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::lifecycle::Status;
use crate::load::client::{Answer, Pool, Target};
use crate::load::drive::located;
use crate::load::feed::{Seen, is_carried_to_its_end};

/// Connections to the service behind.
const CONNECTIONS: usize = 32;
/// How often it is looked whether an order was taken.
const LOOK: Duration = Duration::from_millis(20);
/// These are between two neighbours only.
const OF_THE_HOP: [hyper::header::HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// Serves on a random port of loopback for as long as the runtime lives. `taken` are the orders that exist here.
pub async fn serve(behind: &Target, taken: Seen) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let proxy = Proxy { pool: Pool::new(behind, CONNECTIONS), taken };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let proxy = proxy.clone();
            let answering = service_fn(move |request| {
                let proxy = proxy.clone();
                async move { Ok::<_, Infallible>(proxy.answer(request).await) }
            });
            // What a client that has gone was to be told is nobody's business any more.
            tokio::spawn(async { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await) });
        }
    });
    Ok(address)
}

#[derive(Clone)]
struct Proxy {
    pool: Pool,
    taken: Seen,
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let is_creation = request.method() == Method::POST && request.uri().path() == "/v1/orders";
        let is_list = request.uri().path() == "/v1/orders/ongoing";
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        OF_THE_HOP.iter().for_each(|name| drop(headers.remove(name)));
        let forwarded = async {
            let body = body.collect().await.ok()?.to_bytes();
            self.pool.ask(head.method, &head.uri, headers, body).await.ok()
        };
        let Some(mut answer) = forwarded.await else {
            let mut nothing = Response::new(Full::default());
            *nothing.status_mut() = StatusCode::BAD_GATEWAY;
            return nothing;
        };
        if is_creation {
            self.wait_until_taken(&answer).await;
        }
        if is_list && let Some(shorter) = without_untaken(&answer.body) {
            answer.body = shorter;
        }
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        OF_THE_HOP.iter().for_each(|name| drop(answer.headers.remove(name)));
        *response.headers_mut() = answer.headers;
        response
    }

    async fn wait_until_taken(&self, answer: &Answer) {
        let Some(order_id) = located(answer).filter(|_| answer.status == StatusCode::ACCEPTED) else { return };
        while !self.taken.map().contains_key(&order_id) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A list without the orders that payment and shop have not taken, as that list knows them.
fn without_untaken(body: &Bytes) -> Option<Bytes> {
    let mut list: Value = serde_json::from_slice(body).ok()?;
    let is_taken =
        |order: &Value| serde_json::from_value::<Status>(order["status"].clone()).is_ok_and(is_carried_to_its_end);
    list["orders"].as_array_mut()?.retain(is_taken);
    Some(list.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_the_shop_has_not_taken_does_not_exist() {
        let list = |statuses: &[&str]| {
            let orders: Vec<Value> =
                statuses.iter().map(|status| serde_json::json!({"order_id": status, "status": status})).collect();
            Bytes::from(serde_json::json!({"orders": orders, "revision": "x"}).to_string())
        };
        let shown = without_untaken(&list(&["new", "action_required", "awaiting_shop", "accepted", "ready"])).unwrap();
        assert_eq!(shown, without_untaken(&list(&["accepted", "ready"])).unwrap());
        assert_eq!(without_untaken(&Bytes::from_static(b"{}")), None);
    }
}
