//! What an event says, and how an operator did something, as people read it: words, amounts in their currency, instants
//! to the second. The JSON of both is a click away.

use serde_json::Value;

use super::show;
use crate::lifecycle::{Event, Refund};
use crate::order::{Instant, Pickup, PickupType};
use crate::state::Order;

/// What stands in the place of what somebody wrote: it may be about a person.
const HIDDEN: &str = "hidden";

/// What an event of an order says beyond its name.
pub fn event(event: &Event, order: &Order) -> String {
    let money = |minor: i64| show::amount(minor, order.placed.total.currency.as_str());
    let at = |at: &Instant| format!("{} UTC", show::instant(at));
    let parts = match event {
        Event::PaymentAuthorized { amount, reference, capture_before } => vec![
            format!("{} held", money(*amount)),
            format!("reference {reference}"),
            capture_before.as_ref().map_or_else(String::new, |until| format!("to be taken before {}", at(until))),
        ],
        Event::PaymentActionRequired { action, reference } => {
            vec![format!("the bank asks the customer: {}", show::plain(&action.kind)), format!("reference {reference}")]
        }
        Event::PaymentDeclined { refusal } | Event::CaptureRefused { refusal } => {
            vec![format!("the gateway says: {}", show::plain(refusal))]
        }
        Event::ShopAccepted { minutes, dropped_lines } => vec![
            minutes.map_or_else(String::new, |minutes| format!("ready in {minutes} min")),
            dropped(dropped_lines, order),
        ],
        Event::ShopRejected { reason } | Event::ShopCancelled { reason } => vec![show::plain(reason.word())],
        Event::OperatorCancelled { reason, refund, note } => vec![
            show::plain(reason.word()),
            match refund {
                Refund::Full => "full refund".into(),
                Refund::None => "no refund".into(),
                Refund::Partial(amount) => format!("partial refund {}", money(*amount)),
            },
            written(note),
        ],
        Event::RefundReduced { amount, note } => vec![format!("{} less to refund", money(*amount)), written(note)],
        Event::RefundFailed { amount } => vec![format!("a refund failed, {} refunded in all", money(*amount))],
        Event::RefundRequested { amount, note } => vec![format!("refund {}", money(*amount)), written(note)],
        Event::ForceCompleted { note } | Event::Retried { note } => vec![written(note)],
        Event::PaymentPrepared { reference } => vec![format!("reference {reference}")],
        Event::PaymentCaptured { amount } => vec![format!("{} taken", money(*amount))],
        Event::PaymentRefunded { amount } => vec![format!("{} given back in all", money(*amount))],
        Event::PaymentSurfaced { status, amount } => {
            vec![format!("the gateway turned out to have it {}: {}", show::plain(status.word()), money(*amount))]
        }
        Event::OperationUnanswered { operation, amount } => {
            vec![format!("{} of {}", show::plain(operation), money(*amount))]
        }
        Event::PickupChanged { pickup, offer_at } => vec![
            told_pickup(pickup),
            offer_at.as_ref().map_or_else(String::new, |offer| format!("offered to the shop at {}", at(offer))),
        ],
        Event::FoundBegun { dropped_lines } => {
            vec!["after a restore the gateway shows that it was being made".into(), dropped(dropped_lines, order)]
        }
        Event::FoundSold { dropped_lines } => {
            vec!["after a restore the gateway shows that it was sold".into(), dropped(dropped_lines, order)]
        }
        Event::FoundUndone => vec!["after a restore the gateway shows that its money had gone back".into()],
        Event::DeadlineExtended { minutes } => vec![format!("{minutes} min more")],
        Event::Parked { why } => vec![why.clone()],
        Event::Contradicted { what } => vec![what.clone()],
        Event::Created
        | Event::PaymentExpired
        | Event::PaymentUnavailable
        | Event::PaymentUnknown
        | Event::PaymentHoldLost
        | Event::OrderDamaged
        | Event::SlotDue
        | Event::ShopTimedOut
        | Event::SlotMissed
        | Event::PreparationStarted
        | Event::Made
        | Event::Recalled
        | Event::Collected
        | Event::NotCollected
        | Event::Abandoned
        | Event::CustomerCancelled
        | Event::PaymentAttempted
        | Event::PaymentUnanswered
        | Event::PaymentVoided
        | Event::PaymentProven
        | Event::Offered
        | Event::Arrived
        | Event::Deleted
        | Event::OfferRepeated => Vec::new(),
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn dropped(lines: &[usize], order: &Order) -> String {
    let name = |line: &usize| order.placed.lines.get(*line).map_or("?", |line| &line.name);
    match lines {
        [] => String::new(),
        lines => format!("without {}", lines.iter().map(name).collect::<Vec<_>>().join(" and ")),
    }
}

fn written(note: &Option<String>) -> String {
    note.as_ref().map_or_else(String::new, |_| format!("note {HIDDEN}"))
}

fn told_pickup(pickup: &Pickup) -> String {
    let Pickup { kind, at, note, vehicle, name } = pickup;
    let place = match kind {
        PickupType::Counter => "at the counter",
        PickupType::Curbside => "at the curb",
    };
    let when = at.as_ref().map_or_else(|| "as soon as possible".into(), |at| format!("{} UTC", show::instant(at)));
    let personal = [("name", name), ("note", note), ("vehicle", vehicle)];
    let personal = personal.iter().filter(|(_, value)| value.is_some()).map(|(what, _)| format!(", {what} {HIDDEN}"));
    format!("{place}, {when}{}", personal.collect::<String>())
}

/// Details of the audit log that are amounts, in minor units of the `currency` beside them.
const AMOUNTS: &[&str] = &["amount", "captured", "price", "was", "partial"];
/// Names of things, which are told as they are.
const NAMES: &[&str] = &["item", "name", "label", "key", "delivery", "filter", "path", "bulk", "order_id", "address"];

/// How an operator did something: the detail of an entry of the audit log.
pub fn detail(detail: &Value) -> String {
    members(detail, detail["currency"].as_str())
}

/// Whether there is anything to tell.
pub fn is_said(detail: &Value) -> bool {
    detail.as_object().is_some_and(|members| !members.is_empty())
}

fn members(object: &Value, currency: Option<&str>) -> String {
    let told = object.as_object().into_iter().flatten().filter(|(name, _)| *name != "currency");
    let told = told.filter_map(|(name, value)| {
        let text = value_of(name, value, currency)?;
        Some(match name.as_str() {
            "refund" => text,
            name => format!("{}: {text}", show::plain(name)),
        })
    });
    told.collect::<Vec<_>>().join(", ")
}

/// `None` where there is nothing to say.
fn value_of(name: &str, value: &Value, currency: Option<&str>) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => match (number.as_i64(), currency) {
            (Some(minor), Some(currency)) if AMOUNTS.contains(&name) => show::amount(minor, currency),
            (Some(minor), None) if AMOUNTS.contains(&name) => format!("{} in minor units", show::grouped(minor)),
            (Some(number), _) => show::grouped(number),
            (None, _) => number.to_string(),
        },
        Value::String(text) if NAMES.contains(&name) => text.clone(),
        Value::String(word) if name == "refund" => match word.as_str() {
            "none" => "no refund".into(),
            word => format!("{} refund", show::plain(word)),
        },
        Value::String(text) => match text.parse::<Instant>() {
            Ok(at) => format!("{} UTC", show::instant(&at)),
            Err(_) if text.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_') => show::plain(text),
            Err(_) => text.clone(),
        },
        // Lines are counted from one by people.
        Value::Array(lines) if name == "lines" => {
            listed(lines, |line| line.as_u64().map_or_else(|| line.to_string(), |line| (line + 1).to_string()))
        }
        Value::Array(all) => listed(all, |one| value_of(name, one, currency).unwrap_or_default()),
        Value::Object(only) if name == "refund" && only.len() == 1 => {
            let part = value_of("partial", only.get("partial").unwrap_or(&Value::Null), currency)?;
            format!("partial refund {part}")
        }
        Value::Object(_) => members(value, value["currency"].as_str().or(currency)),
    };
    (!text.is_empty()).then_some(text)
}

