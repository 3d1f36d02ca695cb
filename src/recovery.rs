//! Brings the orders of a restored backup to where the gateway proves them to be, before anything acts on them.
//!
//! Both ways: each order that may be behind is compared with its payment, and each payment that the gateway lists is
//! looked for among the orders (one without an order is given back by `lost`). Until all are compared the store withholds
//! them (`store::restored`), from workers, timers, boards, customers and operators alike. A gateway that does not answer
//! is asked again; an operator can end the wait (`lungo restored --go-on`), which is written into the audit log. Killed
//! anywhere it begins again: what was found is committed order by order, and found once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::gateway::{Gateway, Held, HeldStatus, Trouble};
use crate::lifecycle::Event;
use crate::logs::failing;
use crate::meters::METERS;
use crate::order::{Instant, OrderId};
use crate::proof::{Proof, proof};
use crate::stages;
use crate::state::Order;
use crate::store::{Duty, Entry, Received, Restored, Scope, Sender, Store, Word};

/// How often it is looked whether the database was restored, or is compared by another instance.
const LOOK_ROUND: Duration = Duration::from_millis(500);
/// When a gateway is asked again that did not answer.
const AGAIN: Duration = Duration::from_secs(5);
/// Orders that are compared at once.
const AT_ONCE: usize = 16;
/// Orders after which it is noted how far the comparison is, and whether somebody ended it.
const STEP: usize = 256;
/// Steps that one order may take: several things may have happened to it, and each is told by itself.
const MOST_STEPS: usize = 12;
/// Payments that were made shortly before the backup may belong to orders that did not know their names yet.
const MARGIN: chrono::Duration = chrono::Duration::minutes(15);

/// What the audit log calls the end of a comparison.
pub const COMPARED: &str = "compare_restored";

/// What brings orders of a restored backup up to date.
pub struct Recovery {
    pub store: Store,
    pub gateway: Arc<dyn Gateway>,
    /// The longest call of the gateway.
    pub patience: Duration,
    pub clock: fn() -> Instant,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Compared {
    /// These happened to it since the backup; nothing, if none.
    Told(Vec<&'static str>),
    /// It is set aside for an operator.
    Questioned(String),
}

impl Recovery {
    /// Works until told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let work = async {
            loop {
                let again = match self.round().await {
                    Ok(()) => LOOK_ROUND,
                    Err(fault) => {
                        failing!("recovery.not_compared", fault);
                        AGAIN
                    }
                };
                sleep(again).await;
            }
        };
        tokio::select! {
            // The sender is gone only when the process is on its way out.
            _ = stop.wait_for(|stopped| *stopped) => {}
            () = work => {}
        }
    }

    /// Compares all that is behind, if anything is.
    async fn round(&self) -> Result<(), String> {
        let restored = self.store.watch_restored().await.map_err(|fault| fault.to_string())?;
        let Some(restored) = restored else {
            METERS.restored_left.of(()).set(0.0);
            return Ok(());
        };
        if !self.is_on_duty().await? {
            return Ok(());
        }
        let mut left = self.store.behind(restored.since).await.map_err(|fault| fault.to_string())?;
        let all = left.len();
        self.note(left.len(), all);
        tracing::info!(orders = all, since = %restored.since, "recovery.comparing");
        let listed = self.list(&restored).await?;
        let mut told: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut questions = 0_usize;
        left.reverse();
        while !left.is_empty() {
            let step = left.split_off(left.len().saturating_sub(STEP));
            let compared: Vec<_> = stream::iter(step)
                .map(|id| {
                    let listed = listed.get(&id).map_or(&[][..], Vec::as_slice);
                    async move { (id, self.compare(id, listed).await) }
                })
                .buffered(AT_ONCE)
                .collect()
                .await;
            let mut unanswered = None;
            for (id, compared) in compared {
                match compared {
                    Ok(Compared::Told(events)) => {
                        events.into_iter().for_each(|event| *told.entry(event).or_default() += 1)
                    }
                    Ok(Compared::Questioned(what)) => {
                        tracing::error!(order.id = %id, what, "recovery.question");
                        questions += 1;
                    }
                    Err(fault) => {
                        left.push(id);
                        unanswered = Some(fault);
                    }
                }
            }
            self.note(left.len(), all);
            tracing::info!(left = left.len(), all, "recovery.compared");
            let still = self.store.watch_restored().await.map_err(|fault| fault.to_string())?;
            if still.as_ref() != Some(&restored) || !self.is_on_duty().await? {
                return Ok(());
            }
            if let Some(fault) = unanswered {
                tracing::warn!(left = left.len(), %fault, "recovery.gateway_silent");
                sleep(AGAIN).await;
            }
        }
        let found: usize = told.values().sum();
        tracing::info!(orders = all, found, questions, "recovery.done");
        let detail = json!({"since": restored.since, "orders": all, "questions": questions, "events": told});
        let entry = Entry {
            at: (self.clock)(),
            user_id: None,
            user_name: "lungo".into(),
            action: COMPARED.into(),
            subject: String::new(),
            reason: None,
            detail,
            request_id: String::new(),
        };
        self.store.recording(entry).end_restored(restored).await.map_err(|fault| fault.to_string())?;
        Ok(())
    }

