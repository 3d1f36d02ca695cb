//! What an operator does to one order: the same commands that the admin API gives.
//!
//! Every form carries the version that it was made of. A form whose order has moved is refused, and comes back as it was
//! filled in, with what has changed: see [`moved`].

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde_json::json;

use super::moved;
use super::{Posted, order, show};
use crate::app::App;
use crate::command::{Command, LONGEST_EXTENSION};
use crate::error::{Code, Failure};
use crate::lifecycle::{Reason, Refund};
use crate::order::{Line, OrderId};
use crate::state::Order;
use crate::store::order_subject;
use crate::web::heard::{obeyed, path_id, unknown_order};
use crate::web::problem::Problem;

type Given = Result<(Command, String), Failure>;

/// `POST /console/orders/{order_id}/retry`
pub async fn retry(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    give(&app, &id, posted, |_, _| Ok((Command::Retry, "It is tried again now.".into()))).await
}

/// `POST /console/orders/{order_id}/cancel`
pub async fn cancel(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let command = |posted: &Posted, order: &Order| -> Given {
        let reason: Reason = posted.fields.parse("why", "one of the reasons that operators may give")?;
        if !Reason::OPERATOR_CANCELLING.contains(&reason) {
            return Err(Failure::new(Code::Unprocessable, "Operators do not cancel for that reason."));
        }
        let refund = match posted.fields.text("refund") {
            // Nothing was taken, and the version says that this is still so.
            "" if !order::has_taken(order) => Refund::Full,
            "full" => Refund::Full,
            "none" => Refund::None,
            "partial" => Refund::Partial(amount(posted, order)?),
            _ => return Err(Failure::new(Code::Unprocessable, "Give back all, a part, or nothing.")),
        };
        Ok((Command::Cancel { reason, refund }, "It is cancelled.".into()))
    };
    give(&app, &id, posted, command).await
}

/// `POST /console/orders/{order_id}/complete`
pub async fn complete(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    give(&app, &id, posted, |_, _| Ok((Command::ForceComplete, "It is ended as handed over.".into()))).await
}

/// `POST /console/orders/{order_id}/refund`: of all that is left, of some lines, or of an amount.
pub async fn refund(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let command = |posted: &Posted, order: &Order| -> Given {
        let lines: Vec<usize> = posted.fields.all("line").filter_map(|line| line.parse().ok()).collect();
        let (amount, lines) = match posted.fields.text("what") {
            "all" => (order.refundable(), Vec::new()),
            "lines" => (price_of(order, &lines)?, lines),
            _ => (amount(posted, order)?, Vec::new()),
        };
        let told = show::amount(amount, order.placed.total.currency.as_str());
        Ok((Command::Refund { amount, lines }, format!("{told} go back to the customer.")))
    };
    give(&app, &id, posted, command).await
}

/// `POST /console/orders/{order_id}/reduce-refund`: gives up a part of a pending refund, or all of it.
pub async fn reduce_refund(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let command = |posted: &Posted, order: &Order| -> Given {
        let amount = amount(posted, order)?;
        let told = show::amount(amount, order.placed.total.currency.as_str());
        Ok((Command::ReduceRefund { amount }, format!("{told} less go back to the customer.")))
    };
    give(&app, &id, posted, command).await
}

/// `POST /console/orders/{order_id}/extend`
pub async fn extend(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let command = |posted: &Posted, _: &Order| -> Given {
        let minutes: u32 = posted.fields.parse("minutes", "a number of minutes")?;
        if !(1..=LONGEST_EXTENSION).contains(&minutes) {
            let detail = format!("A deadline is put off by 1 to {LONGEST_EXTENSION} minutes at once.");
            return Err(Failure::new(Code::Unprocessable, detail));
        }
        Ok((Command::ExtendDeadline { minutes }, format!("It has {minutes} minutes more.")))
    };
    give(&app, &id, posted, command).await
}

/// `POST /console/orders/{order_id}/offer`
pub async fn repeat_offer(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    give(&app, &id, posted, |_, _| Ok((Command::RepeatOffer, "The shop is told of it once more.".into()))).await
}

/// `POST /console/orders/{order_id}/note`: stands in the audit log only, and decides nothing. Partners read the events.
pub async fn note(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    app.store.record(posted.entry(order_subject(order.id), json!({}))?, true).await.map_err(Failure::from)?;
    Ok(posted.done(&address(order.id), "The note is written."))
}

fn address(order: OrderId) -> String {
    format!("/console/orders/{order}")
}

/// Gives the command that a form means. What stands in the form is judged only by the order that it was filled in for.
async fn give(
    app: &App,
    id: &Path<String>,
    posted: Posted,
    command: impl FnOnce(&Posted, &Order) -> Given,
) -> Result<HttpResponse, Problem> {
    let (version, by) = (posted.version()?, posted.by()?);
    let order = find(app, id).await?;
    if order.version != version {
        moved::record(app, &posted, &order, version).await?;
        return order::show_moved(app, posted, order.id, version).await;
    }
    let (command, notice) = command(&posted, &order)?;
    match obeyed(app, order.id, version, command, by).await {
        Ok(_) => Ok(posted.done(&address(order.id), &notice)),
        Err(failure) if failure.code == Code::StaleVersion => order::show_moved(app, posted, order.id, version).await,
        Err(failure) => Err(failure.into()),
    }
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
