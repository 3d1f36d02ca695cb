//! The two state machines of an order: what may happen to it, and where its money may be.
//!
//! [`RULES`] is the one table. The transition function, what is ongoing, the diagram in the book,
//! the CHECK lists and the trigger of the database and the operators' view are all derived from it;
//! a test compares each derived place with the table.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumDiscriminants, EnumString, IntoStaticStr, VariantArray};

use crate::order::{Instant, PaymentAction, Pickup};

/// Gives a fieldless enum its one spelling (snake case) in Rust, SQL, JSON and logs.
macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
                 Display, EnumString, IntoStaticStr, VariantArray)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// The word that stands for this value everywhere outside Rust.
            pub fn word(self) -> &'static str { self.into() }
        }
    )*};
}

words! {
    /// What the customer and the shop see of an order: always a fact.
    Status {
        /// Accepted and durable; the row is the pending task.
        New,
        /// The bank asks the customer (3-D Secure).
        ActionRequired,
        /// Authorized, for a later pickup.
        Scheduled,
        /// Authorized and offered to the shop.
        AwaitingShop,
        /// The shop confirmed it.
        Accepted,
        /// Being made; the customer can no longer cancel.
        Preparing,
        /// On the shelf.
        Ready,
        /// Handed over.
        Completed,
        /// The shop refused, or did not answer in time.
        Rejected,
        /// The payment or the system failed.
        Failed,
        /// Somebody decided so.
        Cancelled,
        /// Nobody came.
        NotCollected,
    }

    /// Where the money of an order is.
    PaymentStatus {
        /// The gateway has not answered yet.
        None,
        /// The gateway was tried and has certainly not taken anything yet.
        Authorizing,
        /// The bank asks the customer.
        ActionRequired,
        /// Held, not taken.
        Authorized,
        /// The gateway refused.
        Declined,
        /// An authorization may or may not have happened; somebody is finding out.
        Unknown,
        /// The hold was given up: nothing was taken.
        Voided,
        /// Taken.
        Captured,
        /// The gateway refused to take what it held; shown to finance.
        CaptureFailed,
        /// A part went back to the customer.
        PartiallyRefunded,
        /// All of it went back to the customer.
        Refunded,
    }

    /// Who caused an event.
    Actor { Partner, Worker, Gateway, Timer, Shop, Operator }

    /// The queue in which an order's row stands: the work that is to be done next.
    Stage {
        /// Ask the gateway to hold the money.
        Authorize,
        /// Ask the gateway what became of it.
        LookUp,
        /// Offer the order to the shop.
        Offer,
        /// Take the money.
        Capture,
        /// Give the money back, by void or refund, until that is proven.
        Release,
    }

    /// Why an order failed, was rejected, cancelled or not collected.
    Reason {
        PaymentDeclined,
        PaymentActionExpired,
        PaymentOutcomeUnknown,
        PaymentProviderUnavailable,
        /// The money that was held for the order is no longer held, or would not be for long enough.
        PaymentHoldLost,
        InternalError,
        ItemUnavailable,
        ShopClosed,
        ShopPaused,
        ShopTooBusy,
        ShopUnreachable,
        AcceptanceTimeout,
        CannotFulfilRequest,
        CustomerRequest,
        DuplicateOrder,
        EquipmentFailure,
        NotPrepared,
        /// The time it was wanted at passed before the shop could be asked, or before it decided.
        SlotMissed,
        OperatorRequest,
        NoShow,
        /// Completed by the timer, because the shop never said so; or because a restored backup lost the word of it.
        AutoClosed,
        /// A restored backup lost how it ended; the gateway shows that its money had gone back.
        HistoryLost,
    }
}

