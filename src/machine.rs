//! What an event does to an order: `lifecycle`'s table applied to plain data, without I/O and without a clock.
//!
//! An order that is too late for its purpose ends instead of being done ([`too_late_at`]): nothing that is begun for it
//! before a shop has accepted it, and no deadline until then, outlasts that moment.
//!
//! What happened before it could be said counts from when it happened ([`When`]); deadlines count from when it was said.

use chrono::Duration;
use thiserror::Error;

use crate::lifecycle::{self, Actor, Event, EventKind, PaymentStatus, Reason, Refund, Stage, Status};
use crate::order::{CustomerId, Instant, OnUnavailable, OrderId, PartnerId, Pickup, Placed, ShopId};
use crate::state::{Order, Payment, PendingOperation, Task};
use crate::suspects;
use crate::suspects::SUSPECTED;

/// The reason an order shows after the event that brought it to its status.
fn reason(order: &Order, event: &Event, by: Actor) -> Option<Reason> {
    Some(match event {
        Event::ForceCompleted { .. } if by == Actor::Timer => Reason::AutoClosed,
        Event::PaymentDeclined { .. } => Reason::PaymentDeclined,
        Event::PaymentExpired => Reason::PaymentActionExpired,
        // What was set aside had a fault of ours.
        Event::PaymentUnavailable if order.task.parked_at.is_some() => Reason::InternalError,
        Event::PaymentUnavailable => Reason::PaymentProviderUnavailable,
        Event::PaymentUnknown => Reason::PaymentOutcomeUnknown,
        Event::PaymentHoldLost => Reason::PaymentHoldLost,
        Event::PaymentAuthorized { .. } if order.status == Status::Failed => Reason::PaymentHoldLost,
        Event::OrderDamaged => Reason::InternalError,
        Event::ShopTimedOut if order.offered_at.is_none() => Reason::ShopUnreachable,
        Event::ShopTimedOut => Reason::AcceptanceTimeout,
        Event::ShopRejected { reason } | Event::ShopCancelled { reason } => *reason,
        Event::OperatorCancelled { reason, .. } => *reason,
        Event::Abandoned => Reason::NotPrepared,
        Event::SlotMissed => Reason::SlotMissed,
        Event::CustomerCancelled => Reason::CustomerRequest,
        Event::NotCollected => Reason::NoShow,
        Event::FoundSold { .. } => Reason::AutoClosed,
        Event::FoundUndone => Reason::HistoryLost,
        _ => return None,
    })
}

/// How long an order may stand still. Every one is a setting; the defaults are the design's.
#[derive(Clone, Debug)]
pub struct Deadlines {
    /// In `new`, with the gateway answering or refusing.
    pub authorization: Duration,
    /// In `new`, while the outcome is unknown.
    pub unknown_outcome: Duration,
    /// For the customer to answer the bank.
    pub payment_action: Duration,
    /// For the shop to accept.
    pub acceptance: Duration,
    /// Past the time at which the customer wants the order: no shop is asked to begin it later than that.
    pub slot_missed: Duration,
    /// Past the promise, for a shop that tracks its steps.
    pub preparation: Duration,
    /// On the shelf, where the shop tracks hand-over.
    pub collection: Duration,
    /// On the shelf, where it does not.
    pub untracked_collection: Duration,
    /// For a customer who comes late to an order that was not collected.
    pub late_collection: Duration,
    /// From the end of an order whose payment was once unknown to the last look at the gateway.
    pub last_look: Duration,
    /// How long before its hold lapses an order ends that was not begun: taking the money may need some tries.
    pub hold_margin: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            authorization: Duration::seconds(60),
            unknown_outcome: Duration::minutes(2),
            payment_action: Duration::minutes(5),
            acceptance: Duration::minutes(3),
            slot_missed: Duration::minutes(30),
            preparation: Duration::hours(2),
            collection: Duration::minutes(60),
            untracked_collection: Duration::minutes(30),
            late_collection: Duration::hours(12),
            last_look: Duration::hours(24),
            hold_margin: Duration::minutes(10),
        }
    }
}

/// When an event happened, and when it is written down. They differ for what was kept while it could not be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    pub now: Instant,
    pub occurred: Instant,
}

impl From<Instant> for When {
    fn from(now: Instant) -> Self {
        Self { now, occurred: now }
    }
}

