//! What became of a word from outside, as an order or as a problem.

use actix_web::web;
use uuid::Uuid;

use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::lifecycle::{Actor, Event};
use crate::order::OrderId;
use crate::state::Order;
use crate::store::{Position, Received, Scope, Word};

/// The order after the word, and the position of that. `refused` is the code for what is not possible now.
///
/// # Errors
/// `not_found`, `stale_version`, `unprocessable` for what contradicts the order's own facts, or `refused` with the
/// present status.
pub fn settled(received: Received, refused: Code) -> Result<(Order, Position), Failure> {
    match received {
        Received::Changed(order, position) | Received::Already(order, position) => Ok((*order, position)),
        Received::Refused(order, crate::machine::Refused::Mismatch(why)) => {
            Err(Failure::new(Code::Unprocessable, why).with("order_status", order.status))
        }
        Received::Refused(order, why) => Err(Failure::new(refused, why.to_string())
            .with("order_status", order.status)
            .with("payment_status", order.payment.status)
            .with("version", order.version)),
        Received::Stale(order) => Err(Failure::new(
            Code::StaleVersion,
            format!("The order has version {} now: read it again.", order.version),
        )
        .with("version", order.version)),
        Received::SlotFull => Err(Failure::new(Code::SlotFull, "This pickup slot is full: choose another one.")),
        Received::Unknown | Received::DraftBuried(_) => Err(unknown_order()),
    }
}

/// Says a word about an order, and waits for what becomes of it.
///
/// # Errors
/// As [`settled`], and whatever keeps the store from deciding.
pub async fn say(
    app: &App,
    order_id: Uuid,
    scope: Scope,
    actor: Actor,
    event: Event,
    refused: Code,
) -> Result<(Order, Position), Failure> {
    let word = Word { order_id: OrderId(order_id), scope, actor, event, version: None, now: now() };
    settled(app.store.receive(word).await?, refused)
}

pub fn unknown_order() -> Failure {
    Failure::new(Code::NotFound, "There is no such order.")
}

/// An id in a path: whatever is not one names nothing.
///
/// # Errors
/// `not_found`.
pub fn path_id(text: &web::Path<String>) -> Result<Uuid, Failure> {
    id_in(text)
}

/// An id in a path with several.
///
/// # Errors
/// `not_found`.
pub fn id_in(text: &str) -> Result<Uuid, Failure> {
    text.parse().map_err(|_| Failure::new(Code::NotFound, "There is no such thing: this is not an id."))
}
