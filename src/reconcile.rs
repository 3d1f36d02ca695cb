//! Compares what the gateway holds with what the orders decided: rule I3, checked from outside. Work that is pending
//! excuses a difference for as long as it is being done: an order that is set aside, or long overdue, is a fault.

use std::collections::HashMap;

use chrono::Duration;
use serde::Serialize;
use strum::Display;

use crate::gateway::simulator::Entry;
use crate::gateway::{Held, HeldStatus};
use crate::lifecycle::{PaymentStatus, Status};
use crate::order::{Instant, OrderId};
use crate::state::Order;

/// One order and its charge, side by side. Amounts are minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub order_id: OrderId,
    pub status: Option<Status>,
    pub payment_status: Option<PaymentStatus>,
    /// What the gateway says of the charge.
    pub gateway: Option<String>,
    /// Held, not taken.
    pub held: i64,
    pub captured: i64,
    pub refunded: i64,
    pub verdict: Verdict,
}

impl Finding {
    /// What the customer has paid in the end.
    pub fn net(&self) -> i64 {
        self.captured - self.refunded
    }
}

/// Whether the two agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    Agrees,
    /// Work is pending on the order, so that they may still differ.
    UnderWay,
    /// An operator has to look at it: no work is done on it meanwhile.
    Parked,
    /// Its work should have been done long ago.
    Overdue,
    ChargeWithoutOrder,
    OrderWithoutMoney,
    WrongAmount,
}

impl Verdict {
    pub fn is_wrong(self) -> bool {
        !matches!(self, Self::Agrees | Self::UnderWay)
    }
}

/// An order whose work is due, or whose deadline has come, is taken up long before this …
const UNTAKEN: Duration = Duration::minutes(10);
/// … and the money of one that is over is where it belongs.
const UNSETTLED: Duration = Duration::hours(1);

/// Every order with its charge, and every charge without an order.
pub fn reconcile(orders: &[Order], charges: &[Entry], now: Instant) -> Vec<Finding> {
    let mut unmatched: HashMap<OrderId, &Entry> = charges.iter().map(|entry| (entry.held.order_id, entry)).collect();
    let mut findings: Vec<Finding> =
        orders.iter().map(|order| judge(order, unmatched.remove(&order.id).map(|entry| &entry.held), now)).collect();
    let mut orphans: Vec<&Entry> = unmatched.into_values().collect();
    orphans.sort_by_key(|entry| entry.held.order_id);
    findings.extend(orphans.into_iter().map(|entry| {
        // What was taken and given back in full is done with: else a reconciliation would never end at zero again.
        let holds_money = match entry.held.status {
            HeldStatus::Prepared | HeldStatus::Voided | HeldStatus::Declined => false,
            HeldStatus::ActionRequired | HeldStatus::Authorized => true,
            HeldStatus::Captured => entry.held.refunded < entry.held.captured,
        };
        let verdict = if holds_money { Verdict::ChargeWithoutOrder } else { Verdict::Agrees };
        finding(entry.held.order_id, None, Some(&entry.held), verdict)
    }));
    findings
}

