//! One order: where it stands and why, the way it took, where its money is, and what can be done about it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};

use super::frame::Frame;
use super::guard::Visitor;
use super::moved::Filled;
use super::orders::shop_name;
use super::timeline::{self, Doing, Stretch};
use super::{Action, Posted, diagram, show, told};
use crate::app::App;
use crate::clock::now;
use crate::command::{CommandKind, LONGEST_EXTENSION};
use crate::error::{Code, Failure};
use crate::lifecycle::{Reason, Status};
use crate::order::{Instant, Line, OrderId, PickupType};
use crate::state::Order;
use crate::store::{AuditFilter, Logged, Recorded, order_subject};
use crate::web::admin::orders::{AdminEventView, AdminOrderView, who};
use crate::web::heard::{path_id, unknown_order};
use crate::web::pages::{page, page_with};
use crate::web::problem::Problem;
use crate::why::{Why, why};

/// Events and entries that are shown; an order with more of them is read in its JSON.
const SHOWN: i64 = 300;
/// How wide the bar of an order's time is.
const BAR: i64 = 1000;
/// What personal values are called, in an order and in its events; and what only the customer may hand to the bank.
const PERSONAL: &[&str] = &["customer_id", "note", "vehicle", "metadata", "client_secret"];
/// What is personal in the pickup part only: elsewhere it is the name of a thing.
const NAME: &str = "name";

#[derive(Template)]
#[template(path = "console/order.html")]
struct OrderPage {
    frame: Frame,
    order: Order,
    state: State,
    deeds: Deeds,
    customer: String,
    pickup: &'static str,
    may_reveal: bool,
}

/// The part that is kept up to date.
#[derive(Template)]
#[template(path = "console/order_state.html")]
struct State {
    order: Order,
    why: Why,
    diagram: Svg,
    /// What happened again and again stands together.
    runs: Vec<Vec<EventRow>>,
    present: Option<Stretch>,
    bar: Vec<(Doing, i64, i64)>,
    shop: String,
    age: String,
    lines: Vec<LineRow>,
    money: Vec<(&'static str, String)>,
    entries: Vec<Logged>,
    /// The order has changed since the forms beside this part were made.
    has_moved: bool,
    at: Instant,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for State {}

/// A picture of our own making.
struct Svg(String);

impl std::fmt::Display for Svg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Svg {}

struct EventRow {
    event: Recorded,
    /// Which operator, where it was one.
    who: Option<String>,
    before: Option<Stretch>,
    detail: String,
}

struct LineRow {
    index: usize,
    name: String,
    options: String,
    quantity: u32,
    price: String,
    is_dropped: bool,
}

/// What can be done now, by this visitor. It is made anew when the order has changed, unless somebody is filling it in.
#[derive(Template)]
#[template(path = "console/order_deeds.html")]
struct Deeds {
    order: Order,
    token: String,
    lines: Vec<LineRow>,
    reasons: &'static [Reason],
    longest: u32,
    retry: bool,
    cancel: bool,
    /// There is money that was taken already.
    has_taken: bool,
    complete: bool,
    refundable: Option<String>,
    /// How much of a pending refund can be given up.
    reducible: Option<String>,
    extend: bool,
    offer: bool,
    note: bool,
    filled: Filled,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for Deeds {}

impl State {
    async fn read(app: &App, order: Order, seen: i64, now: Instant) -> Result<Self, Failure> {
        let events = app.store.events_after(order.id, 0, SHOWN).await?;
        let filter = AuditFilter { subject: Some(order_subject(order.id)), ..AuditFilter::default() };
        let entries = app.store.audit(filter, SHOWN).await?;
        let mut way: Vec<Status> = Vec::new();
        for event in &events {
            if way.last() != Some(&event.to) {
                way.push(event.to);
            }
        }
        let (before, present) = timeline::stretches(&events, &order, now);
        let bar = timeline::bar(before.iter().flatten().chain(&present).copied(), BAR);
        let row = |(event, before): (Recorded, Option<Stretch>)| {
            let detail = told::event(&event.event()?, &order);
            let who = who(&event, &entries).map(str::to_owned);
            Ok::<_, Failure>(EventRow { event, who, before, detail })
        };
        let rows = events.into_iter().zip(before).map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            why: why(&order),
            lines: lines_of(&order),
            money: money(&order, now),
            entries,
            diagram: Svg(diagram::svg(&way)),
            runs: timeline::runs(rows, |one, other| timeline::is_same(&one.event, &other.event)),
            present,
            bar,
            shop: shop_name(app, &order),
            age: show::span(now - order.created_at),
            has_moved: order.version != seen,
            order,
            at: now,
        })
    }

    fn when(&self, at: &Instant) -> String {
        let (at, now) = (*at, self.at);
        if at > now { format!("in {}", show::span(at - now)) } else { format!("{} ago", show::span(now - at)) }
    }
}

/// `GET /console/orders/{order_id}`
pub async fn show_order(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    show_filled(&app, &visitor, order, Filled::default(), StatusCode::OK).await
}

/// The page of an order whose form was refused because the order has moved: the form stands there as it was filled in.
pub async fn show_moved(app: &App, posted: Posted, id: OrderId, seen: i64) -> Result<HttpResponse, Problem> {
    let (order, _) = app.store.order(id).await.map_err(Failure::from)?.ok_or_else(unknown_order)?;
    let visitor = posted.visitor.clone();
    let filled = Filled::again(app, posted, &order, seen).await;
    let mut answer = show_filled(app, &visitor, order, filled, StatusCode::PRECONDITION_FAILED).await?;
    stay(&mut answer);
    Ok(answer)
}

/// The answer to a form does not become the address of the page.
pub fn stay(answer: &mut HttpResponse) {
    answer.headers_mut().insert(HeaderName::from_static("hx-push-url"), HeaderValue::from_static("false"));
}

async fn show_filled(
    app: &App,
    visitor: &Visitor,
    order: Order,
    filled: Filled,
    status: StatusCode,
) -> Result<HttpResponse, Problem> {
    let now = now();
    let shown = OrderPage {
        frame: visitor.frame(format!("Order {}", show::short(&order.id))),
        customer: show::masked(&order.customer_id.0),
        pickup: match order.pickup.kind {
            PickupType::Counter => "at the counter",
            PickupType::Curbside => "at the curb",
        },
        may_reveal: visitor.may(Action::SeePersonalData),
        deeds: deeds_of(visitor, order.clone(), filled),
        state: State::read(app, order.clone(), order.version, now).await?,
        order,
    };
    Ok(page_with(status, &shown)?)
}

/// What the page around the part has seen.
#[derive(Deserialize)]
pub struct Seen {
    #[serde(default)]
    version: i64,
}

/// `GET /console/orders/{order_id}/state`: the part that is kept up to date.
pub async fn show_state(
    _: Visitor,
    app: Data<App>,
    id: Path<String>,
    seen: Query<Seen>,
) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    let state = State::read(&app, order, seen.version, now()).await?;
    let mut answer = page(&state)?;
    if state.has_moved {
        // Whatever shows what can be done asks for it anew.
        answer.headers_mut().insert(HeaderName::from_static("hx-trigger"), HeaderValue::from_static("lungo:moved"));
    }
    Ok(answer)
}

