//! What the tablet or till in a shop can do with its orders: see the board, and report each step.
//!
//! A tablet that was offline replays its queue, so each step may be said again, and may say when it happened.

mod state;

use actix_web::http::header;
use actix_web::web::{ServiceConfig, delete, post, put, resource};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use state::*;

use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure, Fault};
use crate::lifecycle::{Event, Reason, Status};
use crate::order::{Hash, Instant, OrderId, PickupType};
use crate::state::Order;
use crate::store::{Scope, Sender, Word};
use crate::web::auth::AsShop;
use crate::web::body::{Body, OptionalBody};
use crate::web::faults;
use crate::web::headers::if_none_match;
use crate::web::heard::{path_id, settled, unknown_order};
use crate::web::problem::Problem;
use crate::web::read;
use crate::web::views::board::ShopOrderView;
use crate::web::vocabulary::{Timestamp, rejecting, shop_cancelling};

/// How long a tablet may have kept a step.
const LONGEST_KEPT: chrono::Duration = chrono::Duration::hours(24);
/// What the clock of a tablet may be ahead of this one.
const AHEAD: chrono::Duration = chrono::Duration::seconds(60);

crate::bodies!(AcceptOrder, TakeStep, RejectOrder, ShopCancelOrder, SetMode, ItemAvailability);

/// What a shop can ask and say, below `/v1/shop` for programs with its key and below `/board/shop` for its board.
pub fn configure(shop: &mut ServiceConfig) {
    shop.service(read("", get_shop))
        .service(read("/orders", list_shop_orders))
        .service(read("/orders/{order_id}", get_shop_order))
        .service(resource("/orders/{order_id}/accept").route(post().to(accept_order)))
        .service(resource("/orders/{order_id}/reject").route(post().to(reject_order)))
        .service(resource("/orders/{order_id}/start").route(post().to(start_order)))
        .service(resource("/orders/{order_id}/ready").route(post().to(ready_order)))
        .service(resource("/orders/{order_id}/recall").route(post().to(recall_order)))
        .service(resource("/orders/{order_id}/collected").route(post().to(collected_order)))
        .service(resource("/orders/{order_id}/not-collected").route(post().to(not_collected_order)))
        .service(resource("/orders/{order_id}/cancel").route(post().to(shop_cancel_order)))
        .service(resource("/mode").route(put().to(set_mode)))
        .service(resource("/heartbeat").route(post().to(heartbeat)).route(delete().to(end_heartbeats)))
        .service(read("/items", list_item_availability))
        .service(resource("/items/{item_id}/availability").route(put().to(set_item_availability)))
        .service(read("/options", list_option_availability))
        .service(resource("/options/{option_id}/availability").route(put().to(set_option_availability)));
}

/// The orders of a shop that are ongoing, but for those that are not paid for yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct Board {
    /// What is to be done now, the most urgent first: arrived at the curb, then by when to start, then what is
    /// ready.
    orders: Vec<ShopOrderView>,
    /// For later: not to be made yet, by time of pickup.
    scheduled: Vec<ShopOrderView>,
    as_of: Timestamp,
}

/// What may be said with an acceptance; all of it may be left out, and so may the body.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"minutes": 8, "dropped_lines": [1]}))]
pub struct AcceptOrder {
    /// How long it will take from now; otherwise the customer's expectation is kept.
    #[schema(minimum = 1, maximum = 240)]
    minutes: Option<u32>,
    /// What is sold out, by position; only where the customer agreed (`on_unavailable` is `remove_line`).
    #[schema(max_items = 50, value_type = Option<Vec<u32>>)]
    dropped_lines: Option<Vec<u32>>,
    /// When it happened, if it could not be said at once: at most 24 hours ago. Times of the order count from then, but
    /// never from before it came to its present status.
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Instant>,
}

/// What may be said with any step; it may be left out, and so may the body.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"occurred_at": null}))]
pub struct TakeStep {
    /// When it happened, if it could not be said at once: at most 24 hours ago. Times of the order count from then, but
    /// never from before it came to its present status.
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Instant>,
}

