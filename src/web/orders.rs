//! The partner's orders: create, list, read, cancel, delete, change the pickup, report the customer's arrival.

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Duration;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::admission::Revision;
use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::lifecycle::Event;
use crate::order::{CustomerId, Hash, OrderId, PartnerId};
use crate::state::Order;
use crate::store::{Accept, Known, Position, Received, Scope, Sender, Source, Unreadable, Word};
use crate::tracer;
use crate::web::admitted::{self, view};
use crate::web::auth::AsPartner;
use crate::web::body::Body;
use crate::web::create_order::{CreateOrder, PickupRequest};
use crate::web::edge::TraceParent;
use crate::web::events::{self, AfterQuery};
use crate::web::headers;
use crate::web::heard::{path_id, say, settled, unknown_order};
use crate::web::problem::Problem;
use crate::web::problem::members::FreshPosition;
use crate::web::query::{Query, cursor, customer_id, limit, opaque};
use crate::web::views::{EventView, OrderView, WhyView};
use crate::web::vocabulary::Timestamp;

type Answer = Result<HttpResponse, Problem>;

/// A customer's present orders.
#[derive(Serialize, ToSchema)]
pub struct OngoingOrders {
    /// Never more than the limit on ongoing orders, and therefore never paged.
    pub orders: Vec<OrderView>,
    /// What ended within the last 10 minutes, newest first, at most 10.
    pub recently_closed: Vec<OrderView>,
    /// Send it as `If-Match` to order again although these orders exist.
    pub revision: String,
    /// Everything committed until then is in this answer.
    pub as_of: Timestamp,
    #[schema(pattern = "^(primary|replica)$")]
    pub source: &'static str,
}

/// A page of a customer's orders.
#[derive(Serialize, ToSchema)]
pub struct OrderPage {
    pub orders: Vec<OrderView>,
    /// Where to go on; an empty page means that there is nothing more.
    pub cursor: String,
}

/// What happened to an order.
#[derive(Serialize, ToSchema)]
pub struct OrderEvents {
    /// At most 1,000, the oldest first.
    pub events: Vec<EventView>,
    /// There are more: ask again with the last version as `after`.
    pub truncated: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CustomerQuery {
    /// The partner's own id of its customer.
    #[param(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
    customer_id: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    #[param(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
    customer_id: String,
    /// From the page before; none for the newest.
    cursor: Option<String>,
    /// At most so many; 20 if it is not said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
}

/// Create an order. It is durable once answered, and nobody else was asked: watch its status.
#[utoipa::path(
    post, path = "/v1/orders", operation_id = "createOrder", tag = "orders", security(("partnerKey" = [])),
    request_body = CreateOrder,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and request give the same order, for ever. A key belongs to one partner and one `customer_id`: the same key for another customer is another order. So repeat a request with the `customer_id` it had first, also for a guest whom the app gives an id of its own."),
        ("If-Match" = Option<String>, Header, description = "The `revision`, in quotes, of the list that the customer has seen. A weak tag says the same."),
    ),
    responses((status = 202, description = "Accepted (or accepted before under this key).", body = OrderView,
        headers(("Location" = String), ("Retry-After" = u32), ("Lungo-Position" = String), ("ETag" = String)))),
)]
pub async fn create_order(
    AsPartner(partner_id): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    Body(body): Body<CreateOrder>,
) -> Answer {
    let order = body.parse();
    let idempotency_key = headers::idempotency_key(request.headers())?;
    let seen = seen_revision(request.headers(), partner_id, &order.customer_id)?;
    let (now, order_id) = (now(), OrderId::new());
    let catalogue = app.verdict(partner_id, &order, now, trace_parent(&request, order_id));
    let key = idempotency_key.clone();
    let accept = Accept { order_id, partner_id, request: order, idempotency_key, seen, catalogue, draft: None, now };
    let admitted = app.accept(accept).await.map_err(Failure::from)?;
    admitted::note(&app, partner_id, key, &request, &admitted);
    admitted::answer(&app, partner_id, admitted)
}

