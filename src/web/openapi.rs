//! The OpenAPI 3.1 document and the page that shows it. The document is made once from the Rust types; the bodies
//! of requests are validated against this very document.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use strum::VariantArray;
use utoipa::OpenApi;

use crate::error::{Class, Code, Failure};
use crate::order::Hash;
use crate::web::create_order::{CreateOrder, DraftOrder, PickupRequest};
use crate::web::drafts::{self, Confirmation};
use crate::web::events;
use crate::web::headers::if_none_match;
use crate::web::orders;
use crate::web::problem::{self, Problem};
use crate::web::views::board::ShopOrderView;
use crate::web::views::{EventView, OrderView};

/// Which problems an operation has of its own, by operationId. Those that follow from its form (a key, a body) and
/// `internal_error` are added to it by themselves.
pub const PROBLEMS: &[(&str, &[Code])] = {
    use Code::*;
    &[
        ("createOrder", CREATING),
        (
            "getOngoingOrders",
            &[InvalidRequest, InvalidPosition, HistoryDiverged, Overloaded, DatabaseUnavailable, NotFreshEnough],
        ),
        ("getOrder", ONE_ORDER),
        ("listOrders", &[InvalidRequest, InvalidCursor, Overloaded, DatabaseUnavailable]),
        ("getOrderEvents", ONE_ORDER),
        ("whyOrder", ONE_ORDER),
        ("cancelOrder", &[NotFound, OrderDeleted, TooLate, Overloaded, OutcomeUnknown, DatabaseUnavailable]),
        ("deleteOrder", &[NotFound, OrderDeleted, TooLate, Overloaded, OutcomeUnknown, DatabaseUnavailable]),
        (
            "putPickup",
            &[
                InvalidRequest,
                NotFound,
                OrderDeleted,
                TooLate,
                StaleVersion,
                ShopNotAccepting,
                Unprocessable,
                Overloaded,
                OutcomeUnknown,
                DatabaseUnavailable,
            ],
        ),
        ("reportArrival", &[NotFound, OrderDeleted, TooLate, Overloaded, OutcomeUnknown, DatabaseUnavailable]),
        (
            "createDraft",
            &[
                NotFound,
                PriceMismatch,
                ItemUnavailable,
                ShopNotAccepting,
                Unprocessable,
                Overloaded,
                OutcomeUnknown,
                DatabaseUnavailable,
            ],
        ),
        ("getDraft", ONE_ORDER),
        (
            "putDraft",
            &[
                NotFound,
                PriceMismatch,
                ItemUnavailable,
                ShopNotAccepting,
                DraftExpired,
                DraftConfirmed,
                OrderDeleted,
                Unprocessable,
                Overloaded,
                OutcomeUnknown,
                DatabaseUnavailable,
            ],
        ),
        ("confirmDraft", CONFIRMING),
        ("listEvents", &[InvalidRequest, InvalidCursor, CursorInvalid, Overloaded, DatabaseUnavailable]),
        ("getLiveness", &[]),
        ("getReadiness", &[Overloaded, OutcomeUnknown, DatabaseUnavailable]),
    ]
};

/// What reading one order may be answered with.
const ONE_ORDER: &[Code] = &[Code::NotFound, Code::OrderDeleted, Code::Overloaded, Code::DatabaseUnavailable];

/// What confirming a draft may be answered with: its key is its id, and its price is bound.
const CONFIRMING: &[Code] = {
    use Code::*;
    &[
        InvalidRequest,
        NotFound,
        HistoryDiverged,
        SimilarOrderOngoing,
        OrderLimitExceeded,
        ItemUnavailable,
        ShopNotAccepting,
        SlotFull,
        DraftExpired,
        OrderDeleted,
        StaleRevision,
        Unprocessable,
        Overloaded,
        OutcomeUnknown,
        DatabaseUnavailable,
    ]
};

/// What creating an order may be answered with.
const CREATING: &[Code] = {
    use Code::*;
    &[
        InvalidRequest,
        NotFound,
        HistoryDiverged,
        SimilarOrderOngoing,
        OrderLimitExceeded,
        PriceMismatch,
        ItemUnavailable,
        ShopNotAccepting,
        SlotFull,
        OrderDeleted,
        StaleRevision,
        IdempotencyKeyReused,
        Unprocessable,
        Overloaded,
        OutcomeUnknown,
        DatabaseUnavailable,
    ]
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lungo",
        description = "Orders for coffee chains. Poll an order until it is not ongoing; a failed poll never means a \
                       failed order. Unknown request members are refused.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "orders", description = "The partner's orders."),
        (name = "drafts", description = "Baskets that are priced before they are ordered."),
        (name = "catalogue", description = "Shops, their menus and what they promise."),
        (name = "shop", description = "For the tablet or till in a shop."),
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
        crate::web::get_liveness,
        crate::web::get_readiness,
    ),
    components(schemas(CreateOrder, DraftOrder, PickupRequest, Confirmation, OrderView, EventView, ShopOrderView, Code)),
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
    document["components"]["schemas"]["Problem"] = problem_schema();
    document["components"]["securitySchemes"] = security_schemes();
    add_problems(&mut document, PROBLEMS);
    let bytes = Bytes::from(serde_json::to_vec(&document).expect("the document serialises"));
    Published { tag: format!("{:?}", Hash::of_bytes(&bytes)), bytes, document }
});

