//! The words by which the service counts, and the places of all of them.

use strum::{IntoStaticStr, VariantArray};

use super::families::Labels;
use crate::admission::Verdict;
use crate::catalogue::Refusal;
use crate::lifecycle::{Actor, EventKind, Reason, Stage, Status};

/// Every value of an enum without fields is one value of a label. Its place is its number.
macro_rules! labels {
    ($($name:ident),*) => {$(
        impl Labels for $name {
            const COUNT: usize = <$name as VariantArray>::VARIANTS.len();
            fn place(self) -> usize {
                self as usize
            }
            fn words(self) -> Vec<&'static str> {
                vec![self.into()]
            }
            fn all() -> Vec<Self> {
                Self::VARIANTS.to_vec()
            }
        }
    )*};
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
            #[strum(serialize_all = "snake_case")]
            pub enum $name { $($(#[$variant_meta])* $variant),* }
        )*
        labels!($($name),*);
    };
}

labels!(Stage, Status, Reason, Actor, EventKind);

words! {
    /// What admission decided; a refusal of the catalogue by its own name.
    Decision {
        Accepted, Replayed, Deleted, KeyReused, StaleRevision, HistoryDiverged, Similar, LimitExceeded, SlotFull,
        UnknownShop, DraftExpired, Unprocessable, ShopNotAccepting, SlotTooSoon, ItemUnavailable, PriceMismatch,
        Crowded,
    }

    /// What became of a word from outside.
    WordResult {
        Changed,
        /// Said again.
        Already,
        /// Not possible now.
        Refused,
        /// About another version of the order.
        Stale,
        /// The order was a draft, and is buried.
        Buried,
        /// No such order for this sender.
        Unknown,
    }

    /// What came of an act.
    Acted { Happened, Again, Panicked }

    /// How an order came to the worker.
    Taken { HandedOver, Claimed }

    /// Why an attempt is repeated.
    Trouble {
        Unavailable,
        Unanswered,
        BreakerOpen,
        Panic,
        /// The request itself is wrong.
        Invalid,
    }

    /// What became of money whose order was lost.
    Freed { Voided, Refunded, Failed }

    /// Who was called.
    Port { Gateway, Shop }

    /// What came of a call.
    Called {
        Answered,
        Refused,
        Unavailable,
        Unanswered,
        /// Not called at all.
        BreakerOpen,
        /// It rejects the request itself: a fault of this service.
        Invalid,
    }

    /// What became of a callback of the gateway.
    Callback {
        /// It told of something.
        News,
        /// It told nothing new.
        Known,
        /// Not about an order of ours.
        Foreign,
        /// Forged, or signed too long ago.
        Unverified,
        Unreadable,
        /// It was asked to come again.
        PutOff,
    }

    /// Who is told of what happens to orders.
    Receiver { Partner, Shop }

    /// What came of an attempt to tell a receiver.
    Told {
        Delivered,
        /// It answered with another status than 2xx.
        Refused,
        /// It wants nothing more: 410.
        Gone,
        /// Where it is now must not be spoken to.
        Unfit,
        Unreachable,
        Unanswered,
        /// Not tried any more: it has been in vain for too long.
        GivenUp,
    }

    /// Who may still write when everybody wants to: results and words from outside, or new orders.
    Urgency { Control, Create }

    /// What goes wrong in writing.
    LaneTrouble {
        CommitFailed,
        Panicked,
        NoConnection,
        /// A caller was told "unknown" because the commit took too long.
        PatienceEnded,
        /// Somebody new was not let in, because a write a moment ago found no room on the disk.
        DiskFull,
    }

    /// What became of a span of an order.
    SpanResult {
        Exported,
        /// The collector does not want it.
        Rejected,
        /// It found no room, or the process ended.
        Dropped,
    }

    /// From where a customer's list was read.
    Door {
        Replica,
        Primary,
        /// The replica was asked in vain, then the primary.
        Both,
        /// The reader has seen what the database does not have.
        Diverged,
    }
}