/// A customer's ongoing orders, and how fresh that is. An error is never an empty list.
#[utoipa::path(
    get, path = "/v1/orders/ongoing", operation_id = "getOngoingOrders", tag = "orders", security(("partnerKey" = [])),
    params(CustomerQuery, ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh."), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The orders.", body = OngoingOrders, headers(("ETag" = String), ("Lungo-Position" = String), ("Retry-After" = u32))),
        (status = 304, description = "Nothing has changed but the progress.", headers(("Lungo-Position" = String), ("Retry-After" = u32))),
    ),
)]
pub async fn get_ongoing_orders(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    query: Query<CustomerQuery>,
) -> Answer {
    let customer = customer_id(&query.customer_id)?;
    let at_least = seen_position(request.headers())?;
    let now = now();
    let closed_since =
        now - Duration::from_std(app.settings.recently_closed_within.0).expect("spans are at most a year");
    let present =
        app.store.present(partner, customer.clone(), at_least, closed_since, now).await.map_err(unreadable)?;

    let mut tag = format!("{}", present.revision.number);
    for order in present.ongoing.iter().chain(&present.recently_closed) {
        tag += &format!(".{}:{}", order.id, order.version);
    }
    let tag = Hash::of_bytes(tag.as_bytes()).tag();
    let views = |orders: &[Order]| -> Vec<(OrderView, Option<i64>)> {
        orders.iter().map(|order| view(&app, order, None, now)).collect()
    };
    let ongoing = views(&present.ongoing);
    let retry_after = ongoing.iter().filter_map(|(_, retry_after)| *retry_after).min();
    let is_known = headers::if_none_match(request.headers()).has(&tag);
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, format!("\"{tag}\"")))
        .insert_header((header::VARY, "Authorization, Lungo-Position"))
        .insert_header(("Lungo-Position", present.position.token()));
    if let Some(seconds) = retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds));
    }
    if is_known {
        return Ok(answer.finish());
    }
    Ok(answer.json(OngoingOrders {
        orders: ongoing.into_iter().map(|(view, _)| view).collect(),
        recently_closed: views(&present.recently_closed).into_iter().map(|(view, _)| view).collect(),
        revision: present.revision.token(partner, &customer),
        as_of: Timestamp(present.as_of),
        source: match present.source {
            Source::Primary => "primary",
            Source::Replica => "replica",
        },
    }))
}

/// One order.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}", operation_id = "getOrder", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh."), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "The order.", body = OrderView, headers(("ETag" = String), ("Retry-After" = u32), ("Lungo-Position" = String))),
        (status = 304, description = "It has not changed.", headers(("Retry-After" = u32), ("Lungo-Position" = String))),
    ),
)]
pub async fn get_order(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Answer {
    let (order, position) = order_of(&app, partner, path_id(&id)?, &request).await?;
    let is_known = headers::if_none_match(request.headers()).has(&order.version.to_string());
    Ok(shown(&app, &order, position, is_known))
}

/// A customer's orders, newest first, by the immutable order in which they were created.
#[utoipa::path(
    get, path = "/v1/orders", operation_id = "listOrders", tag = "orders", security(("partnerKey" = [])),
    params(HistoryQuery, ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh.")),
    responses((status = 200, description = "A page.", body = OrderPage, headers(("Lungo-Position" = String)))),
)]
pub async fn list_orders(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    query: Query<HistoryQuery>,
) -> Answer {
    let customer = customer_id(&query.customer_id)?;
    let scope = opaque::scope(partner, Some(&customer));
    let below = cursor(query.cursor.as_deref(), scope)?.unwrap_or(i64::MAX);
    let (at_least, limit) = (seen_position(request.headers())?, limit(query.limit, 100)?);
    let history = app.store.history(partner, &customer, below, limit, at_least.as_ref());
    let (orders, position) = history.await.map_err(unreadable)?;
    let next = orders.last().map_or(below, |order| order.number);
    let now = now();
    Ok(HttpResponse::Ok().insert_header(("Lungo-Position", position.token())).json(OrderPage {
        orders: orders.iter().map(|order| view(&app, order, None, now).0).collect(),
        cursor: opaque::cursor(next, scope),
    }))
}

/// All that happened to an order, oldest first.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/events", operation_id = "getOrderEvents", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), AfterQuery, ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh.")),
    responses((status = 200, description = "The events.", body = OrderEvents, headers(("Lungo-Position" = String)))),
)]
pub async fn get_order_events(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
    query: Query<AfterQuery>,
) -> Answer {
    let (order, position) = order_of(&app, partner, path_id(&id)?, &request).await?;
    let (events, truncated) = events::of_one(&app, order.id, &query).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Lungo-Position", position.token()));
    Ok(answer.json(OrderEvents { events: events.iter().map(EventView::new).collect(), truncated }))
}

