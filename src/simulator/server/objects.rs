//! What the simulator holds, in the form of Stripe's objects.

use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gateway::stripe::units;
use crate::gateway::{Held, HeldStatus};
use crate::order::Money;

/// A PaymentIntent, with its latest charge and the charge's refunds.
pub fn intent(id: &str, held: &Held) -> Value {
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
        "latest_charge": is_charged.then(|| charge(id, held)),
        "livemode": false,
        "metadata": metadata(held),
        "next_action": next_action,
        "status": status,
    })
}

/// What was left after a partial capture shows as refunded, as it does at Stripe.
fn charge(id: &str, held: &Held) -> Value {
    let is_captured = held.status == HeldStatus::Captured;
    let left = if is_captured { held.total.amount - held.captured } else { 0 };
    let asked_for = (held.refunded > 0).then(|| refund(id, held.refunded, held));
    let released = (left > 0)
        .then(|| json!({"id": "re_left", "amount": written(left, held), "status": "succeeded", "metadata": {}}));
    let refunds: Vec<Value> = asked_for.into_iter().chain(released).collect();
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
        "refunds": {"object": "list", "data": refunds},
    })
}

/// A refund of so much.
pub fn refund(id: &str, amount: i64, held: &Held) -> Value {
    json!({
        "id": format!("re_{}", Uuid::now_v7().simple()),
        "object": "refund",
        "amount": written(amount, held),
        "metadata": metadata(held),
        "payment_intent": id,
        "status": "succeeded",
    })
}

/// What is sent to a subscriber once a payment stands so.
pub fn event(id: &str, held: &Held) -> Value {
    let kind = match held.status {
        HeldStatus::Prepared => "payment_intent.created",
        HeldStatus::ActionRequired => "payment_intent.requires_action",
        HeldStatus::Authorized => "payment_intent.amount_capturable_updated",
        HeldStatus::Declined => "payment_intent.payment_failed",
        HeldStatus::Voided => "payment_intent.canceled",
        HeldStatus::Captured if held.refunded > 0 => "charge.refunded",
        HeldStatus::Captured => "payment_intent.succeeded",
    };
    let object = if kind == "charge.refunded" { charge(id, held) } else { intent(id, held) };
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