impl When {
    /// What happens to an order happens neither in the future nor before the order came to its status.
    fn within(self, order: &Order) -> Self {
        Self { occurred: self.occurred.max(order.entered_at).min(self.now), ..self }
    }
}

/// Why an event changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("`{event}` is not possible while the order is `{status}` and its payment `{payment}`")]
    Illegal { status: Status, payment: PaymentStatus, event: EventKind },
    #[error("{0}")]
    Mismatch(String),
}

/// What is known of an order when it is accepted.
pub struct Birth<'a> {
    pub id: OrderId,
    pub partner_id: PartnerId,
    pub customer_id: CustomerId,
    pub shop_id: ShopId,
    pub number: i64,
    pub nonce: i64,
    pub placed: Placed,
    pub pickup: Pickup,
    pub offer_at: Option<Instant>,
    pub expected_ready_at: Instant,
    pub now: Instant,
    pub deadlines: &'a Deadlines,
}

/// A new order: accepted, and its own pending task.
pub fn born(birth: Birth) -> Order {
    let Birth { id, partner_id, customer_id, shop_id, number, nonce, placed, pickup, now, .. } = birth;
    let mut order = Order {
        id,
        partner_id,
        customer_id,
        shop_id,
        number,
        nonce,
        placed,
        intact: true,
        pickup,
        status: Status::New,
        reason: None,
        reason_by: None,
        payment: Payment::default(),
        task: Task::default(),
        entered_at: now,
        deadline_at: None,
        dropped_lines: Vec::new(),
        offer_at: birth.offer_at,
        offered_at: None,
        promise_at: None,
        expected_ready_at: Some(birth.expected_ready_at),
        ready_at: None,
        arrived_at: None,
        recalled: false,
        found_begun_at: None,
        version: 1,
        created_at: now,
        updated_at: now,
        closed_at: None,
        deleted_at: None,
    };
    order.deadline_at = deadline(&order, now, birth.deadlines);
    order.task.stage = pending_stage(&order);
    order.task.next_attempt_at = order.task.stage.map(|_| now);
    order
}

