//! The last write of each customer that was active here a moment ago: its next list is at least as fresh, also if the
//! client has lost its position.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Monotonic};

use super::position::Place;
use crate::order::{CustomerId, PartnerId};

/// Longer than any replica may lag that is read from.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Customers that are remembered at most, in two halves: about 20 MB.
const MOST: usize = 100_000;

/// Two generations: the younger is filled, and takes the place of the older when it is full or old.
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Generations>>);

#[derive(Default)]
struct Generations {
    since: Option<Monotonic>,
    young: HashMap<(PartnerId, CustomerId), Place>,
    old: HashMap<(PartnerId, CustomerId), Place>,
}

impl Recent {
    /// A customer's write came that far.
    pub fn note(&self, partner: PartnerId, customer: CustomerId, place: Place) {
        let now = Monotonic::now();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *held.since.get_or_insert(now);
        if held.young.len() >= MOST / 2 || now.duration_since(since) > REMEMBERED {
            held.old = std::mem::take(&mut held.young);
            held.since = Some(now);
        }
        held.young.insert((partner, customer), place);
    }

    /// How far the customer's last write came, if it was a moment ago.
    pub fn last(&self, partner: PartnerId, customer: &CustomerId) -> Option<Place> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = (partner, customer.clone());
        held.young.get(&owner).or_else(|| held.old.get(&owner)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_is_remembered_and_others_make_it_forgotten() {
        let (recent, partner) = (Recent::default(), PartnerId::new());
        let customer = |n: usize| CustomerId(format!("cus_{n}"));
        let place = |place| Place { timeline: 1, place };
        recent.note(partner, customer(0), place(1));
        recent.note(partner, customer(0), place(2));
        assert_eq!(recent.last(partner, &customer(0)), Some(place(2)));
        assert_eq!(recent.last(PartnerId::new(), &customer(0)), None);
        (1..MOST / 2).for_each(|n| recent.note(partner, customer(n), place(3)));
        assert_eq!(recent.last(partner, &customer(0)), Some(place(2)), "it is in the older half");
        (MOST / 2..MOST + 1).for_each(|n| recent.note(partner, customer(n), place(3)));
        assert_eq!(recent.last(partner, &customer(0)), None);
    }
}
