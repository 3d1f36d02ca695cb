//! Gives back money whose order the database has lost, and nobody else's.
//!
//! After a failover that lost a tail, or once a backup was restored, the gateway holds payments of orders that there are
//! no more, and nothing here would ever release them. So the payments of that time are listed and those without an order
//! given back: voided, or refunded if they were taken.
//!
//! # Why it cannot be a good payment
//! - **It is ours.** Only payments are listed that bear the name of this installation, which is made with the database and
//!   moves with it. Another installation on the same account, or a payment that somebody made by hand, is never seen.
//! - **Its order was committed before.** Money is asked for only by a worker that claimed a committed order. A payment
//!   that is listed now and whose order the database does not know now is not early: its order is gone.
//! - **The primary says so**, in a transaction that commits, which finds itself in the history that noticed the loss. No
//!   replica is asked. A primary that was left behind by a failover is in the old timeline, where no loss is known:
//!   nothing is listed there, however much it does not know. A dump that was restored elsewhere is on another system, and
//!   has lost nothing either. What nobody can tell from the one that goes on is a copy of the files that was promoted, or a
//!   copy that fails over itself: none may be given the gateway's key, with which it would work off the same orders anyway.
//! - **Only what was made in the time of the loss is listed**: after the last note that survived and before the loss was
//!   noticed, with some minutes on both sides.
//! - **Nobody can make that order again.** An order's id is made anew for each creation; only a draft keeps its id, and one
//!   that may yet be confirmed is left alone until it has expired.
//!
//! Killed anywhere it begins again: every call finds what the one before it did, and the audit log has each payment once,
//! written before the gateway is asked.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::gateway::{Gateway, Held, HeldStatus};
use crate::logs::failing;
use crate::meters::{self, METERS};
use crate::order::{Instant, OrderId};
use crate::stages::{self, Freed};
use crate::store::{Duty, Entry, Loss, RELEASE_LOST, Store};

/// How often it is looked whether something was lost.
const LOOK_ROUND: Duration = Duration::from_secs(1);
/// Between two pages of the gateway's list: customers are served by the same gateway.
const PAUSE: Duration = Duration::from_millis(100);
/// When what could not be given back is tried again.
const AGAIN: chrono::Duration = chrono::Duration::minutes(1);
/// Calls of the gateway that one payment may take.
const CALLS: u32 = 3;

/// Whoever gives back what was lost.
pub struct Lost {
    pub store: Store,
    pub gateway: Arc<dyn Gateway>,
    /// The longest call of the gateway.
    pub patience: Duration,
    /// From when a loss is noticed to the first look at its payments.
    pub wait: chrono::Duration,
    /// From the first look that found everything settled to the last one.
    pub last_look: chrono::Duration,
    pub clock: fn() -> Instant,
}

