//! A PaymentIntent as the API shows it, and what it says in the words of the port.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use uuid::Uuid;

use super::units;
use crate::gateway::{Held, HeldStatus, Trouble};
use crate::order::{Instant, Money, OrderId, PaymentAction};

/// What is read of a PaymentIntent, its latest charge and the charge's refunds among it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Intent {
    pub id: String,
    amount: i64,
    /// Left out by some who speak like Stripe.
    amount_received: Option<i64>,
    currency: String,
    status: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    client_secret: Option<String>,
    next_action: Option<NextAction>,
    last_payment_error: Option<PaymentError>,
    latest_charge: Option<LatestCharge>,
}

#[derive(Clone, Debug, Deserialize)]
struct NextAction {
    #[serde(rename = "type")]
    kind: String,
    redirect_to_url: Option<Redirect>,
}

#[derive(Clone, Debug, Deserialize)]
struct Redirect {
    url: String,
}

#[derive(Clone, Debug, Deserialize)]
struct PaymentError {
    code: Option<String>,
    decline_code: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Expanded(Box<Charge>),
    /// In answers that nobody asked to expand: within an error.
    Bare(#[allow(dead_code, reason = "only its form tells it apart")] String),
}

#[derive(Clone, Debug, Deserialize)]
struct Charge {
    amount_captured: Option<i64>,
    #[serde(default)]
    amount_refunded: i64,
    #[serde(default)]
    refunded: bool,
    payment_method_details: Option<MethodDetails>,
    refunds: Option<Refunds>,
}

#[derive(Clone, Debug, Deserialize)]
struct MethodDetails {
    card: Option<CardDetails>,
}

#[derive(Clone, Debug, Deserialize)]
struct CardDetails {
    capture_before: Option<i64>,
}

/// Some refunds of a charge, the newest first.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refunds {
    data: Vec<Refund>,
    #[serde(default)]
    has_more: bool,
}

impl Refunds {
    /// How many of them this service asked for, whatever has become of them.
    pub fn asked_for(&self) -> usize {
        self.data.iter().filter(|refund| refund.is_asked_for()).count()
    }

