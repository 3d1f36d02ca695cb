//! Where an order's time went: waiting for somebody, being worked on, or left alone between two tries.

use chrono::Duration;
use strum::IntoStaticStr;

use crate::lifecycle::{Actor, EventKind};
use crate::order::Instant;
use crate::state::Order;
use crate::store::Recorded;

/// What an order was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Doing {
    /// For the customer, the shop, the bank, or a time.
    Waiting,
    /// A worker was at it, or it stood in the line for one.
    Acting,
    /// A try had come to nothing, and the next was to come.
    BackingOff,
}

impl Doing {
    /// The word that stands for it in style sheets.
    pub fn word(self) -> &'static str {
        self.into()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Acting => "acting",
            Self::BackingOff => "backing off",
        }
    }
}

/// A stretch of an order's life, between two events or up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub doing: Doing,
    pub lasted: Duration,
    /// Tries up to the end of it, one after the other.
    pub tries: i32,
}

/// What passed before each event; the first has nothing before it. The last stretch is the one that is not over yet,
/// if the order still waits for anything.
pub fn stretches(events: &[Recorded], order: &Order, now: Instant) -> (Vec<Option<Stretch>>, Option<Stretch>) {
    let mut before: Vec<Option<Stretch>> = Vec::with_capacity(events.len());
    let mut tries = 0;
    for (i, event) in events.iter().enumerate() {
        let Some(previous) = i.checked_sub(1).and_then(|i| events.get(i)) else {
            before.push(None);
            continue;
        };
        let doing = if is_try(previous.kind) {
            Doing::BackingOff
        } else if event.actor == Actor::Worker {
            Doing::Acting
        } else {
            Doing::Waiting
        };
        let is_worked_on = is_try(event.kind) || event.actor == Actor::Worker;
        tries = if is_worked_on { tries + 1 } else { 0 };
        before.push(Some(Stretch { doing, lasted: event.at - previous.at, tries }));
        if !is_try(event.kind) {
            tries = 0;
        }
    }
    (before, present(order, events, now))
}

/// A try of the worker that came to nothing, or whose answer is missing.
fn is_try(kind: EventKind) -> bool {
    matches!(kind, EventKind::PaymentAttempted | EventKind::PaymentUnanswered | EventKind::OperationUnanswered)
}

fn present(order: &Order, events: &[Recorded], now: Instant) -> Option<Stretch> {
    let task = &order.task;
    if !order.is_ongoing() && task.stage.is_none() {
        return None;
    }
    let is_held = task.leased_until.is_some_and(|until| until > now);
    let is_later = task.next_attempt_at.is_some_and(|at| at > now);
    let doing = match task.stage {
        _ if task.parked_at.is_some() => Doing::Waiting,
        // As it will be called once it is over.
        Some(_) if events.last().is_some_and(|event| is_try(event.kind)) => Doing::BackingOff,
        Some(_) if is_held => Doing::Acting,
        Some(_) if is_later && task.attempts > 0 => Doing::BackingOff,
        Some(_) if is_later => Doing::Waiting,
        Some(_) => Doing::Acting,
        None => Doing::Waiting,
    };
    let since = events.last().map_or(order.updated_at, |event| event.at);
    Some(Stretch { doing, lasted: now - since, tries: task.attempts })
}

/// The stretches as a bar of `width`, each with its place: a life of a second and one of a day are equally wide.
pub fn bar(stretches: impl Iterator<Item = Stretch> + Clone, width: i64) -> Vec<(Doing, i64, i64)> {
    let whole: i64 = stretches.clone().map(|stretch| stretch.lasted.num_milliseconds().max(0)).sum();
    let mut passed = 0;
    stretches
        .map(|stretch| {
            let lasted = stretch.lasted.num_milliseconds().max(0);
            let at = |millis: i64| if whole == 0 { 0 } else { millis * width / whole };
            let (start, end) = (at(passed), at(passed + lasted));
            passed += lasted;
            // What was short is seen too.
            (stretch.doing, start, (end - start).max(2))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, order as an_order};
    use crate::lifecycle::{Stage, Status};

    #[test]
    fn the_present_tells_acting_from_backing_off() {
        let mut order = an_order();
        (order.status, order.task.stage) = (Status::New, Some(Stage::Authorize));
        let mut doing = |attempts, next, leased: Option<i64>| {
            order.task.attempts = attempts;
            order.task.next_attempt_at = Some(at(next));
            order.task.leased_until = leased.map(at);
            present(&order, &[], at(100)).unwrap().doing
        };
        assert_eq!(doing(0, 99, None), Doing::Acting);
        assert_eq!(doing(1, 130, Some(130)), Doing::Acting);
        assert_eq!(doing(2, 130, None), Doing::BackingOff);
        assert_eq!(doing(0, 130, None), Doing::Waiting);
        order.task.parked_at = Some(at(1));
        assert_eq!(present(&order, &[], at(100)).unwrap().doing, Doing::Waiting);
        (order.status, order.task.stage) = (Status::Completed, None);
        assert_eq!(present(&order, &[], at(100)), None);
    }

    #[test]
    fn a_bar_is_as_wide_as_it_should_be() {
        let stretch = |doing, seconds| Stretch { doing, lasted: Duration::seconds(seconds), tries: 0 };
        let all = [stretch(Doing::Acting, 1), stretch(Doing::Waiting, 99), stretch(Doing::Acting, 0)];
        let bar = bar(all.into_iter(), 1000);
        assert_eq!(bar, [(Doing::Acting, 0, 10), (Doing::Waiting, 10, 990), (Doing::Acting, 1000, 2)]);
    }
}