/// Something that happened to an order, in the past tense, with what is known of it.
/// [`EventKind`] is its bare name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumDiscriminants)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum_discriminants(
    name(EventKind),
    doc = "The bare name of an [`Event`].",
    derive(Hash, PartialOrd, Ord, Serialize, Deserialize, Display, EnumString, IntoStaticStr, VariantArray),
    serde(rename_all = "snake_case"),
    strum(serialize_all = "snake_case")
)]
pub enum Event {
    Created,
    PaymentAuthorized {
        amount: i64,
        reference: String,
        capture_before: Option<Instant>,
    },
    PaymentActionRequired {
        action: PaymentAction,
        reference: String,
    },
    PaymentDeclined {
        refusal: String,
    },
    PaymentExpired,
    PaymentUnavailable,
    PaymentUnknown,
    /// The hold was cancelled or has lapsed at the gateway, or it will before the money can be taken.
    PaymentHoldLost,
    OrderDamaged,
    SlotDue,
    ShopAccepted {
        minutes: Option<u32>,
        dropped_lines: Vec<usize>,
    },
    ShopRejected {
        reason: Reason,
    },
    ShopTimedOut,
    /// The time its customer chose is too long ago for it to be made any more.
    SlotMissed,
    PreparationStarted,
    Made,
    Recalled,
    Collected,
    NotCollected,
    Abandoned,
    CustomerCancelled,
    ShopCancelled {
        reason: Reason,
    },
    ForceCompleted {
        note: Option<String>,
    },
    OperatorCancelled {
        reason: Reason,
        refund: Refund,
        note: Option<String>,
    },
    /// The gateway knows the payment by that reference, and holds nothing yet: from here on it can be asked to.
    PaymentPrepared {
        reference: String,
    },
    /// The gateway was tried and certainly did nothing.
    PaymentAttempted,
    /// The gateway was tried and may have done it.
    PaymentUnanswered,
    PaymentCaptured {
        amount: i64,
    },
    CaptureRefused {
        refusal: String,
    },
    PaymentVoided,
    /// `amount` is all that was ever refunded, not the last step.
    PaymentRefunded {
        amount: i64,
    },
    /// A refund did not reach the customer: the gateway refused it, or its bank sent it back later. `amount` is all that
    /// is refunded in spite of that.
    RefundFailed {
        amount: i64,
    },
    /// What the gateway turned out to hold for an order that is already over.
    PaymentSurfaced {
        status: PaymentStatus,
        amount: i64,
    },
    /// The last look at a released payment found nothing new.
    PaymentProven,
    OperationUnanswered {
        operation: String,
        amount: i64,
    },
    RefundRequested {
        amount: i64,
        note: Option<String>,
    },
    /// An operator decides that so much of the debt is not refunded by the gateway after all.
    RefundReduced {
        amount: i64,
        note: Option<String>,
    },
    Offered,
    PickupChanged {
        pickup: Pickup,
        offer_at: Option<Instant>,
    },
    Arrived,
    Deleted,
    Parked {
        why: String,
    },
    /// An operator wants the pending stage tried again now.
    Retried {
        note: Option<String>,
    },
    /// An operator gives the shop or the customer more time.
    DeadlineExtended {
        minutes: u32,
    },
    /// An operator has the shop told of the order once more.
    OfferRepeated,
    /// The outside world says two things that cannot both be true: kept for an operator.
    Contradicted {
        what: String,
    },
    /// After a restore: the payment was captured, which proves that making had begun.
    FoundBegun {
        dropped_lines: Vec<usize>,
    },
    /// After a restore: the payment was captured, and the time to hand the order over has long passed.
    FoundSold {
        dropped_lines: Vec<usize>,
    },
    /// After a restore: the money had been given back, which proves that the order had ended.
    FoundUndone,
}

/// How much an operator gives back of what was already captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refund {
    Full,
    None,
    /// Minor units.
    Partial(i64),
}

impl Event {
    pub fn kind(&self) -> EventKind {
        self.into()
    }
}

impl Stage {
    /// Whether an order at this stage may be set aside for an operator. Elsewhere money is owed, to the customer or to
    /// the shop: it is tried until it is done, and its age is the alarm.
    pub const fn may_be_parked(self) -> bool {
        matches!(self, Self::Authorize | Self::Offer)
    }
}

impl EventKind {
    /// The word that stands for this value everywhere outside Rust.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Status {
    /// Whether getOngoingOrders returns it. Every status that is not over is ongoing.
    pub const fn is_ongoing(self) -> bool {
        !self.is_over()
    }

