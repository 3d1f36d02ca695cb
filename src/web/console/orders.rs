//! The lists of orders: by lot, by what was typed, kept up to date until somebody pauses them.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json, Query};
use askama::Template;
use serde::Deserialize;

use super::frame::Frame;
use super::guard::Visitor;
use super::{Posted, filter, show};
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::order::{Instant, OrderId};
use crate::state::Order;
use crate::store::{LOOKED_THROUGH, Lot, SavedView, Sifted};
use crate::web::pages::{page, see_other};
use crate::web::problem::Problem;

/// Orders of one page.
const ON_A_PAGE: usize = 50;

/// The tabs: word in the address, name, lot, and what it holds.
pub const TABS: &[(&str, &str, Lot, &str)] = &[
    ("in_flight", "In flight", Lot::InFlight, "Not over. The one whose deadline comes first stands first."),
    (
        "struggling",
        "Struggling",
        Lot::Struggling,
        "What is to be done has to be repeated. The next to be tried stands first.",
    ),
    ("parked", "Parked", Lot::Parked, "Set aside for an operator: nobody works on them until they are tried again."),
    ("late", "Late", Lot::Late, "Promised by now, and not ready."),
    ("done", "Done", Lot::Done, "Over. The newest stand first."),
];

/// What the address says of the list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    tab: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: usize,
    below: Option<String>,
    /// Set while it is paused.
    #[serde(default)]
    paused: String,
}

impl ListQuery {
    fn tab(&self) -> &'static (&'static str, &'static str, Lot, &'static str) {
        TABS.iter().find(|(word, ..)| *word == self.tab).unwrap_or(&TABS[0])
    }

    fn is_live(&self) -> bool {
        self.paused.is_empty() && self.page == 0 && self.below.is_none()
    }

    /// The address of this list, or of a part of it, with some of it changed.
    fn address(&self, path: &str, change: impl FnOnce(&mut Self)) -> String {
        let mut query = Self { tab: self.tab().0.to_owned(), ..self.clone() };
        change(&mut query);
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.append_pair("tab", &query.tab);
        if !query.q.is_empty() {
            text.append_pair("q", &query.q);
        }
        if query.page > 0 {
            text.append_pair("page", &query.page.to_string());
        }
        if let Some(below) = &query.below {
            text.append_pair("below", below);
        }
        if !query.paused.is_empty() {
            text.append_pair("paused", "1");
        }
        format!("{path}?{}", text.finish())
    }
}

const HERE: &str = "/console/orders";

#[derive(Template)]
#[template(path = "console/orders.html")]
struct OrdersPage {
    frame: Frame,
    tabs: Vec<Tab>,
    about: &'static str,
    query: ListQuery,
    list: List,
    /// The address of the list alone, if it is to be kept up to date.
    again: Option<String>,
    pause: String,
    views: Vec<SavedView>,
    keys: &'static [(&'static str, &'static str)],
    here: String,
}

#[derive(Template)]
#[template(path = "console/orders_list.html")]
struct List {
    rows: Vec<Row>,
    faults: Vec<String>,
    count: String,
    is_partial: bool,
    looked_through: String,
    newer: Option<String>,
    older: Option<String>,
    shows_trouble: bool,
    at: Instant,
    is_live: bool,
}

/// It escapes what it shows by itself.
impl askama::filters::HtmlSafe for List {}

struct Tab {
    name: &'static str,
    address: String,
    is_here: bool,
}

struct Row {
    order: Order,
    shop: String,
    customer: String,
    total: String,
    age: String,
    deadline: String,
    is_overdue: bool,
    stage: String,
    trouble: String,
}

impl Row {
    fn new(app: &App, order: Order, now: Instant) -> Self {
        let task = &order.task;
        let stage = task.stage.map_or_else(String::new, |stage| match task.attempts {
            0 | 1 => show::plain(stage.word()),
            tries => format!("{}, {tries} tries", show::plain(stage.word())),
        });
        let deadline = |at: Instant| {
            if at > now { format!("in {}", show::span(at - now)) } else { format!("{} ago", show::span(now - at)) }
        };
        Self {
            shop: shop_name(app, &order),
            customer: show::masked(&order.customer_id.0),
            total: show::money(&order.placed.total),
            age: show::span(now - order.created_at),
            deadline: order.deadline_at.map_or_else(String::new, deadline),
            is_overdue: order.deadline_at.is_some_and(|at| at <= now),
            stage,
            trouble: task.last_error.clone().unwrap_or_default(),
            order,
        }
    }
}

/// What people call the shop of an order.
pub fn shop_name(app: &App, order: &Order) -> String {
    app.catalogue().find_shop(order.shop_id).map_or_else(|| order.shop_id.to_string(), |shop| shop.name.clone())
}

