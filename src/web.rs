//! The HTTP edge: every URL stands in the one table below. What happens to every request is in `web::edge`,
//! which wraps the App: `App::new().wrap(from_fn(web::edge::serve)).configure(web::configure)`. What happens to a
//! connection before that, and to a request that cannot be read, is in `web::wire`.

pub mod admin;
pub mod admitted;
pub mod auth;
pub mod bank;
pub mod board;
pub mod body;
pub mod callbacks;
pub mod catalogue;
pub mod client;
pub mod compressed;
pub mod console;
pub mod counted;
pub mod create_order;
mod docs;
pub mod drafts;
pub mod edge;
pub mod events;
mod faults;
mod full;
#[cfg(test)]
pub mod harness;
pub mod headers;
pub mod heard;
pub mod limits;
pub mod openapi;
pub mod orders;
mod pages;
pub mod problem;
mod query;
pub mod shop;
mod unread;
pub mod views;
pub mod vocabulary;
pub mod webhooks;
pub mod wire;

use actix_web::http::header;
use actix_web::web::{Data, ServiceConfig, delete, get, head, post, put, resource, scope};
use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::web::auth::AsAdmin;
use crate::web::create_order::{CreateOrder, DraftOrder, PickupRequest};
use crate::web::drafts::Confirmation;
use crate::web::problem::Problem;

crate::bodies!(CreateOrder, DraftOrder, PickupRequest, Confirmation);

