//! The OpenAPI 3.1 document. It is made once from the Rust types, and the bodies of requests are validated against it.

mod links;
mod parameters;
mod problems;

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::order::Hash;
use crate::web::create_order::{CreateOrder, DraftOrder, PickupRequest};
use crate::web::drafts::{self, Confirmation};
use crate::web::headers::if_none_match;
use crate::web::views::board::ShopOrderView;
use crate::web::views::notification::{Notification, ShopNotification};
use crate::web::views::{EventView, OrderView};
use crate::web::{admin, callbacks, catalogue, events, orders, shop, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lungo",
        description = "Orders for coffee chains. Poll an order until it is not ongoing; a failed poll never means a \
                       failed order. Unknown request members are refused.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "The server that publishes this document.")),
    tags(
        (name = "orders", description = "The partner's orders."),
        (name = "drafts", description = "Baskets that are priced before they are ordered."),
        (name = "webhooks", description = "Being told instead of asking: polling always suffices, a webhook only adds."),
        (name = "catalogue", description = "Shops, their menus and what they promise."),
        (name = "shop", description = "For the tablet or till in a shop."),
        (name = "admin", description = "For operators."),
        (name = "callbacks", description = "For gateways."),
        (name = "operations", description = "For those who run the service."),
    ),
    paths(
        orders::create_order,
        orders::get_ongoing_orders,
        orders::get_order,
        orders::list_orders,
        orders::get_order_events,
        orders::why_order,
        orders::cancel_order,
        orders::delete_order,
        orders::put_pickup,
        orders::report_arrival,
        drafts::create_draft,
        drafts::get_draft,
        drafts::put_draft,
        drafts::confirm_draft,
        events::list_events,
        webhooks::list_webhooks,
        webhooks::create_webhook,
        webhooks::get_webhook,
        webhooks::put_webhook,
        webhooks::delete_webhook,
        webhooks::rotate_webhook,
        webhooks::list_deliveries,
        webhooks::resend_delivery,
        webhooks::resend_deliveries,
        catalogue::list_shops,
        catalogue::get_menu,
        shop::get_shop,
        shop::list_shop_orders,
        shop::get_shop_order,
        shop::accept_order,
        shop::reject_order,
        shop::start_order,
        shop::ready_order,
        shop::recall_order,
        shop::collected_order,
        shop::not_collected_order,
        shop::shop_cancel_order,
        shop::set_mode,
        shop::heartbeat,
        shop::end_heartbeats,
        shop::list_item_availability,
        shop::set_item_availability,
        shop::list_option_availability,
        shop::set_option_availability,
        admin::partners::list_partners,
        admin::partners::create_partner,
        admin::menu::list_items,
        admin::menu::put_item,
        admin::keys::list_keys,
        admin::keys::create_key,
        admin::keys::rotate_key,
        admin::keys::revoke_key,
        admin::shops::list_all_shops,
        admin::shops::create_shop,
        admin::shops::get_shop,
        admin::shops::put_shop,
        admin::shops::end_shop_heartbeats,
        admin::menu::list_shop_items,
        admin::menu::put_shop_item,
        admin::menu::list_shop_options,
        admin::menu::put_shop_option,
        admin::calendar::get_shop_calendar,
        admin::calendar::put_shop_calendar,
        admin::calendar::get_partner_calendar,
        admin::calendar::put_partner_calendar,
        admin::orders::search_orders,
        admin::orders::inspect_order,
        admin::orders::inspect_order_events,
        admin::orders::operator_cancel_order,
        admin::orders::retry_order,
        admin::orders::force_complete_order,
        admin::orders::refund_order,
        admin::orders::reduce_refund,
        admin::webhooks::list_all_webhooks,
        admin::webhooks::create_receiver,
        admin::webhooks::inspect_webhook,
        admin::webhooks::replace_webhook,
        admin::webhooks::remove_webhook,
        admin::webhooks::rotate_any_webhook,
        admin::webhooks::inspect_deliveries,
        admin::webhooks::resend_any_delivery,
        admin::webhooks::resend_any_deliveries,
        admin::service::get_settings,
        admin::service::get_stages,
        admin::service::get_lifecycle,
        callbacks::stripe_callback,
        crate::web::get_liveness,
        crate::web::get_readiness,
        crate::web::get_metrics,
    ),
    components(schemas(CreateOrder, DraftOrder, PickupRequest, Confirmation, OrderView, EventView, ShopOrderView, Notification, ShopNotification)),
)]
struct Api;

