//! The payment port: what the workers ask of whoever holds the customers' money.

pub mod simulator;
pub mod stripe;

use std::ops::Range;

use async_trait::async_trait;

pub use crate::acts::charge::{Charge, Held, HeldStatus, Trouble};
use crate::order::Instant;

/// Some of the payments that were made at a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub held: Vec<Held>,
    /// Payments of which the gateway says nothing clear now.
    pub unclear: usize,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A payment gateway.
///
/// Every call is idempotent, and no money moves that a release would not find. A gateway keeps one of two promises:
/// *void binds even a charge that it has not seen yet*, so that an authorization that arrives later is refused; or
/// *`authorize` without a reference only prepares it* ([`HeldStatus::Prepared`]), so that money moves only once the
/// reference is committed, and under that reference a void binds.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Holds the money, or says why not ([`HeldStatus::Declined`]), or what the customer has to do first, or by which
    /// reference to ask for it ([`HeldStatus::Prepared`]).
    async fn authorize(&self, charge: &Charge) -> Result<Held, Trouble>;
    /// What the gateway knows of a charge. `None` is not final: a request may still be on its way.
    async fn look_up(&self, charge: &Charge) -> Result<Option<Held>, Trouble>;
    /// Takes `amount` of what is held and lets the rest go. Once per charge.
    async fn capture(&self, charge: &Charge, amount: i64) -> Result<Held, Trouble>;
    /// Lets go of what is held, now and for ever. Refused once captured.
    async fn void(&self, charge: &Charge) -> Result<Held, Trouble>;
    /// Gives back until `total_refunded` has been given back in all, by this service and by people at the gateway.
    ///
    /// A call may repeat one whose answer was lost, with the same total or with another one, and people may have given
    /// something back in between: of such calls the gateway carries out one only, however late the others arrive. A
    /// result with less than the total means that this refund has failed for good; the next call asks anew.
    async fn refund(&self, charge: &Charge, total_refunded: i64) -> Result<Held, Trouble>;
    /// Payments that this installation asked for, and no other on the same account, made within that time by the
    /// gateway's clock; to the second, rather more than fewer.
    async fn list(&self, made: &Range<Instant>, after: Option<&str>) -> Result<Page, Trouble>;
}
