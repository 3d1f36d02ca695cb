//! Who takes the orders in the shop, by hand: each so long after it was offered.

use std::time::Duration;

use eyre::Result;
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::lifecycle::EventKind;
use crate::load::client::Pool;
use crate::load::feed::{FeedEvent, Reader, Seen, follow};
use crate::load::server::Server;

const CONNECTIONS: usize = 8;
/// An acceptance that was not taken is repeated after this, so often.
const AGAIN: Duration = Duration::from_millis(100);
const TRIES: usize = 20;

/// Takes every order for as long as the runtime lives, and tells which were taken. `takes` is how long that takes on
/// average, from half to one and a half times as long.
///
/// # Errors
/// When the server has no key for its shop.
pub fn run(server: &Server, takes: Duration, seed: u64) -> Result<Seen> {
    let (shop, taken) = (Pool::new(&server.for_shop()?, CONNECTIONS), Seen::default());
    let (reader, shown) = (Reader::new(&server.target), taken.clone());
    let mut chance = StdRng::seed_from_u64(seed);
    let each = move |events: &[FeedEvent]| {
        for event in events.iter().filter(|event| event.kind == EventKind::PaymentAuthorized) {
            let wait = takes.mul_f64(chance.random_range(0.5..=1.5));
            tokio::spawn(accept(shop.clone(), event.order_id, wait));
        }
        shown.add(events);
    };
    tokio::spawn(async move {
        if let Err(fault) = follow(reader, each).await {
            tracing::error!(%fault, "collisions.barista_lost_the_feed");
        }
    });
    Ok(taken)
}

async fn accept(shop: Pool, order_id: Uuid, wait: Duration) {
    tokio::time::sleep(wait).await;
    let uri: Uri = format!("/v1/shop/orders/{order_id}/accept").parse().expect("an id is a path");
    for _ in 0..TRIES {
        let answer = shop.ask(Method::POST, &uri, HeaderMap::new(), Bytes::new()).await;
        if answer.is_ok_and(|answer| answer.status == StatusCode::OK) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
    tracing::error!(%order_id, "collisions.not_accepted");
}