    /// Whether nothing but hand-over (of an order that was not collected) can follow.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Rejected | Self::Failed | Self::Cancelled | Self::NotCollected)
    }

    /// Whether the customer got, or was to get, what was paid for.
    pub const fn succeeded(self) -> bool {
        matches!(self, Self::Completed | Self::NotCollected)
    }

    /// Whether the order ended without a sale, so that its money goes back in full.
    pub const fn is_undone(self) -> bool {
        matches!(self, Self::Rejected | Self::Failed | Self::Cancelled)
    }
}

impl Reason {
    /// Whether the same order may succeed when the customer tries again.
    pub fn is_retryable(self) -> bool {
        use Reason::*;
        !matches!(self, CannotFulfilRequest | CustomerRequest | DuplicateOrder | NoShow | AutoClosed | HistoryLost)
    }

    /// The reasons a shop may give when it rejects an order.
    pub const REJECTING: &[Reason] = &[
        Reason::ItemUnavailable,
        Reason::ShopClosed,
        Reason::ShopPaused,
        Reason::ShopTooBusy,
        Reason::CannotFulfilRequest,
    ];

    /// The reasons a shop may give when it cancels an order that it had accepted.
    pub const SHOP_CANCELLING: &[Reason] = &[Reason::ItemUnavailable, Reason::EquipmentFailure, Reason::ShopClosed];

    /// The reasons an operator may give.
    pub const OPERATOR_CANCELLING: &[Reason] = &[
        Reason::OperatorRequest,
        Reason::CustomerRequest,
        Reason::DuplicateOrder,
        Reason::ItemUnavailable,
        Reason::EquipmentFailure,
        Reason::ShopClosed,
    ];
}

/// One line of the table: from any of these, this event by one of these actors leads to one of those.
/// Where several statuses are named, the order's own facts decide (see `machine`).
#[derive(Debug)]
pub struct Rule {
    pub from: &'static [Status],
    pub event: EventKind,
    pub by: &'static [Actor],
    pub to: &'static [Status],
}

const fn rule(from: &'static [Status], event: EventKind, by: &'static [Actor], to: &'static [Status]) -> Rule {
    Rule { from, event, by, to }
}

/// Whoever learns of a payment event first reports it.
const PAYMENT: &[Actor] = &[Actor::Worker, Actor::Gateway, Actor::Timer];

/// The order's machine. An event that is not here for an order's status is refused and changes nothing.
pub const RULES: &[Rule] = {
    use Actor::*;
    use EventKind as E;
    use Status as S;
    &[
        rule(&[], E::Created, &[Partner], &[S::New]),
        rule(&[S::New, S::ActionRequired], E::PaymentAuthorized, PAYMENT, &[S::AwaitingShop, S::Scheduled, S::Failed]),
        rule(&[S::New], E::PaymentActionRequired, PAYMENT, &[S::ActionRequired]),
        rule(&[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop], E::PaymentDeclined, PAYMENT, &[S::Failed]),
        rule(&[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop], E::PaymentExpired, PAYMENT, &[S::Failed]),
        rule(&[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop], E::PaymentUnavailable, PAYMENT, &[S::Failed]),
        rule(&[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop], E::PaymentUnknown, PAYMENT, &[S::Failed]),
        rule(&[S::Scheduled, S::AwaitingShop, S::Accepted], E::PaymentHoldLost, PAYMENT, &[S::Failed]),
        rule(&[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop], E::OrderDamaged, &[Worker], &[S::Failed]),
        rule(&[S::Scheduled], E::SlotDue, &[Timer], &[S::AwaitingShop]),
        rule(&[S::AwaitingShop], E::ShopAccepted, &[Shop, Worker], &[S::Accepted]),
        rule(&[S::Scheduled, S::AwaitingShop], E::ShopRejected, &[Shop, Worker], &[S::Rejected]),
        rule(&[S::Scheduled, S::AwaitingShop], E::ShopTimedOut, &[Timer], &[S::Rejected]),
        rule(&[S::Scheduled, S::AwaitingShop], E::SlotMissed, &[Timer], &[S::Cancelled]),
        rule(&[S::Accepted], E::PreparationStarted, &[Shop, Timer], &[S::Preparing]),
        rule(&[S::Accepted, S::Preparing], E::Made, &[Shop, Timer], &[S::Ready]),
        rule(&[S::Ready], E::Recalled, &[Shop], &[S::Preparing]),
        rule(&[S::Ready, S::NotCollected], E::Collected, &[Shop, Timer], &[S::Completed]),
        rule(&[S::Ready], E::NotCollected, &[Timer, Shop], &[S::NotCollected]),
        rule(&[S::Accepted], E::Abandoned, &[Timer], &[S::Cancelled]),
        rule(
            &[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop, S::Accepted],
            E::CustomerCancelled,
            &[Partner],
            &[S::Cancelled],
        ),
        rule(&[S::Accepted, S::Preparing, S::Ready], E::ShopCancelled, &[Shop], &[S::Cancelled]),
        rule(&[S::Accepted, S::Preparing, S::Ready], E::ForceCompleted, &[Operator, Timer], &[S::Completed]),
        rule(
            &[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop, S::Accepted, S::Preparing, S::Ready],
            E::OperatorCancelled,
            &[Operator],
            &[S::Cancelled],
        ),
        rule(&[S::Scheduled, S::AwaitingShop, S::Accepted], E::FoundBegun, &[Gateway], &[S::Preparing]),
        rule(
            &[S::Scheduled, S::AwaitingShop, S::Accepted, S::Preparing, S::Ready],
            E::FoundSold,
            &[Gateway],
            &[S::Completed],
        ),
        rule(
            &[S::New, S::ActionRequired, S::Scheduled, S::AwaitingShop, S::Accepted, S::Preparing, S::Ready],
            E::FoundUndone,
            &[Gateway],
            &[S::Cancelled],
        ),
    ]
};