impl Lost {
    /// Works until told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let work = async {
            loop {
                if let Err(fault) = self.round().await {
                    failing!("lost.round_failed", fault);
                }
                sleep(LOOK_ROUND).await;
            }
        };
        tokio::select! {
            // The sender is gone only when the process is on its way out.
            _ = stop.wait_for(|stopped| *stopped) => {}
            () = work => {}
        }
    }

    async fn round(&self) -> Result<(), String> {
        let now = (self.clock)();
        if !self.is_on_duty().await? {
            return Ok(());
        }
        let loss = self.store.watch_history(now, self.wait).await.map_err(|fault| fault.to_string())?;
        let Some(loss) = loss.filter(|loss| loss.look_at <= now) else { return Ok(()) };
        let Some(is_settled) = self.look(&loss).await? else { return Ok(()) };
        let next = (self.clock)() + if is_settled { self.last_look } else { AGAIN };
        tracing::info!(is_settled, is_last = loss.is_last(), "lost.looked");
        self.store.looked_for_lost(loss, is_settled, next).await.map_err(|fault| fault.to_string())
    }

    async fn is_on_duty(&self) -> Result<bool, String> {
        self.store.on_duty(Duty::Reconcile, (self.clock)()).await.map_err(|fault| fault.to_string())
    }

    /// Looks at all payments of a loss; says whether all of them are settled. `None` if somebody else goes on.
    async fn look(&self, loss: &Loss) -> Result<Option<bool>, String> {
        let (mut is_settled, mut after) = (true, None::<String>);
        loop {
            if !self.is_on_duty().await? {
                return Ok(None);
            }
            let listed = timeout(self.patience, self.gateway.list(&loss.made, after.as_deref())).await;
            let page = listed.map_err(|_| "the gateway did not answer")?.map_err(|fault| fault.to_string())?;
            is_settled &= page.unclear == 0;
            let suspects: Vec<Held> = page.held.into_iter().filter(holds_money).collect();
            if !suspects.is_empty() {
                is_settled &= self.give_back(&suspects).await?;
            }
            match page.next {
                None => return Ok(Some(is_settled)),
                next => after = next,
            }
            sleep(PAUSE).await;
        }
    }

    /// Gives back those whose order is gone; says whether that was all that was to be done.
    async fn give_back(&self, suspects: &[Held]) -> Result<bool, String> {
        let now = (self.clock)();
        let asked = suspects.iter().map(|held| (held.order_id, entry(held, now))).collect();
        let judged = self.store.judge_lost(asked, now).await.map_err(|fault| fault.to_string())?;
        let mut is_settled = judged.undecided == 0;
        let is_lost = |order: &OrderId| judged.lost.contains(order);
        for held in suspects.iter().filter(|held| is_lost(&held.order_id)) {
            let (order, reference) = (held.order_id, &held.reference);
            let freed = timeout(self.patience * CALLS, stages::give_back_lost(held, &*self.gateway)).await;
            let counted = match freed {
                Ok(Ok(freed)) => {
                    tracing::warn!(order.id = %order, reference, %freed, "lost.released");
                    if freed == Freed::Voided { meters::Freed::Voided } else { meters::Freed::Refunded }
                }
                fault => {
                    let fault = match fault {
                        Ok(Err(fault)) => fault.to_string(),
                        _ => "no answer in time".into(),
                    };
                    tracing::error!(order.id = %order, reference, fault, "lost.not_released");
                    is_settled = false;
                    meters::Freed::Failed
                }
            };
            METERS.lost_payments.of(counted).increment(1);
        }
        Ok(is_settled)
    }
}

/// Whether there is something to give back, or may yet be.
fn holds_money(held: &Held) -> bool {
    match held.status {
        HeldStatus::Prepared | HeldStatus::ActionRequired | HeldStatus::Authorized => true,
        HeldStatus::Captured => held.refunded < held.captured,
        HeldStatus::Declined | HeldStatus::Voided => false,
    }
}

