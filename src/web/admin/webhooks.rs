//! Receivers of webhooks of every partner and every shop.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{by, find_partner, recording};
use crate::app::App;
use crate::error::{Failure, Fault};
use crate::lifecycle::EventKind;
use crate::order::{PartnerId, ShopId};
use crate::store::Receivers;
use crate::web::auth::AsAdmin;
use crate::web::body::{Body, OptionalBody};
use crate::web::faults;
use crate::web::heard::{id_in, path_id};
use crate::web::problem::Problem;
use crate::web::query::Query;
use crate::web::webhooks::{
    DeliveryFilter, DeliveryList, DeliveryView, Desk, ResendRange, Resent, RotateSecret, SecretWebhookView,
    WebhookList, WebhookSettings, WebhookView,
};

/// A receiver to be: of a partner's events, or of the orders of a shop.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(
    json!({"partner_id": "01970000-0000-7000-8000-000000000001", "url": "https://app.example/lungo"}),
    json!({"shop_id": "01970000-0000-7000-8000-000000000013", "url": "https://till.example/orders"}),
))]
pub struct NewReceiver {
    /// Needed for a partner's; for a shop's it may be said, and must be the shop's.
    partner_id: Option<Uuid>,
    /// A shop has one at most: orders are offered to it there, and it is told there of those that end without it.
    shop_id: Option<Uuid>,
    /// https, with a host of the public Internet.
    #[schema(max_length = 2000, pattern = "^https?://[^\\s]+$")]
    url: String,
    /// The types of events it wants; all if it is left out. Not for a shop's.
    #[schema(min_items = 1, max_items = 100)]
    types: Option<Vec<EventKind>>,
}

/// Which receivers to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WebhookFilter {
    partner_id: Option<Uuid>,
    shop_id: Option<Uuid>,
}

fn desk(app: &App) -> Desk<'_> {
    Desk { app, of: Receivers::All, store: app.store.clone() }
}

/// A desk at which a key changes something.
async fn acting<'a>(
    app: &'a App,
    admin: AsAdmin,
    request: &HttpRequest,
    action: &str,
    subject: String,
    detail: serde_json::Value,
) -> Result<Desk<'a>, Failure> {
    Ok(Desk { app, of: Receivers::All, store: recording(app, admin, request, action, subject, detail).await? })
}

fn subject(webhook: Uuid) -> String {
    format!("webhook:{webhook}")
}

/// The receivers of all partners and shops, or of one.
#[utoipa::path(
    get, path = "/v1/admin/webhooks", operation_id = "listAllWebhooks", tag = "admin", security(("adminKey" = [])),
    params(WebhookFilter), responses((status = 200, description = "The receivers, the oldest first.", body = WebhookList))
)]
pub async fn list_all_webhooks(
    _: AsAdmin,
    app: web::Data<App>,
    filter: Query<WebhookFilter>,
) -> Result<web::Json<WebhookList>, Problem> {
    let of_partner = |partner: PartnerId| filter.partner_id.is_none_or(|wanted| wanted == partner.0);
    let of_shop = |shop: Option<ShopId>| filter.shop_id.is_none_or(|wanted| shop == Some(ShopId(wanted)));
    desk(&app).list(|webhook| of_partner(webhook.partner_id) && of_shop(webhook.shop_id)).await
}

/// A new receiver, of a partner or of a shop. Its secret is in this answer and never again.
#[utoipa::path(
    post, path = "/v1/admin/webhooks", operation_id = "createReceiver", tag = "admin", security(("adminKey" = [])),
    request_body = NewReceiver, responses((status = 201, description = "The receiver.", body = SecretWebhookView))
)]
pub async fn create_receiver(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    Body(body): Body<NewReceiver>,
) -> Result<HttpResponse, Problem> {
    let wrong = |pointer: &str, code: &'static str, detail: &str| {
        Problem::from(faults::unprocessable(vec![Fault::new(pointer, code, detail)]))
    };
    let Some(shop_id) = body.shop_id.map(ShopId) else {
        let partner_id = body.partner_id.ok_or_else(|| wrong("/partner_id", "missing", "Whose receiver is it?"))?;
        let partner = find_partner(&app, PartnerId(partner_id)).await?;
        let partner = partner.ok_or_else(|| wrong("/partner_id", "unknown", "There is no such partner."))?;
        let (of, detail) = (format!("partner:{}", partner.partner_id), json!({"url": body.url}));
        let desk = acting(&app, admin, &request, "make_webhook", of, detail).await?;
        return desk.create(partner.partner_id, None, &body.url, body.types).await;
    };
    let catalogue = app.catalogue();
    let shop = catalogue.find_shop(shop_id).ok_or_else(|| wrong("/shop_id", "unknown", "There is no such shop."))?;
    if body.partner_id.is_some_and(|partner| partner != shop.partner_id.0) {
        return Err(wrong("/partner_id", "mismatch", "The shop belongs to another partner."));
    }
    if shop.simulated {
        return Err(wrong("/shop_id", "not_allowed", "The built-in simulator plays this shop: switch that off first."));
    }
    if body.types.is_some() {
        return Err(wrong("/types", "not_allowed", "A shop is told of its orders, and has no choice."));
    }
    let (of, detail) = (format!("shop:{shop_id}"), json!({"url": body.url}));
    let desk = acting(&app, admin, &request, "make_webhook", of, detail).await?;
    desk.create(shop.partner_id, Some(shop_id), &body.url, None).await
}