/// Every URL. One resource per path, so that an unknown method is a 405 with `Allow`, not a 404.
pub fn configure(app: &mut ServiceConfig) {
    use admin::{calendar, keys, menu, partners, service, shops, webhooks as receivers};
    app.service(read("/v1/orders", orders::list_orders).route(post().to(orders::create_order)))
        .service(read("/v1/orders/ongoing", orders::get_ongoing_orders))
        .service(read("/v1/orders/{order_id}", orders::get_order).route(delete().to(orders::delete_order)))
        .service(read("/v1/orders/{order_id}/events", orders::get_order_events))
        .service(read("/v1/orders/{order_id}/why", orders::why_order))
        .service(resource("/v1/orders/{order_id}/cancel").route(post().to(orders::cancel_order)))
        .service(resource("/v1/orders/{order_id}/pickup").route(put().to(orders::put_pickup)))
        .service(resource("/v1/orders/{order_id}/arrival").route(post().to(orders::report_arrival)))
        .service(resource("/v1/drafts").route(post().to(drafts::create_draft)))
        .service(read("/v1/drafts/{order_id}", drafts::get_draft).route(put().to(drafts::put_draft)))
        .service(resource("/v1/drafts/{order_id}/confirmation").route(put().to(drafts::confirm_draft)))
        .service(read("/v1/events", events::list_events))
        .service(read("/v1/webhooks", webhooks::list_webhooks).route(post().to(webhooks::create_webhook)))
        .service(
            read("/v1/webhooks/{webhook_id}", webhooks::get_webhook)
                .route(put().to(webhooks::put_webhook))
                .route(delete().to(webhooks::delete_webhook)),
        )
        .service(resource("/v1/webhooks/{webhook_id}/rotate").route(post().to(webhooks::rotate_webhook)))
        .service(read("/v1/webhooks/{webhook_id}/deliveries", webhooks::list_deliveries))
        .service(
            resource("/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend")
                .route(post().to(webhooks::resend_delivery)),
        )
        .service(resource("/v1/webhooks/{webhook_id}/resend").route(post().to(webhooks::resend_deliveries)))
        .service(read("/simulator/bank/{key:.*}", bank::get_challenge).route(post().to(bank::answer_challenge)))
        .service(resource("/v1/callbacks/stripe").route(post().to(callbacks::stripe_callback)))
        .service(read("/livez", get_liveness))
        .service(read("/readyz", get_readiness))
        .service(read("/metrics", get_metrics))
        .service(read("/openapi.json", openapi::get_document))
        .service(read("/", docs::redirect_from_root))
        .service(read("/docs", docs::get_docs))
        .service(read("/docs/", docs::redirect_to_docs))
        .service(read("/v1/shops", catalogue::list_shops))
        .service(read("/v1/shops/{shop_id}/menu", catalogue::get_menu))
        .service(scope("/v1/shop").configure(shop::configure))
        .service(read("/v1/admin/partners", partners::list_partners).route(post().to(partners::create_partner)))
        .service(read("/v1/admin/partners/{partner_id}/items", menu::list_items))
        .service(resource("/v1/admin/partners/{partner_id}/items/{item_id}").route(put().to(menu::put_item)))
        .service(
            read("/v1/admin/partners/{partner_id}/calendar", calendar::get_partner_calendar)
                .route(put().to(calendar::put_partner_calendar)),
        )
        .service(read("/v1/admin/keys", keys::list_keys).route(post().to(keys::create_key)))
        .service(resource("/v1/admin/keys/{key_id}/rotate").route(post().to(keys::rotate_key)))
        .service(resource("/v1/admin/keys/{key_id}/revoke").route(post().to(keys::revoke_key)))
        .service(read("/v1/admin/shops", shops::list_all_shops).route(post().to(shops::create_shop)))
        .service(read("/v1/admin/shops/{shop_id}", shops::get_shop).route(put().to(shops::put_shop)))
        .service(resource("/v1/admin/shops/{shop_id}/heartbeat").route(delete().to(shops::end_shop_heartbeats)))
        .service(read("/v1/admin/shops/{shop_id}/items", menu::list_shop_items))
        .service(resource("/v1/admin/shops/{shop_id}/items/{item_id}").route(put().to(menu::put_shop_item)))
        .service(read("/v1/admin/shops/{shop_id}/options", menu::list_shop_options))
        .service(
            resource("/v1/admin/shops/{shop_id}/options/{option_id}/availability")
                .route(put().to(menu::put_shop_option)),
        )
        .service(
            read("/v1/admin/shops/{shop_id}/calendar", calendar::get_shop_calendar)
                .route(put().to(calendar::put_shop_calendar)),
        )
        .service(read("/v1/admin/orders", admin::orders::search_orders))
        .service(read("/v1/admin/orders/{order_id}", admin::orders::inspect_order))
        .service(read("/v1/admin/orders/{order_id}/events", admin::orders::inspect_order_events))
        .service(resource("/v1/admin/orders/{order_id}/cancel").route(post().to(admin::orders::operator_cancel_order)))
        .service(resource("/v1/admin/orders/{order_id}/retry").route(post().to(admin::orders::retry_order)))
        .service(
            resource("/v1/admin/orders/{order_id}/force-complete")
                .route(post().to(admin::orders::force_complete_order)),
        )
        .service(resource("/v1/admin/orders/{order_id}/refund").route(post().to(admin::orders::refund_order)))
        .service(resource("/v1/admin/orders/{order_id}/reduce-refund").route(post().to(admin::orders::reduce_refund)))
        .service(read("/v1/admin/webhooks", receivers::list_all_webhooks).route(post().to(receivers::create_receiver)))
        .service(
            read("/v1/admin/webhooks/{webhook_id}", receivers::inspect_webhook)
                .route(put().to(receivers::replace_webhook))
                .route(delete().to(receivers::remove_webhook)),
        )
        .service(resource("/v1/admin/webhooks/{webhook_id}/rotate").route(post().to(receivers::rotate_any_webhook)))
        .service(read("/v1/admin/webhooks/{webhook_id}/deliveries", receivers::inspect_deliveries))
        .service(
            resource("/v1/admin/webhooks/{webhook_id}/deliveries/{delivery_id}/resend")
                .route(post().to(receivers::resend_any_delivery)),
        )
        .service(resource("/v1/admin/webhooks/{webhook_id}/resend").route(post().to(receivers::resend_any_deliveries)))
        .service(read("/v1/admin/settings", service::get_settings))
        .service(read("/v1/admin/stages", service::get_stages))
        .service(read("/v1/admin/lifecycle", service::get_lifecycle));
    // Pages have tables of their own.
    console::configure(app);
    board::configure(app);
}

/// The URLs of the second listener, which asks for no key: what only machines next to this one should reach.
pub fn configure_unguarded(app: &mut ServiceConfig) {
    app.service(read("/metrics", get_metrics_unguarded))
        .service(read("/livez", get_liveness))
        .service(read("/readyz", get_readiness));
}

/// A resource that answers GET, and HEAD with the same headers.
fn read<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource(path).route(get().to(handler.clone())).route(head().to(handler))
}