fn listed(all: &[Value], text: impl Fn(&Value) -> String) -> String {
    all.iter().map(text).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strum::VariantArray;

    use super::*;
    use crate::fixtures::{self, at, order};
    use crate::lifecycle::{EventKind, PaymentStatus, Reason};
    use crate::order::PaymentAction;

    /// What is left of JSON, or of names that only programs have.
    fn is_readable(text: &str) -> bool {
        !text.contains(['{', '}', '[', ']', '"', '_']) && !text.contains("null") && !text.contains(": ,")
    }

    #[test]
    fn every_event_is_told_in_words() {
        for kind in EventKind::VARIANTS {
            let told = event(&fixtures::event(*kind), &order());
            // The references are the gateway's own.
            assert!(is_readable(&told.replace("ref_", "")), "{kind}: {told}");
        }
        let (order, note) = (order(), || Some("Ada was angry".to_owned()));
        let partly =
            Event::OperatorCancelled { reason: Reason::EquipmentFailure, refund: Refund::Partial(820), note: note() };
        assert_eq!(event(&partly, &order), "equipment failure, partial refund 8.20 EUR, note hidden");
        let name = order.placed.lines[0].name.clone();
        let accepted = Event::ShopAccepted { minutes: Some(8), dropped_lines: vec![0] };
        assert_eq!(event(&accepted, &order), format!("ready in 8 min, without {name}"));
        let held = Event::PaymentAuthorized { amount: 820, reference: "r".into(), capture_before: Some(at(0)) };
        assert_eq!(
            event(&held, &order),
            format!("8.20 EUR held, reference r, to be taken before {} UTC", show::instant(&at(0)))
        );
        let action =
            PaymentAction { client_secret: Some("secret".into()), ..PaymentAction::redirect("https://b".into()) };
        let asked = Event::PaymentActionRequired { action, reference: "r".into() };
        assert_eq!(event(&asked, &order), "the bank asks the customer: redirect, reference r");
        let surfaced = Event::PaymentSurfaced { status: PaymentStatus::PartiallyRefunded, amount: 100 };
        assert!(event(&surfaced, &order).ends_with("partially refunded: 1.00 EUR"));
        let pickup = Pickup { note: note(), name: Some("Ada".into()), ..Pickup::default() };
        let moved = event(&Event::PickupChanged { pickup, offer_at: Some(at(0)) }, &order);
        assert!(moved.starts_with("at the counter, as soon as possible, name hidden, note hidden, offered"), "{moved}");
    }

    #[test]
    fn every_kind_of_detail_in_the_audit_log_is_told_in_words() {
        let order_id = "0197c000-0000-7000-8000-00000000beef";
        for (said, told) in [
            (json!({}), ""),
            (
                json!({"reason": "operator_request", "refund": {"partial": 820}, "currency": "EUR"}),
                "reason: operator request, partial refund 8.20 EUR",
            ),
            (json!({"refund": "full"}), "full refund"),
            (json!({"refund": "none"}), "no refund"),
            (json!({"refund": {"partial": 1820}}), "partial refund 1,820 in minor units"),
            (json!({"amount": 1640, "currency": "EUR", "lines": [0, 2]}), "amount: 16.40 EUR, lines: 1 and 3"),
            (json!({"amount": 500, "currency": "JPY", "lines": []}), "amount: 500 JPY"),
            (json!({"outcome": "taken", "amount": 5, "currency": "EUR"}), "amount: 0.05 EUR, outcome: taken"),
            (json!({"minutes": 30}), "minutes: 30"),
            (json!({"mode": "busy", "minutes": 5, "until": null}), "minutes: 5, mode: busy"),
            (
                json!({"mode": "paused", "minutes": null, "until": "2026-12-02T19:37:44.06Z"}),
                "mode: paused, until: 2026-12-02 19:37:44 UTC",
            ),
            (
                json!({"item": "flat_white", "price": null, "available": false, "until": null}),
                "available: no, item: flat_white",
            ),
            (
                json!({"item": "tea", "name": "Tea", "price": 310, "was": 300, "make_seconds": 60, "active": true, "currency": "EUR"}),
                "active: yes, item: tea, make seconds: 60, name: Tea, price: 3.10 EUR, was: 3.00 EUR",
            ),
            (
                json!({"deed": "cancel_order", "filter": "status:awaiting_shop", "orders": 1412, "money": "void 8.20 EUR"}),
                "deed: cancel order, filter: status:awaiting_shop, money: void 8.20 EUR, orders: 1,412",
            ),
            (
                json!({"roles": ["shop_ops", "finance"], "before": [], "shut_out": true}),
                "roles: shop ops and finance, shut out: yes",
            ),
            (
                json!({"kind": "shop", "label": "a_b", "key": order_id}),
                "key: 0197c000-0000-7000-8000-00000000beef, kind: shop, label: a_b",
            ),
            (json!({"bulk": order_id, "refused": null}), "bulk: 0197c000-0000-7000-8000-00000000beef"),
            (
                json!({"was": "captured", "amount": 820, "captured": 410, "currency": "EUR"}),
                "amount: 8.20 EUR, captured: 4.10 EUR, was: captured",
            ),
            (json!({"stage": "look_up"}), "stage: look up"),
            (
                json!({"address": "::1", "result": "wrong name or password"}),
                "address: ::1, result: wrong name or password",
            ),
            (json!({"deep": {"at": 1, "list": [{"x": "y_z"}]}}), "deep: at: 1, list: x: y z"),
        ] {
            assert_eq!(detail(&said), told, "{said}");
        }
    }
}