    /// After which refund the next page begins.
    pub fn next(&self) -> Option<&str> {
        self.data.last().filter(|_| self.has_more).map(|refund| refund.id.as_str())
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Refund {
    #[serde(default)]
    id: String,
    amount: i64,
    status: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Refund {
    /// Made by this service. What a person refunds by hand is not, and neither is what appears as a refund after a partial
    /// capture: the rest, which was never taken.
    fn is_asked_for(&self) -> bool {
        self.metadata.contains_key("order_id")
    }

    fn has_failed(&self) -> bool {
        matches!(self.status.as_str(), "failed" | "canceled")
    }
}

impl Intent {
    pub fn is_canceled(&self) -> bool {
        self.status == "canceled"
    }

    /// Whether that installation made it, for one of its orders.
    pub fn is_of(&self, installation: &str) -> bool {
        let has_order = self.metadata.get("order_id").is_some_and(|id| id.parse::<OrderId>().is_ok());
        has_order && self.metadata.get("installation").is_some_and(|name| name == installation)
    }

    /// What the intent says. `was_refused` tells that its confirmation was: an intent that still waits for one will
    /// not get it.
    ///
    /// # Errors
    /// `Unanswered` for what is not decided yet or not understood.
    pub fn held(&self, was_refused: bool) -> Result<Held, Trouble> {
        let unclear = |what: &str| Trouble::Unanswered(format!("the intent {what}"));
        let currency = self.currency.to_uppercase().parse().map_err(|_| unclear("has no known currency"))?;
        let failure = self.last_payment_error.as_ref();
        let status = match self.status.as_str() {
            "requires_payment_method" => HeldStatus::Declined,
            "requires_confirmation" if was_refused => HeldStatus::Declined,
            "requires_confirmation" => HeldStatus::Prepared,
            "requires_action" => HeldStatus::ActionRequired,
            "requires_capture" => HeldStatus::Authorized,
            "succeeded" => HeldStatus::Captured,
            "canceled" if failure.is_some() => HeldStatus::Declined,
            "canceled" => HeldStatus::Voided,
            other => return Err(unclear(&format!("is {other:.40}"))),
        };
        let captured = if status == HeldStatus::Captured { self.captured() } else { 0 };
        let refunded = if status == HeldStatus::Captured { self.refunded(captured)? } else { 0 };
        let read =
            |amount| units::read(amount, currency).ok_or_else(|| unclear("has an amount that its currency has not"));
        let refused = |failure: &PaymentError| failure.decline_code.clone().or(failure.code.clone());
        Ok(Held {
            // Without the id of an order it is nobody's, and will be told from everybody's.
            order_id: self.metadata.get("order_id").and_then(|id| id.parse().ok()).unwrap_or(OrderId(Uuid::nil())),
            total: Money { amount: read(self.amount)?, currency },
            reference: self.id.clone(),
            status,
            captured: read(captured)?,
            refunded: read(refunded)?,
            capture_before: self.capture_before().filter(|_| status == HeldStatus::Authorized),
            action: self.action().filter(|_| status == HeldStatus::ActionRequired),
            refusal: (status == HeldStatus::Declined)
                .then(|| failure.and_then(refused).unwrap_or_else(|| "declined".into())),
        })
    }

    fn charge(&self) -> Option<&Charge> {
        match &self.latest_charge {
            Some(LatestCharge::Expanded(charge)) => Some(charge),
            Some(LatestCharge::Bare(_)) | None => None,
        }
    }

    fn captured(&self) -> i64 {
        let told = self.amount_received.or_else(|| self.charge()?.amount_captured);
        told.unwrap_or_else(|| {
            let refunds = self.charge().and_then(|charge| charge.refunds.as_ref());
            let rest = refunds.into_iter().flat_map(|list| &list.data).filter(|refund| !refund.is_asked_for());
            self.amount - rest.map(|refund| refund.amount).sum::<i64>()
        })
    }

    /// All that went back, by this service and by hand. After a partial capture the rest, which was never taken, appears
    /// among the refunds as well, and is no refund.
    fn refunded(&self, captured: i64) -> Result<i64, Trouble> {
        let rest = self.amount - captured;
        let (sum, has_rest) = match self.charge() {
            Some(Charge { refunds: Some(Refunds { data, has_more: false }), .. }) if !data.is_empty() => {
                let given = data.iter().filter(|refund| !refund.has_failed());
                let has_rest = data.iter().any(|refund| !refund.is_asked_for() && refund.amount == rest);
                (given.map(|refund| refund.amount).sum(), has_rest)
            }
            Some(Charge { refunded: true, .. }) => (captured, false),
            // Only the newest refunds are listed; the rest of a partial capture would be the oldest.
            Some(Charge { refunds: Some(_), amount_refunded: sum, .. }) => (*sum, *sum >= rest),
            Some(Charge { amount_refunded: sum, .. }) if rest == 0 => (*sum, false),
            _ => return Err(Trouble::Unanswered("the intent does not say what was refunded".into())),
        };
        Ok((sum - if has_rest { rest } else { 0 }).clamp(0, captured))
    }

    /// How many refunds this service asked for; `None` where the list goes on.
    pub fn refunds_asked_for(&self) -> Option<usize> {
        match self.charge().and_then(|charge| charge.refunds.as_ref()) {
            None => Some(0),
            Some(list) => (!list.has_more).then(|| list.asked_for()),
        }
    }

    fn capture_before(&self) -> Option<Instant> {
        let card = self.charge()?.payment_method_details.as_ref()?.card.as_ref()?;
        DateTime::from_timestamp(card.capture_before?, 0)
    }

    fn action(&self) -> Option<PaymentAction> {
        let next = self.next_action.as_ref()?;
        Some(match &next.redirect_to_url {
            Some(redirect) => PaymentAction::redirect(redirect.url.clone()),
            None => PaymentAction { kind: next.kind.clone(), url: None, client_secret: self.client_secret.clone() },
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn intent(changes: Value) -> Intent {
        let mut value = json!({
            "id": "pi_1", "object": "payment_intent", "amount": 820, "amount_received": 0, "currency": "eur",
            "status": "requires_capture", "metadata": {"order_id": "01970000-0000-7000-8000-0000000000aa"},
            "client_secret": "pi_1_secret_2", "next_action": null, "last_payment_error": null,
            "latest_charge": {"amount": 820, "amount_refunded": 0, "refunded": false, "refunds": {"data": []},
                              "payment_method_details": {"card": {"capture_before": 1_767_600_000}}},
        });
        let members = changes.as_object().unwrap().clone();
        value.as_object_mut().unwrap().extend(members);
        serde_json::from_value(value).unwrap()
    }

    #[rstest]
    #[case("requires_confirmation", HeldStatus::Prepared)]
    #[case("requires_action", HeldStatus::ActionRequired)]
    #[case("requires_capture", HeldStatus::Authorized)]
    #[case("requires_payment_method", HeldStatus::Declined)]
    #[case("canceled", HeldStatus::Voided)]
    #[case("succeeded", HeldStatus::Captured)]
    fn every_status_has_its_word(#[case] status: &str, #[case] word: HeldStatus) {
        let held = intent(json!({"status": status})).held(false).unwrap();
        assert_eq!((held.status, held.total.amount, held.reference.as_str()), (word, 820, "pi_1"));
        assert_eq!(held.order_id.to_string(), "01970000-0000-7000-8000-0000000000aa");
    }

    #[rstest]
    #[case(json!({"status": "processing"}))]
    #[case(json!({"status": "requires_teleportation"}))]
    #[case(json!({"currency": "coffee"}))]
    #[case(json!({"status": "succeeded", "amount_received": 400, "latest_charge": "ch_1"}))]
    fn what_is_undecided_or_unclear_is_unknown(#[case] changes: Value) {
        assert!(matches!(intent(changes).held(false), Err(Trouble::Unanswered(_))));
    }

    #[test]
    fn amounts_are_read_in_minor_units() {
        let taken = json!({"status": "succeeded", "currency": "ugx", "amount": 500_000, "amount_received": 400_000,
        "latest_charge": {"amount_refunded": 200_000, "refunds": {"data": [
            {"amount": 100_000, "status": "succeeded", "metadata": {"order_id": "x"}},
            {"amount": 100_000, "status": "succeeded", "metadata": {}},
        ]}}});
        let held = intent(taken).held(false).unwrap();
        assert_eq!((held.total.amount, held.captured, held.refunded), (5_000, 4_000, 1_000));
        let cents = intent(json!({"currency": "ugx", "amount": 5_050}));
        assert!(matches!(cents.held(false), Err(Trouble::Unanswered(_))), "no shilling has cents");
    }

    #[test]
    fn an_intent_without_an_order_is_nobodys() {
        for metadata in [json!({}), json!({"order_id": "my first order"})] {
            assert_eq!(intent(json!({"metadata": metadata})).held(false).unwrap().order_id, OrderId(Uuid::nil()));
        }
    }

    #[test]
    fn the_remainder_of_a_partial_capture_is_not_a_refund() {
        let charge = json!({"amount": 820, "amount_refunded": 520, "refunded": false, "refunds": {"data": [
            {"amount": 420, "status": "succeeded", "metadata": {}},
            {"amount": 100, "status": "succeeded", "metadata": {"order_id": "x"}},
            {"amount": 50, "status": "failed", "metadata": {"order_id": "x"}},
        ]}});
        for received in [json!(400), Value::Null] {
            let taken = json!({"status": "succeeded", "amount_received": received, "latest_charge": charge});
            let held = intent(taken).held(false).unwrap();
            assert_eq!((held.captured, held.refunded), (400, 100));
        }
        let all_back = json!({"amount": 820, "amount_refunded": 820, "refunded": true});
        let taken = json!({"status": "succeeded", "amount_received": 400, "latest_charge": all_back});
        assert_eq!(intent(taken).held(false).unwrap().refunded, 400);
    }

    #[test]
    fn a_refund_made_by_hand_counts_after_a_partial_capture_too() {
        let rest = json!({"amount": 250, "status": "succeeded", "metadata": {}});
        let by_hand = json!({"amount": 100, "status": "succeeded", "metadata": {}});
        let ours = json!({"amount": 50, "status": "pending", "metadata": {"order_id": "x"}});
        let refunded = |refunds: Value, has_more: bool| {
            let sum: i64 = refunds.as_array().unwrap().iter().map(|refund| refund["amount"].as_i64().unwrap()).sum();
            let charge = json!({"amount_refunded": if has_more { 400 } else { sum }, "refunded": false,
                                "refunds": {"data": refunds, "has_more": has_more}});
            let taken = json!({"status": "succeeded", "amount_received": 570, "latest_charge": charge});
            intent(taken).held(false).unwrap().refunded
        };
        assert_eq!(refunded(json!([rest, by_hand]), false), 100);
        assert_eq!(refunded(json!([by_hand, ours, rest]), false), 150);
        assert_eq!(refunded(json!([by_hand, ours]), false), 150, "the rest does not appear everywhere");
        assert_eq!(refunded(json!([by_hand]), true), 150, "the list goes on: the sum counts");
    }

    #[test]
    fn a_refund_made_by_hand_counts_where_all_was_taken() {
        let charge = json!({"amount": 820, "amount_refunded": 300, "refunded": false, "refunds": {"data": []}});
        let taken = json!({"status": "succeeded", "amount_received": 820, "latest_charge": charge});
        assert_eq!(intent(taken).held(false).unwrap().refunded, 300);
    }

    #[test]
    fn the_app_is_told_what_it_needs_for_3_d_secure() {
        let action =
            |next: Value| intent(json!({"status": "requires_action", "next_action": next})).held(false).unwrap().action;
        let page = json!({"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example/1"}});
        assert_eq!(action(page), Some(PaymentAction::redirect("https://bank.example/1".into())));
        let by_library = action(json!({"type": "use_stripe_sdk", "use_stripe_sdk": {}})).unwrap();
        assert_eq!((by_library.kind.as_str(), by_library.url), ("use_stripe_sdk", None));
        assert_eq!(by_library.client_secret.as_deref(), Some("pi_1_secret_2"));
        assert_eq!(action(Value::Null), None, "then nobody can do anything");
    }

    #[test]
    fn a_decline_says_why() {
        let error = json!({"code": "card_declined", "decline_code": "lost_card"});
        for status in ["requires_payment_method", "canceled"] {
            let held = intent(json!({"status": status, "last_payment_error": error})).held(false).unwrap();
            assert_eq!((held.status, held.refusal.as_deref()), (HeldStatus::Declined, Some("lost_card")));
        }
    }
}
