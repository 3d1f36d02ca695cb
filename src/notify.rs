//! Tells receivers of webhooks what happened to orders: partners theirs, shops of cancellations.
//!
//! Every receiver is served by itself, one round after the other: plan what the log has new for it, send what is due,
//! write down what came of it. So a receiver that is slow or dead holds up only itself, and while a round of it is
//! under way nothing else plans for it. Nothing here stands in the way of an order: the log is the only link.
//!
//! Nothing here is needed for correctness either: what was not written down is sent again, by whoever looks next.

pub mod rhythm;

use std::collections::{HashMap, HashSet};
use std::fmt::Arguments;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant as Monotonic};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::clock::now;
use crate::foreign::{Answer, Caller, ForeignUrl, Trouble};
use crate::logs::{self, failing};
use crate::meters::{METERS, Receiver, Told};
use crate::order::Instant;
use crate::signing;
use crate::state::Order;
use crate::store::{self, Attempted, Delivery, Disabled, Duty, Receivers, Store, Then, Webhook};
use crate::trace::{self, Kind, Moment, Span};
use crate::tracer;

/// How often somebody looks for what has happened and what is due.
const LOOK_ROUND: Duration = Duration::from_millis(200);
/// Deliveries of one receiver that one round sends …
const BATCH: i64 = 128;
/// … and so many of them at once.
const AT_ONCE: usize = 16;
/// Failures one after the other from which on a receiver is only asked now and then, one delivery at a time.
const FAILING: u32 = 5;
/// What is done about a receiver that fails.
const ACTION: &str = "its deliveries wait; after each pause one of them is tried";
/// What waits longer than this past its time is given up unsent: its receiver is hardly ever asked.
const TOO_LATE: chrono::Duration = chrono::Duration::hours(1);
/// Deliveries of a receiver after which its log is looked at.
const TRIM_AFTER: usize = 1_000;
/// How long a shutdown waits for what is under way.
const DRAIN: Duration = Duration::from_secs(5);

/// What is sent: the id by which a receiver knows what it has had, and the body.
pub struct Letter {
    pub id: String,
    pub body: Vec<u8>,
}

/// Whoever knows what a receiver is to read.
pub trait Letters: Send + Sync {
    /// `order` is the order as it is now, at or past the event; `None` if it cannot be read.
    fn write(&self, webhook: &Webhook, delivery: &Delivery, order: Option<&Order>, now: Instant) -> Letter;
}

/// Everything that it takes to tell somebody.
pub struct Notifier {
    pub store: Store,
    pub caller: Caller,
    pub letters: Arc<dyn Letters>,
    /// For how long a delivery is tried.
    pub patience: chrono::Duration,
    /// How long an offer to a shop may be under way.
    pub an_offer_takes: chrono::Duration,
}

/// How a receiver has been doing. Forgotten when the process ends: then it is simply asked again.
#[derive(Clone)]
struct Standing {
    /// Failures since it last took something.
    failures: u32,
    /// When the first of these failures was seen.
    failing_since: Option<Monotonic>,
    /// Nothing is sent before.
    rests_until: Option<Monotonic>,
    /// Attempts since its log was last looked at.
    untrimmed: usize,
}

impl Default for Standing {
    fn default() -> Self {
        // Nobody knows how long its log was left by the process before.
        Self { failures: 0, failing_since: None, rests_until: None, untrimmed: TRIM_AFTER }
    }
}

impl Standing {
    /// Says in the log when a receiver stops to take anything, and when it is back, once each.
    fn note_outage(&mut self, failed_before: u32, receiver: Arguments) {
        let now = Monotonic::now();
        let (was_out, is_out) = (failed_before >= FAILING, self.failures >= FAILING);
        if was_out && !is_out {
            let since = self.failing_since.unwrap_or(now);
            logs::recovered(receiver, failed_before, now - since);
        } else if is_out && !was_out {
            let pause = self.rests_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            logs::not_responding(receiver, self.failures, pause, ACTION);
        }
        self.failing_since = if self.failures == 0 { None } else { self.failing_since.or(Some(now)) };
    }
}