/// `GET /console/orders`
pub async fn show_orders(visitor: Visitor, app: Data<App>, query: Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let typed = filter::parse(&query.q, &app.catalogue(), now());
    if let Some(order) = typed.order.filter(|_| typed.faults.is_empty()) {
        return Ok(see_other(&format!("/console/orders/{order}")));
    }
    let list = list(&app, &query).await?;
    let (word, _, _, about) = *query.tab();
    let tab = |(other, name, ..): &(&'static str, &'static str, Lot, &'static str)| Tab {
        name,
        address: query.address(HERE, |query| {
            *query = ListQuery { tab: (*other).to_owned(), q: query.q.clone(), ..ListQuery::default() };
        }),
        is_here: *other == word,
    };
    let again = query.is_live().then(|| query.address("/console/orders/list", |_| ()));
    let pause = |query: &mut ListQuery| query.paused = if query.paused.is_empty() { "1".into() } else { String::new() };
    let views = app.store.saved_views(visitor.user.id).await.map_err(Failure::from)?;
    let shown = OrdersPage {
        frame: visitor.frame("Orders"),
        tabs: TABS.iter().map(tab).collect(),
        about,
        list,
        again,
        pause: query.address(HERE, pause),
        views,
        keys: filter::KEYS,
        here: query.address(HERE, |query| (query.page, query.below) = (0, None)),
        query: ListQuery { tab: word.to_owned(), ..query.into_inner() },
    };
    Ok(page(&shown)?)
}

/// `GET /console/orders/list`: the list alone.
pub async fn show_list(_: Visitor, app: Data<App>, query: Query<ListQuery>) -> Result<HttpResponse, Problem> {
    Ok(page(&list(&app, &query).await?)?)
}

async fn list(app: &App, query: &ListQuery) -> Result<List, Failure> {
    let (_, _, lot, _) = *query.tab();
    let now = now();
    let typed = filter::parse(&query.q, &app.catalogue(), now);
    let below = query.below.as_deref().map(str::parse::<OrderId>).transpose();
    let below = below.map_err(|_| Failure::new(Code::InvalidCursor, "This address is not one of ours."))?;
    let skip = query.page.min(LOOKED_THROUGH as usize / ON_A_PAGE) * ON_A_PAGE;
    let found = if typed.faults.is_empty() {
        app.store.browse(lot, typed.sieve, skip, below, ON_A_PAGE, now).await?
    } else {
        Sifted { orders: Vec::new(), count: 0, is_partial: false, below: None }
    };
    let has_more = i64::try_from(skip + found.orders.len()).is_ok_and(|end| end < found.count);
    let older = match found.below {
        _ if has_more => Some(query.address(HERE, |query| query.page += 1)),
        Some(below) => Some(query.address(HERE, |query| (query.page, query.below) = (0, Some(below.to_string())))),
        None => None,
    };
    let is_back = query.page > 0 || query.below.is_some();
    Ok(List {
        count: show::up_to(found.count, LOOKED_THROUGH),
        is_partial: found.is_partial,
        looked_through: show::grouped(LOOKED_THROUGH),
        newer: is_back.then(|| query.address(HERE, |query| (query.page, query.below) = (0, None))),
        older,
        shows_trouble: matches!(lot, Lot::Struggling | Lot::Parked),
        rows: found.orders.into_iter().map(|order| Row::new(app, order, now)).collect(),
        faults: typed.faults,
        at: now,
        is_live: query.is_live(),
    })
}

/// What is being typed.
#[derive(Deserialize)]
pub struct Token {
    token: String,
}

/// `GET /console/orders/suggestions`
pub async fn suggest(_: Visitor, app: Data<App>, query: Query<Token>) -> Json<Vec<String>> {
    Json(filter::suggestions(&query.token, &app.catalogue()))
}

/// `POST /console/orders/views`: keeps the present list under a name.
pub async fn save_view(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let name: String = posted.fields.text("name").chars().filter(|c| !c.is_control()).take(60).collect();
    if name.is_empty() {
        return Err(Failure::new(Code::Unprocessable, "Give it a name.").into());
    }
    let query = posted.fields.text("query");
    if !query.starts_with("/console/orders?") || query.len() > 2000 {
        return Err(Failure::new(Code::Unprocessable, "Only a list of orders can be kept.").into());
    }
    let view = SavedView { name: name.clone(), query: query.to_owned() };
    if !app.store.save_view(posted.visitor.user.id, view, now()).await.map_err(Failure::from)? {
        return Err(Failure::new(Code::NotPossible, "You keep as many as you can: drop one first.").into());
    }
    Ok(posted.done(query, &format!("Kept as {name}.")))
}

/// `POST /console/orders/views/drop`
pub async fn drop_view(app: Data<App>, posted: Posted) -> Result<HttpResponse, Problem> {
    let name = posted.fields.exact("name").to_owned();
    app.store.drop_view(posted.visitor.user.id, name.clone()).await.map_err(Failure::from)?;
    Ok(posted.done("/console/orders", &format!("{name} is no longer kept.")))
}
