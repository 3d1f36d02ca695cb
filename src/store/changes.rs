//! How a row changes: one step of the machine, one row of the log, and the order's own, written together.

use super::rows::event::NewEventRow;
use super::tx::Tx;
use super::{Error, Policy, Result};
use crate::acts::Outcome;
use crate::lifecycle::{Actor, Event};
use crate::machine::{self, Refused, When};
use crate::meters::Happened;
use crate::order::{Hash, Instant};
use crate::state::Order;
use crate::trace::OrderTrace;
use crate::{tracer, work};

/// One change of an order that was just read in this transaction, written as a whole, and handed to the local worker if
/// there is more to do at once.
pub(super) fn apply(
    tx: &mut Tx,
    before: &Order,
    event: &Event,
    by: Actor,
    when: impl Into<When>,
    policy: &Policy,
) -> Result<std::result::Result<Order, Refused>> {
    let when = when.into();
    match change(before, event, by, when, policy) {
        Ok((after, step)) => certain(write(tx, before, after, vec![step], when.now, policy)?).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

/// One step of an order, as the log is to have it.
pub(super) struct Step {
    row: NewEventRow,
    happened: Happened,
    /// Where its commit is to be a span.
    trace: Option<OrderTrace>,
}

impl Step {
    fn of(before: Option<&Order>, after: &Order, event: &Event, by: Actor) -> Self {
        let happened = Happened::new(before, after, event, by);
        Self { row: NewEventRow::of(before, after, event, by), happened, trace: tracer::recorded(after) }
    }
}

/// One step of the machine, and one row for `order_events`. [`write`] writes both. Together with [`worked`] it is the
/// only function through which an order changes.
fn change(
    before: &Order,
    event: &Event,
    by: Actor,
    when: impl Into<When>,
    policy: &Policy,
) -> std::result::Result<(Order, Step), Refused> {
    let after = machine::step(before, event, by, when, &policy.deadlines)?;
    let step = Step::of(Some(before), &after, event, by);
    Ok((after, step))
}

/// What a worker's result makes of an order, and the steps of it. `blamed_before` is what the order was blamed with when
/// it was claimed.
pub(super) fn worked(
    before: &Order,
    outcome: &Outcome,
    blamed_before: i32,
    now: Instant,
    policy: &Policy,
) -> Result<(Order, Vec<Step>)> {
    let mut steps = Vec::with_capacity(1);
    let stepped = |before: &Order, after: &Order, event: &Event| {
        steps.push(Step::of(Some(before), after, event, Actor::Worker));
    };
    let worked = work::worked(before, outcome, blamed_before, now, policy.lease, &policy.deadlines, stepped);
    Ok((surely(worked)?, steps))
}

/// A change that the machine never refuses, unless the row is not what it should be.
pub(super) fn surely<T>(changed: std::result::Result<T, Refused>) -> Result<T> {
    changed.map_err(|refused| Error::Damaged(refused.to_string()))
}

/// What was read in this transaction can still be written: there is one writer.
pub(super) fn certain(written: Option<Order>) -> Result<Order> {
    written.ok_or_else(|| Error::Damaged("an order changed between being read and being written".into()))
}

/// Writes an order and its steps, and hands it to the local worker if there is more to do at once. `None`, and nothing
/// done, if the row is no longer as it was `before`.
pub(super) fn write(
    tx: &mut Tx,
    before: &Order,
    mut after: Order,
    steps: Vec<Step>,
    now: Instant,
    policy: &Policy,
) -> Result<Option<Order>> {
    let handover = tx.lease_locally(&mut after, now, policy.lease);
    if !tx.update(before, &after)? {
        return Ok(None);
    }
    if after.closed_at != before.closed_at {
        tx.close_name(&after)?;
    }
    for step in steps {
        append(tx, step)?;
    }
    tx.hand_over(handover);
    Ok(Some(after))
}

/// Writes a new order with its first step.
pub(super) fn bear(tx: &mut Tx, order: &Order, key: Option<&str>, fingerprint: Hash) -> Result<()> {
    tx.insert(order, key, fingerprint)?;
    append(tx, Step::of(None, order, &Event::Created, Actor::Partner))
}

fn append(tx: &mut Tx, Step { row, happened, trace }: Step) -> Result<()> {
    let happened = match trace {
        Some(trace) => happened.traced(trace, tracer::new_span(), tx.cause),
        None => happened,
    };
    tx.append(row, happened)
}
