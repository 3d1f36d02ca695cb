//! What the simulator holds, in the form of Stripe's objects.

use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gateway::simulator::{Entry, Operation, Refund};
use crate::gateway::stripe::units;
use crate::gateway::{Held, HeldStatus};
use crate::order::Money;

/// How many refunds an intent shows.
const SHOWN: usize = 10;

/// A PaymentIntent, with its latest charge and the charge's refunds.
pub fn intent(entry: &Entry) -> Value {
    let (id, held) = (&entry.key, &entry.held);
    let status = match held.status {
        HeldStatus::Prepared => "requires_confirmation",
        HeldStatus::ActionRequired => "requires_action",
        HeldStatus::Authorized => "requires_capture",
        HeldStatus::Declined => "requires_payment_method",
        HeldStatus::Voided => "canceled",
        HeldStatus::Captured => "succeeded",
    };
    let capturable = if held.status == HeldStatus::Authorized { held.total.amount } else { 0 };
    let is_charged = matches!(held.status, HeldStatus::Authorized | HeldStatus::Captured);
    let next_action = held
        .action
        .as_ref()
        .map(|action| json!({"type": "redirect_to_url", "redirect_to_url": {"url": action.url, "return_url": null}}));
    let error = held.refusal.as_ref().map(|refusal| json!({"code": "card_declined", "decline_code": refusal}));
    json!({
        "id": id,
        "object": "payment_intent",
        "amount": written(held.total.amount, held),
        "amount_capturable": written(capturable, held),
        "amount_received": written(held.captured, held),
        "capture_method": "manual",
        "client_secret": format!("{id}_secret_simulated"),
        "currency": held.total.currency.as_str().to_lowercase(),
        "last_payment_error": error,
        "latest_charge": is_charged.then(|| charge(entry)),
        "livemode": false,
        "metadata": metadata(held),
        "next_action": next_action,
        "status": status,
    })
}

/// What was never taken of what was held: Stripe shows it as refunded after a partial capture.
fn left(held: &Held) -> i64 {
    if held.status == HeldStatus::Captured { held.total.amount - held.captured } else { 0 }
}

/// The refunds of a charge, the newest first. What a partial capture left is the oldest.
pub fn refunds(entry: &Entry) -> Vec<Value> {
    let (held, left) = (&entry.held, left(&entry.held));
    let released = (left > 0)
        .then(|| json!({"id": "re_left", "amount": written(left, held), "status": "succeeded", "metadata": {}}));
    (0..entry.refunds.len()).rev().filter_map(|n| refund(entry, n)).chain(released).collect()
}

fn charge(entry: &Entry) -> Value {
    let (id, held) = (&entry.key, &entry.held);
    let is_captured = held.status == HeldStatus::Captured;
    let left = left(held);
    let mut refunds = refunds(entry);
    let has_more = refunds.len() > SHOWN;
    refunds.truncate(SHOWN);
    json!({
        "id": id.replacen("pi_", "ch_", 1),
        "object": "charge",
        "amount": written(held.total.amount, held),
        "amount_captured": written(held.captured, held),
        "amount_refunded": written(held.refunded + left, held),
        "captured": is_captured,
        "refunded": is_captured && held.refunded + left == held.total.amount,
        "metadata": metadata(held),
        "payment_intent": id,
        "payment_method_details": {"card": {"capture_before": held.capture_before.map(|at| at.timestamp())}},
        "refunds": {"object": "list", "data": refunds, "has_more": has_more},
    })
}

/// The n-th refund of a charge. Only those of the service name its order.
pub fn refund(entry: &Entry, n: usize) -> Option<Value> {
    let Refund { amount, is_ours, has_failed } = entry.refunds.get(n)?;
    Some(json!({
        "id": format!("re_{n}_{}", entry.key),
        "object": "refund",
        "amount": written(*amount, &entry.held),
        "metadata": if *is_ours { metadata(&entry.held) } else { json!({}) },
        "payment_intent": entry.key,
        "status": if *has_failed { "failed" } else { "succeeded" },
    }))
}

/// The charge and the place of a refund of that id.
pub fn refund_of(id: &str) -> Option<(&str, usize)> {
    let (n, key) = id.strip_prefix("re_")?.split_once('_')?;
    Some((key, n.parse().ok()?))
}

/// What is sent to a subscriber once a payment stands so.
pub fn event(entry: &Entry) -> Value {
    let last = entry.refunds.len().checked_sub(1);
    let failed = entry.refunds.iter().rposition(|refund| refund.has_failed);
    let (kind, object) = match (entry.held.status, entry.operation) {
        (_, Operation::RefundFailed) => ("refund.failed", failed.and_then(|n| refund(entry, n)).unwrap_or_default()),
        (HeldStatus::Prepared, _) => ("payment_intent.created", intent(entry)),
        (HeldStatus::ActionRequired, _) => ("payment_intent.requires_action", intent(entry)),
        (HeldStatus::Authorized, _) => ("payment_intent.amount_capturable_updated", intent(entry)),
        (HeldStatus::Declined, _) => ("payment_intent.payment_failed", intent(entry)),
        (HeldStatus::Voided, _) => ("payment_intent.canceled", intent(entry)),
        (HeldStatus::Captured, _) if last.is_some() => ("charge.refunded", charge(entry)),
        (HeldStatus::Captured, _) => ("payment_intent.succeeded", intent(entry)),
    };
    json!({
        "id": format!("evt_{}", Uuid::now_v7().simple()),
        "object": "event",
        "created": Utc::now().timestamp(),
        "type": kind,
        "data": {"object": object},
    })
}

fn metadata(held: &Held) -> Value {
    if held.order_id.0.is_nil() { json!({}) } else { json!({"order_id": held.order_id}) }
}

/// An amount of its currency, as Stripe writes it. What is held came in as such.
fn written(amount: i64, held: &Held) -> i64 {
    units::written(Money { amount, ..held.total }).unwrap_or(amount)
}