/// The published document.
pub fn document() -> &'static Value {
    &PUBLISHED.document
}

struct Published {
    document: Value,
    bytes: Bytes,
    tag: String,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Api::openapi()).expect("the document serialises");
    let schemas = document["components"]["schemas"].as_object_mut().expect("a document has schemas");
    schemas.extend(problems::schemas());
    document["components"]["securitySchemes"] = security_schemes();
    document["webhooks"] = webhooks_sent();
    problems::add_problems(&mut document, problems::PROBLEMS);
    links::add_links(&mut document);
    operations_of(&mut document).for_each(|operation| {
        optional_body(operation);
        // Silence would mean that the document as a whole says which key is needed.
        operation.entry("security").or_insert_with(|| json!([]));
    });
    let bytes = Bytes::from(serde_json::to_vec(&document).expect("the document serialises"));
    Published { tag: Hash::of_bytes(&bytes).tag(), bytes, document }
});

/// Every operation of a document.
fn operations_of(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document["paths"].as_object_mut().expect("a document has paths");
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    operations.filter_map(Value::as_object_mut).filter(|operation| operation.contains_key("operationId"))
}

/// A body that may be left out (`request_body = Option<T>`) may not be null: utoipa says both in one word.
fn optional_body(operation: &mut Map<String, Value>) {
    let Some(body) = operation.get_mut("requestBody") else { return };
    let schema = body.pointer_mut("/content/application~1json/schema");
    if let Some(schema) = schema.filter(|schema| schema["oneOf"][1]["type"] == "null") {
        *schema = schema["oneOf"][0].take();
        body["required"] = json!(false);
    }
}

/// What this service sends: by whom it is believed, and how it is answered.
fn webhooks_sent() -> Value {
    let sent = |id: &str, summary: &str, to: &str, body: &str| {
        let header = |name: &str, what: &str| json!({"name": name, "in": "header", "required": true, "description": what, "schema": {"type": "string"}});
        json!({"post": {
            "operationId": id,
            "summary": summary,
            "description": format!("Sent to {to}, at least once. Signed by Standard Webhooks."),
            "security": [],
            "parameters": [
                header("webhook-id", "The same each time this is sent."),
                header("webhook-timestamp", "When it was sent: seconds since 1970."),
                header("webhook-signature", "`v1,` and base64, for each secret that signs now; blanks between them."),
            ],
            "requestBody": {"required": true, "content": {"application/json": {
                "schema": {"$ref": format!("#/components/schemas/{body}")},
            }}},
            "responses": {
                "2XX": {"description": "Taken. The body is not read."},
                "410": {"description": "Nothing more is wanted: a partner's receiver is switched off."},
                "default": {"description": "It is sent again; `Retry-After` is obeyed with 429 and 503."},
            },
        }})
    };
    json!({
        "orderEvent": sent("orderEvent", "Something happened to an order.", "a partner's receivers (createWebhook)", "Notification"),
        "shopNotice": sent("shopNotice", "A shop is offered an order, or something happened to one of its orders.", "the URL of a shop (createReceiver)", "ShopNotification"),
    })
}

fn security_schemes() -> Value {
    let scheme = |whose: &str| json!({"type": "http", "scheme": "bearer", "description": whose});
    json!({
        "partnerKey": scheme("`lungo_partner_…`: one partner, and nothing of any other."),
        "shopKey": scheme("`lungo_shop_…`: one shop."),
        "adminKey": scheme("`lungo_admin_…`: operators."),
    })
}