/// The order after the event, or why there is none. The only place where a status changes.
///
/// `when` may be an instant, for what happens as it is said.
pub fn step(
    order: &Order,
    event: &Event,
    by: Actor,
    when: impl Into<When>,
    deadlines: &Deadlines,
) -> Result<Order, Refused> {
    let When { now, occurred } = when.into().within(order);
    let mut next = order.clone();
    let illegal = || Refused::Illegal { status: order.status, payment: order.payment.status, event: event.kind() };

    if !lifecycle::may_cause(event.kind(), by) {
        return Err(illegal());
    }
    if lifecycle::RULES.iter().any(|rule| rule.event == event.kind()) {
        let targets = lifecycle::targets(Some(order.status), event.kind(), by).ok_or_else(illegal)?;
        next.status = match targets {
            [only] => *only,
            _ if holds_too_short(order, event, now, deadlines) => Status::Failed,
            _ if order.offer_at.is_some_and(|at| at > now) => Status::Scheduled,
            _ => Status::AwaitingShop,
        };
    }

    let pay = |next: &mut Order, status: PaymentStatus| {
        if !lifecycle::payment_may_become(order.payment.status, status) {
            return Err(illegal());
        }
        next.payment.status = status;
        next.payment.pending_operation = None;
        Ok(())
    };

    match event {
        Event::Created => return Err(illegal()),
        Event::PaymentAuthorized { amount, reference, capture_before } => {
            if *amount != order.placed.total.amount {
                return Err(Refused::Mismatch(format!(
                    "the gateway authorized {amount}, the order is over {}",
                    order.placed.total.amount
                )));
            }
            pay(&mut next, PaymentStatus::Authorized)?;
            next.payment.authorized = *amount;
            next.payment.reference = Some(reference.clone());
            next.payment.capture_before = *capture_before;
            next.payment.action = None;
        }
        Event::PaymentActionRequired { action, reference } => {
            pay(&mut next, PaymentStatus::ActionRequired)?;
            next.payment.action = Some(action.clone());
            next.payment.reference = Some(reference.clone());
        }
        Event::PaymentDeclined { refusal } => {
            pay(&mut next, PaymentStatus::Declined)?;
            next.payment.refusal = Some(refusal.clone());
            next.payment.action = None;
        }
        Event::PaymentPrepared { reference } if order.status == Status::New => {
            if order.payment.reference.as_ref().is_some_and(|known| known != reference) {
                return Err(Refused::Mismatch(format!("this payment has another name than {reference}")));
            }
            if order.payment.status == PaymentStatus::None {
                pay(&mut next, PaymentStatus::Authorizing)?;
            }
            next.payment.reference = Some(reference.clone());
        }
        Event::PaymentAttempted if order.status == Status::New => pay(&mut next, PaymentStatus::Authorizing)?,
        Event::PaymentUnanswered if order.status == Status::New => {
            pay(&mut next, PaymentStatus::Unknown)?;
            next.payment.unknown_since = Some(now);
            next.deadline_at = deadline(&next, now, deadlines);
        }
        Event::ShopAccepted { minutes, dropped_lines } => {
            drop_lines(&mut next, dropped_lines)?;
            let soonest = occurred + Duration::seconds(order.placed.make_seconds.into());
            next.promise_at = Some(match minutes {
                Some(minutes) => occurred + Duration::minutes((*minutes).into()),
                None => order.pickup.at.or(order.expected_ready_at).map_or(soonest, |told| told.max(soonest)),
            });
        }
        Event::FoundBegun { dropped_lines } | Event::FoundSold { dropped_lines } => {
            if !dropped_lines.is_empty() {
                drop_lines(&mut next, dropped_lines)?;
            }
            next.found_begun_at = Some(now);
            next.offered_at = order.offered_at.or(Some(now));
            next.promise_at = order.promise_at.or(order.pickup.at).or(order.expected_ready_at);
        }
        Event::Made => next.ready_at = Some(occurred),
        Event::Recalled => {
            next.recalled = true;
            next.ready_at = None;
        }
        Event::Collected if order.status == Status::NotCollected => {
            if order.closed_at.is_none_or(|closed| occurred > closed + deadlines.late_collection) {
                return Err(illegal());
            }
        }
        Event::OperatorCancelled { refund: Refund::Partial(amount), .. } | Event::RefundRequested { amount, .. }
            if order.placed.total.currency.unpayable(*amount).is_some() =>
        {
            return Err(Refused::Mismatch(order.placed.total.currency.unpayable(*amount).unwrap_or_default()));
        }
        Event::OperatorCancelled { refund: Refund::Partial(amount), .. }
            if *amount < 0 || *amount > order.amount_due() =>
        {
            return Err(Refused::Mismatch(format!("a refund is between 0 and {}", order.amount_due())));
        }
        Event::OperatorCancelled { refund: Refund::Partial(_), .. } if order.is_taken() && order.owed() > 0 => {
            return Err(Refused::Mismatch("a refund of this order is under way: wait for it".into()));
        }
        Event::PaymentCaptured { amount } => {
            if !(0..=order.payment.authorized).contains(amount) {
                return Err(Refused::Mismatch(format!(
                    "the gateway took {amount} of {} that were authorized",
                    order.payment.authorized
                )));
            }
            // The way back to `captured` is that of a failed refund: what is taken is not taken again.
            if order.is_taken() || order.payment.status == PaymentStatus::Refunded {
                return Err(illegal());
            }
            pay(&mut next, PaymentStatus::Captured)?;
            next.payment.captured = *amount;
            // The outcome is known now for which an operator's choice was kept.
            if let Some(choice) = next.payment.refund_choice.take() {
                choose(&mut next.payment, choice);
            }
            // Taken money does not lapse: the order waits as long as any other.
            if hold_end(order, deadlines).is_some_and(|end| order.deadline_at >= Some(end)) {
                next.deadline_at = deadline(&next, order.entered_at, deadlines).max(order.deadline_at);
            }
        }
        // An operator had it tried again, in vain.
        Event::CaptureRefused { refusal }
            if order.payment.status == PaymentStatus::CaptureFailed && order.payment.pending_operation.is_some() =>
        {
            next.payment.pending_operation = None;
            next.payment.refusal = Some(refusal.clone());
        }
        Event::CaptureRefused { refusal } => {
            pay(&mut next, PaymentStatus::CaptureFailed)?;
            next.payment.refusal = Some(refusal.clone());
        }
        Event::PaymentVoided => pay(&mut next, PaymentStatus::Voided)?,
        Event::PaymentRefunded { amount } => {
            if !(0..=order.payment.captured).contains(amount) {
                return Err(Refused::Mismatch(format!(
                    "the gateway gave back {amount} of {} that were taken",
                    order.payment.captured
                )));
            }
            // An older word may come after a newer one: what was given back is not taken again.
            let refunded = order.payment.refunded.max(*amount);
            if by == Actor::Operator {
                next.payment.refunded_elsewhere += refunded - order.payment.refunded;
            }
            pay(&mut next, refund_status(order.payment.captured, refunded))?;
            next.payment.refunded = refunded;
        }
        Event::RefundFailed { amount } => {
            let Payment { captured, refunded, status, .. } = order.payment;
            let wanted = refunded.max(order.must_go_back());
            if !(0..=captured).contains(amount) || !(order.is_taken() || status == PaymentStatus::Refunded) {
                return Err(illegal());
            }
            next.payment.pending_operation = None;
            let after = refund_status(captured, *amount);
            if after != status {
                pay(&mut next, after)?;
            }
            next.payment.refunded = *amount;
            next.task.last_error = Some(format!("a refund failed: of {wanted} only {amount} reached the customer"));
            next.task.unresolved = next.owed() > 0;
        }
        Event::PaymentSurfaced { status, amount } => {
            use PaymentStatus as P;
            if !order.status.is_undone() || !matches!(status, P::Authorized | P::ActionRequired | P::Declined) {
                return Err(illegal());
            }
            pay(&mut next, *status)?;
            if *status == P::Authorized {
                next.payment.authorized = *amount;
            }
        }
        Event::PaymentProven => {
            if !order.payment.last_look {
                return Err(illegal());
            }
            next.payment.last_look = false;
        }
        Event::OperationUnanswered { operation, amount } => {
            next.payment.pending_operation =
                Some(PendingOperation { operation: operation.clone(), amount: *amount, since: now });
        }
        Event::RefundRequested { amount, .. } => {
            let left = order.refundable();
            if *amount <= 0 || *amount > left {
                return Err(Refused::Mismatch(format!("{left} of this order can be refunded now, not {amount}")));
            }
            next.payment.refund_target = order.payment.refunded + amount;
            // What was given up before is decided anew: so much goes back now, and no more.
            next.payment.waived = 0;
            next.payment.waived = (next.owed() - amount).max(0);
        }
        Event::RefundReduced { amount, .. } => {
            let owed = order.reducible();
            if *amount <= 0 || *amount > owed {
                return Err(Refused::Mismatch(format!("{owed} of a refund of this order is pending, not {amount}")));
            }
            next.payment.waived += amount;
        }
        Event::PaymentHoldLost if order.payment.status != PaymentStatus::Authorized => return Err(illegal()),
        Event::Offered if order.status == Status::AwaitingShop => next.offered_at = Some(now),
        Event::PickupChanged { pickup, offer_at } if order.is_ongoing() => {
            let make = Duration::seconds(order.placed.make_seconds.into());
            if pickup.at != order.pickup.at {
                if order.status != Status::Scheduled {
                    return Err(illegal());
                }
                let start = pickup.at.map(|slot| slot - make);
                if let Some(end) = hold_end(order, deadlines).filter(|end| start >= Some(*end)) {
                    return Err(Refused::Mismatch(format!("the money for this order is held only until {end}")));
                }
                next.offer_at = *offer_at;
                next.expected_ready_at = Some(pickup.at.unwrap_or(now + make));
                next.pickup.at = pickup.at;
                next.deadline_at = deadline(&next, now, deadlines);
            }
            next.pickup = pickup.clone();
        }
        Event::Arrived if order.is_ongoing() => next.arrived_at = order.arrived_at.or(Some(now)),
        Event::Deleted if order.status.is_undone() && order.deleted_at.is_none() => next.deleted_at = Some(now),
        Event::Parked { why } => {
            // After a restore the gateway's history decides, also about money: see `recovery`.
            if by == Actor::Worker && !order.task.stage.is_some_and(Stage::may_be_parked) {
                return Err(illegal());
            }
            next.task.parked_at = Some(now);
            (next.task.last_error, next.task.unresolved) = (Some(why.clone()), true);
        }
        Event::Contradicted { what } => {
            (next.task.last_error, next.task.unresolved) = (Some(what.clone()), true);
            if by == Actor::Worker && order.task.stage.is_some_and(Stage::may_be_parked) {
                next.task.parked_at = Some(now);
            }
        }
        Event::Retried { .. } => {
            if order.payment.status == PaymentStatus::CaptureFailed && !order.payment.release {
                next.payment.pending_operation =
                    Some(PendingOperation { operation: "capture".into(), amount: order.amount_due(), since: now });
            }
            if pending_stage(&next).is_none() && !order.task.unresolved {
                return Err(illegal());
            }
            // That the gateway may have been asked is not forgotten: `undo_payment` has to know.
            let attempts = order.task.attempts.min(1);
            // Nor is what was wrong with it, until it is done, nor that it may kill a process.
            let blame = order.task.blame.min(SUSPECTED);
            let fence = order.task.fence;
            next.task = Task { fence, attempts, blame, ..Task::default() };
            // Where nothing can be tried an operator has seen what is wrong.
            if pending_stage(&next).is_some() {
                let last_error = order.task.last_error.clone();
                next.task = Task { last_error, next_attempt_at: Some(now), ..next.task };
            }
        }
        Event::DeadlineExtended { minutes } if order.can_wait_longer() => {
            let from = order.deadline_at.map_or(now, |deadline| deadline.max(now));
            let later = from + Duration::minutes((*minutes).into());
            next.deadline_at = Some(hold_end(order, deadlines).map_or(later, |end| later.min(end)));
        }
        Event::OfferRepeated if order.can_be_offered_again() => next.offered_at = None,
        Event::DeadlineExtended { .. }
        | Event::OfferRepeated
        | Event::PaymentPrepared { .. }
        | Event::PaymentAttempted
        | Event::PaymentUnanswered
        | Event::Offered
        | Event::PickupChanged { .. }
        | Event::Arrived
        | Event::Deleted => return Err(illegal()),
        Event::PaymentExpired
        | Event::PaymentUnavailable
        | Event::PaymentUnknown
        | Event::PaymentHoldLost
        | Event::OrderDamaged
        | Event::SlotDue
        | Event::ShopRejected { .. }
        | Event::ShopTimedOut
        | Event::SlotMissed
        | Event::PreparationStarted
        | Event::Collected
        | Event::NotCollected
        | Event::Abandoned
        | Event::CustomerCancelled
        | Event::ShopCancelled { .. }
        | Event::ForceCompleted { .. }
        | Event::FoundUndone
        | Event::OperatorCancelled { .. } => {}
    }

    if next.status != order.status {
        next.reason = reason(&next, event, by);
        next.reason_by = next.reason.map(|_| by);
        next.entered_at = occurred;
        next.closed_at = next.status.is_over().then_some(now);
        next.deadline_at = deadline(&next, now, deadlines);
        if next.status.is_undone() {
            undo_payment(order, &mut next.payment, event, now);
        }
    }
    let is_settled = next.payment.release && !next.is_owing();
    if is_settled && next.payment.unknown_since.is_some() && order.is_owing() {
        next.payment.last_look = true;
    }
    if resolves(event) && !next.is_owing() {
        (next.task.last_error, next.task.unresolved) = (None, false);
    }

    let stage = pending_stage(&next);
    if next.status != order.status || stage != order.task.stage {
        let (before, fence) = (&order.task, order.task.fence + 1);
        next.task = if stage == before.stage {
            // The order went on, its work did not: what is known of that work still holds.
            let Task { errors, blame, parked_at, last_error, unresolved, .. } = next.task;
            Task { fence, errors, blame, parked_at, last_error, unresolved, ..Task::default() }
        } else {
            // What it was parked for is resolved once nothing is pending; a contradiction is not.
            let unresolved = next.task.unresolved && (before.parked_at.is_none() || stage.is_some());
            Task { fence, last_error: next.task.last_error.filter(|_| unresolved), unresolved, ..Task::default() }
        };
    }
    next.task.stage = stage;
    if next.task.next_attempt_at.is_none() {
        next.task.next_attempt_at = stage.map(|stage| first_attempt(&next, stage, now, deadlines));
    }
    next.version = order.version + 1;
    next.updated_at = now;
    Ok(next)
}

