//! Asks about one order as an app would.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use hyper::Uri;
use hyper::header::RETRY_AFTER;
use serde::Deserialize;
use uuid::Uuid;

use super::client::{Answer, Pool};
use crate::config::Span;
use crate::foreign;
use crate::lifecycle::Status;
use crate::order::Instant;

/// When an app asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEvery {
    /// At the `next_poll_at` of the last answer; after its `Retry-After` where it has none.
    Obey,
    Fixed(Duration),
}

impl FromStr for PollEvery {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "obey" { Ok(Self::Obey) } else { text.parse().map(|Span(every)| Self::Fixed(every)) }
    }
}

/// How an order is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Polling {
    /// At most so many polls an order; 0 for none.
    pub most: u32,
    pub every: PollEvery,
}

/// What came of asking about one order.
#[derive(Clone, Debug)]
pub struct Polled {
    pub order_id: Uuid,
    pub polls: u32,
    /// The versions of the order that were seen, and when.
    pub seen: Vec<(i64, SystemTime)>,
    /// When an answer said that there was nothing more to wait for.
    pub ended_at: Option<SystemTime>,
}

/// Asks about one order until its status is an end, or often enough. `accepted` is the answer to its creation.
pub async fn poll(
    pool: Pool,
    order_id: Uuid,
    accepted: Answer,
    polling: Polling,
    is_end: impl Fn(Status) -> bool,
) -> Polled {
    let uri: Uri = format!("/v1/orders/{order_id}").parse().expect("an id is a path");
    let mut wait = told(&accepted, SystemTime::now());
    let mut polled = Polled { order_id, polls: 0, seen: Vec::new(), ended_at: None };
    while polled.polls < polling.most {
        tokio::time::sleep(match polling.every {
            PollEvery::Obey => wait,
            PollEvery::Fixed(every) => every,
        })
        .await;
        polled.polls += 1;
        let Ok(answer) = pool.get(&uri).await else { continue };
        let now = SystemTime::now();
        if let Ok(View { status, version, .. }) = serde_json::from_slice(&answer.body) {
            if polled.seen.last().is_none_or(|(last, _)| *last < version) {
                polled.seen.push((version, now));
            }
            if is_end(status) {
                polled.ended_at = Some(now);
                break;
            }
        }
        wait = told(&answer, now);
    }
    polled
}

#[derive(Deserialize)]
struct View {
    status: Status,
    version: i64,
    next_poll_at: Option<Instant>,
}

/// No answer is waited upon for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long an answer says to wait; one second where it says nothing. Its instants are by the same machine's clock.
fn told(answer: &Answer, now: SystemTime) -> Duration {
    let view: Option<View> = serde_json::from_slice(&answer.body).ok();
    if let Some(at) = view.and_then(|view| view.next_poll_at) {
        return SystemTime::from(at).duration_since(now).unwrap_or_default();
    }
    let header = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    header.and_then(|text| foreign::retry_after(text, now.into(), LONGEST)).unwrap_or(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn an_interval_is_obey_or_a_time() {
        assert_eq!("obey".parse(), Ok(PollEvery::Obey));
        assert_eq!("2s".parse(), Ok(PollEvery::Fixed(Duration::from_secs(2))));
        assert!("often".parse::<PollEvery>().is_err());
    }

    #[test]
    fn the_instant_goes_before_the_header_and_an_answer_without_either_is_not_asked_again_at_once() {
        let headers = |seconds| HeaderMap::from_iter([(RETRY_AFTER, hyper::header::HeaderValue::from(seconds))]);
        let answer = |headers, body: &str| Answer { status: StatusCode::OK, headers, body: body.to_owned().into() };
        let body = r#"{"status":"new","version":1,"next_poll_at":"2026-01-05T08:00:02.250Z"}"#;
        let now = Instant::from_timestamp(1_767_600_000, 0).unwrap().into();
        assert_eq!(told(&answer(headers(3), body), now), Duration::from_millis(2_250));
        assert_eq!(told(&answer(headers(3), "overloaded"), now), Duration::from_secs(3));
        assert_eq!(told(&answer(HeaderMap::new(), "{}"), now), Duration::from_secs(1));
    }
}
