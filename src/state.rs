//! An order as its row has it: what was ordered, where it stands, where its money is, what is to be done next.

use chrono::Duration;
use serde::{Deserialize, Serialize};

use crate::lifecycle::{Actor, PaymentStatus, Reason, Refund, Stage, Status};
use crate::order::{Basket, CustomerId, Instant, Line, OrderId, PartnerId, PaymentAction, Pickup, Placed, ShopId};

/// A capture, void or refund whose answer is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingOperation {
    /// `capture`, `void` or `refund`.
    pub operation: String,
    /// Minor units.
    pub amount: i64,
    pub since: Instant,
}

/// Where the money of an order is. Amounts are minor units of the order's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub status: PaymentStatus,
    pub authorized: i64,
    pub captured: i64,
    pub refunded: i64,
    /// The gateway's own name for the charge.
    pub reference: Option<String>,
    pub action: Option<PaymentAction>,
    pub pending_operation: Option<PendingOperation>,
    /// Why the gateway refused.
    pub refusal: Option<String>,
    /// The order is undone: all of its money goes back, whatever the gateway turns out to hold.
    pub release: bool,
    /// How much of what was captured must go back in all, by decision of an operator. See [`Order::must_go_back`].
    pub refund_target: i64,
    /// How much of what must go back an operator has given up refunding.
    pub waived: i64,
    /// How much of `refunded` reached the customer otherwise than through the gateway, on an operator's evidence.
    pub refunded_elsewhere: i64,
    /// What an operator who cancelled wanted back if the money turns out to be taken: a capture was under way.
    pub refund_choice: Option<Refund>,
    /// When the outcome of the authorization became unknown.
    pub unknown_since: Option<Instant>,
    /// A released order whose outcome was once unknown is looked at a last time, a day later.
    pub last_look: bool,
    /// The hold lapses by itself then.
    pub capture_before: Option<Instant>,
}

impl Default for Payment {
    fn default() -> Self {
        Self {
            status: PaymentStatus::None,
            authorized: 0,
            captured: 0,
            refunded: 0,
            reference: None,
            action: None,
            pending_operation: None,
            refusal: None,
            release: false,
            refund_target: 0,
            waived: 0,
            refunded_elsewhere: 0,
            refund_choice: None,
            unknown_since: None,
            last_look: false,
            capture_before: None,
        }
    }
}

/// The work that is pending on an order: the queue is the row itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    pub stage: Option<Stage>,
    /// When the stage may be worked on next; while somebody works on it, when that lease ends.
    pub next_attempt_at: Option<Instant>,
    /// Claims since the row entered its stage. Counted when claimed, so that a crash counts.
    pub attempts: i32,
    /// Errors of no known class since the row entered its stage.
    pub errors: i32,
    /// The row's share in deaths of processes, and its panics, since it last came back (see `suspects`). Thousandths.
    pub blame: i32,
    /// Raised by every claim and every change: a write that carries an older one is dropped.
    pub fence: i64,
    /// Somebody holds the row until then.
    pub leased_until: Option<Instant>,
    /// Set aside for an operator; deadlines and compensation still run.
    pub parked_at: Option<Instant>,
    pub last_error: Option<String>,
    /// `last_error` tells of a contradiction, a failed refund or why the row was parked. It stays until the gateway's
    /// word or an operator resolves it; no other event erases it.
    pub unresolved: bool,
}

/// An order, as its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub partner_id: PartnerId,
    pub customer_id: CustomerId,
    pub shop_id: ShopId,
    /// The customer's orders are numbered from 1 …
    pub number: i64,
    /// … and each number carries a random nonce, so that a lost tail of the database is noticed.
    pub nonce: i64,
    pub placed: Placed,
    /// Whether the stored body still has the hash it was accepted with.
    pub intact: bool,
    pub pickup: Pickup,
    pub status: Status,
    pub reason: Option<Reason>,
    /// Who decided so.
    pub reason_by: Option<Actor>,
    pub payment: Payment,
    pub task: Task,
    /// When it came to its status.
    pub entered_at: Instant,
    /// When the timer decides, if nobody else did (see `machine::deadline_event`).
    pub deadline_at: Option<Instant>,
    /// Lines (by position) that were sold out and dropped with the customer's consent.
    pub dropped_lines: Vec<usize>,
    /// When a scheduled order is offered to the shop.
    pub offer_at: Option<Instant>,
    /// When the order was offered to the shop.
    pub offered_at: Option<Instant>,
    /// When the shop promised it.
    pub promise_at: Option<Instant>,
    /// When the customer could expect it, as told at creation: progress is measured against it.
    pub expected_ready_at: Option<Instant>,
    pub ready_at: Option<Instant>,
    /// When the customer reported being there.
    pub arrived_at: Option<Instant>,
    /// It was ready once, and called back.
    pub recalled: bool,
    /// When a comparison after a restore proved by its payment that its making had begun. It may have been handed over
    /// since: the shop has to look before it makes it.
    pub found_begun_at: Option<Instant>,
    pub version: i64,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub closed_at: Option<Instant>,
    pub deleted_at: Option<Instant>,
}

