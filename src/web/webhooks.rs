//! Who is told of what happens to a partner's orders. A signing secret is shown once, by the answer that made it.

mod desk;

use actix_web::{HttpResponse, web};

pub use desk::*;

use crate::app::App;
use crate::order::PartnerId;
use crate::store::Receivers;
use crate::web::auth::AsPartner;
use crate::web::body::{Body, OptionalBody};
use crate::web::heard::path_id;
use crate::web::problem::Problem;
use crate::web::query::Query;

fn desk(app: &App, partner: PartnerId) -> Desk<'_> {
    Desk { app, of: Receivers::Of(partner), store: app.store.clone() }
}

/// The partner's receivers.
#[utoipa::path(
    get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "webhooks", security(("partnerKey" = [])),
    responses((status = 200, description = "The receivers, the oldest first.", body = WebhookList))
)]
pub async fn list_webhooks(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
) -> Result<web::Json<WebhookList>, Problem> {
    desk(&app, partner).list(|_| true).await
}

/// A new receiver. It is told of what happens from now on: each event by a POST of a `Notification`, signed by Standard
/// Webhooks, at least once. The secret is in this answer and never again.
#[utoipa::path(
    post, path = "/v1/webhooks", operation_id = "createWebhook", tag = "webhooks", security(("partnerKey" = [])),
    request_body = NewWebhook, responses((status = 201, description = "The receiver.", body = SecretWebhookView))
)]
pub async fn create_webhook(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    Body(body): Body<NewWebhook>,
) -> Result<HttpResponse, Problem> {
    desk(&app, partner).create(partner, None, &body.url, body.types).await
}

/// A receiver.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook_id}", operation_id = "getWebhook", tag = "webhooks",
    security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path)),
    responses((status = 200, description = "The receiver.", body = WebhookView))
)]
pub async fn get_webhook(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
) -> Result<web::Json<WebhookView>, Problem> {
    desk(&app, partner).get(path_id(&webhook_id)?).await
}

/// Replaces where a receiver is, what it wants, and whether it is sent anything.
#[utoipa::path(
    put, path = "/v1/webhooks/{webhook_id}", operation_id = "putWebhook", tag = "webhooks",
    security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path)), request_body = WebhookSettings,
    responses((status = 200, description = "The receiver.", body = WebhookView))
)]
pub async fn put_webhook(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
    Body(body): Body<WebhookSettings>,
) -> Result<web::Json<WebhookView>, Problem> {
    desk(&app, partner).put(path_id(&webhook_id)?, body).await
}

/// Removes a receiver, with all that was on its way to it.
#[utoipa::path(
    delete, path = "/v1/webhooks/{webhook_id}", operation_id = "deleteWebhook", tag = "webhooks",
    security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path)),
    responses((status = 204, description = "It is gone."))
)]
pub async fn delete_webhook(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    desk(&app, partner).delete(path_id(&webhook_id)?).await
}

/// Gives a receiver a new secret, which is in this answer and never again. For a while deliveries carry two signatures.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook_id}/rotate", operation_id = "rotateWebhook", tag = "webhooks",
    security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path)), request_body = Option<RotateSecret>,
    responses((status = 200, description = "The receiver.", body = SecretWebhookView))
)]
pub async fn rotate_webhook(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
    OptionalBody(body): OptionalBody<RotateSecret>,
) -> Result<HttpResponse, Problem> {
    desk(&app, partner).rotate(path_id(&webhook_id)?, body).await
}

/// What is on its way to a receiver, and what became of the last 10,000 that were.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook_id}/deliveries", operation_id = "listDeliveries", tag = "webhooks",
    security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path), DeliveryFilter),
    responses((status = 200, description = "A page of deliveries, the newest first.", body = DeliveryList))
)]
pub async fn list_deliveries(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
    filter: Query<DeliveryFilter>,
) -> Result<web::Json<DeliveryList>, Problem> {
    desk(&app, partner).deliveries(path_id(&webhook_id)?, &filter).await
}

/// Sends one delivery again; one that waits is due now. A receiver that fails, or asked for time, is still left alone for
/// as long as that: a minute, an hour at most.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend", operation_id = "resendDelivery",
    tag = "webhooks", security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path), ("delivery_id" = Uuid, Path)),
    responses((status = 200, description = "The delivery.", body = DeliveryView))
)]
pub async fn resend_delivery(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
) -> Result<web::Json<DeliveryView>, Problem> {
    desk(&app, partner).resend(&path.0, &path.1).await
}

/// Sends the finished deliveries of a span of time again, as far as they are kept. Cut short, it may be said again.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook_id}/resend", operation_id = "resendDeliveries", tag = "webhooks",
    security(("partnerKey" = [])), params(("webhook_id" = Uuid, Path)), request_body = ResendRange,
    responses((status = 200, description = "How many are on their way again.", body = Resent))
)]
pub async fn resend_deliveries(
    AsPartner(partner): AsPartner,
    app: web::Data<App>,
    webhook_id: web::Path<String>,
    Body(body): Body<ResendRange>,
) -> Result<web::Json<Resent>, Problem> {
    desk(&app, partner).resend_range(path_id(&webhook_id)?, body).await
}

#[cfg(test)]
mod tests;