/// The payment's machine: from each status, the statuses that may follow it.
pub const PAYMENT_RULES: &[(PaymentStatus, &[PaymentStatus])] = {
    use PaymentStatus::*;
    &[
        (None, &[Authorizing, Authorized, ActionRequired, Declined, Unknown]),
        (Authorizing, &[Authorized, ActionRequired, Declined, Unknown]),
        (ActionRequired, &[Authorizing, Authorized, Declined, Voided, Unknown]),
        (Authorized, &[Captured, Voided, CaptureFailed]),
        // Money that surfaces after all, on an order that is over: it is released again.
        (Declined, &[Authorized]),
        (Unknown, &[Authorized, ActionRequired, Declined, Voided]),
        (Voided, &[Authorized]),
        (Captured, &[PartiallyRefunded, Refunded]),
        (CaptureFailed, &[Captured, Voided]),
        // A refund may fail, even days later: then the money was not given back.
        (PartiallyRefunded, &[PartiallyRefunded, Refunded, Captured]),
        (Refunded, &[PartiallyRefunded, Captured]),
    ]
};

/// Events of no line of [`RULES`] that only an operator causes: money and patience are not given by anyone else …
const OF_OPERATORS: &[EventKind] = &[
    EventKind::Retried,
    EventKind::RefundRequested,
    EventKind::RefundReduced,
    EventKind::DeadlineExtended,
    EventKind::OfferRepeated,
];
/// … but a comparison after a restore, which speaks for the gateway, asks a shop again whose answer the backup lacks.
const AFTER_A_RESTORE: &[EventKind] = &[EventKind::DeadlineExtended, EventKind::OfferRepeated];

/// Whether this actor may cause this event at all, where no line of [`RULES`] says so.
pub fn may_cause(event: EventKind, by: Actor) -> bool {
    match by {
        Actor::Operator => true,
        Actor::Gateway if AFTER_A_RESTORE.contains(&event) => true,
        _ => !OF_OPERATORS.contains(&event),
    }
}

/// Where an event may lead from a status; `None` if it is not allowed there, or not to this actor.
///
/// A shop that does not say so cannot be force-completed from `accepted` by the timer: only by an operator.
pub fn targets(from: Option<Status>, event: EventKind, by: Actor) -> Option<&'static [Status]> {
    let rule = RULES.iter().find(|rule| {
        rule.event == event
            && match from {
                Some(status) => rule.from.contains(&status),
                None => rule.from.is_empty(),
            }
    })?;
    let operators_only = rule.event == EventKind::ForceCompleted && from == Some(Status::Accepted);
    let allowed = if operators_only { by == Actor::Operator } else { rule.by.contains(&by) };
    allowed.then_some(rule.to)
}