/// One order beside what the gateway holds for it.
pub fn judge(order: &Order, held: Option<&Held>, now: Instant) -> Finding {
    use PaymentStatus as P;
    let mut found = finding(order.id, Some(order), held, Verdict::Agrees);
    let payment = &order.payment;
    let says_money =
        matches!(payment.status, P::Authorized | P::Captured | P::CaptureFailed | P::PartiallyRefunded | P::Refunded);
    // What went back otherwise than through the gateway is still there.
    let expected_net = payment.captured - (payment.refunded - payment.refunded_elsewhere);
    let is_held = matches!(payment.status, P::Authorized | P::CaptureFailed);
    let expected_held = if is_held { payment.authorized } else { 0 };
    // A sale is paid for, and nothing is owed: more than is due, or what an undone order took, is a debt.
    let is_sale = matches!(order.status, Status::Completed | Status::NotCollected);
    let is_unpaid = is_sale && payment.status != P::CaptureFailed && payment.captured < order.amount_due();
    let is_pending = order.task.stage.is_some() && !payment.last_look;
    found.verdict = if order.task.parked_at.is_some() {
        Verdict::Parked
    } else if is_pending && is_overdue(order, now) {
        Verdict::Overdue
    } else if is_pending {
        Verdict::UnderWay
    } else if says_money && held.is_none() {
        Verdict::OrderWithoutMoney
    } else if found.net() != expected_net
        // Nothing may be left of a hold that could not be taken.
        || (found.held != expected_held && !(payment.status == P::CaptureFailed && found.held == 0))
        || (order.status.is_over() && (is_unpaid || order.is_owing()))
    {
        Verdict::WrongAmount
    } else {
        Verdict::Agrees
    };
    found
}

/// Whether work is pending on the order that should have been done long ago.
fn is_overdue(order: &Order, now: Instant) -> bool {
    let is_before = |at: Option<Instant>, patience| at.is_some_and(|at| now - at > patience);
    let settles_since = order.status.is_over().then_some(order.updated_at);
    is_before(order.task.next_attempt_at, UNTAKEN)
        || is_before(order.deadline_at, UNTAKEN)
        || is_before(settles_since, UNSETTLED)
}

fn finding(order_id: OrderId, order: Option<&Order>, held: Option<&Held>, verdict: Verdict) -> Finding {
    let is_live = |status| matches!(status, HeldStatus::Authorized | HeldStatus::ActionRequired);
    Finding {
        order_id,
        status: order.map(|order| order.status),
        payment_status: order.map(|order| order.payment.status),
        gateway: held.map(|held| serde_json::to_value(held.status).expect("a word").as_str().unwrap_or("").to_owned()),
        held: held.filter(|held| is_live(held.status)).map_or(0, |held| held.total.amount),
        captured: held.map_or(0, |held| held.captured),
        refunded: held.map_or(0, |held| held.refunded),
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{after, at, event, order_in};
    use crate::lifecycle::{Actor, Event, EventKind};

    fn verdict(order: &Order, seconds: i64) -> Verdict {
        judge(order, None, at(seconds)).verdict
    }

    #[test]
    fn work_that_is_being_done_excuses_a_difference_and_work_that_is_not_does_not() {
        let offer = order_in(Status::AwaitingShop);
        assert_eq!(verdict(&offer, 60), Verdict::UnderWay);
        assert_eq!(verdict(&offer, 601), Verdict::Overdue, "no worker took it");
        let parked = after(&offer, &event(EventKind::Parked), Actor::Worker, at(1));
        assert_eq!(verdict(&parked, 1), Verdict::Parked);
        assert!(Verdict::Parked.is_wrong() && Verdict::Overdue.is_wrong() && !Verdict::UnderWay.is_wrong());
        let mut capture = order_in(Status::Completed);
        capture.task.next_attempt_at = Some(at(4_000));
        assert_eq!([3_600, 3_601].map(|seconds| verdict(&capture, seconds)), [Verdict::UnderWay, Verdict::Overdue]);
        let refund = after(
            &after(&capture, &event(EventKind::PaymentCaptured), Actor::Worker, at(9)),
            &Event::RefundRequested { amount: 100, note: None },
            Actor::Operator,
            at(90_000),
        );
        assert_eq!(verdict(&refund, 90_001), Verdict::UnderWay, "it was only asked for now");
    }

    #[test]
    fn a_last_look_that_has_to_wait_is_no_work_that_is_late() {
        let mut order = order_in(Status::Failed);
        (order.payment.last_look, order.task.stage) = (true, Some(crate::lifecycle::Stage::LookUp));
        order.task.next_attempt_at = Some(at(86_400));
        assert_eq!(verdict(&order, 50_000), Verdict::Agrees);
    }
}
