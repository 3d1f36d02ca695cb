//! What was lately asked for, and answered, where orders are made: for whoever has to find out what became of a
//! request.
//!
//! Kept in memory, beside the way of an order and not on it: the last [`KEPT`] requests that this process decided
//! about, until it ends. What lasts is in the database: each order with the key and the fingerprint that it was made
//! with, for as long as the order.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::order::{CustomerId, Instant, OrderId, PartnerId};

/// Requests that are remembered: some megabytes.
pub const KEPT: usize = 10_000;

/// A request for a new order, and what was decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub at: Instant,
    pub request_id: String,
    pub partner_id: PartnerId,
    pub customer_id: CustomerId,
    pub key: Option<String>,
    /// What admission decided, by its word.
    pub verdict: &'static str,
    /// The order that was made, repeated or named.
    pub order_id: Option<OrderId>,
}

/// The last requests for new orders.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<Asked>>);

impl Recent {
    pub fn note(&self, asked: Asked) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(asked);
    }

    /// Those that fit, the newest first.
    pub fn find(&self, fits: impl Fn(&Asked) -> bool, limit: usize) -> Vec<Asked> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().filter(|asked| fits(asked)).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn the_last_ones_are_kept_and_the_newest_told_first() {
        let recent = Recent::default();
        for i in 0..KEPT + 2 {
            recent.note(Asked {
                at: at(0),
                request_id: i.to_string(),
                partner_id: PartnerId::new(),
                customer_id: CustomerId("c".into()),
                key: None,
                verdict: "accepted",
                order_id: None,
            });
        }
        let found = recent.find(|asked| asked.request_id.len() <= 1, 100);
        assert_eq!(
            found.iter().map(|asked| asked.request_id.as_str()).collect::<Vec<_>>(),
            ["9", "8", "7", "6", "5", "4", "3", "2"]
        );
        assert_eq!(recent.find(|_| true, 1)[0].request_id, (KEPT + 1).to_string());
    }
}
