//! Learns what became of the orders from `GET /v1/events`, the partner's own feed: one reader tells when every order
//! was carried on, without one poll an order. Its instants are the server's, taken on the same machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eyre::Result;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{Connection, Target};
use crate::lifecycle::{EventKind, Status};
use crate::order;
use crate::terminal::Refusal;

/// Events of one request.
const PAGE: usize = 1000;
/// How long the reader rests when it has read everything there was.
const REST: Duration = Duration::from_millis(20);

/// What happened, as far as the load cares.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct FeedEvent {
    pub order_id: Uuid,
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub to: Status,
    /// The order's, once this had happened.
    pub version: i64,
    pub at: order::Instant,
}

/// Whether nothing more is to be done without people: the shop has it, or it is over.
pub fn is_carried_to_its_end(status: Status) -> bool {
    !matches!(status, Status::New | Status::ActionRequired | Status::Scheduled | Status::AwaitingShop)
}

/// A place in the feed, and the connection to read on from there.
pub struct Reader {
    connection: Connection,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<FeedEvent>,
    cursor: String,
}

impl Reader {
    /// At the oldest event.
    pub fn new(target: &Target) -> Self {
        Self { connection: Connection::new(target.clone()), cursor: None }
    }

    /// Reads on to the end of the feed and gives where that is.
    ///
    /// # Errors
    /// When the feed cannot be read.
    pub async fn read_all(&mut self, mut each: impl FnMut(FeedEvent)) -> Result<String> {
        loop {
            let events = self.next_page().await?;
            let is_last = events.len() < PAGE;
            events.into_iter().for_each(&mut each);
            if let (true, Some(cursor)) = (is_last, &self.cursor) {
                return Ok(cursor.clone());
            }
        }
    }

    /// At a place that [`read_all`](Self::read_all) gave.
    pub fn at(target: &Target, cursor: String) -> Self {
        Self { cursor: Some(cursor), ..Self::new(target) }
    }

    async fn next_page(&mut self) -> Result<Vec<FeedEvent>> {
        let cursor = self.cursor.as_deref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let uri: Uri = format!("/v1/events?limit={PAGE}{cursor}").parse().expect("a cursor is made of letters");
        let answer = self.connection.get(&uri).await.map_err(|silence| {
            let hint = "Check that a service listens at this address, and that it keeps running.";
            Refusal::new(format!("the feed of the service is not answered: {silence}"), hint)
        })?;
        if answer.status != StatusCode::OK {
            let what = format!("the feed: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
            return Err(Refusal::new(what, "Check that the partner key is one of this service.").into());
        }
        let page: Page = serde_json::from_slice(&answer.body)?;
        self.cursor = Some(page.cursor);
        Ok(page.events)
    }
}

/// The orders that were carried to their end so far, and when the feed first said so.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HashMap<Uuid, Instant>>>);

impl Seen {
    pub fn map(&self) -> MutexGuard<'_, HashMap<Uuid, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, events: &[FeedEvent]) {
        let (now, mut map) = (Instant::now(), self.map());
        for event in events.iter().filter(|event| is_carried_to_its_end(event.to)) {
            map.entry(event.order_id).or_insert(now);
        }
    }
}

/// Follows the feed until it is dropped, or fails too often.
pub async fn follow(mut reader: Reader, mut each: impl FnMut(&[FeedEvent])) -> Result<()> {
    let mut failures = 0;
    loop {
        let events = match reader.next_page().await {
            Ok(events) => events,
            Err(fault) if failures >= 20 => return Err(fault),
            Err(_) => {
                failures += 1;
                tokio::time::sleep(REST * 10).await;
                continue;
            }
        };
        failures = 0;
        let is_last = events.len() < PAGE;
        each(&events);
        if is_last {
            tokio::time::sleep(REST).await;
        }
    }
}

/// What the feed says of one order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// How many `created` events it has.
    pub created: u32,
    pub created_at: Option<order::Instant>,
    /// Where and when it was first carried to its end.
    pub ended: Option<(Status, order::Instant)>,
}

impl Life {
    pub fn add(&mut self, event: &FeedEvent) {
        if event.kind == EventKind::Created {
            self.created += 1;
            self.created_at.get_or_insert(event.at);
        }
        if is_carried_to_its_end(event.to) {
            self.ended.get_or_insert((event.to, event.at));
        }
    }

    /// From its creation to the shop's acceptance; `None` if the shop never accepted it.
    pub fn until_acceptance(&self) -> Option<chrono::Duration> {
        let (status, at) = self.ended?;
        let is_accepted = !matches!(status, Status::Failed | Status::Rejected | Status::Cancelled);
        is_accepted.then(|| Some(at - self.created_at?)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_ends_once() {
        let event = |kind, to, second| FeedEvent {
            order_id: Uuid::nil(),
            kind,
            to,
            version: second,
            at: order::Instant::from_timestamp(second, 0).unwrap(),
        };
        let mut life = Life::default();
        life.add(&event(EventKind::Created, Status::New, 10));
        life.add(&event(EventKind::PaymentAuthorized, Status::AwaitingShop, 11));
        assert!(life.ended.is_none() && life.until_acceptance().is_none());
        life.add(&event(EventKind::ShopAccepted, Status::Accepted, 13));
        life.add(&event(EventKind::PreparationStarted, Status::Preparing, 20));
        assert_eq!(life.until_acceptance(), Some(chrono::Duration::seconds(3)));
        assert_eq!(life.created, 1);
    }
}
