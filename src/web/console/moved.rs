//! A form whose order has moved since the form was made: nothing is done, what has changed is told in plain words, and
//! the form comes back as it was filled in, made of the order as it is now.

use serde_json::json;

use super::posted::Fields;
use super::{Action, Posted, show, told};
use crate::app::App;
use crate::error::Failure;
use crate::state::Order;
use crate::store::order_subject;

/// Events that are told of.
const TOLD: i64 = 20;

/// What a form of the page is filled in with: nothing, as a page is asked for, or what was sent before.
#[derive(Default)]
pub struct Filled {
    /// The action of the form that was sent, and its fields.
    sent: Option<(Action, Fields)>,
    pub moved: Option<Moved>,
}

/// What has changed since a form was made.
pub struct Moved {
    pub since: Vec<String>,
    pub now: String,
    /// The reason that was typed: it is shown where the form itself is not offered any more.
    pub reason: String,
    /// Whether the order as it is now allows it still.
    pub is_offered: bool,
}

impl Filled {
    /// What was sent of this action, beside what has changed since `seen`.
    pub async fn again(app: &App, posted: Posted, order: &Order, seen: i64) -> Self {
        let action = posted.visitor.action;
        // That the order has moved is told also when what moved it cannot be read.
        let since = app.store.events_after(order.id, seen, TOLD).await.unwrap_or_default();
        let line = |event: &crate::store::Recorded| {
            let detail = event.event().map(|event| told::event(&event, order)).unwrap_or_default();
            let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
            format!("{}, by {}{detail}", show::plain(event.kind.word()), event.actor)
        };
        let (payment, currency) = (&order.payment, order.placed.total.currency.to_string());
        let amount = |minor: i64| show::amount(minor, &currency);
        let now = format!(
            "It is {} now. Its payment is {}: {} taken, {} given back.",
            show::plain(order.status.word()),
            show::plain(payment.status.word()),
            amount(payment.captured),
            amount(payment.refunded),
        );
        let moved = Moved {
            since: since.iter().map(line).collect(),
            now,
            reason: posted.fields.text("reason").to_owned(),
            is_offered: false,
        };
        Self { sent: Some((action, posted.fields)), moved: Some(moved) }
    }

    /// Whether the form of this action was sent.
    pub fn is(&self, action: &str) -> bool {
        self.sent.as_ref().is_some_and(|(sent, _)| sent.word() == action)
    }

    /// What stood in a field of this form.
    pub fn text(&self, action: &str, field: &str) -> &str {
        self.sent.as_ref().filter(|_| self.is(action)).map_or("", |(_, fields)| fields.text(field))
    }

    /// Whether this was chosen in this form.
    pub fn has(&self, action: &str, field: &str, value: &str) -> bool {
        self.sent
            .as_ref()
            .filter(|_| self.is(action))
            .is_some_and(|(_, fields)| fields.all(field).any(|is| is == value))
    }

    /// Notes whether the form that was sent is still among those of the page.
    pub fn offers(&mut self, offered: &[(Action, bool)]) {
        if let (Some((sent, _)), Some(moved)) = (&self.sent, &mut self.moved) {
            moved.is_offered = offered.iter().any(|(action, is_offered)| action == sent && *is_offered);
        }
    }
}

/// Writes down that this form was refused, because its order has moved.
pub async fn record(app: &App, posted: &Posted, order: &Order, seen: i64) -> Result<(), Failure> {
    let refused = format!("the order had changed: it has version {} now", order.version);
    let entry = posted.entry(order_subject(order.id), json!({"version": seen, "refused": refused}))?;
    Ok(app.store.record(entry, false).await?)
}
