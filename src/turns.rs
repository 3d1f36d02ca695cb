//! Whose turn it is at one stage, when more is to be done than may be under way at once.
//!
//! Each payment method and each shop has a line of its own, and **a line may have no more acts under way than it
//! leaves places free**. One that never gets an answer therefore stops at half of the places, two such at a third
//! each, and somebody who is answered always finds a place: no share has to be configured, and nobody is named. (It is
//! the dynamic threshold that switches share their memory by: Choudhury and Hahne, IEEE/ACM Trans. Networking 6(2),
//! 1998, with a factor of one.) Nor does a line that cannot move stand in front of another.
//!
//! Within a line, and between lines, those who have arrived go first, then whoever came first.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use crate::order::ShopId;

/// Who is asked, outside: what answers or fails as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A payment method, by the gateway's name for it: behind each is another bank.
    Method(String),
    Shop(ShopId),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "method:{method}"),
            Self::Shop(shop) => write!(f, "shop:{shop}"),
        }
    }
}

/// The acts under way at a stage, and those who wait for theirs. The clock is an argument.
pub struct Turns<T> {
    /// Acts that may be under way at once.
    places: usize,
    /// Those who may wait.
    room: usize,
    under_way: usize,
    waiting: usize,
    lines: HashMap<Peer, Line<T>>,
    joined: u64,
}

struct Line<T> {
    under_way: usize,
    waiting: BTreeMap<Rank, (Instant, T)>,
}

/// The smallest goes first: arrived before not arrived, then by the order in which they came.
type Rank = (bool, u64);

impl<T> Turns<T> {
    pub fn new(places: usize, room: usize) -> Self {
        Self { places, room, under_way: 0, waiting: 0, lines: HashMap::new(), joined: 0 }
    }

    /// Places where nothing is under way.
    pub fn free(&self) -> usize {
        self.places - self.under_way
    }

    /// Those who wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts one in its line. If that is more than may wait, the last of the longest line has to leave for it.
    pub fn join(&mut self, peer: Peer, has_arrived: bool, waiter: T, now: Instant) -> Option<T> {
        let line = self.lines.entry(peer).or_insert_with(|| Line { under_way: 0, waiting: BTreeMap::new() });
        line.waiting.insert((!has_arrived, self.joined), (now, waiter));
        self.joined += 1;
        self.waiting += 1;
        if self.waiting <= self.room {
            return None;
        }
        let longest = self.lines.values_mut().max_by_key(|line| line.waiting.len())?;
        let (_, (_, last)) = longest.waiting.pop_last()?;
        self.waiting -= 1;
        Some(last)
    }

    /// Whoever's turn it is, now under way until [`done`](Self::done); `None` if nobody may begin. `may_ask` says
    /// who may be asked at all, while so many acts of its line are under way.
    pub fn next(&mut self, may_ask: impl Fn(&Peer, usize) -> bool) -> Option<(Peer, T)> {
        let free = self.free();
        let may_begin = |(peer, line): &(&Peer, &mut Line<T>)| line.under_way < free && may_ask(peer, line.under_way);
        let first = |line: &Line<T>| line.waiting.first_key_value().map(|(rank, _)| *rank);
        let lines = self.lines.iter_mut().filter(|(_, line)| !line.waiting.is_empty()).filter(may_begin);
        let (peer, line) = lines.min_by_key(|(_, line)| first(line))?;
        let (_, (_, waiter)) = line.waiting.pop_first()?;
        line.under_way += 1;
        self.under_way += 1;
        self.waiting -= 1;
        Some((peer.clone(), waiter))
    }

    /// An act that was under way has ended.
    pub fn done(&mut self, peer: &Peer) {
        if let Some(line) = self.lines.get_mut(peer) {
            line.under_way -= 1;
            self.under_way -= 1;
            if line.under_way == 0 && line.waiting.is_empty() {
                self.lines.remove(peer);
            }
        }
    }

    /// Takes out of all lines whoever has to leave.
    pub fn leave(&mut self, mut has_to: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut left = Vec::new();
        for line in self.lines.values_mut() {
            left.extend(line.waiting.extract_if(.., |_, (_, waiter)| has_to(waiter)).map(|(_, (_, waiter))| waiter));
        }
        self.waiting -= left.len();
        self.lines.retain(|_, line| line.under_way > 0 || !line.waiting.is_empty());
        left
    }

    /// Those in whose line somebody has waited for longer than `patience`, with more behind than one may ever have
    /// under way alone: whoever came now would wait for longer still.
    pub fn crowded(&self, patience: Duration, now: Instant) -> impl Iterator<Item = &Peer> {
        let is_late = move |(since, _): &(Instant, T)| now.saturating_duration_since(*since) > patience;
        let lines = self.lines.iter().filter(|(_, line)| line.waiting.len() > self.places / 2);
        lines.filter(move |(_, line)| line.waiting.values().any(is_late)).map(|(peer, _)| peer)
    }
}

/// Those who should not be given more to do for now, and until when. What is not said again is forgotten.
#[derive(Debug, Default)]
pub struct Crowd(HashMap<Peer, Instant>);

impl Crowd {
    pub fn note(&mut self, peer: Peer, until: Instant, now: Instant) {
        self.0.retain(|_, until| *until > now);
        self.0.insert(peer, until);
    }

    pub fn holds(&self, peer: &Peer, now: Instant) -> bool {
        self.0.get(peer).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str) -> Peer {
        Peer::Method(name.into())
    }

