//! What an operator may do to one order: ONE layer, which the admin API, the pages of the console and jobs over many
//! orders all go through.
//!
//! The rule: **a deed carries the version it was decided on and who does it.** [`crate::store::Store::command`] is the
//! only write of an operator to an order. It takes both as arguments, refuses the command when the order has moved, and
//! writes the audit entry in the same transaction, also for a command that it refuses. A deed without either does not
//! compile.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::{Display, EnumDiscriminants, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::lifecycle::{Actor, Event, EventKind, PaymentStatus, Reason, Refund, Stage, Status, targets};
use crate::state::Order;

/// What a deadline can be put off by at once, in minutes.
pub const LONGEST_EXTENSION: u32 = 240;

/// An operator's decision about one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumDiscriminants)]
#[strum_discriminants(
    name(CommandKind),
    doc = "The bare name of a [`Command`].",
    derive(Hash, Display, IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum Command {
    /// Ends an ongoing order. What is only held is always given up.
    #[strum_discriminants(strum(serialize = "cancel_order"))]
    Cancel { reason: Reason, refund: Refund },
    /// Tries the pending work again now, with all of its patience.
    #[strum_discriminants(strum(serialize = "retry_order"))]
    Retry,
    /// Ends an order as handed over.
    ForceComplete,
    /// Gives back this much more, in minor units. `lines` are the lines whose price that is, where lines were chosen.
    #[strum_discriminants(strum(serialize = "refund_order"))]
    Refund { amount: i64, lines: Vec<usize> },
    /// Gives up refunding this much of what is owed, in minor units.
    ReduceRefund { amount: i64 },
    /// Puts the deadline off.
    ExtendDeadline { minutes: u32 },
    /// Tells the shop of the order once more.
    RepeatOffer,
    /// Has the gateway give up a hold that it refused to take. The gateway says afterwards what became of it.
    VoidPayment,
    /// States what evidence says has become of the payment. `agrees_to` is the statement of another operator.
    SettlePayment { event: Event, agrees_to: Option<Uuid> },
}

impl Command {
    pub fn kind(&self) -> CommandKind {
        self.into()
    }

    /// Its name in the audit log: the word of the action of the console.
    pub fn word(&self) -> &'static str {
        match self {
            Self::SettlePayment { agrees_to: Some(_), .. } => "agree_settlement",
            command => command.kind().into(),
        }
    }

    /// What it says to the order; `None` where only the gateway can say that it is done.
    pub fn to_event(&self, note: Option<String>) -> Option<Event> {
        Some(match self {
            Self::Cancel { reason, refund } => Event::OperatorCancelled { reason: *reason, refund: *refund, note },
            Self::Retry => Event::Retried { note },
            Self::ForceComplete => Event::ForceCompleted { note },
            Self::Refund { amount, .. } => Event::RefundRequested { amount: *amount, note },
            Self::ReduceRefund { amount } => Event::RefundReduced { amount: *amount, note },
            Self::ExtendDeadline { minutes } => Event::DeadlineExtended { minutes: *minutes },
            Self::RepeatOffer => Event::OfferRepeated,
            Self::SettlePayment { event, .. } => event.clone(),
            Self::VoidPayment => return None,
        })
    }

    /// How exactly, for the audit log: an object without personal data. `order` as it stands, if there is one.
    pub fn detail(&self, order: Option<&Order>) -> Value {
        let mut detail = match self {
            Self::Cancel { reason, refund } => json!({"reason": reason, "refund": refund}),
            Self::Refund { amount, lines } => json!({"amount": amount, "lines": lines}),
            Self::ReduceRefund { amount } => json!({"amount": amount}),
            Self::ExtendDeadline { minutes } => json!({"minutes": minutes}),
            Self::SettlePayment { event, agrees_to } => {
                let amount = match event {
                    Event::PaymentCaptured { amount } | Event::PaymentRefunded { amount } => Some(amount),
                    _ => None,
                };
                json!({"outcome": event.kind().word(), "amount": amount, "settlement": agrees_to})
            }
            Self::VoidPayment => json!({"amount": order.map(|order| order.payment.authorized)}),
            Self::Retry | Self::ForceComplete | Self::RepeatOffer => json!({}),
        };
        let moves_money =
            !matches!(self, Self::Retry | Self::ForceComplete | Self::ExtendDeadline { .. } | Self::RepeatOffer);
        if let Some(order) = order.filter(|_| moves_money) {
            detail["currency"] = json!(order.placed.total.currency.to_string());
        }
        detail
    }
}

