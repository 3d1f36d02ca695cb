//! What became of a word from outside, as an order or as a problem.

use actix_web::web;
use uuid::Uuid;

use crate::app::App;
use crate::clock::now;
use crate::command::Command;
use crate::error::{Code, Failure};
use crate::lifecycle::{Event, EventKind};
use crate::order::OrderId;
use crate::state::Order;
use crate::store::{By, Position, Received, Scope, Sender, Word};
use crate::tracer;
use crate::web::problem::members::{Changes, Mismatch, Stands};

/// The order after the word, and the position of that. `refused` is the code for what is not possible now.
///
/// # Errors
/// `not_found`, `stale_version`, `unprocessable` for what contradicts the order's own facts, or `refused` with the
/// present status.
pub fn settled(received: Received, refused: Code) -> Result<(Order, Position), Failure> {
    if let Received::Changed(order, _)
    | Received::Already(order, _)
    | Received::Refused(order, _)
    | Received::Stale(order) = &received
    {
        tracer::touched(order, false);
    }
    match received {
        Received::Changed(order, position) | Received::Already(order, position) => Ok((*order, position)),
        Received::Refused(order, crate::machine::Refused::Mismatch(why)) => {
            Err(Failure::new(Code::Unprocessable, why).with(Mismatch { order_status: order.status }))
        }
        Received::Refused(order, why) => Err(Failure::new(refused, why.to_string()).with(Stands::of(&order))),
        Received::Stale(order) => Err(stale(&order, "")),
        Received::SlotFull => Err(Failure::new(Code::SlotFull, "This pickup slot is full: choose another one.")),
        Received::Unknown | Received::DraftBuried(_) => Err(unknown_order()),
    }
}

/// The order is not what the request was decided on. `changed` is what happened since, as a sentence.
fn stale(order: &Order, changed: &str) -> Failure {
    let detail = format!("{changed}The order has version {} now: read it again.", order.version);
    Failure::new(Code::StaleVersion, detail).with(Stands::of(order))
}

/// Events that a refused command tells of.
const TOLD: i64 = 20;

/// Has an operator's command done, and waits for what becomes of it. A command that was decided on another version is
/// refused with what has changed since.
///
/// # Errors
/// As [`settled`], and whatever keeps the store from deciding.
pub async fn obeyed(app: &App, id: OrderId, version: i64, command: Command, by: By) -> Result<Order, Failure> {
    if command.kind().needs_reason() && by.reason.is_none() {
        return Err(Failure::new(Code::Unprocessable, "Say why: it stands in the audit log."));
    }
    let order = match app.store.command(id, version, command, by).await? {
        Received::Stale(order) => order,
        received => return settled(received, Code::NotPossible).map(|(order, _)| order),
    };
    Err(what_changed(app, &order, version).await)
}

/// Refuses what was decided on `seen`: with the types of the events since, and in words.
pub async fn what_changed(app: &App, order: &Order, seen: i64) -> Failure {
    // That the order has moved is known: it is told also when what moved it cannot be read.
    let since = app.store.events_after(order.id, seen, TOLD).await.unwrap_or_default();
    let changes: Vec<EventKind> = since.iter().map(|event| event.kind).collect();
    let words: Vec<String> = changes.iter().map(|kind| kind.word().replace('_', " ")).collect();
    let changed = if words.is_empty() { String::new() } else { format!("Since then: {}. ", words.join(", ")) };
    stale(order, &changed).with(Changes { changes })
}

/// Says a word about an order, and waits for what becomes of it.
///
/// # Errors
/// As [`settled`], and whatever keeps the store from deciding.
pub async fn say(
    app: &App,
    order_id: Uuid,
    scope: Scope,
    sender: Sender,
    event: Event,
    refused: Code,
) -> Result<(Order, Position), Failure> {
    let word = Word { order_id: OrderId(order_id), scope, sender, event, version: None, now: now() };
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