/// Why the shop refuses an order.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectOrder {
    #[schema(schema_with = rejecting)]
    reason: Reason,
    /// When it happened, if it could not be said at once: at most 24 hours ago. Times of the order count from then, but
    /// never from before it came to its present status.
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Instant>,
}

/// Why the shop cancels an order that it had accepted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShopCancelOrder {
    #[schema(schema_with = shop_cancelling)]
    reason: Reason,
    /// When it happened, if it could not be said at once: at most 24 hours ago. Times of the order count from then, but
    /// never from before it came to its present status.
    #[schema(value_type = Option<String>, format = DateTime)]
    occurred_at: Option<Instant>,
}

/// The board of the shop. Ask every few seconds, with `If-None-Match`: nothing new costs next to nothing.
#[utoipa::path(
    get, path = "/v1/shop/orders", operation_id = "listShopOrders", tag = "shop", security(("shopKey" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of an answer the client still has.")),
    responses(
        (status = 200, description = "The board.", body = Board,
         headers(("ETag" = String, description = "Changes with any change of any order; not with `as_of`."))),
        (status = 304, description = "No order has changed since that ETag."),
    )
)]
pub async fn list_shop_orders(
    shop: AsShop,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let held = if_none_match(request.headers());
    let versions = app.store.board_versions(shop.shop_id).await.map_err(Failure::from)?;
    let tag = tag_of(versions.into_iter().filter(|(_, status, _)| is_the_shops(*status)));
    if held.has(&tag) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, format!("\"{tag}\""))).finish());
    }
    let as_of = now();
    let mut board = app.store.board(shop.shop_id).await.map_err(Failure::from)?;
    board.retain(|order| is_the_shops(order.status));
    let tag = tag_of(board.iter().map(|order| (order.id, order.status, order.version)));
    let (mut scheduled, mut orders): (Vec<_>, Vec<_>) =
        board.into_iter().partition(|order| order.status == Status::Scheduled);
    scheduled.sort_by_key(|order| (order.pickup.at, order.id));
    orders.sort_by_key(priority);
    let views = |orders: &[Order]| orders.iter().map(ShopOrderView::new).collect();
    let board = Board { orders: views(&orders), scheduled: views(&scheduled), as_of: Timestamp(as_of) };
    Ok(HttpResponse::Ok().insert_header((header::ETAG, format!("\"{tag}\""))).json(board))
}

/// One order of the shop, also after its end: what became of one that has left the board.
#[utoipa::path(
    get, path = "/v1/shop/orders/{order_id}", operation_id = "getShopOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)),
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn get_shop_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    let found = app.store.order(OrderId(path_id(&order_id)?)).await.map_err(Failure::from)?;
    let own = found.map(|(order, _)| order).filter(|order| order.shop_id == shop.shop_id && is_the_shops(order.status));
    Ok(web::Json(ShopOrderView::new(&own.ok_or_else(unknown_order)?)))
}

/// An order that is not paid for yet is not the shop's.
fn is_the_shops(status: Status) -> bool {
    !matches!(status, Status::New | Status::ActionRequired)
}

/// Smaller is sooner. What is overdue has the earliest start, so that no clock is needed; what is ready needs no
/// start at all, unless its customer waits at the curb.
fn priority(order: &Order) -> (u8, Option<Instant>, OrderId) {
    let at_the_curb = order.arrived_at.is_some() && order.pickup.kind == PickupType::Curbside;
    let group = match order.status {
        _ if at_the_curb => 0,
        Status::Ready => 2,
        _ => 1,
    };
    // Before there is a promise, what the customer was told will become one.
    let make = chrono::Duration::seconds(order.placed.make_seconds.into());
    let start_by = order.start_by().or(order.expected_ready_at.map(|at| at - make));
    (group, start_by, order.id)
}

/// The statuses are part of it: a database that was restored from a backup gives a version again, to another status.
fn tag_of(versions: impl Iterator<Item = (OrderId, Status, i64)>) -> String {
    let mut versions: Vec<_> = versions.collect();
    versions.sort_unstable();
    Hash::of(&versions).tag()
}

