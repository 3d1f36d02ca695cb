//! Finds the order that kills the process that works on it, and condemns none of its neighbours.
//!
//! **Rule: a lease that lapses says that a process died, not which order killed it.** An order whose lease lapsed is a
//! *suspect*. Every process tries suspects few at a time: one at first, and one more at once for each that came back.
//! A suspect that comes back, with whatever result, is cleared. A death is shared out as *blame* among the suspects
//! that were under way: each gets one part in as many as could be under way. The suspect with the most blame goes
//! first, but one that is blamed for a whole death waits for all others, and is tried when no other suspect is under
//! way. Three whole deaths condemn an order.
//!
//! **Speed.** The limit doubles with each round of answers, so that 4,096 innocent suspects are under way again after
//! 12 rounds. Orders that are no suspects do not wait for those that are.
//!
//! **The culprit is found.** Let `a` suspects stand in line with or before the culprit. When it begins, `c` of them came
//! back, so that the limit is at most `c + 1`, and at most `c` others are under way. These and the `c` are at most `a`:
//! at most `a / 2` are under way with it. Only these can have as much blame as the culprit in the next process, so that
//! `a` halves with each death. After log2(a) + 1 deaths the culprit is first in line and alone. It is blamed for that
//! whole death, and for each one after it.
//!
//! **The innocent are not condemned.** A suspect shares a death with the culprit only while both have less than one
//! whole death to their names, and its share is at most one half, because whoever is first in line is alone. An innocent
//! order therefore never reaches two.
//!
//! **Deaths that no order causes** (a machine that is restarted, a `kill -9`) can meet a suspect that is alone. After a
//! whole death an order rests, each time twice as long, so that a burst of restarts counts once against it: to be
//! condemned it must be under way alone at three deaths, over more than 30 s, and never come back in between.

use chrono::Duration;

use crate::lifecycle::Stage;
use crate::order::Instant;

/// The blame for one whole death.
pub const DEATH: i32 = 1_000;
/// Blame of an order that is no longer tried, where its stage may be set aside.
pub const CONDEMNED: i32 = 3 * DEATH;
/// The least blame: that of a suspect whose trial did not begin.
pub const SUSPECTED: i32 = 1;

/// How long an order rests after its first whole death …
const FIRST_REST: Duration = Duration::seconds(10);
/// … and at most: money that is owed is never given up.
pub const LONGEST_REST: Duration = Duration::minutes(15);
/// After so long without a suspect under way, the next one is tried alone again.
const QUIET: Duration = Duration::seconds(10);

/// The suspects that one process tries.
#[derive(Debug)]
pub struct Trials {
    limit: usize,
    under_way: usize,
    /// Places are reserved, and it is not known yet for which suspects.
    is_reserved: bool,
    /// The one under way is blamed for a whole death.
    is_alone: bool,
    last: Option<Instant>,
}

/// Leave to begin some trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    pub places: usize,
    /// What each that begins now is blamed with until it comes back; one that is tried alone is blamed with [`DEATH`].
    pub share: i32,
    /// No other suspect is under way: one that is blamed for a whole death may be tried.
    pub is_alone: bool,
}

impl Default for Trials {
    fn default() -> Self {
        Self { limit: 1, under_way: 0, is_reserved: false, is_alone: false, last: None }
    }
}

impl Trials {
    /// Reserves all places that are free, up to `wanted`. No others are given away until [`Trials::begin`] says how many
    /// are used.
    pub fn reserve(&mut self, wanted: usize, now: Instant) -> Leave {
        if self.is_reserved || self.is_alone {
            return Leave::default();
        }
        if self.under_way == 0 && self.last.is_some_and(|last| now - last > QUIET) {
            self.limit = 1;
        }
        let places = wanted.min(self.limit.saturating_sub(self.under_way));
        self.is_reserved = places > 0;
        let share = (DEATH / i32::try_from(self.limit).unwrap_or(DEATH)).max(SUSPECTED);
        Leave { places, share, is_alone: self.under_way == 0 }
    }