/// `GET /console/orders/{order_id}/deeds`: what can be done now.
pub async fn show_deeds(visitor: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    Ok(page(&deeds_of(&visitor, order, Filled::default()))?)
}

/// `GET /console/orders/{order_id}/json`: all that is known of it, without personal data.
pub async fn show_json(_: Visitor, app: Data<App>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    let events = app.store.events_after(order.id, 0, 1000).await.map_err(Failure::from)?;
    let events = AdminEventView::all(&app, order.id, &events).await?;
    let mut all = json!({"order": AdminOrderView::new(&app, &order, now()), "events": events});
    hide(&mut all);
    let text =
        serde_json::to_string_pretty(&all).map_err(|fault| Failure::new(Code::InternalError, "").because(fault))?;
    Ok(HttpResponse::Ok().content_type("application/json").insert_header(("cache-control", "no-store")).body(text))
}

#[derive(Template)]
#[template(path = "console/person.html")]
struct Person {
    order: Order,
    metadata: String,
}

/// `POST /console/orders/{order_id}/person`: who ordered. That it was asked stands in the audit log before it is told.
pub async fn reveal(app: Data<App>, id: Path<String>, posted: Posted) -> Result<HttpResponse, Problem> {
    let order = find(&app, &id).await?;
    app.store.record(posted.entry(order_subject(order.id), json!({}))?, true).await.map_err(Failure::from)?;
    let metadata = &order.placed.metadata;
    let metadata = if metadata.is_empty() { String::new() } else { json!(metadata).to_string() };
    Ok(page(&Person { metadata, order })?)
}

async fn find(app: &App, id: &Path<String>) -> Result<Order, Failure> {
    let order = app.store.order(OrderId(path_id(id)?)).await?;
    order.map(|(order, _)| order).ok_or_else(unknown_order)
}

