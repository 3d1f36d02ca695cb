//! Compares what the gateway holds with what the orders decided: rule I3, checked from outside.

use std::collections::HashMap;

use serde::Serialize;
use strum::Display;

use crate::gateway::simulator::Entry;
use crate::gateway::{Held, HeldStatus};
use crate::lifecycle::{PaymentStatus, Status};
use crate::order::OrderId;
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
    ChargeWithoutOrder,
    OrderWithoutMoney,
    WrongAmount,
}

impl Verdict {
    pub fn is_wrong(self) -> bool {
        !matches!(self, Self::Agrees | Self::UnderWay)
    }
}

/// Every order with its charge, and every charge without an order.
pub fn reconcile(orders: &[Order], charges: &[Entry]) -> Vec<Finding> {
    let mut unmatched: HashMap<OrderId, &Entry> = charges.iter().map(|entry| (entry.held.order_id, entry)).collect();
    let mut findings: Vec<Finding> =
        orders.iter().map(|order| judge(order, unmatched.remove(&order.id).map(|entry| &entry.held))).collect();
    let mut orphans: Vec<&Entry> = unmatched.into_values().collect();
    orphans.sort_by_key(|entry| entry.held.order_id);
    findings.extend(orphans.into_iter().map(|entry| {
        let holds_money =
            !matches!(entry.held.status, HeldStatus::Prepared | HeldStatus::Voided | HeldStatus::Declined);
        let verdict = if holds_money { Verdict::ChargeWithoutOrder } else { Verdict::Agrees };
        finding(entry.held.order_id, None, Some(&entry.held), verdict)
    }));
    findings
}

/// One order beside what the gateway holds for it.
pub fn judge(order: &Order, held: Option<&Held>) -> Finding {
    use PaymentStatus as P;
    let mut found = finding(order.id, Some(order), held, Verdict::Agrees);
    let payment = &order.payment;
    let says_money =
        matches!(payment.status, P::Authorized | P::Captured | P::CaptureFailed | P::PartiallyRefunded | P::Refunded);
    let expected_net = match payment.status {
        P::Captured | P::PartiallyRefunded | P::Refunded => payment.captured - payment.refunded,
        _ => 0,
    };
    let is_held = matches!(payment.status, P::Authorized | P::CaptureFailed);
    let expected_held = if is_held { payment.authorized } else { 0 };
    // What the events decided about a sale that took place.
    let is_due = match order.status {
        Status::Completed | Status::NotCollected => order.amount_due() - payment.refund_target,
        _ if order.status.is_undone() && payment.release => 0,
        _ => expected_net,
    };
    found.verdict = if order.task.stage.is_some() && !payment.last_look {
        Verdict::UnderWay
    } else if says_money && held.is_none() {
        Verdict::OrderWithoutMoney
    } else if found.net() != expected_net
        || found.held != expected_held
        || (payment.status != P::CaptureFailed && order.status.is_over() && found.net() != is_due)
    {
        Verdict::WrongAmount
    } else {
        Verdict::Agrees
    };
    found
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