/// What the audit log says of it.
fn entry(held: &Held, at: Instant) -> Entry {
    let Held { order_id, total, reference, status, captured, .. } = held;
    Entry {
        at,
        user_id: None,
        user_name: "lungo".into(),
        action: RELEASE_LOST.into(),
        subject: format!("payment:{reference}"),
        reason: Some("the order was lost when the database went back".into()),
        detail: json!({"order_id": order_id, "was": status, "amount": total.amount, "captured": captured,
            "currency": total.currency.to_string()}),
        request_id: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalogue::demo::LUNGO_CENTRAL;
    use crate::clock::now;
    use crate::gateway::simulator::GatewaySimulator;
    use crate::gateway::{Charge, Trouble};
    use crate::simulator::Speed;
    use crate::state::authorization_key;
    use crate::store::AuditFilter;
    use crate::web::harness::House;

    fn charge(order_id: OrderId) -> Charge {
        Charge {
            key: authorization_key(order_id),
            order_id,
            total: crate::order::Money { amount: 300, currency: "EUR".parse().unwrap() },
            method: "pm_card_visa".into(),
            traceparent: None,
            reference: None,
        }
    }

    #[actix_web::test]
    async fn what_is_known_or_may_yet_be_is_left_alone_and_the_rest_given_back_once() {
        let house = House::open().await;
        let store = house.app.store.clone();
        let gateway = Arc::new(GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap());
        let known = house.place(house.request(LUNGO_CENTRAL)).await;
        let draft = json!({"customer_id": "ada", "shop_id": LUNGO_CENTRAL, "lines": [{"item_id": "tea", "quantity": 1}],
            "payment": {"method": "pm_card_visa"}});
        let draft = house.post(&house.partner, "/v1/drafts", draft).await.body["order_id"].clone();
        let draft: OrderId = draft.as_str().unwrap().parse().unwrap();
        let (held, taken, given_back) = (OrderId::new(), OrderId::new(), OrderId::new());
        for order in [known, draft, held, taken, given_back] {
            gateway.authorize(&charge(order)).await.unwrap();
        }
        for order in [taken, given_back] {
            gateway.capture(&charge(order), 200).await.unwrap();
        }
        gateway.refund(&charge(given_back), 200).await.unwrap();
        let is = async |order| {
            let held = gateway.look_up(&charge(order)).await.unwrap().unwrap();
            (held.status, held.refunded)
        };
        let lost = Lost {
            store: store.clone(),
            gateway: gateway.clone(),
            patience: Duration::from_secs(5),
            wait: chrono::Duration::zero(),
            last_look: chrono::Duration::hours(24),
            clock: now,
        };
        lost.round().await.unwrap();
        assert_eq!(is(held).await, (HeldStatus::Authorized, 0), "without a loss nothing is lost");

        store.note_restored(now(), now()).await.unwrap();
        for _ in 0..2 {
            lost.round().await.unwrap();
            assert_eq!(is(known).await, (HeldStatus::Authorized, 0));
            assert_eq!(is(draft).await, (HeldStatus::Authorized, 0), "it may yet be confirmed");
            assert_eq!(is(held).await, (HeldStatus::Voided, 0));
            assert_eq!(is(taken).await, (HeldStatus::Captured, 200));
            let filter = AuditFilter { action: Some(RELEASE_LOST.into()), ..AuditFilter::default() };
            assert_eq!(store.audit(filter, 10).await.unwrap().len(), 2, "each of the two once");
        }
        let loss = store.loss().await.unwrap().expect("the draft is not decided");
        assert!(!loss.is_last() && loss.look_at > now());

        // The draft has expired by then; then there is a last look.
        house.app.store.looked_for_lost(loss.clone(), true, now()).await.unwrap();
        let last = store.loss().await.unwrap().unwrap();
        assert!(last.is_last());
        store.looked_for_lost(loss, true, now()).await.unwrap();
        assert_eq!(store.loss().await.unwrap(), Some(last.clone()), "an older look says nothing of this one");
        store.looked_for_lost(last, true, now()).await.unwrap();
        assert_eq!(store.loss().await.unwrap(), None);
    }

    #[actix_web::test]
    async fn an_expired_draft_is_an_order_that_nobody_makes_any_more() {
        let house = House::open().await;
        let draft = json!({"customer_id": "ada", "shop_id": LUNGO_CENTRAL, "lines": [{"item_id": "tea", "quantity": 1}],
            "payment": {"method": "pm_card_visa"}});
        let draft = house.post(&house.partner, "/v1/drafts", draft).await.body["order_id"].clone();
        let draft: OrderId = draft.as_str().unwrap().parse().unwrap();
        let gateway = GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap();
        let held = gateway.authorize(&charge(draft)).await.unwrap();
        let judge = async |at| house.app.store.judge_lost(vec![(draft, entry(&held, at))], at).await;
        house.app.store.watch_history(now(), chrono::Duration::zero()).await.unwrap();
        assert_eq!(judge(now()).await.unwrap().undecided, 1);
        assert_eq!(judge(now() + chrono::Duration::hours(1)).await.unwrap().lost, [draft]);
    }

    #[tokio::test]
    async fn what_a_payment_is_now_decides_how_it_is_given_back() {
        let gateway = GatewaySimulator::open(None, Speed::Zero, String::new()).unwrap();
        let order = OrderId::new();
        let listed = gateway.authorize(&charge(order)).await.unwrap();
        gateway.capture(&charge(order), 250).await.unwrap();
        for _ in 0..2 {
            assert_eq!(stages::give_back_lost(&listed, &gateway).await, Ok(Freed::Refunded));
        }
        let other = Held { reference: "another".into(), ..listed };
        let refused = stages::give_back_lost(&other, &gateway).await;
        assert!(matches!(refused, Err(Trouble::Unanswered(_))), "{refused:?}");
    }
}