impl CommandKind {
    /// Whether the operator has to say why in words. What only repeats work that is due anyway needs no reason, and a
    /// cancellation always has one: the code that the customer is told.
    pub fn needs_reason(self) -> bool {
        match self {
            Self::Cancel | Self::Retry | Self::RepeatOffer => false,
            Self::ForceComplete
            | Self::Refund
            | Self::ReduceRefund
            | Self::ExtendDeadline
            | Self::VoidPayment
            | Self::SettlePayment => true,
        }
    }

    /// Whether the order as it stands allows it. Buttons, `operator_actions` and counts derive from this.
    pub fn allowed(self, order: &Order) -> bool {
        match self {
            // A contradiction where nothing is pending: the operator who resolved it says so.
            Self::Retry if order.task.unresolved => true,
            Self::Cancel | Self::Retry | Self::ForceComplete | Self::VoidPayment | Self::SettlePayment => {
                self.allowed_in(order.status, order.payment.status, order.task.stage)
            }
            Self::Refund => order.refundable() > 0,
            Self::ReduceRefund => order.reducible() > 0,
            Self::ExtendDeadline => order.can_wait_longer(),
            Self::RepeatOffer => order.can_be_offered_again(),
        }
    }

    /// As [`CommandKind::allowed`], as far as these three decide it: they stand in columns, so that many orders are
    /// counted without reading them whole.
    pub fn allowed_in(self, status: Status, payment: PaymentStatus, stage: Option<Stage>) -> bool {
        use PaymentStatus as P;
        let may = |event| targets(Some(status), event, Actor::Operator).is_some();
        match self {
            Self::Cancel => may(EventKind::OperatorCancelled),
            Self::ForceComplete => may(EventKind::ForceCompleted),
            Self::Retry => stage.is_some() || payment == P::CaptureFailed,
            // No worker takes such a hold any more.
            Self::VoidPayment => payment == P::CaptureFailed && stage.is_none(),
            Self::SettlePayment => match payment {
                P::Unknown | P::Authorized => status.is_over(),
                P::CaptureFailed | P::Captured | P::PartiallyRefunded => true,
                _ => false,
            },
            Self::Refund | Self::ReduceRefund => matches!(payment, P::Captured | P::PartiallyRefunded),
            Self::ExtendDeadline => status.is_ongoing(),
            Self::RepeatOffer => status == Status::AwaitingShop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    fn all() -> Vec<Command> {
        let settle = |agrees_to| Command::SettlePayment { event: Event::PaymentVoided, agrees_to };
        vec![
            Command::Cancel { reason: Reason::OperatorRequest, refund: Refund::Full },
            Command::Retry,
            Command::ForceComplete,
            Command::Refund { amount: 1, lines: vec![] },
            Command::ReduceRefund { amount: 1 },
            Command::ExtendDeadline { minutes: 1 },
            Command::RepeatOffer,
            Command::VoidPayment,
            settle(None),
            settle(Some(Uuid::nil())),
        ]
    }

    #[test]
    fn what_is_allowed_in_columns_is_what_the_whole_order_allows() {
        for status in Status::VARIANTS {
            let order = order_in(*status);
            for kind in CommandKind::VARIANTS {
                let in_columns = kind.allowed_in(order.status, order.payment.status, order.task.stage);
                assert!(in_columns || !kind.allowed(&order), "{kind} in {status}");
            }
        }
    }

    #[test]
    fn what_is_not_allowed_the_machine_refuses() {
        let deadlines = crate::machine::Deadlines::default();
        for status in Status::VARIANTS {
            let order = order_in(*status);
            for command in all().into_iter().filter(|command| command.kind() != CommandKind::SettlePayment) {
                let Some(event) = command.to_event(None) else { continue };
                let step = crate::machine::step(&order, &event, Actor::Operator, at(1), &deadlines);
                assert!(step.is_err() || command.kind().allowed(&order), "{command:?} in {status}");
            }
        }
    }

    #[test]
    fn the_operators_own_events_are_refused_to_all_other_actors() {
        let deadlines = crate::machine::Deadlines::default();
        for status in Status::VARIANTS {
            for command in all().into_iter().filter(|command| command.kind() != CommandKind::SettlePayment) {
                let Some(event) = command.to_event(None) else { continue };
                for by in Actor::VARIANTS.iter().filter(|by| **by != Actor::Operator) {
                    let step = crate::machine::step(&order_in(*status), &event, *by, at(1), &deadlines);
                    let by_the_timer = matches!(event, Event::ForceCompleted { .. }) && *by == Actor::Timer;
                    // A comparison after a restore speaks for the gateway.
                    let after_a_restore =
                        matches!(event, Event::DeadlineExtended { .. } | Event::OfferRepeated) && *by == Actor::Gateway;
                    assert!(step.is_err() || by_the_timer || after_a_restore, "{event:?} by {by} in {status}");
                }
            }
        }
    }
}