/// That the process runs.
#[derive(Serialize, ToSchema)]
pub struct Liveness {
    #[schema(pattern = "^ok$")]
    status: &'static str,
}

/// How orders are kept.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    #[schema(pattern = "^ready$")]
    status: &'static str,
    #[schema(pattern = "^(sqlite|postgres)$")]
    engine: &'static str,
    /// What an acknowledged order survives.
    durability: String,
}

/// The process runs. It says nothing of what the process needs.
#[utoipa::path(
    get, path = "/livez", operation_id = "getLiveness", tag = "operations",
    responses((status = 200, description = "The process runs.", body = Liveness))
)]
pub async fn get_liveness() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Liveness { status: "ok" })
}

/// Whether requests should be sent here: the service is up, not stopping, and its database can be written to.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "operations",
    responses((status = 200, description = "Ready.", body = Readiness)),
)]
pub async fn get_readiness(app: Data<App>) -> Result<HttpResponse, Problem> {
    if app.store.is_withheld() {
        let (left, all) = app.store.left_to_compare();
        let detail = format!(
            "The database was restored from a backup. Its orders are being compared with the payment gateway: {left} of \
             {all} are left."
        );
        return Err(Failure::new(Code::NotReady, detail).into());
    }
    if !app.is_ready() {
        return Err(Failure::new(Code::NotReady, "Send requests elsewhere, or wait.").into());
    }
    app.ping(now()).await.map_err(Failure::from)?;
    let engine = if app.store.is_alone() { "sqlite" } else { "postgres" };
    let body = Readiness { status: "ready", engine, durability: app.store.durability().to_string() };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body))
}

/// What the service counts and measures of itself, in Prometheus' text format 0.0.4.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "operations", security(("adminKey" = [])),
    responses((status = 200, description = "Every metric.", body = String, content_type = METRICS_TYPE)),
)]
pub async fn get_metrics(_: AsAdmin, app: Data<App>) -> HttpResponse {
    get_metrics_unguarded(app).await
}

