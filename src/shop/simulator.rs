//! Shops with simulated baristas: outside actors with a journal of their own, not mocks.
//!
//! They take offers and then work on them at their own pace, reporting each step as a tablet would. Nothing of
//! the service belongs here: what the baristas report goes through a [`Counter`].

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::sleep;

use super::{Answer, Offer, Shops, Unreachable};
use crate::journal::{self, Index, Journal};
use crate::lifecycle::{Event, Reason};
use crate::order::{Instant, OnUnavailable, OrderId, ShopId};
use crate::simulator::{Speed, between, draw};

/// A barista who could not report tries again after up to this long at first …
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// … and after up to this long in the end.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Where baristas report what they did: the service's shop API, seen from the shop.
#[async_trait]
pub trait Counter: Send + Sync {
    /// Reporting again what is already so succeeds: a barista who restarts repeats the last report. `since` is when it
    /// was first tried, if this is not the first time.
    async fn report(
        &self,
        shop_id: ShopId,
        order_id: OrderId,
        event: Event,
        since: Option<Instant>,
    ) -> Result<(), Report>;
}

/// Why a report was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Report {
    /// The service says that this is not possible: the barista gives the order up.
    #[error("the service refused the report")]
    Refused,
    /// Nobody took it: it is tried again later.
    #[error("the service is unavailable")]
    Unavailable,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Instant,
    pub shop_id: ShopId,
    pub order_id: OrderId,
    #[serde(flatten)]
    pub note: Note,
}

/// What a shop writes down of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    Received {
        offer: Offer,
    },
    /// The service took this report.
    Reported {
        event: Event,
    },
    /// The service refused this report: nothing more is done.
    GivenUp {
        event: Event,
    },
}

/// The simulated shops. `metadata.simulate` of an order decides what its barista does:
///
/// | simulate | behaviour |
/// |---|---|
/// | `shop_reject` | rejects with `cannot_fulfil_request` |
/// | `shop_silent` | takes the offer and does nothing by itself |
/// | `shop_slow` | accepts after 60 s (fast) or 170 s (real), then goes on |
/// | `sold_out` | drops the first line if the customer allowed that and another one remains; else rejects |
/// | anything else | accepts, starts, finishes and hands over |
///
/// At [`Speed::Zero`] every offer is accepted in the answer and nothing happens afterwards.
pub struct ShopSimulator {
    floor: Arc<Floor>,
}

impl ShopSimulator {
    /// Goes on with the journal in that file, which is made if it is not there; without one, all is forgotten
    /// when the process ends. Offers are taken from now on; baristas begin with [`run`](Self::run).
    ///
    /// Fails if the file cannot be read or written, is damaged, or is held by another process.
    pub fn open(journal: Option<&Path>, speed: Speed) -> io::Result<Self> {
        let mut orders = Orders::default();
        let mut open: HashMap<OrderId, Life> = HashMap::new();
        let journal = match journal {
            Some(path) => Journal::open(path, |_, entry: Entry| {
                let life = match entry.note {
                    Note::Received { offer } if orders.known.insert(offer.order_id, ()).is_none() => {
                        Some(Life::new(offer, entry.at))
                    }
                    Note::Received { .. } | Note::GivenUp { .. } => None,
                    Note::Reported { .. } => {
                        open.remove(&entry.order_id).map(|life| Life { done: life.done + 1, since: entry.at, ..life })
                    }
                };
                match life.filter(|life| life.next_event().is_some()) {
                    Some(life) => drop(open.insert(entry.order_id, life)),
                    None => drop(open.remove(&entry.order_id)),
                }
            })?,
            None => Journal::in_memory(),
        };
        orders.waiting = open.into_values().collect();
        Ok(Self { floor: Arc::new(Floor { journal, speed, orders: Mutex::new(orders) }) })
    }

    /// Gives the baristas somebody to report to. They begin with what was left unfinished; what is offered later
    /// follows by itself. To be called once, within a tokio runtime.
    pub fn run(&self, counter: Arc<dyn Counter>) {
        let mut orders = self.floor.orders();
        orders.counter = Some(counter.clone());
        for life in std::mem::take(&mut orders.waiting) {
            tokio::spawn(self.floor.clone().play(life, counter.clone()));
        }
    }
}

#[async_trait]
impl Shops for ShopSimulator {
    /// Durable once answered. Repeating an offer does nothing new, whatever became of the order since.
    async fn offer(&self, offer: &Offer) -> Result<Answer, Unreachable> {
        let floor = self.floor.clone();
        let receive = floor.receive(offer.clone());
        // A task of its own: the shop takes the offer in whether or not the caller still listens.
        tokio::spawn(receive)
            .await
            .unwrap_or_else(|error| Err(Unreachable::new(format!("the simulator stopped: {error}"))))
    }
}

/// Every line of a journal, oldest first. The shops may be running meanwhile.
pub fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    journal::read_all(path, |_, entry| entries.push(entry))?;
    Ok(entries)
}

struct Floor {
    journal: Journal<Entry>,
    speed: Speed,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    /// Every order ever received, so that none is made twice.
    known: Index<OrderId, ()>,
    /// Offers that are being written down: not received yet.
    arriving: HashSet<OrderId>,
    /// Unfinished orders that nobody works on yet, for want of a counter.
    waiting: Vec<Life>,
    counter: Option<Arc<dyn Counter>>,
}