impl Notifier {
    /// Works until told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut rounds: JoinSet<(Uuid, Standing)> = JoinSet::new();
        let mut standings: HashMap<Uuid, Standing> = HashMap::new();
        let mut under_way: HashSet<Uuid> = HashSet::new();
        // Not a sleep that each ended round would begin anew: those who end theirs often would hold up the others.
        let mut look = tokio::time::interval(LOOK_ROUND);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // The sender is gone only when the process is on its way out.
                _ = stop.wait_for(|stopped| *stopped) => break,
                Some(ended) = rounds.join_next() => {
                    let (webhook, standing) = ended.expect("a round neither panics nor is aborted");
                    under_way.remove(&webhook);
                    standings.insert(webhook, standing);
                    continue;
                }
                _ = look.tick() => {}
            }
            let is_ours = self.store.on_duty(Duty::Tell, now()).await.unwrap_or_else(|fault| {
                failing!("notify.duty_unknown", fault);
                false
            });
            // What an order is now is part of what is told: not before that was compared with the gateway.
            if !is_ours || self.store.is_withheld() {
                continue;
            }
            if let Err(fault) = self.store.plan_cancellations(self.an_offer_takes, self.patience).await {
                failing!("notify.cancellations_not_planned", fault);
            }
            let wanted = self.store.receivers_to_serve(now()).await.unwrap_or_else(|fault| {
                failing!("notify.look_round_failed", fault);
                Vec::new()
            });
            let at = Monotonic::now();
            for webhook in wanted {
                let standing = standings.get(&webhook).cloned().unwrap_or_default();
                if standing.rests_until.is_none_or(|until| until <= at) && under_way.insert(webhook) {
                    let (this, stop) = (self.clone(), stop.clone());
                    rounds.spawn(async move {
                        let rounds = AssertUnwindSafe(this.serve(webhook, standing.clone(), &stop)).catch_unwind();
                        let rests = || {
                            tracing::error!(webhook.id = %webhook, "notify.panicked");
                            Standing { rests_until: Some(Monotonic::now() + rhythm::LONGEST_REST), ..standing }
                        };
                        (webhook, rounds.await.unwrap_or_else(|_| rests()))
                    });
                }
            }
        }
        let ended = async { while rounds.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::info!("notify.cut_off");
        }
    }

    /// Serves one receiver as long as there is something for it to take.
    async fn serve(&self, webhook: Uuid, mut standing: Standing, stop: &watch::Receiver<bool>) -> Standing {
        standing.rests_until = None;
        while !*stop.borrow() && standing.rests_until.is_none() {
            match self.round(webhook, &mut standing, stop).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    failing!("notify.round_failed", fault, webhook.id = %webhook);
                    standing.rests_until = Some(Monotonic::now() + rhythm::rest(0, rand::random()));
                }
            }
        }
        standing
    }

    /// One round. Whether there may be more to do.
    async fn round(&self, id: Uuid, standing: &mut Standing, stop: &watch::Receiver<bool>) -> store::Result<bool> {
        self.store.plan_deliveries(id, self.patience, now()).await?;
        let Some(webhook) = self.store.webhook(Receivers::All, id).await? else { return Ok(false) };
        if webhook.disabled.is_some() {
            return Ok(false);
        }
        let (was_failing, was_well) = (standing.failures >= FAILING, standing.failures == 0);
        let due = self.store.due_deliveries(id, if was_failing { 1 } else { BATCH }, now()).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let failures = AtomicU32::new(standing.failures);
        let (webhook, failed) = (&webhook, &failures);
        let attempts = stream::iter(due).map(|(delivery, order)| async move {
            // The others of the batch wait for better times.
            let is_hopeless = !was_failing && failed.load(Ordering::Relaxed) >= FAILING;
            if is_hopeless || *stop.borrow() {
                return None;
            }
            let made = self.attempt(webhook, &delivery, order.as_ref()).await;
            match made.told {
                Told::Delivered => failed.store(0, Ordering::Relaxed),
                Told::GivenUp => {}
                _ => drop(failed.fetch_add(1, Ordering::Relaxed)),
            }
            Some(made)
        });
        let made: Vec<Made> = attempts.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
        let failed_before = standing.failures;
        standing.failures = failures.into_inner();
        standing.untrimmed += made.len();
        // The partner reads less of it: one line of each series of failures has the rest.
        if let Some(detail) = made.iter().find_map(|made| made.detail.as_ref()).filter(|_| was_well) {
            tracing::info!(webhook.id = %id, partner.id = %webhook.partner_id, detail, "notify.failed");
        }

        let any = |told| made.iter().any(|made| made.told == told);
        let is_gone = any(Told::Gone) && webhook.shop_id.is_none();
        let disable = is_gone.then(|| Disabled { at: now(), why: "it answered 410 Gone".into() });
        if disable.is_some() {
            tracing::warn!(webhook.id = %id, partner.id = %webhook.partner_id, "notify.disabled");
        }
        let asked = made.iter().filter_map(|made| made.asked).max();
        if standing.failures >= FAILING || asked.is_some() {
            // What it asks for is obeyed as it is, neither more nor less.
            let rest = || rhythm::rest(standing.failures.saturating_sub(FAILING), rand::random());
            standing.rests_until = Some(Monotonic::now() + asked.unwrap_or_else(rest));
        }
        standing.note_outage(failed_before, format_args!("webhook:{id}"));
        let is_back = was_failing && any(Told::Delivered);
        let attempted = made.into_iter().map(|made| made.attempted).collect();
        self.store.record_attempts(id, attempted, disable).await?;
        if is_back {
            self.store.hurry_deliveries(id, now()).await?;
        }
        if standing.untrimmed >= TRIM_AFTER {
            standing.untrimmed = 0;
            self.store.trim_deliveries(id).await?;
        }
        Ok(true)
    }

    async fn attempt(&self, webhook: &Webhook, delivery: &Delivery, order: Option<&Order>) -> Made {
        let (at, began) = (now(), Monotonic::now());
        let receiver = if webhook.shop_id.is_some() { Receiver::Shop } else { Receiver::Partner };
        let delivery_id = delivery.delivery_id;
        if delivery.give_up_at + TOO_LATE < at {
            METERS.deliveries.of((receiver, Told::GivenUp)).increment(1);
            let trouble = delivery.trouble.clone().or_else(|| Some("its time had passed".into()));
            let attempted = Attempted { delivery_id, at, status: delivery.status, trouble, then: Then::GivenUp };
            return Made { attempted, told: Told::GivenUp, asked: None, detail: None };
        }
        let Letter { id, body } = self.letters.write(webhook, delivery, order, at);
        let recorded = order.and_then(tracer::recorded).map(|trace| (trace, tracer::new_span()));
        let traceparent = match recorded {
            Some((trace, span_id)) => Some(trace.context(span_id).to_string()),
            None => order.and_then(|order| order.placed.traceparent.clone()),
        };
        let sent = self.send(webhook, &id, at, traceparent, body).await;
        METERS.delivery_duration.of(receiver).record(began.elapsed());
        let ended = now();
        let told = told(&sent);
        METERS.deliveries.of((receiver, told)).increment(1);
        let (status, trouble, asked) = match &sent {
            Ok(answer) => {
                let asked = answer.asks_for(ended);
                (Some(answer.status), said_of(answer), asked)
            }
            Err(trouble) => (None, Some(trouble.to_string()), None),
        };
        let detail = sent.as_ref().err().map(Trouble::detail);
        if let Some((trace, span_id)) = recorded {
            let time = (Moment::Steady(began), Moment::Steady(Monotonic::now()));
            let mut span = Span::below(&trace, span_id, Kind::Client, "webhook", time)
                .with("webhook.id", webhook.webhook_id.to_string())
                .with("receiver", <&str>::from(receiver))
                .with("order.event", delivery.kind.word())
                .with("attempt", i64::from(delivery.attempts) + 1)
                .with("outcome", <&str>::from(told));
            span.attributes.extend(status.map(|status| ("http.response.status_code", i64::from(status).into())));
            span.fault = detail.as_ref().or(trouble.as_ref()).cloned();
            tracer::emit(span);
        }
        let then = match told {
            Told::Delivered => Then::Delivered,
            _ if ended >= delivery.give_up_at => {
                METERS.deliveries.of((receiver, Told::GivenUp)).increment(1);
                Then::GivenUp
            }
            _ => {
                let pause = asked.unwrap_or_else(|| rhythm::pause(delivery.attempts, rand::random()));
                let pause = chrono::Duration::from_std(pause).unwrap_or(chrono::Duration::MAX);
                Then::Again((ended + pause).min(delivery.give_up_at))
            }
        };
        tracing::debug!(webhook.id = %webhook.webhook_id, delivery.id = %delivery_id, order.id = %delivery.order_id,
            trace.id = order.and_then(trace::id_of).map(tracing::field::display), status, trouble = detail.as_ref().or(trouble.as_ref()), "notify.attempted");
        Made { attempted: Attempted { delivery_id, at, status, trouble, then }, told, asked, detail }
    }

    async fn send(
        &self,
        webhook: &Webhook,
        id: &str,
        at: Instant,
        traceparent: Option<String>,
        body: Vec<u8>,
    ) -> Result<Answer, Trouble> {
        // The rules may be others than when it was added.
        let url = ForeignUrl::parse(&webhook.url, self.caller.rules())?;
        let mut headers = signing::headers(&webhook.secrets(at), id, at, &body).to_vec();
        headers.extend(traceparent.map(|traceparent| ("traceparent", traceparent)));
        self.caller.post(&url, &headers, body).await
    }
}

/// An attempt, and what it says about the receiver.
struct Made {
    attempted: Attempted,
    told: Told,
    /// How long it asked to be left alone.
    asked: Option<Duration>,
    /// Why it could not be asked, in full: for operators.
    detail: Option<String>,
}

fn told(sent: &Result<Answer, Trouble>) -> Told {
    match sent {
        Ok(Answer { status: 200..=299, .. }) => Told::Delivered,
        Ok(Answer { status: 410, .. }) => Told::Gone,
        Ok(_) => Told::Refused,
        Err(Trouble::Unfit(_)) => Told::Unfit,
        Err(Trouble::Unreachable(_)) => Told::Unreachable,
        Err(Trouble::Unanswered(_)) => Told::Unanswered,
    }
}

fn said_of(answer: &Answer) -> Option<String> {
    match answer.status {
        200..=299 => None,
        status @ 300..=399 => Some(format!("it answered {status}: redirects are not followed")),
        status => Some(format!("it answered {status}")),
    }
}

#[cfg(test)]
mod tests;
