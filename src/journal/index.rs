//! What is remembered of every line of a journal for ever, in little more memory than it takes to say it.

use std::collections::HashMap;
use std::hash::Hash;

/// The newest are put among the others once there are so many of them …
const FEWEST: usize = 4_096;
/// … and this share of all: more often would be slower, more seldom would take more memory.
const SHARE: usize = 32;

/// A map from which nothing is ever removed. Most entries stand sorted and close together, where a hash table would
/// keep up to half of its places free.
pub struct Index<K, V> {
    sorted: Vec<(K, V)>,
    newest: HashMap<K, V>,
}

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self { sorted: Vec::new(), newest: HashMap::new() }
    }
}

impl<K: Ord + Hash + Copy, V: Copy> Index<K, V> {
    pub fn get(&self, key: &K) -> Option<V> {
        self.newest.get(key).copied().or_else(|| self.place(key).map(|place| self.sorted[place].1))
    }

    /// Gives what stood there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(place) = self.place(&key) {
            return Some(std::mem::replace(&mut self.sorted[place].1, value));
        }
        let before = self.newest.insert(key, value);
        if self.newest.len() >= FEWEST.max(self.sorted.len() / SHARE) {
            self.sorted.reserve_exact(self.newest.len());
            self.sorted.extend(self.newest.drain());
            self.sorted.sort_unstable_by_key(|(key, _)| *key);
            self.newest.shrink_to(FEWEST);
        }
        before
    }

    pub fn values(&self) -> impl Iterator<Item = V> {
        self.sorted.iter().map(|(_, value)| *value).chain(self.newest.values().copied())
    }

    fn place(&self, key: &K) -> Option<usize> {
        self.sorted.binary_search_by_key(key, |(key, _)| *key).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_as_a_map_does() {
        let (mut index, mut map) = (Index::default(), HashMap::new());
        // Keys in no order, each of them three times, the values all different.
        for value in 0..60_000_u64 {
            let key = value.wrapping_mul(7_919) % 20_000 * 3;
            assert_eq!(index.insert(key, value), map.insert(key, value));
        }
        assert!(!index.sorted.is_empty() && index.sorted.is_sorted() && index.newest.len() < FEWEST);
        for key in 0..60_001 {
            assert_eq!(index.get(&key), map.get(&key).copied(), "{key}");
        }
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (index.values().collect(), map.into_values().collect());
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