impl Floor {
    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(self: Arc<Self>, offer: Offer) -> Result<Answer, Unreachable> {
        let order_id = offer.order_id;
        {
            let mut orders = self.orders();
            if orders.known.get(&order_id).is_some() {
                return Ok(self.answer());
            }
            if !orders.arriving.insert(order_id) {
                return Err(Unreachable::new("the same offer is just being written down".into()));
            }
        }
        let at = Utc::now();
        let written = self.write(&offer, at, Note::Received { offer: offer.clone() }).await;
        let mut orders = self.orders();
        orders.arriving.remove(&order_id);
        written.map_err(|error| Unreachable::new(format!("the shop's journal: {error}")))?;
        orders.known.insert(order_id, ());
        let life = Life::new(offer, at);
        if self.speed != Speed::Zero && life.next_event().is_some() {
            match orders.counter.clone() {
                Some(counter) => drop(tokio::spawn(self.clone().play(life, counter))),
                None => orders.waiting.push(life),
            }
        }
        Ok(self.answer())
    }

    fn answer(&self) -> Answer {
        match self.speed {
            Speed::Zero => Answer::Accepted { minutes: None, dropped_lines: Vec::new() },
            Speed::Fast | Speed::Real => Answer::Received,
        }
    }

    /// One barista with one order, from where it stands to its end.
    async fn play(self: Arc<Self>, mut life: Life, counter: Arc<dyn Counter>) {
        while let (Some(event), Some(wait)) = (life.next_event(), life.wait(self.speed, Utc::now())) {
            sleep(wait).await;
            let Offer { shop_id, order_id, .. } = life.offer;
            let (mut limit, began, mut since) = (FIRST_RETRY, Utc::now(), None);
            let report = loop {
                match counter.report(shop_id, order_id, event.clone(), since).await {
                    Err(Report::Unavailable) => {
                        since = Some(began);
                        sleep(between(limit / 2, limit)).await;
                    }
                    report => break report,
                }
                limit = (limit * 2).min(LAST_RETRY);
            };
            let at = Utc::now();
            let note = match report {
                Ok(()) => Note::Reported { event },
                Err(_) => Note::GivenUp { event },
            };
            // What could not be written is reported again after a restart, which changes nothing.
            if let Err(error) = self.write(&life.offer, at, note).await {
                tracing::warn!(order.id = %order_id, %error, "simulator.shop_not_written");
            }
            if let Err(error) = report {
                tracing::info!(order.id = %order_id, %error, "simulator.shop_gave_up");
                return;
            }
            life = Life { done: life.done + 1, since: at, ..life };
        }
    }

    async fn write(&self, offer: &Offer, at: Instant, note: Note) -> io::Result<()> {
        let entry = Entry { at, shop_id: offer.shop_id, order_id: offer.order_id, note };
        let offset = self.journal.append(entry).await?;
        self.journal.forget(offset);
        Ok(())
    }
}

/// An unfinished order at a shop.
#[derive(Clone, Debug)]
struct Life {
    offer: Offer,
    /// Steps that were reported.
    done: usize,
    /// When the last of them was, or when the order came in.
    since: Instant,
}

impl Life {
    fn new(offer: Offer, received_at: Instant) -> Self {
        Self { offer, done: 0, since: received_at }
    }

    /// What the barista will report next; `None` when there is nothing more to do.
    fn next_event(&self) -> Option<Event> {
        let accepts = |dropped_lines| Some(Event::ShopAccepted { minutes: None, dropped_lines });
        let may_drop = self.offer.on_unavailable == OnUnavailable::RemoveLine && self.offer.lines > 1;
        match (self.done, self.offer.simulate.as_deref()) {
            (_, Some("shop_silent")) => None,
            (0, Some("shop_reject")) => Some(Event::ShopRejected { reason: Reason::CannotFulfilRequest }),
            (0, Some("sold_out")) if may_drop => accepts(vec![0]),
            (0, Some("sold_out")) => Some(Event::ShopRejected { reason: Reason::ItemUnavailable }),
            (0, _) => accepts(Vec::new()),
            (_, Some("shop_reject")) => None,
            (_, Some("sold_out")) if !may_drop => None,
            (1, _) => Some(Event::PreparationStarted),
            (2, _) => Some(Event::Made),
            (3, _) => Some(Event::Collected),
            _ => None,
        }
    }

    /// How long until then; `None` when nobody does anything. Time that passed since the last step counts, so
    /// that a restart delays nothing.
    fn wait(&self, speed: Speed, now: Instant) -> Option<Duration> {
        let secs = Duration::from_secs;
        let tenths = |low: u64, high: u64| between(Duration::from_millis(low * 100), Duration::from_millis(high * 100));
        let is_slow = self.offer.simulate.as_deref() == Some("shop_slow");
        let takes = match (speed, self.done) {
            (Speed::Zero, _) => return None,
            (Speed::Fast, 0) if is_slow => secs(60),
            (Speed::Fast, 0) => tenths(3, 8),
            (Speed::Fast, 1) => tenths(5, 10),
            (Speed::Fast, _) => tenths(10, 30),
            (Speed::Real, 0) if is_slow => secs(170),
            (Speed::Real, 0) => draw(secs(25), secs(100)),
            (Speed::Real, 1) => draw(secs(90), secs(360)),
            (Speed::Real, 2) => draw(secs(120), secs(300)),
            (Speed::Real, _) => draw(secs(180), secs(900)),
        };
        let due = self.since + TimeDelta::from_std(takes).expect("no draw is longer than some days");
        let not_before = match (self.done, self.offer.pickup_at) {
            (1, Some(pickup_at)) => pickup_at - TimeDelta::seconds(self.offer.make_seconds.into()),
            _ => due,
        };
        Some((due.max(not_before) - now).to_std().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