/// Adds to every operation the problems that it may answer with, grouped by status.
///
/// # Panics
/// If an operation has no entry in the table, or an entry no operation.
fn add_problems(document: &mut Value, table: &[(&str, &[Code])]) {
    let mut table: BTreeMap<&str, &[Code]> = table.iter().copied().collect();
    let paths = document["paths"].as_object_mut().expect("a document has paths");
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        let Some(id) = operation["operationId"].as_str() else { continue };
        let own = table.remove(id).unwrap_or_else(|| panic!("`{id}` says nothing of its problems"));
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in own.iter().copied().chain(problems_of_form(operation)) {
            let codes = by_status.entry(problem::status(code.class()).as_u16()).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        for (status, codes) in by_status {
            operation["responses"][status.to_string()] = response(&codes);
        }
    }
    assert!(table.is_empty(), "problems of no operation: {:?}", table.keys());
}

/// What an operation can answer merely because it needs a key or takes a body.
fn problems_of_form(operation: &Value) -> impl Iterator<Item = Code> {
    let needs_key = operation["security"].as_array().is_some_and(|schemes| !schemes.is_empty());
    let of_a_key: &[Code] =
        if needs_key { &[Code::Unauthenticated, Code::Forbidden, Code::TooManyRequests] } else { &[] };
    let of_a_body: &[Code] = match operation["requestBody"]["content"].get("application/json") {
        Some(_) => &[
            Code::MalformedRequest,
            Code::InvalidRequest,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ],
        None => &[],
    };
    [of_a_key, of_a_body, &[Code::InternalError]].concat().into_iter()
}

fn response(codes: &[Code]) -> Value {
    let words: Vec<String> = codes.iter().map(|code| format!("- `{code}`: {}", code.title())).collect();
    let mut headers = json!({});
    let header = |what: &str, kind: Value| json!({"description": what, "required": true, "schema": kind});
    match codes[0].class() {
        Class::Unauthenticated => {
            headers["WWW-Authenticate"] = header("The scheme to use.", json!({"type": "string"}));
        }
        Class::TooMany | Class::Unavailable => {
            headers["Retry-After"] = header("Whole seconds.", json!({"type": "integer", "minimum": 1}));
        }
        _ => {}
    }
    json!({
        "description": words.join("\n"),
        "headers": headers,
        "content": { problem::MEDIA_TYPE: { "schema": { "allOf": [
            { "$ref": "#/components/schemas/Problem" },
            { "type": "object", "properties": { "code": { "enum": codes } } },
        ] } } },
    })
}

fn problem_schema() -> Value {
    let titles: Vec<String> = Code::VARIANTS.iter().map(|code| format!("- `{code}`: {}", code.title())).collect();
    json!({
        "type": "object",
        "description": format!("RFC 9457. Further members depend on the code.\n{}", titles.join("\n")),
        "required": ["type", "title", "status", "detail", "instance", "code", "retryable", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri", "description": "`urn:lungo:problem:` and the code." },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string" },
            "instance": { "type": "string", "description": "The path of the request." },
            "code": { "$ref": "#/components/schemas/Code" },
            "retryable": {
                "type": "boolean",
                "description": "Whether the same request may succeed later without being changed.",
            },
            "request_id": { "type": "string" },
            "errors": {
                "type": "array",
                "description": "All faults of the request.",
                "items": {
                    "type": "object",
                    "required": ["code", "detail"],
                    "properties": {
                        "pointer": { "type": "string", "description": "JSON pointer into the body; absent for a header and for the body as a whole." },
                        "code": { "type": "string" },
                        "detail": { "type": "string" },
                    },
                },
            },
        },
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

/// `GET /docs`
pub async fn redirect_to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// `GET /docs/{file}`: the vendored page, which loads nothing from elsewhere.
///
/// # Errors
/// `not_found` if the page has no such file.
pub async fn get_docs(file: web::Path<String>) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(|| {
        let config = utoipa_swagger_ui::Config::from("/openapi.json");
        Arc::new(config.validator_url("none").display_operation_id(true).display_request_duration(true))
    });
    let file = utoipa_swagger_ui::serve(&file, CONFIG.clone())
        .map_err(|error| Failure::new(Code::InternalError, "").because(error))?
        .ok_or_else(|| Failure::new(Code::NotFound, "The page has no such file."))?;
    let policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                  connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .body(file.bytes.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_openapi_3_1_and_lists_every_code() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        assert_eq!(document["components"]["schemas"]["Code"]["enum"], json!(Code::VARIANTS));
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
    fn problems_are_grouped_by_status() {
        let mut document = json!({"paths": {"/x": {"post": {
            "operationId": "x", "security": [{"partnerKey": []}], "responses": {},
            "requestBody": {"content": {"application/json": {}}},
        }}}});
        add_problems(&mut document, &[("x", &[Code::SlotFull, Code::TooLate, Code::Overloaded])]);
        let responses = document["paths"]["/x"]["post"]["responses"].as_object().unwrap();
        let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
        assert_eq!(statuses, ["400", "401", "403", "408", "409", "413", "415", "429", "500", "503"]);
        let conflict = &responses["409"]["content"][problem::MEDIA_TYPE]["schema"]["allOf"][1];
        assert_eq!(conflict["properties"]["code"]["enum"], json!(["slot_full", "too_late"]));
        assert!(responses["503"]["headers"]["Retry-After"].is_object());
    }

    #[test]
    #[should_panic(expected = "says nothing of its problems")]
    fn an_operation_must_say_what_its_problems_are() {
        add_problems(&mut json!({"paths": {"/x": {"get": {"operationId": "x", "responses": {}}}}}), &[]);
    }
}