impl<R: std::borrow::Borrow<Refusal>> From<&Verdict<R>> for Decision {
    fn from(verdict: &Verdict<R>) -> Self {
        match verdict {
            Verdict::Accept => Self::Accepted,
            Verdict::Replay(_) => Self::Replayed,
            Verdict::Deleted(_) => Self::Deleted,
            Verdict::KeyReused => Self::KeyReused,
            Verdict::StaleRevision => Self::StaleRevision,
            Verdict::HistoryDiverged => Self::HistoryDiverged,
            Verdict::Similar(_) => Self::Similar,
            Verdict::LimitExceeded => Self::LimitExceeded,
            Verdict::SlotFull => Self::SlotFull,
            Verdict::Catalogue(refusal) => match refusal.borrow() {
                Refusal::UnknownShop => Self::UnknownShop,
                Refusal::Crowded => Self::Crowded,
                Refusal::DraftExpired | Refusal::DraftReplaced => Self::DraftExpired,
                Refusal::Unprocessable(_) => Self::Unprocessable,
                Refusal::ShopNotAccepting { .. } => Self::ShopNotAccepting,
                Refusal::SlotTooSoon { .. } => Self::SlotTooSoon,
                Refusal::ItemUnavailable(_) => Self::ItemUnavailable,
                Refusal::PriceMismatch { .. } => Self::PriceMismatch,
            },
        }
    }
}

/// An event that the timer caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByTimer(pub EventKind);

impl Labels for ByTimer {
    const COUNT: usize = EventKind::COUNT;
    fn place(self) -> usize {
        self.0.place()
    }
    fn words(self) -> Vec<&'static str> {
        self.0.words()
    }
    fn all() -> Vec<Self> {
        EventKind::all().into_iter().map(Self).collect()
    }
    /// All that `machine::deadline_event` gives.
    fn expected() -> Vec<Self> {
        use EventKind::*;
        let kinds = [
            PaymentUnknown,
            PaymentUnavailable,
            PaymentExpired,
            SlotDue,
            ShopTimedOut,
            SlotMissed,
            Abandoned,
            PreparationStarted,
            ForceCompleted,
            Made,
            NotCollected,
            Collected,
        ];
        kinds.map(Self).to_vec()
    }
}

/// A status that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ongoing(pub Status);

impl Labels for Ongoing {
    const COUNT: usize = Status::COUNT;
    fn place(self) -> usize {
        self.0.place()
    }
    fn words(self) -> Vec<&'static str> {
        self.0.words()
    }
    fn all() -> Vec<Self> {
        Status::all().into_iter().map(Self).collect()
    }
    fn expected() -> Vec<Self> {
        Self::all().into_iter().filter(|status| status.0.is_ongoing()).collect()
    }
}

/// No reason is `none`. Few of these pairs ever happen, so none is expected.
impl Labels for Option<Reason> {
    const COUNT: usize = Reason::COUNT + 1;
    fn place(self) -> usize {
        self.map_or(0, |reason| reason.place() + 1)
    }
    fn words(self) -> Vec<&'static str> {
        self.map_or_else(|| vec!["none"], Labels::words)
    }
    fn all() -> Vec<Self> {
        std::iter::once(None).chain(Reason::all().into_iter().map(Some)).collect()
    }
    fn expected() -> Vec<Self> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Labels>(labels: usize) {
        let places: Vec<usize> = L::all().into_iter().map(Labels::place).collect();
        assert_eq!(places, (0..L::COUNT).collect::<Vec<_>>());
        assert!(L::all().into_iter().all(|value| value.words().len() == labels));
    }

    #[test]
    fn every_value_has_a_place_of_its_own() {
        check::<()>(0);
        check::<Stage>(1);
        check::<ByTimer>(1);
        check::<(Actor, WordResult)>(2);
        check::<(Status, Option<Reason>)>(2);
    }
}
