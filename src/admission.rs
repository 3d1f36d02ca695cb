//! The heart of "no second coffee": decides what becomes of a request to create an order.
//!
//! A pure function of the customer's present orders, the request, and the catalogue's verdict on it. The store
//! calls it in the inserting transaction on the primary; a unique index on the customer's order numbers is the
//! backstop.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;

use crate::order::{Basket, CustomerId, Hash, Instant, OrderId, PartnerId};
use crate::state::Order;

/// How many orders were ever created by a customer, and the random nonce stored with the last of them.
/// It changes only when an order is created, never by progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// 0 for a customer without orders.
    pub number: i64,
    pub nonce: i64,
}

impl Revision {
    /// The opaque form, bound to partner and customer.
    pub fn token(&self, partner: PartnerId, customer: &CustomerId) -> String {
        let mut bytes = Vec::with_capacity(22);
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.nonce.to_be_bytes());
        bytes.extend(owner(partner, customer));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token back; `None` if it was not made for this partner and customer.
    pub fn parse(token: &str, partner: PartnerId, customer: &CustomerId) -> Option<Self> {
        let bytes: [u8; 22] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let number = i64::from_be_bytes(bytes[..8].try_into().ok()?);
        let nonce = i64::from_be_bytes(bytes[8..16].try_into().ok()?);
        (number >= 0 && bytes[16..] == owner(partner, customer)).then_some(Self { number, nonce })
    }
}

/// A short tag of a partner and its customer. It protects against mix-ups, not against forgery: a forged
/// revision can only be refused.
pub fn owner(partner: PartnerId, customer: &CustomerId) -> [u8; 6] {
    let Hash(hash) = Hash::of(&(partner, customer));
    hash[..6].try_into().expect("a hash has more than six bytes")
}

/// The order that an Idempotency-Key (or a draft's id) already stands for.
#[derive(Clone, Debug)]
pub struct Keyed {
    pub order_id: OrderId,
    pub fingerprint: Hash,
    pub is_deleted: bool,
}

/// What the primary knows of the customer, read in the deciding transaction.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// At least all that are ongoing; and, if the request carries no revision, all that succeeded and ended within
    /// [`Rules::similar_within`], not deleted.
    pub orders: Vec<Order>,
    pub revision: Revision,
    pub keyed: Option<Keyed>,
    /// The nonce stored at the number of the revision that the request carries.
    pub nonce_at_seen: Option<i64>,
    /// Scheduled orders already in the requested slot of the shop.
    pub slot_taken: u32,
}

/// The request, as far as admission cares.
#[derive(Clone, Debug)]
pub struct Request {
    pub basket: Basket,
    pub fingerprint: Hash,
    /// `If-Match`: the revision that the customer has seen.
    pub seen: Option<Revision>,
}

/// Settings of admission.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// An equal order that succeeded counts as the same coffee until this time after its end.
    pub similar_within: Duration,
    /// Ongoing orders a customer may have.
    pub max_ongoing: usize,
    /// Whether the same coffee is refused to who has not seen the first one. No setting leads here: it is false only
    /// in the servers that `lungo collisions` starts for itself, to show what happens then.
    pub refuse_similar: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { similar_within: Duration::minutes(10), max_ongoing: 5, refuse_similar: true }
    }
}

/// The catalogue's verdict on the request: how many orders its slot holds, or a refusal of its own kind.
pub type CatalogueVerdict<R> = Result<Option<u32>, R>;

/// What becomes of the request. `R` is the catalogue's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<R> {
    Accept,
    /// The key is known and the request the same: answer with that order.
    Replay(OrderId),
    /// The key is known and its order was deleted.
    Deleted(OrderId),
    KeyReused,
    StaleRevision,
    HistoryDiverged,
    /// The customer has this order already.
    Similar(OrderId),
    LimitExceeded,
    SlotFull,
    Catalogue(R),
}

/// Decides, in the order of the rules: known key, seen revision, similar order, limit, catalogue.
pub fn decide<R>(
    present: &Present,
    request: &Request,
    catalogue: CatalogueVerdict<R>,
    rules: &Rules,
    now: Instant,
) -> Verdict<R> {
    if let Some(keyed) = &present.keyed {
        return match keyed {
            Keyed { is_deleted: true, order_id, .. } => Verdict::Deleted(*order_id),
            Keyed { fingerprint, order_id, .. } if *fingerprint == request.fingerprint => Verdict::Replay(*order_id),
            _ => Verdict::KeyReused,
        };
    }
    match request.seen {
        Some(seen) if seen == present.revision => {}
        Some(seen) if has_diverged(seen, present.revision, present.nonce_at_seen) => return Verdict::HistoryDiverged,
        Some(_) => return Verdict::StaleRevision,
        None if !rules.refuse_similar => {}
        None => {
            let similar = present.orders.iter().find(|order| {
                let counts = order.is_ongoing() || succeeded_within(order, rules.similar_within, now);
                counts && order.basket() == request.basket
            });
            if let Some(order) = similar {
                return Verdict::Similar(order.id);
            }
        }
    }
    if present.orders.iter().filter(|order| order.is_ongoing()).count() >= rules.max_ongoing {
        return Verdict::LimitExceeded;
    }
    match catalogue {
        Err(refusal) => Verdict::Catalogue(refusal),
        Ok(Some(capacity)) if present.slot_taken >= capacity => Verdict::SlotFull,
        Ok(_) => Verdict::Accept,
    }
}

/// The window runs from the end of an order: a customer who has just been handed a coffee that took an hour does not
/// want a second one.
fn succeeded_within(order: &Order, window: Duration, now: Instant) -> bool {
    order.status.succeeded() && order.closed_at.is_some_and(|end| end > now - window)
}

/// Whether a revision that was seen is not part of the history that the database has now.
pub fn has_diverged(seen: Revision, present: Revision, nonce_at_seen: Option<i64>) -> bool {
    seen.number > present.number || (seen.number > 0 && nonce_at_seen != Some(seen.nonce))
}

#[cfg(test)]
mod tests;
