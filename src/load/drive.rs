//! Sends the orders of a plan, and has apps ask about them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use hyper::header::LOCATION;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Answer, Connection, Pool, Silence, Target};
use super::feed::is_carried_to_its_end;
use super::plan::Plan;
use super::polling::{Polled, Polling, poll};
use crate::error::Code;

/// Connections that all polls share.
const POLL_CONNECTIONS: usize = 16;

/// An order that was answered with 202.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    pub order_id: Uuid,
    /// When it should have been sent: in a closed loop, when it was.
    pub intended: Instant,
    pub answered: Instant,
}

/// What came of sending.
#[derive(Debug)]
pub struct Sending {
    pub accepted: Vec<Accepted>,
    /// When those should have been sent that were turned away because there was too much to do.
    pub turned_away: Vec<Instant>,
    /// How often which code was answered instead.
    pub errors: BTreeMap<String, u64>,
    /// Numbers of the orders that may or may not exist, because no answer came, or a 5xx that does not say that
    /// nothing was done.
    pub uncertain: HashSet<u64>,
    pub started: Instant,
    /// When the last answer came.
    pub ended: Instant,
    pub ended_at: SystemTime,
    /// The apps that still ask, of each connection.
    pub polling: Vec<JoinSet<Polled>>,
}

/// Sends all orders of the plan. `answered` counts the answers while they come.
pub async fn send(plan: &Arc<Plan>, target: &Target, polling: Polling, answered: &Arc<AtomicU64>) -> Sending {
    let next = Arc::new(AtomicU64::new(0));
    let pool = Pool::new(target, if polling.most > 0 { POLL_CONNECTIONS } else { 0 });
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..plan.connections {
        let sender = Sender {
            plan: plan.clone(),
            connection: Connection::new(target.clone()),
            next: next.clone(),
            answered: answered.clone(),
            polling,
            pool: pool.clone(),
            sending: Sending::new(started),
        };
        senders.spawn(sender.run());
    }
    let mut all = Sending::new(started);
    while let Some(sent) = senders.join_next().await {
        all.add(sent.expect("a sender does not panic"));
    }
    (all.ended, all.ended_at) = (Instant::now(), SystemTime::now());
    all
}

impl Sending {
    fn new(started: Instant) -> Self {
        Self {
            accepted: Vec::new(),
            turned_away: Vec::new(),
            errors: BTreeMap::new(),
            uncertain: HashSet::new(),
            started,
            ended: started,
            ended_at: SystemTime::now(),
            polling: Vec::new(),
        }
    }

    fn add(&mut self, mut other: Self) {
        self.accepted.append(&mut other.accepted);
        self.turned_away.append(&mut other.turned_away);
        self.uncertain.extend(other.uncertain);
        other.errors.into_iter().for_each(|(code, count)| *self.errors.entry(code).or_default() += count);
        self.polling.append(&mut other.polling);
    }
}

/// One connection and what is sent over it. It takes the next order as soon as it is free, so that orders which are
/// late, because every connection was busy, go out in their order.
struct Sender {
    plan: Arc<Plan>,
    connection: Connection,
    next: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    polling: Polling,
    pool: Pool,
    sending: Sending,
}

impl Sender {
    async fn run(mut self) -> Sending {
        let uri = Uri::from_static("/v1/orders");
        let mut apps = JoinSet::new();
        let started = self.sending.started;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.orders || started.elapsed() >= self.plan.within {
                break;
            }
            let intended = match self.plan.arrivals.offset(number) {
                None => Instant::now(),
                Some(offset) if offset >= self.plan.within => break,
                Some(offset) => {
                    tokio::time::sleep_until((started + offset).into()).await;
                    started + offset
                }
            };
            let customer = self.plan.customer(number);
            let body = self.plan.body(number, &customer);
            let answer = self.connection.order(&uri, &customer, body).await;
            let accepted = self.note(number, intended, &answer);
            if let (Some(order_id), Ok(answer), true) = (accepted, answer, self.polling.most > 0) {
                apps.spawn(poll(self.pool.clone(), order_id, answer, self.polling, is_carried_to_its_end));
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.sending.polling.push(apps);
        self.sending
    }

    /// Keeps what was answered, and gives the id of the order if it was accepted.
    fn note(&mut self, number: u64, intended: Instant, answer: &Result<Answer, Silence>) -> Option<Uuid> {
        let answered = Instant::now();
        let code = match answer {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => match located(answer) {
                Some(order_id) => {
                    self.sending.accepted.push(Accepted { order_id, intended, answered });
                    return Some(order_id);
                }
                None => "accepted_without_location".to_owned(),
            },
            Ok(answer) => code(answer),
            Err(silence) => <&str>::from(*silence).to_owned(),
        };
        let is_turned_away = [Code::Overloaded, Code::TooManyRequests].iter().any(|known| code == <&str>::from(*known));
        if is_turned_away {
            self.sending.turned_away.push(intended);
        }
        let is_certain = match answer {
            Ok(answer) => answer.status.is_client_error() || is_turned_away,
            Err(silence) => *silence == Silence::ConnectionRefused,
        };
        if !is_certain {
            self.sending.uncertain.insert(number);
        }
        *self.sending.errors.entry(code).or_default() += 1;
        None
    }
}

/// The id of the order that was accepted.
pub fn located(answer: &Answer) -> Option<Uuid> {
    answer.headers.get(LOCATION)?.to_str().ok()?.strip_prefix("/v1/orders/")?.parse().ok()
}

/// The code of a problem; the status where there is none.
fn code(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    serde_json::from_slice(&answer.body)
        .map_or_else(|_| format!("status_{}", answer.status.as_u16()), |Problem { code }| code)
}