/// Whether an event can end what was wrong with an order's payment: what the gateway says of it, or an operator decides.
fn resolves(event: &Event) -> bool {
    matches!(
        event,
        Event::PaymentAuthorized { .. }
            | Event::PaymentDeclined { .. }
            | Event::PaymentCaptured { .. }
            | Event::PaymentVoided
            | Event::PaymentRefunded { .. }
            | Event::PaymentProven
            | Event::RefundReduced { .. }
    )
}

/// When an order that is not begun ends because its hold is about to lapse; `None` if nothing is held, or it has begun.
fn hold_end(order: &Order, deadlines: &Deadlines) -> Option<Instant> {
    let waits = matches!(order.status, Status::Scheduled | Status::AwaitingShop | Status::Accepted);
    let is_held = waits && order.payment.status == PaymentStatus::Authorized;
    order.payment.capture_before.filter(|_| is_held).map(|lapses| lapses - deadlines.hold_margin)
}

/// Whether a hold would lapse before the order's making begins, which is when its money is taken.
fn holds_too_short(order: &Order, event: &Event, now: Instant, deadlines: &Deadlines) -> bool {
    let Event::PaymentAuthorized { capture_before: Some(lapses), .. } = event else { return false };
    let make = Duration::seconds(order.placed.make_seconds.into());
    let start = order.pickup.at.map_or(now, |slot| slot - make);
    *lapses - deadlines.hold_margin <= start
}

