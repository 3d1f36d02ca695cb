//! The shop port: how an order reaches the people who make it.

pub mod simulator;
pub mod webhook;

use async_trait::async_trait;

pub use crate::acts::offer::{Answer, Offer, Unreachable};

/// Whoever brings offers to shops. Repeating an offer is safe: a shop knows an order by its id.
#[async_trait]
pub trait Shops: Send + Sync {
    async fn offer(&self, offer: &Offer) -> Result<Answer, Unreachable>;
}