/// What an order waits for, in one sentence and a code.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/why", operation_id = "whyOrder", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh.")),
    responses((status = 200, description = "Why it stands where it stands.", body = WhyView, headers(("Lungo-Position" = String)))),
)]
pub async fn why_order(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Answer {
    let (order, position) = order_of(&app, partner, path_id(&id)?, &request).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(("Lungo-Position", position.token()));
    Ok(answer.json(WhyView::new(&order)))
}

/// Cancel an order, until it is being made. Repeating it is safe.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/cancel", operation_id = "cancelOrder", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh.")),
    responses((status = 200, description = "The order, cancelled.", body = OrderView, headers(("ETag" = String), ("Lungo-Position" = String)))),
)]
pub async fn cancel_order(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Answer {
    let id = path_id(&id)?;
    order_of(&app, partner, id, &request).await?;
    let (order, position) =
        say(&app, id, Scope::Partner(partner), Sender::Partner, Event::CustomerCancelled, Code::TooLate).await?;
    Ok(shown(&app, &order, position, false))
}

/// Remove an order from its customer's sight; while it is ongoing this cancels it first. A draft can be removed too.
/// Its money may still be on its way back: `payment.status` tells.
#[utoipa::path(
    delete, path = "/v1/orders/{order_id}", operation_id = "deleteOrder", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh.")),
    responses((status = 202, description = "Removed: every later call on it is answered 410.", body = admitted::Deleted,
        headers(("Lungo-Position" = String)))),
)]
pub async fn delete_order(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Answer {
    let id = OrderId(path_id(&id)?);
    let at_least = seen_position(request.headers())?;
    let Some(known) = known(&app, partner, id.0, at_least.as_ref()).await? else { return Err(unknown_order().into()) };
    if let Some(gone) = admitted::gone(&known) {
        return Err(gone.into());
    }
    let (Known::Order(_, before) | Known::Draft(_, before)) = known;
    let (deleted, position) = match app.store.delete(id, partner, now()).await.map_err(Failure::from)? {
        // Drafts do not stand in the log: nothing in it is newer than what was read before.
        Received::DraftBuried(draft) => (admitted::Deleted::draft(&draft), before),
        other => {
            let (order, position) = settled(other, Code::TooLate)?;
            (admitted::Deleted::order(&order), position)
        }
    };
    Ok(HttpResponse::Accepted().insert_header(("Lungo-Position", position.token())).json(deleted))
}

/// Replace how an ongoing order is picked up. Its time may differ only while the order is scheduled.
#[utoipa::path(
    put, path = "/v1/orders/{order_id}/pickup", operation_id = "putPickup", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh."), ("If-Match" = Option<String>, Header, description = "The order's `ETag`, or its `version` in quotes: an order that has changed since is left as it is. A weak tag, as a compressing proxy makes it, says the same.")),
    request_body = PickupRequest,
    responses((status = 200, description = "The order.", body = OrderView, headers(("ETag" = String), ("Lungo-Position" = String)))),
)]
pub async fn put_pickup(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
    Body(body): Body<PickupRequest>,
) -> Answer {
    let (order, position) = order_of(&app, partner, path_id(&id)?, &request).await?;
    let version = headers::version(request.headers())?;
    let pickup = body.parse();
    let now = now();
    // Said again, it changes nothing, and is not told to the shop again.
    if pickup == order.pickup && version.is_none_or(|version| version == order.version) {
        return Ok(shown(&app, &order, position, false));
    }
    let (offer_at, slot_capacity) = if pickup.at == order.pickup.at {
        (order.offer_at, None)
    } else {
        let moved = app.catalogue().moved(partner, order.shop_id, order.placed.make_seconds, pickup.at, now);
        let timing = moved.map_err(|refusal| admitted::refusal(&refusal))?;
        (timing.offer_at, timing.slot.map(|slot| slot.capacity))
    };
    let word = Word {
        order_id: order.id,
        scope: Scope::Partner(partner),
        sender: Sender::Partner,
        event: Event::PickupChanged { pickup, offer_at },
        version,
        now,
    };
    let received = app.store.change_pickup(word, slot_capacity).await.map_err(Failure::from)?;
    let (order, position) = settled(received, Code::TooLate)?;
    Ok(shown(&app, &order, position, false))
}

