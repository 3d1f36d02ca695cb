//! Payments whose order the database does not know.

use uuid::Uuid;

use crate::gateway::{Charge, Gateway, Held, HeldStatus, Trouble};
use crate::order::{Money, OrderId};
use crate::state::authorization_key;

/// How money became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Freed {
    Voided,
    Refunded,
}

/// What the gateway holds under a name of its own, of which no order is known.
///
/// # Errors
/// Why the gateway gave no answer.
pub async fn named(reference: &str, gateway: &dyn Gateway) -> Result<Option<Held>, Trouble> {
    let order_id = OrderId(Uuid::nil());
    let total = Money { amount: 0, currency: "XXX".parse().expect("ISO 4217 has a code for no currency") };
    let (key, method, reference) = (authorization_key(order_id), String::new(), Some(reference.to_owned()));
    gateway.look_up(&Charge { key, order_id, total, method, traceparent: None, reference }).await
}

/// Gives back what the gateway lists for an order that there is no more: by void or by refund, as the gateway's actual
/// state asks for. Each call may be repeated, and finds what the one before it did.
///
/// # Errors
/// Why it is not certain that nothing is held any more. It may be asked again.
pub async fn give_back_lost(listed: &Held, gateway: &dyn Gateway) -> Result<Freed, Trouble> {
    let charge = Charge {
        key: authorization_key(listed.order_id),
        order_id: listed.order_id,
        total: listed.total,
        method: String::new(),
        traceparent: None,
        reference: Some(listed.reference.clone()),
    };
    match gateway.void(&charge).await {
        Ok(held) if matches!(held.status, HeldStatus::Voided | HeldStatus::Declined) => return Ok(Freed::Voided),
        Ok(held) => return Err(Trouble::Unanswered(format!("the gateway still says {:?}", held.status))),
        // It was taken: what it is now decides, not what it was when it was listed.
        Err(Trouble::Refused(_)) => {}
        Err(trouble) => return Err(trouble),
    }
    let same = |held: &Held| held.order_id == listed.order_id && held.reference == listed.reference;
    let held = gateway.look_up(&charge).await?.filter(same);
    let held = held.ok_or_else(|| Trouble::Unanswered("the gateway does not know what it listed".into()))?;
    let refunded = gateway.refund(&charge, held.captured).await?.refunded;
    if refunded >= held.captured {
        return Ok(Freed::Refunded);
    }
    Err(Trouble::Unanswered(format!("{refunded} of {} were given back", held.captured)))
}
