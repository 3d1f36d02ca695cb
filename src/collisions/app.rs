//! The app that crashes. It knows nothing of the designs but where to go, and what it may keep.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::load::client::{self, Answer, Connection, Silence, Target};

const POSITION: HeaderName = HeaderName::from_static("lungo-position");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// One way through a phone's network.
const ONE_WAY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(150)];
/// Nobody opens an app again sooner than this.
const SOONEST_RESTART: Duration = Duration::from_millis(200);
/// An app that is told of an error asks again after this; it does not take the error for an empty list.
const AFTER_AN_ERROR: Duration = Duration::from_millis(200);
/// How often it asks again.
const TRIES: usize = 50;

/// When what happens to one customer's app. The same in every design.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub starts_after: Duration,
    /// From sending the order to the crash, whether or not the answer has come by then.
    pub crashes_after: Duration,
    pub restarts_after: Duration,
    /// There and back of each of its requests.
    ways: [[Duration; 2]; 4],
    keys: [u64; 2],
}

impl Fate {
    /// Drawn evenly: the start and the crash up to so late, the restart up to so much later.
    pub fn draw(seed: u64, start: Duration, crash: Duration, restart: Duration) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut between = |from: Duration, to: Duration| chance.random_range(from..=to.max(from));
        Self {
            starts_after: between(Duration::ZERO, start),
            crashes_after: between(Duration::ZERO, crash),
            restarts_after: between(SOONEST_RESTART, restart),
            ways: [[(); 2]; 4].map(|way| way.map(|()| between(ONE_WAY[0], ONE_WAY[1]))),
            keys: [chance.random(), chance.random()],
        }
    }
}

/// An app of one customer, who wants one coffee.
pub struct App {
    pub target: Target,
    pub customer: String,
    pub fate: Fate,
    /// Whether the position of the last answer outlives the crash.
    pub keeps_position: bool,
    pub shop: String,
}

impl App {
    /// Lists, orders if there is nothing, crashes, and does both again.
    pub async fn run(self) {
        let started = Instant::now();
        sleep_until(started + self.fate.starts_after).await;
        let mut position = None;
        let [to_list, to_order, to_list_again, to_order_again] = self.fate.ways;
        if !self.sees_nothing(&mut position, to_list).await {
            return;
        }
        let crash = Instant::now() + self.fate.crashes_after;
        // What was sent arrives, whatever becomes of the phone: it is no part of the app.
        let sent = tokio::spawn(self.order(self.fate.keys[0], to_order));
        if let Ok(Ok(Ok(answer))) = timeout_at(crash, sent).await {
            remember(&mut position, &answer);
        }
        sleep_until(crash + self.fate.restarts_after).await;

        let mut position = position.filter(|_| self.keeps_position);
        if self.sees_nothing(&mut position, to_list_again).await {
            // It lost everything, its key too.
            let _ = self.order(self.fate.keys[1], to_order_again).await;
        }
    }

    /// Whether the list of ongoing orders is empty. What cannot be read for good is not.
    async fn sees_nothing(&self, position: &mut Option<HeaderValue>, way: [Duration; 2]) -> bool {
        #[derive(Deserialize)]
        struct List {
            orders: Vec<serde::de::IgnoredAny>,
        }
        let uri: Uri = format!("/v1/orders/ongoing?customer_id={}", self.customer).parse().expect("letters and digits");
        let mut connection = Connection::new(self.target.clone());
        for _ in 0..TRIES {
            let headers = position.iter().map(|position| (POSITION, position.clone())).collect();
            sleep(way[0]).await;
            let answer = connection.ask(Method::GET, &uri, headers, Default::default()).await;
            sleep(way[1]).await;
            if let Ok(answer) = answer.as_ref()
                && answer.status == StatusCode::OK
                && let Ok(List { orders }) = serde_json::from_slice(&answer.body)
            {
                remember(position, answer);
                return orders.is_empty();
            }
            sleep(AFTER_AN_ERROR).await;
        }
        false
    }

    fn order(&self, key: u64, way: [Duration; 2]) -> impl Future<Output = Result<Answer, Silence>> + Send + use<> {
        let (customer, shop) = (&self.customer, &self.shop);
        let body = format!(
            r#"{{"customer_id":"{customer}","shop_id":"{shop}","lines":[{{"item_id":"lungo","quantity":1}}],"total":{{"amount":350,"currency":"EUR"}},"payment":{{"method":"pm_card_visa"}},"metadata":{{"simulate":"shop_silent"}}}}"#
        );
        let key = HeaderValue::try_from(format!("{key:016x}")).expect("digits");
        let mut connection = Connection::new(self.target.clone());
        async move {
            sleep(way[0]).await;
            let headers = HeaderMap::from_iter([client::json(), (KEY, key)]);
            let answer = connection.ask(Method::POST, &Uri::from_static("/v1/orders"), headers, body.into()).await;
            sleep(way[1]).await;
            answer
        }
    }
}

fn remember(position: &mut Option<HeaderValue>, answer: &Answer) {
    if let Some(newer) = answer.headers.get(POSITION) {
        *position = Some(newer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_a_fate_and_its_limits_hold() {
        let second = Duration::from_secs(1);
        let draw = |seed| Fate::draw(seed, second, second * 2, second * 3);
        assert_eq!(format!("{:?}", draw(7)), format!("{:?}", draw(7)));
        assert_ne!(format!("{:?}", draw(7)), format!("{:?}", draw(8)));
        for fate in (0..500).map(draw) {
            assert!(fate.starts_after <= second && fate.crashes_after <= second * 2, "{fate:?}");
            assert!((SOONEST_RESTART..=second * 3).contains(&fate.restarts_after), "{fate:?}");
        }
    }
}