/// The customer is here. The first report counts; it raises the order's priority.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/arrival", operation_id = "reportArrival", tag = "orders", security(("partnerKey" = [])),
    params(("order_id" = Uuid, Path), ("Lungo-Position" = Option<String>, Header, description = "From an earlier answer: this one is at least that fresh.")),
    responses((status = 200, description = "The order.", body = OrderView, headers(("ETag" = String), ("Lungo-Position" = String)))),
)]
pub async fn report_arrival(
    AsPartner(partner): AsPartner,
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Answer {
    let (order, position) = order_of(&app, partner, path_id(&id)?, &request).await?;
    if order.arrived_at.is_some() {
        return Ok(shown(&app, &order, position, false));
    }
    let (order, position) =
        say(&app, order.id.0, Scope::Partner(partner), Sender::Partner, Event::Arrived, Code::TooLate).await?;
    Ok(shown(&app, &order, position, false))
}

/// 200 with the order, or 304 where the client has it.
fn shown(app: &App, order: &Order, position: Position, is_known: bool) -> HttpResponse {
    let (view, retry_after) = view(app, order, None, now());
    let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((header::ETAG, format!("\"{}\"", order.version)))
        .insert_header(("Lungo-Position", position.token()));
    if let Some(seconds) = retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds));
    }
    if is_known { answer.finish() } else { answer.json(view) }
}

/// What the partner has under this id, if anything, at least as fresh as `at_least`.
pub async fn known(
    app: &App,
    partner: PartnerId,
    id: Uuid,
    at_least: Option<&Position>,
) -> Result<Option<Known>, Failure> {
    let known = app.store.known(OrderId(id), at_least).await.map_err(unreadable)?;
    Ok(known.filter(|known| match known {
        Known::Order(order, _) => order.partner_id == partner,
        Known::Draft(draft, _) => draft.partner_id == partner,
    }))
}

/// The partner's order of this id, at least as fresh as the `Lungo-Position` of the request.
///
/// # Errors
/// `not_found` if the partner has none; `order_deleted` if it was deleted; `history_diverged`.
async fn order_of(
    app: &App,
    partner: PartnerId,
    id: Uuid,
    request: &HttpRequest,
) -> Result<(Order, Position), Failure> {
    let at_least = seen_position(request.headers())?;
    let Some(known) = known(app, partner, id, at_least.as_ref()).await? else { return Err(unknown_order()) };
    if let Some(gone) = admitted::gone(&known) {
        return Err(gone);
    }
    match known {
        Known::Order(order, position) => Ok((*order, position)),
        Known::Draft(..) => Err(unknown_order()),
    }
}

/// The revision in `If-Match`, if there is one.
///
/// # Errors
/// `invalid_request` for anything but one tag that was made for this customer.
pub fn seen_revision(
    headers: &HeaderMap,
    partner: PartnerId,
    customer: &CustomerId,
) -> Result<Option<Revision>, Failure> {
    headers::if_match(headers)?
        .map(|tag| {
            Revision::parse(&tag, partner, customer)
                .ok_or_else(|| invalid_if_match("this is not a revision of this customer's orders"))
        })
        .transpose()
}

fn invalid_if_match(why: &str) -> Failure {
    Failure::new(Code::InvalidRequest, format!("If-Match: {why}."))
}

fn seen_position(headers: &HeaderMap) -> Result<Option<Position>, Failure> {
    let parse = |token| {
        Position::parse(token).ok_or_else(|| {
            Failure::new(Code::InvalidPosition, "Send Lungo-Position exactly as an earlier answer gave it.")
        })
    };
    headers::position(headers)?.map(parse).transpose()
}

fn unreadable(unreadable: Unreadable) -> Failure {
    match unreadable {
        Unreadable::Failed(error) => error.into(),
        Unreadable::HistoryDiverged(position) => Failure::new(
            Code::HistoryDiverged,
            "This position is ahead of the database, which must have lost a tail. Forget it and read again.",
        )
        .with(FreshPosition { position: position.token() }),
    }
}

/// The `traceparent` that is kept with an order which this request makes.
pub fn trace_parent(request: &HttpRequest, order_id: OrderId) -> Option<String> {
    tracer::of_new_order(order_id, caller_trace(request))
}

/// The valid `traceparent` that the request brought.
pub fn caller_trace(request: &HttpRequest) -> Option<String> {
    use actix_web::HttpMessage;
    request.extensions().get::<TraceParent>().map(|parent| parent.0.to_string())
}