/// `GET /openapi.json`
pub async fn get_document(request: HttpRequest) -> HttpResponse {
    let tag = format!("\"{}\"", PUBLISHED.tag);
    if if_none_match(request.headers()).has(&PUBLISHED.tag) {
        return HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish();
    }
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "public, max-age=60"))
        .body(PUBLISHED.bytes.clone())
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::error::Code;

    #[test]
    fn the_document_is_openapi_3_1_and_lists_every_code() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let codes = document["components"]["schemas"]["Problem"]["discriminator"]["mapping"].as_object().unwrap();
        assert!(Code::VARIANTS.iter().all(|code| codes.contains_key(<&str>::from(code))));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value, document: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
                    }
                    members.values().for_each(|member| check(member, document));
                }
                Value::Array(items) => items.iter().for_each(|item| check(item, document)),
                _ => {}
            }
        }
        check(document(), document());
    }

    #[test]
    fn requests_are_closed_and_bounded() {
        let schemas = &document()["components"]["schemas"];
        assert_eq!(schemas["CreateOrder"]["additionalProperties"], false);
        assert_eq!(schemas["CreateOrder"]["properties"]["lines"]["maxItems"], 50);
        let is_required = |schema: &str, member: &str| {
            schemas[schema]["required"].as_array().unwrap().iter().any(|name| name == member)
        };
        assert!(is_required("CreateOrder", "total") && !is_required("DraftOrder", "total"));
        assert!(!is_required("CreateOrder", "pickup") && is_required("OrderView", "closed_at"));
    }

    #[test]
    fn the_examples_are_valid_and_the_demo_has_the_documented_shapes() {
        let schemas = document()["components"]["schemas"].as_object().unwrap();
        let valid = |schema: &str, value: &Value| {
            let validator = crate::web::body::validator_of(schema, &json!(schemas));
            let faults: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
            assert!(faults.is_empty(), "{schema} {value}: {faults:?}");
        };
        let mut count = 0;
        for (name, schema) in schemas {
            let examples = schema["examples"].as_array().into_iter().flatten();
            for example in examples.chain(schema.get("example")) {
                valid(name, example);
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
        let demo = crate::catalogue::demo::demo();
        demo.items.iter().flat_map(|item| &item.option_groups).for_each(|group| valid("OptionGroup", &json!(group)));
        let opening = crate::catalogue::Opening::new("07:00".parse().unwrap(), "24:00".parse().unwrap());
        for hours in [crate::catalogue::Hours::Always, crate::catalogue::Hours::every_day(opening)] {
            valid("Hours", &json!(hours));
        }
    }

    #[test]
    fn bodies_are_checked_against_what_is_published() {
        fn schemas_of<T: utoipa::ToSchema>() -> Vec<(String, Value)> {
            let mut schemas = vec![(T::name().into_owned(), T::schema())];
            T::schemas(&mut schemas);
            schemas.into_iter().map(|(name, schema)| (name, json!(schema))).collect()
        }
        for (name, schema) in [schemas_of::<CreateOrder>(), schemas_of::<DraftOrder>()].concat() {
            assert_eq!(document()["components"]["schemas"][&name], schema, "{name}");
        }
    }

    #[test]
    fn parameters_have_the_forms_that_are_accepted() {
        let schema = |path: &str, method: &str, name: &str| {
            let parameters = document()["paths"][path][method]["parameters"].as_array().unwrap();
            parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
        };
        for (path, method, pattern) in [
            ("/v1/orders", "post", crate::web::headers::REVISION_TAG),
            ("/v1/orders/{order_id}/pickup", "put", crate::web::headers::VERSION_TAG),
            ("/v1/admin/orders/{order_id}/refund", "post", crate::web::headers::VERSION_TAG),
        ] {
            let schema = schema(path, method, "If-Match");
            assert_eq!((&schema["type"], &schema["pattern"]), (&json!("string"), &json!(pattern)), "{path}");
        }
        assert_eq!(schema("/v1/orders/ongoing", "get", "If-None-Match"), json!({"type": "string"}));
        assert_eq!(schema("/v1/admin/orders", "get", "cursor")["format"], "uuid");
        assert_eq!(schema("/v1/admin/orders", "get", "cursor").get("pattern"), None);
    }

    #[test]
    fn a_body_that_may_be_left_out_may_not_be_null() {
        let body = &document()["paths"]["/v1/shop/orders/{order_id}/accept"]["post"]["requestBody"];
        assert_eq!(body["content"]["application/json"]["schema"], json!({"$ref": "#/components/schemas/AcceptOrder"}));
        assert_eq!(body["required"], false);
    }
}
