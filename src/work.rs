//! What a claim and its result make of an order's row: who works on it, and what comes of that.

use chrono::Duration;

use crate::acts::{Again, Outcome, Strike};
use crate::lifecycle::{Actor, Event, Stage};
use crate::machine::{self, Deadlines, Refused};
use crate::order::Instant;
use crate::state::Order;
use crate::suspects::{CONDEMNED, DEATH};

/// After this many errors of no known class a row is set aside for an operator.
const MAX_ERRORS: i32 = 8;

/// Leases the order. `share` is what a suspect is blamed with until it comes back.
pub fn lease(order: &mut Order, now: Instant, lease: Duration, share: i32) {
    let task = &mut order.task;
    task.blame = task.blame.saturating_add(share);
    task.fence += 1;
    task.attempts += 1;
    task.leased_until = Some(now + lease);
    task.next_attempt_at = task.leased_until;
}

/// Whether the row came back with errors and panics too often, at a stage that may be set aside.
fn is_poison(order: &Order) -> bool {
    let task = &order.task;
    task.stage.is_some_and(Stage::may_be_parked) && (task.errors >= MAX_ERRORS || task.blame >= CONDEMNED)
}

/// What a worker's result makes of an order. `blamed_before` is what the order was blamed with when it was claimed;
/// `stepped` is told of each step of the machine: the order before and after it, and the event.
///
/// # Errors
/// A row that is not what it should be: the machine refuses what it never refuses.
pub fn worked(
    before: &Order,
    outcome: &Outcome,
    blamed_before: i32,
    now: Instant,
    lease: Duration,
    deadlines: &Deadlines,
    mut stepped: impl FnMut(&Order, &Order, &Event),
) -> Result<Order, Refused> {
    let mut step = |order: &Order, event: &Event| {
        let after = machine::step(order, event, Actor::Worker, now, deadlines)?;
        stepped(order, &after, event);
        Ok(after)
    };
    let mut order = before.clone();
    if let Some(event) = &outcome.event {
        let event = machine::as_found(before, event.clone());
        order = step(before, &event)
            .or_else(|refused: Refused| step(before, &Event::Contradicted { what: refused.to_string() }))?;
    }
    if order.task.stage == before.task.stage {
        // It came back: whatever killed a process before was not this order. A panic names its culprit.
        let panicked = matches!(&outcome.again, Some(Again { strike: Strike::Panic, .. }));
        order.task.blame = if panicked { blamed_before.saturating_add(DEATH) } else { 0 };
    }
    if order.task.fence == before.task.fence {
        let (after, why, strike) = match &outcome.again {
            Some(again) => (again.after, again.why.as_str(), again.strike),
            None => (lease, "the stage did not finish", Strike::None),
        };
        let task = &mut order.task;
        task.fence += 1;
        task.leased_until = None;
        task.next_attempt_at = task.stage.map(|_| now + after);
        task.errors += i32::from(strike == Strike::Error);
        // An operator who looks at a contradiction or a failed refund needs to know what it was.
        if task.last_error == before.task.last_error && !task.unresolved {
            task.last_error = Some(why.to_owned());
        }
        if task.parked_at.is_none() && is_poison(&order) {
            let event = Event::Parked { why: order.task.last_error.clone().unwrap_or_default() };
            order = step(&order, &event)?;
        }
    }
    Ok(order)
}

/// A result came too late and was dropped, but it may tell of money: if the order's money is on its way back and no
/// worker is at it, it is to be looked at now. `None` if there is nothing to change.
pub fn woken(order: &Order, now: Instant) -> Option<Order> {
    let waits = order.task.stage == Some(Stage::Release) && order.task.leased_until.is_none();
    waits.then(|| {
        let mut order = order.clone();
        order.task.next_attempt_at = Some(now);
        order
    })
}