/// Says a word of the shop about one of its orders.
async fn report(
    app: &App,
    shop: AsShop,
    order_id: &web::Path<String>,
    event: Event,
    occurred_at: Option<Instant>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    let now = now();
    let occurred = occurred(occurred_at, now)?;
    let (order_id, scope) = (OrderId(path_id(order_id)?), Scope::Shop(shop.shop_id));
    let word = Word { order_id, scope, sender: Sender::Shop, event, version: None, now };
    let received = app.store.receive_kept(word, occurred).await.map_err(Failure::from)?;
    let (order, _) = settled(received, Code::NotPossible)?;
    Ok(web::Json(ShopOrderView::new(&order)))
}

/// When a step happened, as far as that can be believed.
fn occurred(at: Option<Instant>, now: Instant) -> Result<Instant, Failure> {
    let fault = match at {
        None => return Ok(now),
        Some(at) if at > now + AHEAD => ("in_the_future", "This must not be in the future."),
        Some(at) if at < now - LONGEST_KEPT => ("too_long_ago", "This must be at most 24 hours ago."),
        Some(at) => return Ok(Instant::from_timestamp_millis(at.min(now).timestamp_millis()).unwrap_or(now)),
    };
    Err(faults::unprocessable(vec![Fault::new("/occurred_at", fault.0, fault.1)]))
}

/// The shop takes the order.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/accept", operation_id = "acceptOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = Option<AcceptOrder>,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn accept_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    OptionalBody(body): OptionalBody<AcceptOrder>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    let dropped_lines = body.dropped_lines.unwrap_or_default().into_iter().map(|line| line as usize).collect();
    let accepted =
        report(&app, shop, &order_id, Event::ShopAccepted { minutes: body.minutes, dropped_lines }, body.occurred_at)
            .await;
    if !accepted.as_ref().is_ok_and(|order| order.status.is_ongoing()) {
        // Whoever accepts an order that is over is about to make it: its URL, where it has one, is told once more,
        // whatever becomes of this answer.
        let (order, patience) = (OrderId(path_id(&order_id)?), app.settings.webhook_give_up_after.chrono());
        app.store.owe_cancellation(shop.shop_id, order, patience, now()).await.map_err(Failure::from)?;
    }
    accepted
}

/// The shop refuses the order; the customer's money is given back.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/reject", operation_id = "rejectOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = RejectOrder,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn reject_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    Body(body): Body<RejectOrder>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::ShopRejected { reason: body.reason }, body.occurred_at).await
}

/// The order is being made; from now on the customer cannot cancel it.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/start", operation_id = "startOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = Option<TakeStep>,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn start_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    OptionalBody(body): OptionalBody<TakeStep>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::PreparationStarted, body.occurred_at).await
}

/// The order is on the shelf.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/ready", operation_id = "readyOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = Option<TakeStep>,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn ready_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    OptionalBody(body): OptionalBody<TakeStep>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::Made, body.occurred_at).await
}

/// The order was not ready after all.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/recall", operation_id = "recallOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = Option<TakeStep>,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn recall_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    OptionalBody(body): OptionalBody<TakeStep>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::Recalled, body.occurred_at).await
}

/// The order was handed over; also late, to a customer who had not come in time.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/collected", operation_id = "collectedOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = Option<TakeStep>,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn collected_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    OptionalBody(body): OptionalBody<TakeStep>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::Collected, body.occurred_at).await
}

/// Nobody came.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/not-collected", operation_id = "notCollectedOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = Option<TakeStep>,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn not_collected_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    OptionalBody(body): OptionalBody<TakeStep>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::NotCollected, body.occurred_at).await
}

/// The shop cannot keep what it accepted; the customer's money is given back.
#[utoipa::path(
    post, path = "/v1/shop/orders/{order_id}/cancel", operation_id = "shopCancelOrder", tag = "shop",
    security(("shopKey" = [])), params(("order_id" = Uuid, Path)), request_body = ShopCancelOrder,
    responses((status = 200, description = "The order.", body = ShopOrderView))
)]
pub async fn shop_cancel_order(
    shop: AsShop,
    app: web::Data<App>,
    order_id: web::Path<String>,
    Body(body): Body<ShopCancelOrder>,
) -> Result<web::Json<ShopOrderView>, Problem> {
    report(&app, shop, &order_id, Event::ShopCancelled { reason: body.reason }, body.occurred_at).await
}

#[cfg(test)]
mod tests;