    /// Lets everybody begin who may, and counts them by their line.
    fn begin(turns: &mut Turns<u32>) -> HashMap<Peer, usize> {
        let mut begun = HashMap::new();
        while let Some((peer, _)) = turns.next(|_, _| true) {
            *begun.entry(peer).or_default() += 1;
        }
        begun
    }

    fn with(places: usize, lines: &[(&str, u32)]) -> Turns<u32> {
        let mut turns = Turns::new(places, 1_000);
        for (name, waiting) in lines {
            for waiter in 0..*waiting {
                assert_eq!(turns.join(method(name), false, waiter, Instant::now()), None);
            }
        }
        turns
    }

    #[test]
    fn whoever_stalls_leaves_places_to_the_others() {
        for (places, stalled, each) in [(1, 1, 1), (2, 1, 1), (256, 1, 128), (256, 2, 86), (256, 3, 64), (256, 15, 16)]
        {
            let mut turns = Turns::new(places, 10_000);
            for waiter in 0..300 {
                for line in 0..stalled {
                    turns.join(method(&line.to_string()), false, waiter, Instant::now());
                }
            }
            let begun = begin(&mut turns);
            assert!(begun.values().all(|count| count.abs_diff(each) <= 1), "{places} {stalled}: {begun:?}");
            if places > 1 {
                turns.join(method("answered"), false, 0, Instant::now());
                assert!(turns.next(|_, _| true).is_some_and(|(peer, _)| peer == method("answered")));
            }
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_act_has_ended() {
        let mut turns = with(4, &[("visa", 5)]);
        assert_eq!(begin(&mut turns)[&method("visa")], 2);
        turns.done(&method("visa"));
        assert_eq!((turns.free(), begin(&mut turns)[&method("visa")]), (3, 1));
        turns.done(&method("visa"));
        turns.done(&method("visa"));
        assert_eq!((turns.free(), begin(&mut turns)[&method("visa")]), (4, 2));
    }

    #[test]
    fn a_line_that_cannot_move_stands_in_nobodys_way() {
        let mut turns = with(8, &[("silent", 100), ("visa", 3)]);
        assert_eq!(begin(&mut turns), HashMap::from([(method("silent"), 4), (method("visa"), 2)]));
        turns.done(&method("visa"));
        assert_eq!(turns.next(|_, _| true), Some((method("visa"), 2)));
        let mut turns = with(8, &[("tried", 2), ("visa", 1)]);
        let one_at_a_time = |_: &Peer, under_way| under_way == 0;
        assert!(turns.next(one_at_a_time).is_some() && turns.next(one_at_a_time).is_some());
        assert_eq!(turns.next(one_at_a_time), None);
        assert_eq!(turns.leave(|_| true), [1], "the second of those that are tried");
    }

    #[test]
    fn the_arrived_go_first_then_the_first() {
        let mut turns = Turns::new(100, 100);
        let now = Instant::now();
        for (line, has_arrived, waiter) in
            [("a", false, 1), ("b", false, 2), ("a", true, 3), ("a", false, 4), ("b", true, 5)]
        {
            turns.join(method(line), has_arrived, waiter, now);
        }
        let order: Vec<u32> = std::iter::from_fn(|| turns.next(|_, _| true)).map(|(_, waiter)| waiter).collect();
        assert_eq!(order, [3, 5, 1, 2, 4]);
    }

    #[test]
    fn when_too_many_wait_the_last_of_the_longest_line_leaves() {
        let mut turns = Turns::new(1, 3);
        let now = Instant::now();
        for (line, has_arrived, waiter, leaves) in [
            ("silent", false, 1, None),
            ("silent", true, 2, None),
            ("silent", false, 3, None),
            ("visa", false, 4, Some(3)),
            ("silent", true, 5, Some(1)),
        ] {
            assert_eq!(turns.join(method(line), has_arrived, waiter, now), leaves);
        }
        assert_eq!(turns.leave(|waiter| *waiter == 4), [4]);
        assert_eq!(turns.leave(|_| true).len(), 2);
        assert_eq!(turns.next(|_, _| true), None);
    }

    #[test]
    fn a_line_is_crowded_when_it_is_long_and_has_waited_long() {
        let now = Instant::now();
        let patience = Duration::from_secs(2);
        let crowded = |waiting: u32, since: Duration| {
            let mut turns = Turns::new(8, 100);
            for waiter in 0..waiting {
                turns.join(method("slow"), false, waiter, now);
            }
            turns.join(method("visa"), false, 0, now);
            turns.crowded(patience, now + since).cloned().collect::<Vec<_>>()
        };
        assert_eq!(crowded(5, patience * 2), [method("slow")]);
        assert_eq!(crowded(4, patience * 2), [], "they are soon done");
        assert_eq!(crowded(50, patience), [], "they have only come");
    }

    #[test]
    fn a_crowd_that_nobody_speaks_of_is_over() {
        let now = Instant::now();
        let mut crowd = Crowd::default();
        crowd.note(method("slow"), now + Duration::from_secs(1), now);
        assert!(crowd.holds(&method("slow"), now) && !crowd.holds(&method("visa"), now));
        assert!(!crowd.holds(&method("slow"), now + Duration::from_secs(1)));
        crowd.note(method("visa"), now + Duration::from_secs(3), now + Duration::from_secs(2));
        assert_eq!(crowd.0.len(), 1);
    }
}