/// When it is too late to begin with the order: so long after the time that its customer chose or, for as soon as
/// possible, was told.
pub fn too_late_at(order: &Order, deadlines: &Deadlines) -> Option<Instant> {
    order.pickup.at.or(order.expected_ready_at).map(|wanted| wanted + deadlines.slot_missed)
}

fn not_too_late(order: &Order, at: Instant, deadlines: &Deadlines) -> Instant {
    too_late_at(order, deadlines).map_or(at, |too_late| at.min(too_late))
}

/// Whether nobody may be asked to hold money for the order, or to make it, any more. An operator may have given it more
/// time than it had.
pub fn is_too_late(order: &Order, now: Instant, deadlines: &Deadlines) -> bool {
    let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
    has_passed(too_late_at(order, deadlines)) && has_passed(order.deadline_at)
}

/// Leaves lines out that were sold out, with the customer's consent.
fn drop_lines(order: &mut Order, dropped_lines: &[usize]) -> Result<(), Refused> {
    let consented = order.placed.on_unavailable == OnUnavailable::RemoveLine;
    let known = dropped_lines.iter().all(|line| *line < order.placed.lines.len());
    if !dropped_lines.is_empty() && (!consented || !known) {
        return Err(Refused::Mismatch("these lines may not be dropped from this order".into()));
    }
    order.dropped_lines = dropped_lines.to_vec();
    order.dropped_lines.sort_unstable();
    order.dropped_lines.dedup();
    if order.dropped_lines.len() == order.placed.lines.len() {
        return Err(Refused::Mismatch("an order cannot lose all of its lines: reject it".into()));
    }
    if order.amount_due() <= 0 && order.placed.total.amount > 0 {
        return Err(Refused::Mismatch("nothing would be left to pay for: reject it".into()));
    }
    Ok(())
}