    fn note(&self, left: usize, all: usize) {
        self.store.note_compared(left, all);
        // While orders are withheld there is something left to do, even if it is only to say so.
        METERS.restored_left.of(()).set(left.max(1) as f64);
    }

    async fn is_on_duty(&self) -> Result<bool, String> {
        self.store.on_duty(Duty::Reconcile, (self.clock)()).await.map_err(|fault| fault.to_string())
    }

    /// What the gateway lists since shortly before the backup, by the order that it is of.
    async fn list(&self, restored: &Restored) -> Result<HashMap<OrderId, Vec<Held>>, String> {
        let made = restored.since - MARGIN..(self.clock)() + MARGIN;
        let (mut listed, mut after) = (HashMap::<OrderId, Vec<Held>>::new(), None::<String>);
        loop {
            let page = timeout(self.patience, self.gateway.list(&made, after.as_deref())).await;
            let page = page.map_err(|_| "the gateway did not answer")?.map_err(|fault| fault.to_string())?;
            for held in page.held {
                listed.entry(held.order_id).or_default().push(held);
            }
            match page.next {
                None => return Ok(listed),
                next => after = next,
            }
            if !self.is_on_duty().await? {
                return Err("another instance compares".into());
            }
        }
    }

    /// Brings one order to where the gateway proves it to be.
    async fn compare(&self, id: OrderId, listed: &[Held]) -> Result<Compared, String> {
        let mut told = Vec::new();
        for _ in 0..MOST_STEPS {
            let read = self.store.order(id).await.map_err(|fault| fault.to_string())?;
            let Some((order, _)) = read else { return Ok(Compared::Told(told)) };
            let happened = match self.happened(&order, listed).await {
                Ok(happened) => happened,
                Err(Trouble::Refused(why)) => {
                    Proof::Question(format!("after a restore: the gateway does not tell: {why}"))
                }
                Err(trouble) => return Err(trouble.to_string()),
            };
            let event = match happened {
                Proof::Nothing => return Ok(Compared::Told(told)),
                Proof::Happened(event) => event,
                Proof::Question(what) => return self.question(&order, what).await,
            };
            match self.say(&order, event.clone()).await? {
                // The machine does not believe it, and that is written down.
                Received::Changed(after, _)
                    if (after.status, &after.payment) == (order.status, &order.payment)
                        && !is_about_waiting(&event) =>
                {
                    let what = after.task.last_error.clone().unwrap_or_default();
                    return self.question(&after, what).await;
                }
                Received::Changed(..) => told.push(event.kind().word()),
                // The gateway called meanwhile: look again at what is left to say.
                Received::Stale(_) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        Err("the order changes too fast".into())
    }

    async fn happened(&self, order: &Order, listed: &[Held]) -> Result<Proof, Trouble> {
        if !order.is_ongoing() {
            // Its status stays; where its money is by now is told as by a callback.
            let news = timeout(self.patience, stages::news(order, &*self.gateway)).await.map_err(unanswered)??;
            return Ok(news.map_or(Proof::Nothing, |event| match event {
                Event::Contradicted { what } => Proof::Question(what),
                event => Proof::Happened(event),
            }));
        }
        let other = listed.iter().find(|held| !stages::is_of(order, held) && holds_money(held));
        if let Some(other) = other {
            let what = format!("after a restore: the gateway holds another payment of this order, {}", other.reference);
            return Ok(Proof::Question(what));
        }
        let mut held = timeout(self.patience, stages::held(order, &*self.gateway)).await.map_err(unanswered)??;
        if held.is_none() && order.payment.reference.is_none() {
            // It may have been made, and its name have been written after the backup.
            held = listed.first().cloned();
        }
        if held.as_ref().is_some_and(|held| !stages::is_of(order, held)) {
            return Ok(Proof::Question(
                "after a restore: the gateway holds something else under the key of this order".into(),
            ));
        }
        Ok(proof(order, held.as_ref(), (self.clock)(), &self.store.policy().deadlines))
    }

    /// Sets an order aside for an operator, once.
    async fn question(&self, order: &Order, what: String) -> Result<Compared, String> {
        if order.task.parked_at.is_none() || order.task.last_error.as_ref() != Some(&what) {
            self.say(order, Event::Parked { why: what.clone() }).await?;
        }
        Ok(Compared::Questioned(what))
    }

    async fn say(&self, order: &Order, event: Event) -> Result<Received, String> {
        let (order_id, version) = (order.id, Some(order.version));
        let word =
            Word { order_id, scope: Scope::Everyone, sender: Sender::Gateway, event, version, now: (self.clock)() };
        self.store.receive(word).await.map_err(|fault| fault.to_string())
    }
}

fn unanswered<E>(_: E) -> Trouble {
    Trouble::Unanswered("no answer in time".into())
}

/// Whether an event gives a shop more time, and changes nothing else.
fn is_about_waiting(event: &Event) -> bool {
    matches!(event, Event::OfferRepeated | Event::DeadlineExtended { .. })
}

fn holds_money(held: &Held) -> bool {
    match held.status {
        HeldStatus::Authorized => true,
        HeldStatus::Captured => held.refunded < held.captured,
        HeldStatus::Prepared | HeldStatus::ActionRequired | HeldStatus::Declined | HeldStatus::Voided => false,
    }
}

#[cfg(test)]
mod tests;