    /// So many trials begin with what was reserved; or one, of an order that must be alone.
    pub fn begin(&mut self, count: usize, is_alone: bool) {
        (self.is_reserved, self.is_alone) = (false, is_alone);
        self.under_way += count;
    }

    /// A trial ended with a result, at that time. It still has its place.
    pub fn came_back(&mut self, now: Instant) {
        self.limit = self.limit.saturating_add(1);
        self.last = Some(now);
    }

    /// The place of a trial is free again.
    pub fn leave(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.is_alone &= self.under_way > 0;
    }
}

/// What is done with an order whose lease lapsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Try,
    Rest(Duration),
    /// It is set aside for an operator.
    Park,
}

/// Decides about an order whose lease lapsed, by the blame it has by then.
pub fn next(blame: i32, stage: Stage) -> Next {
    match blame / DEATH {
        0 => Next::Try,
        _ if blame >= CONDEMNED && stage.may_be_parked() => Next::Park,
        deaths => Next::Rest(LONGEST_REST.min(FIRST_REST * 2_i32.pow((deaths - 1).min(10).unsigned_abs()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::at;

    /// An order at the stage of an offer, and how long an act on it takes.
    #[derive(Clone, Debug)]
    struct Row {
        takes: i64,
        blame: i32,
        lapsed: bool,
        due: i64,
        done: bool,
        parked: bool,
    }

    /// Runs processes one after the other until none of the rows is left to be tried; the `culprit`, if there is one,
    /// kills each process that finishes acting on it. Returns the deaths.
    fn run(rows: &mut [Row], culprit: Option<usize>, outside: &[i64]) -> usize {
        let (mut now, mut deaths, mut outside) = (0, 0, outside.iter().copied().peekable());
        let is_left = |row: &Row| !row.done && !row.parked;
        'process: while rows.iter().any(is_left) {
            assert!(deaths < 200, "no end");
            let mut trials = Trials::default();
            let mut under_way: Vec<(i64, usize)> = Vec::new();
            loop {
                // The claim, as the store makes it.
                let mut line: Vec<usize> = (0..rows.len())
                    .filter(|n| is_left(&rows[*n]) && rows[*n].due <= now)
                    .filter(|n| !under_way.iter().any(|(_, other)| other == n))
                    .collect();
                line.sort_by_key(|n| -rows[*n].blame);
                let leave = trials.reserve(line.len(), at(now));
                let (blamed, others): (Vec<_>, Vec<_>) = line.into_iter().partition(|n| rows[*n].blame >= DEATH);
                let must_be_alone = others.is_empty();
                let mut begun = 0;
                for n in if must_be_alone { blamed } else { others } {
                    if leave.places == 0 || must_be_alone && !leave.is_alone {
                        break;
                    }
                    let row = &mut rows[n];
                    match if row.lapsed { next(row.blame, Stage::Offer) } else { Next::Try } {
                        Next::Try if begun == leave.places || must_be_alone && begun == 1 => break,
                        Next::Try => {
                            row.blame += if must_be_alone { DEATH } else { leave.share };
                            under_way.push((now + row.takes, n));
                            begun += 1;
                        }
                        Next::Rest(rest) => (row.lapsed, row.due) = (false, now + rest.num_seconds()),
                        Next::Park => row.parked = true,
                    }
                }
                trials.begin(begun, must_be_alone && begun > 0);
                let killed = outside.peek().copied();
                let Some((end, n)) =
                    under_way.iter().min().copied().filter(|(end, _)| killed.is_none_or(|k| *end <= k))
                else {
                    let waits = rows.iter().filter(|row| is_left(row)).map(|row| row.due).min();
                    match (killed, waits) {
                        (Some(at), _) => {
                            outside.next();
                            (now, deaths) = (now.max(at), deaths + 1);
                            under_way.iter().for_each(|(_, n)| rows[*n].lapsed = true);
                            continue 'process;
                        }
                        (None, Some(due)) => {
                            now = now.max(due);
                            continue;
                        }
                        (None, None) => return deaths,
                    }
                };
                now = end;
                if culprit == Some(n) {
                    deaths += 1;
                    under_way.iter().for_each(|(_, n)| rows[*n].lapsed = true);
                    continue 'process;
                }
                under_way.retain(|(_, other)| *other != n);
                trials.came_back(at(now));
                trials.leave();
                (rows[n].blame, rows[n].done) = (0, true);
            }
        }
        deaths
    }

    fn row(takes: i64) -> Row {
        Row { takes, blame: 0, lapsed: true, due: 0, done: false, parked: false }
    }

    fn some_rows() -> impl Strategy<Value = Vec<Row>> {
        // Some answer at once, some slowly, some never in the life of a process.
        let takes = prop_oneof![6 => 0_i64..3, 3 => 3_i64..30, 1 => 100_i64..200];
        proptest::collection::vec(takes.prop_map(row), 1..600)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_culprit_is_condemned_after_few_deaths_and_nobody_else_ever(
            mut rows in some_rows(), chosen in any::<prop::sample::Index>(),
        ) {
            let culprit = chosen.index(rows.len());
            let deaths = run(&mut rows, Some(culprit), &[]);
            let halvings = rows.len().ilog2() as usize + 1;
            prop_assert!(deaths <= halvings + 3, "{deaths} deaths among {}", rows.len());
            for (n, row) in rows.iter().enumerate() {
                prop_assert_eq!((row.parked, row.done), (n == culprit, n != culprit));
            }
        }

        #[test]
        fn a_burst_of_restarts_condemns_nobody(
            mut rows in some_rows(), gaps in proptest::collection::vec(0_i64..5, 1..15),
        ) {
            let kills: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let deaths = run(&mut rows, None, &kills);
            prop_assert!(deaths <= kills.len());
            prop_assert!(rows.iter().all(|row| row.done && !row.parked));
        }
    }

    #[test]
    fn four_thousand_innocent_orders_are_under_way_again_after_twelve_rounds() {
        let mut trials = Trials::default();
        let (mut left, mut rounds) = (4_096, 0);
        while left > 0 {
            let Leave { places, .. } = trials.reserve(left, at(rounds));
            trials.begin(places, false);
            for _ in 0..places {
                trials.came_back(at(rounds));
                trials.leave();
            }
            (left, rounds) = (left - places, rounds + 1);
        }
        assert_eq!(rounds, 13, "1 + 2 + 4 + … + 2048, and the last");
    }

    #[test]
    fn suspects_begin_one_at_a_time_and_more_as_they_come_back() {
        let mut trials = Trials::default();
        let leave = |places, share, is_alone| Leave { places, share, is_alone };
        assert_eq!(trials.reserve(9, at(0)), leave(1, DEATH, true));
        assert_eq!(trials.reserve(9, at(0)), Leave::default(), "another stage asks meanwhile");
        trials.begin(1, false);
        assert_eq!(trials.reserve(9, at(0)).places, 0);
        trials.came_back(at(1));
        trials.leave();
        assert_eq!(trials.reserve(9, at(2)), leave(2, DEATH / 2, true));
        trials.begin(1, false);
        assert_eq!(trials.reserve(9, at(2)), leave(1, DEATH / 2, false));
        trials.begin(0, false);
        trials.leave();
        assert_eq!(trials.reserve(1, at(11)), leave(1, DEATH / 2, true));
        trials.begin(1, true);
        assert_eq!(trials.reserve(9, at(11)), Leave::default(), "it has to be alone");
        trials.leave();
        assert_eq!(trials.reserve(9, at(12)), leave(1, DEATH, true), "after a quiet time");
    }

    #[test]
    fn what_is_owed_rests_ever_longer_and_is_never_given_up() {
        let rest = |seconds| Next::Rest(Duration::seconds(seconds));
        let nexts = [0, 999, 1_000, 2_999, 3_000].map(|blame| next(blame, Stage::Authorize));
        assert_eq!(nexts, [Next::Try, Next::Try, rest(10), rest(20), Next::Park]);
        let owed = [3_000, 5_000, 8_000, i32::MAX].map(|blame| next(blame, Stage::Capture));
        assert_eq!(owed, [rest(40), rest(160), rest(900), rest(900)]);
    }
}