async fn get_metrics_unguarded(app: Data<App>) -> HttpResponse {
    let metrics = app.metrics(now()).await;
    HttpResponse::Ok().content_type(METRICS_TYPE).insert_header((header::CACHE_CONTROL, "no-store")).body(metrics)
}

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use actix_web::middleware::from_fn;
    use actix_web::test::{self, TestRequest};
    use actix_web::{App, HttpServer};

    use super::{configure, configure_unguarded, edge, harness, header, openapi};
    use crate::lifecycle::{Actor, Event, Reason};
    use crate::meters::{self, Meter};

    async fn ask(request: TestRequest) -> (u16, header::HeaderMap, Vec<u8>) {
        let app = test::init_service(App::new().wrap(from_fn(edge::serve)).configure(configure)).await;
        let answer = test::call_service(&app, request.to_request()).await;
        (answer.status().as_u16(), answer.headers().clone(), test::read_body(answer).await.to_vec())
    }

    #[actix_web::test]
    async fn the_document_is_served_and_cacheable() {
        let (status, headers, body) = ask(TestRequest::get().uri("/openapi.json")).await;
        assert_eq!(status, 200);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), *openapi::document());
        assert!(headers.get("content-security-policy").unwrap().to_str().unwrap().starts_with("default-src 'none'"));
        let tag = headers.get("etag").unwrap().clone();
        let (status, _, body) =
            ask(TestRequest::get().uri("/openapi.json").insert_header(("if-none-match", tag))).await;
        assert_eq!((status, body.len()), (304, 0));
    }

    #[actix_web::test]
    async fn the_reference_is_one_page_and_a_browser_at_the_root_finds_it() {
        for (from, status) in [("/", 303), ("/docs/", 308)] {
            let (told, headers, _) = ask(TestRequest::get().uri(from)).await;
            assert_eq!((told, headers.get("location").unwrap().to_str().unwrap()), (status, "/docs"));
        }
        let (status, headers, body) = ask(TestRequest::get().uri("/docs")).await;
        assert_eq!(status, 200);
        assert!(headers.get("content-security-policy").unwrap().to_str().unwrap().contains("script-src 'self'"));
        let page = String::from_utf8(body).unwrap();
        assert!(!page.contains("src=\"http") && !page.contains("<script>"), "it loads nothing from elsewhere");
        let (calls, reference) = page.split_once("id=\"two-calls\"").unwrap();
        assert!(calls.contains("getOngoingOrders") && reference.contains("id=\"createOrder\""));
        let tag = headers.get("etag").unwrap().clone();
        assert_eq!(ask(TestRequest::get().uri("/docs").insert_header(("if-none-match", tag))).await.0, 304);
    }

    #[actix_web::test]
    async fn every_metric_is_exposed_with_its_labels_to_operators_only() {
        let house = harness::House::open().await;
        let id = house.awaiting().await;
        house.hear(id, Actor::Shop, Event::ShopRejected { reason: Reason::ShopClosed }).await;
        meters::install();
        for (key, status) in [("", 401), (&house.partner, 403), (&house.admin, 200)] {
            assert_eq!(house.get(key, "/metrics").await.status, status);
        }
        let answer = house.get(&house.admin, "/metrics").await;
        assert_eq!(answer.headers.get("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");

        let open = test::init_service(App::new().app_data(house.app.clone()).configure(configure_unguarded)).await;
        let answer = test::call_service(&open, TestRequest::get().uri("/metrics").to_request()).await;
        let text = String::from_utf8(test::read_body(answer).await.to_vec()).unwrap();
        for Meter { name, kind, labels, buckets, .. } in meters::TABLE {
            let kind = format!("{kind:?}").to_lowercase();
            assert!(
                text.contains(&format!("\n# TYPE {name} {kind}\n")) || text.starts_with(&format!("# HELP {name} ")),
                "{name}"
            );
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            let shown = if buckets.is_empty() { (*name).to_owned() } else { format!("{name}_sum") };
            let line =
                text.lines().find(|line| line.strip_prefix(&shown).is_some_and(|rest| rest.starts_with(['{', ' '])));
            let line = line.unwrap_or_else(|| panic!("no series of {name}"));
            let found: Vec<&str> = line.split('"').step_by(2).filter_map(|part| part.strip_suffix('=')).collect();
            let found: Vec<&str> = found.iter().map(|part| part.rsplit(['{', ',']).next().unwrap()).collect();
            assert_eq!(found, *labels, "{line}");
        }
        let unknown = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).find(|line| {
            let name = line.split(' ').next().unwrap();
            !name.starts_with("process_") && !meters::TABLE.iter().any(|meter| meter.name == name)
        });
        assert_eq!(unknown, None, "only what stands in the table is shown, and what every process tells");
        assert!(!text.contains(&id.to_string()) && !text.contains("/v1/orders/0"), "nothing is counted by id");
        assert!(text.contains(r#"lungo_http_requests_total{route="/metrics",method="GET",status="4xx"}"#), "{text}");
    }

    #[actix_web::test]
    async fn monitoring_reads_readiness_beside_the_metrics() {
        let house = harness::House::open().await;
        let open = test::init_service(App::new().app_data(house.app.clone()).configure(configure_unguarded)).await;
        let ready = async || {
            let answer = test::call_service(&open, TestRequest::get().uri("/readyz").to_request()).await;
            answer.status().as_u16()
        };
        house.app.set_ready(true);
        assert_eq!(ready().await, 200);
        house.app.set_ready(false);
        assert_eq!(ready().await, 503);
    }

    #[actix_web::test]
    async fn a_wrong_method_is_told_the_right_ones() {
        let (status, headers, _) = ask(TestRequest::default().method(Method::DELETE).uri("/livez")).await;
        assert_eq!(status, 405);
        let allow: Vec<&str> = headers.get_all("allow").flat_map(|value| value.to_str().unwrap().split(", ")).collect();
        assert!(allow.contains(&"GET") && allow.contains(&"HEAD"), "{allow:?}");
    }

    #[actix_web::test]
    async fn a_real_server_answers_head_without_a_body() {
        let server = HttpServer::new(|| App::new().wrap(from_fn(edge::serve)).configure(configure))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
        let url = format!("http://{}/livez", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let answer = {
            crate::tls::install();
            reqwest::Client::new()
        }
        .head(url)
        .send()
        .await
        .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-length"], "15");
        assert!(answer.bytes().await.unwrap().is_empty());
        handle.stop(false).await;
    }
}
