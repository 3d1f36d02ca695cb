//! Where an order's time went: waiting for somebody, in the hands of the worker, or between two tries.
//!
//! The log has what happened, not when a worker took an order up. So what passed before a worker's event is told as one:
//! standing in line, being worked on, and tries that left no event. Only of the present more is known: the lease.

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
    /// A worker was at it, or it stood in line for one.
    AtWork,
    /// From a try that came to nothing to what came of the next.
    BetweenTries,
}

impl Doing {
    /// The word that stands for it in style sheets.
    pub fn word(self) -> &'static str {
        self.into()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::AtWork => "in line or at work",
            Self::BetweenTries => "between two tries",
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
            Doing::BetweenTries
        } else if event.actor == Actor::Worker {
            Doing::AtWork
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
        Some(_) if is_held => Doing::AtWork,
        Some(_) if is_later && task.attempts > 0 => Doing::BetweenTries,
        Some(_) if is_later => Doing::Waiting,
        Some(_) => Doing::AtWork,
        None => Doing::Waiting,
    };
    let since = events.last().map_or(order.updated_at, |event| event.at);
    Some(Stretch { doing, lasted: now - since, tries: task.attempts })
}

/// So many times the same, one after the other, stand together.
const LONG_RUN: usize = 3;

/// Rows in runs: what is the same often enough, one after the other, is in one; everything else is by itself.
pub fn runs<T>(rows: Vec<T>, is_same: impl Fn(&T, &T) -> bool) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| is_same(last, &row)) => run.push(row),
            _ => runs.push(vec![row]),
        }
    }
    let split = |run: Vec<T>| -> Vec<Vec<T>> {
        if run.len() < LONG_RUN { run.into_iter().map(|row| vec![row]).collect() } else { vec![run] }
    };
    runs.into_iter().flat_map(split).collect()
}

/// Whether two events tell the same, at different times.
pub fn is_same(one: &Recorded, other: &Recorded) -> bool {
    (one.kind, one.actor, one.to, one.payment_status, one.reason)
        == (other.kind, other.actor, other.to, other.payment_status, other.reason)
        && one.from.is_some()
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
    fn the_present_tells_what_is_in_hand_from_what_waits_for_its_next_try() {
        let mut order = an_order();
        (order.status, order.task.stage) = (Status::New, Some(Stage::Authorize));
        let mut doing = |attempts, next, leased: Option<i64>| {
            order.task.attempts = attempts;
            order.task.next_attempt_at = Some(at(next));
            order.task.leased_until = leased.map(at);
            present(&order, &[], at(100)).unwrap().doing
        };
        assert_eq!(doing(0, 99, None), Doing::AtWork);
        assert_eq!(doing(1, 130, Some(130)), Doing::AtWork);
        assert_eq!(doing(2, 130, None), Doing::BetweenTries);
        assert_eq!(doing(0, 130, None), Doing::Waiting);
        order.task.parked_at = Some(at(1));
        assert_eq!(present(&order, &[], at(100)).unwrap().doing, Doing::Waiting);
        (order.status, order.task.stage) = (Status::Completed, None);
        assert_eq!(present(&order, &[], at(100)), None);
    }

    #[test]
    fn what_is_the_same_often_enough_stands_together() {
        let runs = runs("abbcccaddddd".chars().collect(), |one, other| one == other);
        let runs: Vec<String> = runs.into_iter().map(|run| run.into_iter().collect()).collect();
        assert_eq!(runs, ["a", "b", "b", "ccc", "a", "ddddd"]);
    }

    #[test]
    fn a_bar_is_as_wide_as_it_should_be() {
        let stretch = |doing, seconds| Stretch { doing, lasted: Duration::seconds(seconds), tries: 0 };
        let all = [stretch(Doing::AtWork, 1), stretch(Doing::Waiting, 99), stretch(Doing::AtWork, 0)];
        let bar = bar(all.into_iter(), 1000);
        assert_eq!(bar, [(Doing::AtWork, 0, 10), (Doing::Waiting, 10, 990), (Doing::AtWork, 1000, 2)]);
    }
}