/// What the timer does when the order's deadline has come.
pub fn deadline_event(order: &Order, now: Instant, deadlines: &Deadlines) -> Option<Event> {
    let tracked = order.placed.tracks_steps;
    if hold_end(order, deadlines).is_some_and(|end| order.deadline_at >= Some(end)) {
        return Some(Event::PaymentHoldLost);
    }
    let slot_missed = order.pickup.at.is_some() && is_too_late(order, now, deadlines);
    Some(match order.status {
        Status::New if order.payment.status == PaymentStatus::Unknown || order.task.leased_until.is_some() => {
            Event::PaymentUnknown
        }
        Status::New => Event::PaymentUnavailable,
        Status::ActionRequired => Event::PaymentExpired,
        Status::Scheduled | Status::AwaitingShop if slot_missed => Event::SlotMissed,
        Status::Scheduled => Event::SlotDue,
        Status::AwaitingShop => Event::ShopTimedOut,
        Status::Accepted if tracked => Event::Abandoned,
        Status::Accepted => Event::PreparationStarted,
        Status::Preparing if tracked => Event::ForceCompleted { note: None },
        Status::Preparing => Event::Made,
        Status::Ready if tracked => Event::NotCollected,
        Status::Ready => Event::Collected,
        Status::Completed | Status::Rejected | Status::Failed | Status::Cancelled | Status::NotCollected => {
            return None;
        }
    })
}