fn lines_of(order: &Order) -> Vec<LineRow> {
    let line = |(index, line): (usize, &Line)| LineRow {
        index,
        name: line.name.clone(),
        options: line.options.iter().map(|option| option.name.as_str()).collect::<Vec<_>>().join(", "),
        quantity: line.quantity,
        price: show::amount(line.price(), order.placed.total.currency.as_str()),
        is_dropped: order.dropped_lines.contains(&index),
    };
    order.placed.lines.iter().enumerate().map(line).collect()
}

/// Whether there is money that was taken already, or may be just now.
pub fn has_taken(order: &Order) -> bool {
    order.is_taken() || matches!(order.status, Status::Preparing | Status::Ready)
}

fn deeds_of(visitor: &Visitor, order: Order, mut filled: Filled) -> Deeds {
    let may = |action, command: CommandKind| visitor.may(action) && command.allowed(&order);
    let (retry, cancel) = (may(Action::RetryOrder, CommandKind::Retry), may(Action::CancelOrder, CommandKind::Cancel));
    let complete = may(Action::ForceComplete, CommandKind::ForceComplete);
    let refund = may(Action::RefundOrder, CommandKind::Refund);
    let reduce = may(Action::ReduceRefund, CommandKind::ReduceRefund);
    let extend = may(Action::ExtendDeadline, CommandKind::ExtendDeadline);
    let offer = may(Action::RepeatOffer, CommandKind::RepeatOffer);
    filled.offers(&[
        (Action::RetryOrder, retry),
        (Action::CancelOrder, cancel),
        (Action::ForceComplete, complete),
        (Action::RefundOrder, refund),
        (Action::ReduceRefund, reduce),
        (Action::ExtendDeadline, extend),
        (Action::RepeatOffer, offer),
    ]);
    let currency = order.placed.total.currency.to_string();
    Deeds {
        retry,
        cancel,
        has_taken: has_taken(&order),
        complete,
        refundable: refund.then(|| show::amount(order.refundable(), &currency)),
        reducible: reduce.then(|| show::amount(order.reducible(), &currency)),
        extend,
        offer,
        note: visitor.may(Action::NoteOrder),
        token: visitor.token.clone(),
        lines: lines_of(&order),
        reasons: Reason::OPERATOR_CANCELLING,
        longest: LONGEST_EXTENSION,
        filled,
        order,
    }
}

/// What there is to say about the money, by name.
pub fn money(order: &Order, now: Instant) -> Vec<(&'static str, String)> {
    let (payment, currency) = (&order.payment, order.placed.total.currency.to_string());
    let amount = |minor: i64| show::amount(minor, &currency);
    let mut facts = vec![
        ("Status", show::plain(payment.status.word())),
        ("Total", amount(order.placed.total.amount)),
        ("Authorized", amount(payment.authorized)),
        ("Captured", amount(payment.captured)),
        ("Refunded", amount(payment.refunded)),
    ];
    if order.owed() > 0 {
        facts.push(("Owed to the customer", amount(order.owed())));
    }
    if payment.waived > 0 {
        facts.push(("Not to be refunded, as an operator decided", amount(payment.waived)));
    }
    if let Some(pending) = &payment.pending_operation {
        let since = show::span(now - pending.since);
        facts.push(("Answer missing", format!("{} of {}, for {since}", pending.operation, amount(pending.amount))));
    }
    if let Some(refusal) = &payment.refusal {
        facts.push(("Refused, as the gateway says", refusal.clone()));
    }
    if let Some(at) = payment.capture_before {
        facts.push(("Hold lapses (UTC)", show::instant(&at)));
    }
    facts.push(("Method", order.placed.payment_method.clone()));
    facts.push(("Key of the authorization", order.authorization_key()));
    facts.push(("Gateway's reference", payment.reference.clone().unwrap_or_else(|| "none yet".into())));
    facts
}

/// Takes personal values out of an order or an event, wherever they stand.
fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let is_personal = PERSONAL.contains(&name.as_str()) && !value.is_null();
                if is_personal {
                    *value = json!("hidden")
                } else {
                    hide(value)
                }
                if name == "pickup"
                    && let Some(name) = value.get_mut(NAME).filter(|name| !name.is_null())
                {
                    *name = json!("hidden");
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_values_are_hidden_wherever_they_stand() {
        let mut value = json!({"customer_id": "c", "lines": [{"name": "Tea"}], "pickup": {"note": "n", "vehicle": null, "name": "Ada"}, "events": [{"data": {"note": "x"}}], "id": 1});
        hide(&mut value);
        let hidden = json!({"customer_id": "hidden", "lines": [{"name": "Tea"}], "pickup": {"note": "hidden", "vehicle": null, "name": "hidden"}, "events": [{"data": {"note": "hidden"}}], "id": 1});
        assert_eq!(value, hidden);
    }
}