/// A receiver.
#[utoipa::path(
    get, path = "/v1/admin/webhooks/{webhook_id}", operation_id = "inspectWebhook", tag = "admin",
    security(("adminKey" = [])), params(("webhook_id" = Uuid, Path)),
    responses((status = 200, description = "The receiver.", body = WebhookView))
)]
pub async fn inspect_webhook(
    _: AsAdmin,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
) -> Result<web::Json<WebhookView>, Problem> {
    desk(&app).get(path_id(&webhook_id)?).await
}

/// Replaces where a receiver is, what it wants, and whether it is sent anything.
#[utoipa::path(
    put, path = "/v1/admin/webhooks/{webhook_id}", operation_id = "replaceWebhook", tag = "admin",
    security(("adminKey" = [])), params(("webhook_id" = Uuid, Path)), request_body = WebhookSettings,
    responses((status = 200, description = "The receiver.", body = WebhookView))
)]
pub async fn replace_webhook(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    webhook_id: web::Path<String>,
    Body(body): Body<WebhookSettings>,
) -> Result<web::Json<WebhookView>, Problem> {
    let id = path_id(&webhook_id)?;
    acting(&app, admin, &request, "edit_webhook", subject(id), body.told()).await?.put(id, body).await
}

/// Removes a receiver, with all that was on its way to it.
#[utoipa::path(
    delete, path = "/v1/admin/webhooks/{webhook_id}", operation_id = "removeWebhook", tag = "admin",
    security(("adminKey" = [])), params(("webhook_id" = Uuid, Path)),
    responses((status = 204, description = "It is gone."))
)]
pub async fn remove_webhook(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    webhook_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = path_id(&webhook_id)?;
    acting(&app, admin, &request, "remove_webhook", subject(id), json!({})).await?.delete(id).await
}

/// Gives a receiver a new secret, which is in this answer and never again. For a while deliveries carry two signatures.
#[utoipa::path(
    post, path = "/v1/admin/webhooks/{webhook_id}/rotate", operation_id = "rotateAnyWebhook", tag = "admin",
    security(("adminKey" = [])), params(("webhook_id" = Uuid, Path)), request_body = Option<RotateSecret>,
    responses((status = 200, description = "The receiver.", body = SecretWebhookView))
)]
pub async fn rotate_any_webhook(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    webhook_id: web::Path<String>,
    OptionalBody(body): OptionalBody<RotateSecret>,
) -> Result<HttpResponse, Problem> {
    let id = path_id(&webhook_id)?;
    acting(&app, admin, &request, "rotate_webhook", subject(id), json!({})).await?.rotate(id, body).await
}

/// What is on its way to a receiver, and what became of the last 10,000 that were.
#[utoipa::path(
    get, path = "/v1/admin/webhooks/{webhook_id}/deliveries", operation_id = "inspectDeliveries", tag = "admin",
    security(("adminKey" = [])), params(("webhook_id" = Uuid, Path), DeliveryFilter),
    responses((status = 200, description = "A page of deliveries, the newest first.", body = DeliveryList))
)]
pub async fn inspect_deliveries(
    _: AsAdmin,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
    filter: Query<DeliveryFilter>,
) -> Result<web::Json<DeliveryList>, Problem> {
    desk(&app).deliveries(path_id(&webhook_id)?, &filter).await
}

/// Sends one delivery again; one that waits is due now. A receiver that fails, or asked for time, is still left alone for
/// as long as that: a minute, an hour at most.
#[utoipa::path(
    post, path = "/v1/admin/webhooks/{webhook_id}/deliveries/{delivery_id}/resend", operation_id = "resendAnyDelivery",
    tag = "admin", security(("adminKey" = [])), params(("webhook_id" = Uuid, Path), ("delivery_id" = Uuid, Path)),
    responses((status = 200, description = "The delivery.", body = DeliveryView))
)]
pub async fn resend_any_delivery(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<web::Json<DeliveryView>, Problem> {
    let of = subject(id_in(&path.0)?);
    let desk = acting(&app, admin, &request, "resend_delivery", of, json!({"delivery": path.1})).await?;
    desk.resend(&path.0, &path.1).await
}

/// Sends the finished deliveries of a span of time again, as far as they are kept. Cut short, it may be said again.
#[utoipa::path(
    post, path = "/v1/admin/webhooks/{webhook_id}/resend", operation_id = "resendAnyDeliveries", tag = "admin",
    security(("adminKey" = [])), params(("webhook_id" = Uuid, Path)), request_body = ResendRange,
    responses((status = 200, description = "How many are on their way again.", body = Resent))
)]
pub async fn resend_any_deliveries(
    admin: AsAdmin,
    app: web::Data<App>,
    request: HttpRequest,
    webhook_id: web::Path<String>,
    Body(body): Body<ResendRange>,
) -> Result<web::Json<Resent>, Problem> {
    let id = path_id(&webhook_id)?;
    let entry = by(&app, admin, &request, None).await?.entry("resend_deliveries", subject(id), json!({}));
    let resent = desk(&app).resend_range(id, body).await;
    // It takes many transactions: the log has it once.
    app.store.record(entry, resent.is_ok()).await.map_err(Failure::from)?;
    resent
}