/// Whether the payment's machine allows this step.
pub fn payment_may_become(from: PaymentStatus, to: PaymentStatus) -> bool {
    PAYMENT_RULES.iter().any(|(status, followers)| *status == from && followers.contains(&to))
}

/// Every pair of statuses that one event can connect, for the database's trigger.
pub fn status_pairs() -> Vec<(Status, Status)> {
    let mut pairs: Vec<_> = RULES
        .iter()
        .flat_map(|rule| rule.from.iter().flat_map(move |from| rule.to.iter().map(move |to| (*from, *to))))
        .collect();
    pairs.sort();
    pairs.dedup();
    pairs
}

/// The order's machine as a Mermaid state diagram.
pub fn diagram() -> String {
    let mut lines: Vec<(Option<Status>, Status, Vec<&str>)> = Vec::new();
    for rule in RULES {
        let froms: Vec<Option<Status>> =
            if rule.from.is_empty() { vec![None] } else { rule.from.iter().copied().map(Some).collect() };
        for from in froms {
            for to in rule.to {
                match lines.iter_mut().find(|(f, t, _)| (*f, *t) == (from, *to)) {
                    Some((_, _, events)) => events.push(rule.event.word()),
                    None => lines.push((from, *to, vec![rule.event.word()])),
                }
            }
        }
    }
    let mut text = String::from("stateDiagram-v2\n");
    for (from, to, events) in lines {
        let from = from.map_or("[*]", Status::word);
        text += &format!("    {from} --> {to}: {}\n", events.join(", "));
    }
    for status in Status::VARIANTS.iter().filter(|status| status.is_over()) {
        text += &format!("    {status} --> [*]\n");
    }
    text
}

/// The table is checked when the crate is compiled: a wrong table does not build.
const _: () = {
    const fn has(list: &[Status], status: Status) -> bool {
        let mut i = 0;
        while i < list.len() {
            if list[i] as u8 == status as u8 {
                return true;
            }
            i += 1;
        }
        false
    }
    let mut i = 0;
    while i < RULES.len() {
        assert!(!RULES[i].to.is_empty(), "an event leads nowhere");
        assert!(!RULES[i].by.is_empty(), "nobody may cause an event");
        let mut j = i + 1;
        while j < RULES.len() {
            if RULES[i].event as u8 == RULES[j].event as u8 {
                let mut k = 0;
                while k < RULES[i].from.len() {
                    assert!(!has(RULES[j].from, RULES[i].from[k]), "the same event twice from one status");
                    k += 1;
                }
            }
            j += 1;
        }
        let mut k = 0;
        while k < RULES[i].from.len() {
            let late_hand_over = RULES[i].from[k] as u8 == Status::NotCollected as u8
                && RULES[i].event as u8 == EventKind::Collected as u8;
            assert!(RULES[i].from[k].is_ongoing() || late_hand_over, "a way out of an order that is over");
            k += 1;
        }
        i += 1;
    }
    let mut s = 0;
    while s < Status::VARIANTS.len() {
        let mut reachable = false;
        let mut i = 0;
        while i < RULES.len() {
            reachable |= has(RULES[i].to, Status::VARIANTS[s]);
            i += 1;
        }
        assert!(reachable, "a status that nothing leads to");
        s += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for status in Status::VARIANTS {
            assert_eq!(status.word().parse(), Ok(*status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.word());
        }
        for kind in EventKind::VARIANTS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }

    #[test]
    fn the_timer_never_completes_what_was_never_started() {
        assert_eq!(targets(Some(Status::Accepted), EventKind::ForceCompleted, Actor::Timer), None);
        assert!(targets(Some(Status::Accepted), EventKind::ForceCompleted, Actor::Operator).is_some());
        assert!(targets(Some(Status::Preparing), EventKind::ForceCompleted, Actor::Timer).is_some());
    }

    #[test]
    fn every_ongoing_status_has_a_way_to_end() {
        for status in Status::VARIANTS.iter().filter(|status| status.is_ongoing()) {
            assert!(targets(Some(*status), EventKind::OperatorCancelled, Actor::Operator).is_some());
        }
    }
}