/// Until when the order may stay in the status that it has just entered.
pub fn deadline(order: &Order, now: Instant, deadlines: &Deadlines) -> Option<Instant> {
    let tracked = order.placed.tracks_steps;
    let promise = order.promise_at.unwrap_or(now);
    let make = Duration::seconds(order.placed.make_seconds.into());
    let not_too_late = |at| not_too_late(order, at, deadlines);
    let patience = match order.status {
        Status::New if order.payment.status == PaymentStatus::Unknown => {
            not_too_late(order.created_at + deadlines.unknown_outcome)
        }
        Status::New => not_too_late(order.created_at + deadlines.authorization),
        Status::ActionRequired => not_too_late(now + deadlines.payment_action),
        Status::Scheduled => not_too_late(order.offer_at.unwrap_or(now)),
        Status::AwaitingShop => {
            let patience = now + deadlines.acceptance;
            not_too_late(order.pickup.at.map_or(patience, |slot| patience.max(slot - make)))
        }
        Status::Accepted | Status::Preparing if tracked => promise.max(now) + deadlines.preparation,
        Status::Accepted => order.start_by().unwrap_or(now).max(now),
        // Called back by hand: made anew, whatever the promise was.
        Status::Preparing if order.recalled => promise.max(now + make),
        Status::Preparing => promise.max(now),
        Status::Ready if tracked => now + deadlines.collection,
        Status::Ready => now + deadlines.untracked_collection,
        _ => return None,
    };
    Some(hold_end(order, deadlines).map_or(patience, |end| patience.min(end)))
}

/// An event about the payment, as it has to be read for this order: on an order that is over it cannot
/// carry the order on, it only says what money has surfaced.
pub fn as_found(order: &Order, event: Event) -> Event {
    if !order.status.is_undone() {
        return event;
    }
    match event {
        Event::PaymentAuthorized { amount, .. } => Event::PaymentSurfaced { status: PaymentStatus::Authorized, amount },
        Event::PaymentActionRequired { .. } => {
            Event::PaymentSurfaced { status: PaymentStatus::ActionRequired, amount: 0 }
        }
        Event::PaymentDeclined { .. } => Event::PaymentSurfaced { status: PaymentStatus::Declined, amount: 0 },
        other => other,
    }
}

/// The queue in which the order stands: what has to be done next, by whoever gets to it.
pub fn pending_stage(order: &Order) -> Option<Stage> {
    use PaymentStatus as P;
    let payment = &order.payment;
    if order.is_owing() {
        return Some(Stage::Release);
    }
    if payment.last_look {
        return Some(Stage::LookUp);
    }
    match order.status {
        Status::New => match payment.status {
            P::None | P::Authorizing => Some(Stage::Authorize),
            P::Unknown => Some(Stage::LookUp),
            _ => None,
        },
        Status::ActionRequired => Some(Stage::LookUp),
        Status::AwaitingShop if order.offered_at.is_none() => Some(Stage::Offer),
        Status::Preparing | Status::Ready | Status::Completed | Status::NotCollected => match payment.status {
            P::Authorized => Some(Stage::Capture),
            P::CaptureFailed if payment.pending_operation.is_some() => Some(Stage::Capture),
            _ => None,
        },
        _ => None,
    }
}

/// When a look-up is tried: seconds after the outcome became unknown, or the bank asked the customer.
pub fn look_up_after(order: &Order, attempts: i32) -> Duration {
    let schedule: &[i64] = match order.status {
        Status::ActionRequired => &[15, 60, 150],
        _ => &[2, 5, 15, 45],
    };
    let index = usize::try_from(attempts).unwrap_or(0);
    match schedule.get(index) {
        Some(seconds) => {
            let before = index.checked_sub(1).map_or(0, |i| schedule[i]);
            Duration::seconds(seconds - before)
        }
        None => Duration::seconds(45),
    }
}