impl Order {
    pub fn is_ongoing(&self) -> bool {
        self.status.is_ongoing()
    }

    pub fn basket(&self) -> Basket {
        Basket::new(self.shop_id, self.placed.requested_lines())
    }

    /// What the customer pays: the total less the lines that were dropped. Minor units.
    pub fn amount_due(&self) -> i64 {
        let dropped: i64 = self.dropped_lines.iter().filter_map(|i| self.placed.lines.get(*i)).map(Line::price).sum();
        self.placed.total.amount - dropped
    }

    /// When the shop should start so that the promise is kept.
    pub fn start_by(&self) -> Option<Instant> {
        self.promise_at.map(|at| at - Duration::seconds(self.placed.make_seconds.into()))
    }

    /// How much of what was captured must have gone back in the end, by this service or by hand: all of it if the order
    /// is undone; otherwise what operators decided, and at least what was captured beyond what is due. It is derived from amounts
    /// alone, so that no order of events can hide a debt. Minor units.
    pub fn must_go_back(&self) -> i64 {
        let payment = &self.payment;
        let excess = payment.captured - self.amount_due();
        let all = if payment.release { payment.captured } else { payment.refund_target.max(excess) };
        (all.min(payment.captured) - payment.waived).max(0)
    }

    /// Money that must still go back to the customer: a debt until the gateway proves that it did. Minor units.
    pub fn owed(&self) -> i64 {
        use PaymentStatus as P;
        let payment = &self.payment;
        match payment.status {
            P::None | P::Declined | P::Voided | P::Refunded => 0,
            P::Captured | P::PartiallyRefunded => (self.must_go_back() - payment.refunded).max(0),
            P::Authorizing | P::ActionRequired | P::Authorized | P::Unknown | P::CaptureFailed if payment.release => {
                payment.authorized.max(self.placed.total.amount)
            }
            _ => 0,
        }
    }

    /// Money is held or was taken that has to go back, and the gateway has not yet been seen to give it back.
    pub fn is_owing(&self) -> bool {
        use PaymentStatus as P;
        let may_be_held = matches!(
            self.payment.status,
            P::Authorizing | P::ActionRequired | P::Authorized | P::Unknown | P::CaptureFailed
        );
        self.owed() > 0 || (self.payment.release && may_be_held)
    }

    /// Whether money was taken that has not all gone back.
    pub fn is_taken(&self) -> bool {
        matches!(self.payment.status, PaymentStatus::Captured | PaymentStatus::PartiallyRefunded)
    }

    /// What an operator may give back now, on top of what went back. One refund comes after the other: two under way at
    /// once, at a gateway that knows only steps, could add up to too much. Minor units.
    pub fn refundable(&self) -> i64 {
        if self.is_taken() && self.owed() == 0 { self.payment.captured - self.payment.refunded } else { 0 }
    }

    /// What an operator may give up refunding: what the gateway owes and will not give. Minor units.
    pub fn reducible(&self) -> i64 {
        if self.is_taken() { self.owed() } else { 0 }
    }

    /// Whether an operator may put off its deadline. A scheduled order's is its time at the shop, which the customer
    /// chose.
    pub fn can_wait_longer(&self) -> bool {
        self.is_ongoing() && self.status != Status::Scheduled
    }

    /// Whether the shop may be told of it once more.
    pub fn can_be_offered_again(&self) -> bool {
        self.status == Status::AwaitingShop && self.offered_at.is_some()
    }

    /// The gateway's key of the one authorization this order may have. A key is never changed by a retry.
    pub fn authorization_key(&self) -> String {
        authorization_key(self.id)
    }
}

/// The key under which an order's money is held, now and for ever: it needs nothing but the order's id.
pub fn authorization_key(id: OrderId) -> String {
    format!("{id}/authorize/1")
}
