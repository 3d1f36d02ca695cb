//! What an operator does to one order: the same words that the admin API says, with who and why in the audit log.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::{Posted, show};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::lifecycle::{Actor, Event, Reason, Refund};
use crate::order::{Line, OrderId};
use crate::state::Order;
use crate::store::{Scope, Word};
use crate::web::heard::{path_id, settled, unknown_order};
use crate::web::problem::Problem;

/// What a deadline can be put off by at once, in minutes.
pub const LONGEST_EXTENSION: u32 = 240;

/// `POST /console/orders/{order_id}/retry`
pub async fn retry(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let event = Event::Retried { note: posted.reason()? };
    say(&app, &id, &posted, event, None, json!({}), "It is tried again now.").await
}

/// `POST /console/orders/{order_id}/cancel`
pub async fn cancel(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let why: Reason = posted.fields.parse("why", "one of the reasons that operators may give")?;
    if !Reason::OPERATOR_CANCELLING.contains(&why) {
        return Err(Failure::new(Code::Unprocessable, "Operators do not cancel for that reason.").into());
    }
    let mut detail = json!({"reason": why});
    let (refund, version) = match posted.fields.text("refund") {
        "" | "full" => (Refund::Full, None),
        "none" => (Refund::None, None),
        "partial" => {
            let order = find(&app, &id).await?;
            detail["currency"] = json!(order.placed.total.currency.to_string());
            // A part is a part of what was seen.
            (Refund::Partial(amount(&posted, &order)?), Some(posted.fields.parse("version", "a version")?))
        }
        _ => return Err(Failure::new(Code::Unprocessable, "Give back all, a part, or nothing.").into()),
    };
    let event = Event::OperatorCancelled { reason: why, refund, note: posted.reason()? };
    detail["refund"] = json!(refund);
    say(&app, &id, &posted, event, version, detail, "It is cancelled.").await
}

/// `POST /console/orders/{order_id}/complete`
pub async fn complete(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let event = Event::ForceCompleted { note: posted.reason()? };
    say(&app, &id, &posted, event, None, json!({}), "It is ended as handed over.").await
}

/// `POST /console/orders/{order_id}/refund`: of all that is left, of some lines, or of an amount.
pub async fn refund(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    let lines: Vec<usize> = posted.fields.all("line").filter_map(|line| line.parse().ok()).collect();
    let amount = match posted.fields.text("what") {
        "all" => order.refundable(),
        "lines" => price_of(&order, &lines)?,
        _ => amount(&posted, &order)?,
    };
    let version = posted.fields.parse("version", "the version that was seen")?;
    let event = Event::RefundRequested { amount, note: posted.reason()? };
    let currency = order.placed.total.currency.to_string();
    let notice = format!("{} go back to the customer.", show::amount(amount, &currency));
    let detail = json!({"amount": amount, "currency": currency, "lines": lines});
    say(&app, &id, &posted, event, Some(version), detail, &notice).await
}

/// `POST /console/orders/{order_id}/extend`
pub async fn extend(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let minutes: u32 = posted.fields.parse("minutes", "a number of minutes")?;
    if !(1..=LONGEST_EXTENSION).contains(&minutes) {
        let detail = format!("A deadline is put off by 1 to {LONGEST_EXTENSION} minutes at once.");
        return Err(Failure::new(Code::Unprocessable, detail).into());
    }
    // Twice the same is twice the time: only whoever saw the present deadline puts it off.
    let version = posted.fields.parse("version", "the version that was seen")?;
    let (event, detail) = (Event::DeadlineExtended { minutes }, json!({"minutes": minutes}));
    say(&app, &id, &posted, event, Some(version), detail, &format!("It has {minutes} minutes more.")).await
}

/// `POST /console/orders/{order_id}/offer`
pub async fn repeat_offer(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    say(&app, &id, &posted, Event::OfferRepeated, None, json!({}), "The shop is told of it once more.").await
}

/// `POST /console/orders/{order_id}/note`: stands in the audit log only. Partners read the events.
pub async fn note(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    app.store.record(posted.entry(subject(order.id), json!({}))?, true).await.map_err(Failure::from)?;
    Ok(posted.done(&address(order.id), "The note is written."))
}

/// What an order is called in the audit log.
pub fn subject(order: OrderId) -> String {
    format!("order:{order}")
}

fn address(order: OrderId) -> String {
    format!("/console/orders/{order}")
}

async fn say(
    app: &App,
    id: &Path<String>,
    posted: &Posted,
    event: Event,
    version: Option<i64>,
    detail: Value,
    notice: &str,
) -> Result<HttpResponse, Problem> {
    let order_id = OrderId(path_id(id)?);
    let store = app.store.recording(posted.entry(subject(order_id), detail)?);
    let word = Word { order_id, scope: Scope::Everyone, actor: Actor::Operator, event, version, now: now() };
    settled(store.receive(word).await.map_err(Failure::from)?, Code::NotPossible)?;
    Ok(posted.done(&address(order_id), notice))
}

async fn find(app: &App, id: &Path<String>) -> Result<Order, Failure> {
    let order = app.store.order(OrderId(path_id(id)?)).await?;
    order.map(|(order, _)| order).ok_or_else(unknown_order)
}

fn amount(posted: &Posted, order: &Order) -> Result<i64, Failure> {
    let text = posted.fields.text("amount");
    let amount = show::minor(text, order.placed.total.currency.as_str()).filter(|amount| *amount > 0);
    amount.ok_or_else(|| Failure::new(Code::Unprocessable, format!("`{text}` is no amount of this order's currency.")))
}

/// What these lines cost, without those that the shop dropped: they were never taken.
fn price_of(order: &Order, lines: &[usize]) -> Result<i64, Failure> {
    let chosen = order.placed.lines.iter().enumerate();
    let chosen = chosen.filter(|(i, _)| lines.contains(i) && !order.dropped_lines.contains(i));
    let price: i64 = chosen.map(|(_, line): (usize, &Line)| line.price()).sum();
    if price == 0 {
        return Err(Failure::new(Code::Unprocessable, "Choose the lines whose price goes back."));
    }
    Ok(price)
}