fn first_attempt(order: &Order, stage: Stage, now: Instant, deadlines: &Deadlines) -> Instant {
    match stage {
        Stage::LookUp if order.payment.last_look => order.closed_at.unwrap_or(now) + deadlines.last_look,
        Stage::LookUp => now + look_up_after(order, 0),
        Stage::Authorize | Stage::Offer | Stage::Capture | Stage::Release => now,
    }
}

/// The longest that a stage waits between two tries, as long as no gateway asks for more.
pub fn longest_wait(stage: Stage, is_over: bool, deadlines: &Deadlines) -> Duration {
    match stage {
        Stage::LookUp if is_over => deadlines.last_look,
        Stage::Authorize | Stage::LookUp | Stage::Offer => Duration::minutes(2),
        Stage::Capture | Stage::Release => Duration::minutes(15),
    }
}

/// The order as it would wait if it had been written now; `None` if it does not wait for longer as it is.
///
/// A clock that was ahead has written leases, attempts and deadlines in a future that was never. None of them is put off
/// here, and none comes sooner than it would have if the clock had been right; to do this again changes nothing.
pub fn rearmed(order: &Order, now: Instant, lease: Duration, skew: Duration, deadlines: &Deadlines) -> Option<Order> {
    let mut next = order.clone();
    let is_beyond = |at: Option<Instant>, longest| at.is_some_and(|at| at > now + longest + skew);
    let is_last_look = order.task.stage == Some(Stage::LookUp) && order.status.is_over();
    let longest_wait = |stage| longest_wait(stage, order.status.is_over(), deadlines);
    // Whatever killed a process has its rest.
    let rest = if order.task.blame > 0 { suspects::LONGEST_REST } else { Duration::zero() };
    let task = &mut next.task;
    match (task.leased_until, task.stage) {
        (Some(_), _) if is_beyond(task.leased_until, lease) => {
            task.leased_until = Some(now + lease);
            task.next_attempt_at = task.leased_until;
        }
        (None, Some(stage)) if is_beyond(task.next_attempt_at, longest_wait(stage).max(rest)) => {
            task.next_attempt_at = Some(if is_last_look { now + deadlines.last_look } else { now });
        }
        _ => {}
    }
    let ahead = order.updated_at - now;
    if ahead > skew {
        let mut written_now = order.clone();
        written_now.created_at = order.created_at.min(now);
        // A slot is the customer's, and was told by no clock.
        written_now.promise_at = order.promise_at.map(|at| if order.pickup.at.is_some() { at } else { at - ahead });
        let fresh = deadline(&written_now, now, deadlines);
        next.deadline_at =
            order.deadline_at.zip(fresh).map(|(written, fresh)| written.min(fresh)).or(order.deadline_at);
    }
    (next != *order).then_some(next)
}

/// Where the money is once so much of what was captured was refunded.
fn refund_status(captured: i64, refunded: i64) -> PaymentStatus {
    match refunded {
        0 => PaymentStatus::Captured,
        all if all == captured => PaymentStatus::Refunded,
        _ => PaymentStatus::PartiallyRefunded,
    }
}

/// An operator cancelled an order whose money was taken: so much of it goes back.
fn choose(payment: &mut Payment, choice: Refund) {
    payment.release = choice == Refund::Full;
    if let Refund::Partial(amount) = choice {
        payment.refund_target = payment.refund_target.max(amount).min(payment.captured);
    }
}

/// The order has just ended without a sale: decide what must go back.
fn undo_payment(before: &Order, payment: &mut Payment, event: &Event, now: Instant) {
    use PaymentStatus as P;
    payment.release = true;
    if let Event::OperatorCancelled { refund: choice, .. } = event {
        match payment.status {
            P::Captured | P::PartiallyRefunded | P::Refunded => choose(payment, *choice),
            // Its capture may be under way: what it comes to is found out by the release.
            P::Authorized | P::CaptureFailed if matches!(before.status, Status::Preparing | Status::Ready) => {
                payment.refund_choice = Some(*choice);
            }
            _ => {}
        }
    }
    // A claim may have sent a request whose answer nobody will wait for any more.
    let attempted = payment.status == P::None && before.task.attempts > 0;
    if attempted || payment.status == P::Authorizing {
        payment.status = P::Unknown;
        payment.unknown_since = Some(now);
    }
}

#[cfg(test)]
mod tests;
